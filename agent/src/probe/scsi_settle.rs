//! Waiting for a sanitize that a SCSI disk is still at when the machine starts, after a power cut.
//!
//! Some disks refuse everything meanwhile, their size too, so that the kernel shows them with none and
//! nothing can be planned for them. An NVMe disk still answers what it is, and there the erase itself waits.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use contract::inventory::{Composition, SanitizeState, Transport};
use contract::reading::Outcome;
use erasure::scsi::sanitize;
use erasure::scsi::sense::KEY_UNIT_ATTENTION;

use super::disks;
use super::scsi_facts::request_sense;
use super::scsi_generic::ScsiPort;
use super::source::Source;

/// How long is waited at most: less than a session of the service's lasts.
const WAIT_MAX: Duration = Duration::from_secs(90 * 60);
/// How long between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// A disk reports what happened to it once for each; more are not asked away.
const ATTENTIONS_MAX: usize = 4;

/// Waits until the SCSI disks whose size nobody knows are done with a sanitize, and has the kernel look at
/// them again. One that is not done in time stays as it is: a disk of no size, to which nothing is done.
pub fn wait(source: &Source) {
    let begun = Instant::now();
    let goes_on = || {
        std::thread::sleep(PAUSE);
        begun.elapsed() < WAIT_MAX
    };
    wait_while(source, |device| File::open(device), goes_on);
}

/// `goes_on` is asked before each further question to a disk that is at it, for all disks together.
fn wait_while<P: ScsiPort>(
    source: &Source,
    open: impl Fn(&Path) -> io::Result<P>,
    mut goes_on: impl FnMut() -> bool,
) {
    let Outcome::Value(disks) = disks::list(source) else { return };
    for disk in disks {
        let is_mute_disk = disk.facts.transport == Transport::Scsi
            && disk.facts.composition == Composition::Single
            && disk.facts.size_bytes == 0;
        if !is_mute_disk {
            continue;
        }
        let Ok(port) = open(&disk.device) else { continue };
        let name = &disk.facts.id;
        let mut told = None;
        let settled = is_settled(&port, |progress_65536| {
            let percent = u32::from(progress_65536) * 100 / 65536;
            if told.replace(percent) != Some(percent) {
                tracing::warn!(disk = %name, "waiting for its sanitize, at {percent} %, before its size can be read");
            }
            goes_on()
        });
        if settled {
            // Also one that was never seen at it: it may have ended while another was waited for.
            look_anew(source, &disk.facts.kernel_name);
        } else {
            tracing::error!(disk = %name, "its sanitize goes on after {} minutes", WAIT_MAX.as_secs() / 60);
        }
    }
}

/// Whether no sanitize is at work. `goes_on` is asked while one is, with its progress, and says whether to
/// wait any longer.
fn is_settled(port: &dyn ScsiPort, mut goes_on: impl FnMut(u16) -> bool) -> bool {
    let mut attentions = 0;
    loop {
        let Ok(sense) = request_sense(port) else { return true };
        match sanitize::state(&sense) {
            Ok(SanitizeState::Running { progress_65536 }) => {
                if !goes_on(progress_65536) {
                    return false;
                }
            }
            Err(_) if sense.key == KEY_UNIT_ATTENTION && attentions < ATTENTIONS_MAX => attentions += 1,
            // What else it may say, the probe reads and reports.
            _ => return true,
        }
    }
}

/// Has the kernel ask the disk for its size again (Linux `Documentation/scsi/scsi_mid_low_api.rst`).
fn look_anew(source: &Source, kernel_name: &str) {
    let file = source.path(&format!("sys/block/{kernel_name}/device/rescan"));
    if let Err(error) = std::fs::write(&file, "1") {
        tracing::error!("could not have the kernel look at {kernel_name} again: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_scsi::FakeScsi;
    use crate::probe::scsi_generic::{Answer, Data};
    use std::path::PathBuf;

    impl ScsiPort for &FakeScsi {
        fn send(&self, command: &[u8], data: Data<'_>, timeout_millis: u32) -> io::Result<Answer> {
            FakeScsi::send(self, command, data, timeout_millis)
        }
    }

    /// A SCSI disk whose size nobody knows, in a recorded tree; what the kernel was told of it is returned.
    fn add_mute_disk(root: &Path, name: &str) -> PathBuf {
        let real = root.join("sys/devices/pci0000:00/0000:00:05.0").join(name);
        std::fs::create_dir_all(real.join("queue")).unwrap();
        std::fs::create_dir_all(real.join("device")).unwrap();
        std::fs::create_dir_all(root.join("sys/block")).unwrap();
        std::os::unix::fs::symlink(&real, root.join("sys/block").join(name)).unwrap();
        let wwid = format!("naa.50000000000000{}", hex::encode(&name[2..]));
        for (file, content) in [
            ("size", "0"),
            ("ro", "0"),
            ("removable", "0"),
            ("queue/logical_block_size", "512"),
            ("device/wwid", &wwid),
        ] {
            std::fs::write(real.join(file), content).unwrap();
        }
        real.join("device/rescan")
    }

    /// The second disk ends while only the first is asked, and is looked at all the same.
    #[test]
    fn every_disk_that_has_ended_is_looked_at_whenever_that_was() {
        let root = tempfile::tempdir().unwrap();
        let rescans = ["sda", "sdb", "sdc"].map(|name| add_mute_disk(root.path(), name));
        let fakes = [(); 3].map(|()| FakeScsi::with_sanitize(&[2]));
        fakes.iter().for_each(|fake| fake.sense.set((2, 4, 0x1b)));
        let open = |device: &Path| {
            let at = ["sda", "sdb", "sdc"].iter().position(|name| device.ends_with(name));
            Ok(&fakes[at.unwrap()])
        };
        let mut left = 3;
        wait_while(&Source::recorded(root.path()), open, || {
            fakes[0].sense.set((0, 0, 0));
            fakes[1].sense.set((0, 0, 0));
            left -= 1;
            left > 0
        });
        let told = rescans.map(|rescan| std::fs::read_to_string(rescan).ok());
        assert_eq!(told, [Some("1".to_owned()), Some("1".to_owned()), None], "the third goes on");
    }

    #[test]
    fn a_running_sanitize_is_waited_for_until_its_end_or_the_end_of_patience() {
        let fake = FakeScsi::with_sanitize(&[2]);
        fake.sense.set((2, 4, 0x1b));
        let mut asked = 0;
        let settled = is_settled(&fake, |progress| {
            assert_eq!(progress, 0x4000);
            asked += 1;
            if asked == 3 {
                fake.sense.set((0, 0, 0));
            }
            true
        });
        assert_eq!((settled, asked), (true, 3));
        fake.sense.set((2, 4, 0x1b));
        assert!(!is_settled(&fake, |_| false));
    }

    #[test]
    fn whatever_is_no_sanitize_is_not_waited_for() {
        let fake = FakeScsi::with_sanitize(&[2]);
        for sense in [(0, 0, 0), (2, 4, 1), (3, 0x31, 3), (6, 0x29, 0)] {
            fake.sense.set(sense);
            assert!(is_settled(&fake, |_| panic!("waited for {sense:?}")));
        }
    }
}
