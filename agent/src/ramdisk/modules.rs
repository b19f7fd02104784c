//! Loading kernel modules: for the devices that are there, for what the kernel asks, and from a list.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use super::module_index::ModuleIndex;
use super::uevents::{Uevent, Uevents};

/// Modules that nothing asks for by a device, one a line, `#` begins a comment.
const ALWAYS_LIST: &str = "/etc/reprieve/modules-always";
/// Devices are looked for again until nothing new has come for this long, in milliseconds.
const QUIET_MILLIS: u64 = 250;
/// And never longer than this, in milliseconds; a slow disk that comes later is seen at the next look.
const SETTLE_MILLIS_MAX: u64 = 20_000;
/// Directories deeper than this are not devices.
const DEPTH_MAX: usize = 24;

/// The modules of the running kernel.
#[derive(Debug)]
pub struct Modules {
    directory: PathBuf,
    index: ModuleIndex,
    /// What was loaded or tried, so that nothing is tried twice.
    tried: Mutex<BTreeSet<String>>,
}

impl Modules {
    /// Reads the index of the running kernel's modules.
    ///
    /// # Errors
    /// If the kernel's release or the index cannot be read.
    pub fn of_running_kernel() -> io::Result<Self> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let directory = Path::new("/lib/modules").join(release.trim());
        let read = |name: &str| std::fs::read_to_string(directory.join(name));
        // depmod writes no softdep file where there are none.
        let soft = read("modules.softdep").unwrap_or_default();
        let index = ModuleIndex::parse(&read("modules.dep")?, &read("modules.alias")?, &soft);
        Ok(Self { directory, index, tried: Mutex::new(BTreeSet::new()) })
    }

    /// Loads what drives a device or answers to a name.
    pub fn load_for(&self, wanted: &str) {
        for name in self.index.modules_for(wanted) {
            self.load(&name);
        }
    }

    /// Loads a module and what it needs. A failure is said and not fatal: the device may not be needed,
    /// and if it is, it will be missed where it is needed.
    fn load(&self, name: &str) {
        for path in self.index.load_order(name) {
            let new = self.tried.lock().map(|mut tried| tried.insert(path.to_owned())).unwrap_or(true);
            if new && let Err(error) = self.insert(path) {
                tracing::warn!("cannot load the kernel module {path}: {error}");
            }
        }
    }

    fn insert(&self, path: &str) -> io::Result<()> {
        let file = File::open(self.directory.join(path))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            // Another thread was faster.
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            // The hardware that the module is for is not there; processor-specific modules say so.
            Err(Errno::ENODEV) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Loads the modules for network cards, so that the service is reached while the rest is loading.
    pub fn load_for_network(&self) {
        let mut events = Uevents::open().ok();
        for device in children(Path::new("/sys/bus/pci/devices")) {
            // PCI class 02h is network controllers.
            if read_trimmed(&device.join("class")).is_some_and(|class| class.starts_with("0x02")) {
                self.load_for_device(&device);
            }
        }
        // A virtio card is a PCI device with a bus of its own behind it.
        for device in children(Path::new("/sys/bus/virtio/devices")) {
            if read_trimmed(&device.join("device")).is_some_and(|kind| kind == "0x0001") {
                self.load_for_device(&device);
            }
        }
        while let Some(event) = events.as_mut().and_then(|events| events.next_within(0)) {
            if event.modalias().is_some_and(|alias| alias.starts_with("virtio:d00000001")) {
                self.load_for_event(&event);
            }
        }
    }

    fn load_for_device(&self, device: &Path) {
        if let Some(alias) = read_trimmed(&device.join("modalias")) {
            self.load_for(&alias);
        }
    }

    fn load_for_event(&self, event: &Uevent) {
        if let (true, Some(alias)) = (event.is_addition(), event.modalias()) {
            self.load_for(alias);
        }
    }

    /// Loads the listed modules, then those for all devices, until no new device comes.
    pub fn load_all(&self) {
        let events = Uevents::open();
        if let Ok(list) = std::fs::read_to_string(ALWAYS_LIST) {
            for name in names(&list) {
                self.load_for(name);
            }
        }
        let mut aliases = BTreeSet::new();
        collect_aliases(Path::new("/sys/devices"), &mut aliases, 0);
        for alias in &aliases {
            self.load_for(alias);
        }
        match events {
            Ok(mut events) => self.follow(&mut events),
            Err(error) => tracing::warn!("cannot listen for new devices, some may be missed: {error}"),
        }
    }

    /// Loads for every device that comes, until it has been quiet for a while.
    fn follow(&self, events: &mut Uevents) {
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < u128::from(SETTLE_MILLIS_MAX) {
            match events.next_within(QUIET_MILLIS) {
                Some(event) => self.load_for_event(&event),
                None => return,
            }
        }
        tracing::warn!("devices are still appearing after {SETTLE_MILLIS_MAX} ms; going on without the rest");
    }
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|name| !name.is_empty())
}

fn children(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn read_trimmed(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn collect_aliases(directory: &Path, aliases: &mut BTreeSet<String>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        // Links would lead in circles; the tree below /sys/devices reaches every device without them.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_aliases(&entry.path(), aliases, depth + 1);
        } else if entry.file_name() == "modalias"
            && let Some(alias) = read_trimmed(&entry.path())
            && !alias.is_empty()
        {
            aliases.insert(alias);
        }
    }
}

/// What the kernel runs in place of modprobe (see [`super::mounts`]): loads what it names and ends.
pub fn answer_kernel_request(arguments: &[String]) -> i32 {
    let wanted = arguments.iter().skip(1).filter(|word| !word.starts_with('-'));
    match Modules::of_running_kernel() {
        Ok(modules) => {
            wanted.for_each(|name| modules.load_for(name));
            0
        }
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_may_have_comments_and_blank_lines() {
        let list = "# file systems\next4\n\n  sd_mod # disks\n";
        assert_eq!(names(list).collect::<Vec<_>>(), ["ext4", "sd_mod"]);
    }

    #[test]
    fn aliases_are_collected_below_real_directories_only() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("pci/0");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("modalias"), "pci:v1\n").unwrap();
        std::os::unix::fs::symlink("..", device.join("subsystem")).unwrap();
        let mut aliases = BTreeSet::new();
        collect_aliases(root.path(), &mut aliases, 0);
        assert_eq!(aliases.into_iter().collect::<Vec<_>>(), ["pci:v1"]);
    }
}
