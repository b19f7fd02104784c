//! Trees that differ from their manifest in every way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use contract::id::Digest;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use imaging::attributes::CAPABILITY;
use imaging::manifest::{EntryKind, ImmutableEntry, RootManifest};

use super::compare_all;
use crate::act::loop_fixture::{CAPABILITIES, set_attribute};
use crate::act::rooted::Root;
use crate::image_check::FileCache;

const FILES: usize = 40;

fn tree() -> (tempfile::TempDir, RootManifest) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("usr/local/own")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    for number in 0..FILES {
        fs::write(root.join(format!("usr/bin/{number:02}")), format!("content {number}")).unwrap();
    }
    symlink("00", root.join("usr/bin/link")).unwrap();
    let mut paths = vec!["/usr".to_owned(), "/usr/bin".to_owned(), "/usr/bin/link".to_owned()];
    paths.extend((0..FILES).map(|number| format!("/usr/bin/{number:02}")));
    paths.sort();
    let entries = paths.into_iter().map(|path| entry(root, path)).collect();
    let manifest = RootManifest {
        partition: 1,
        file_system: "ext4".to_owned(),
        subvolume: None,
        immutable_paths: vec!["/boot".to_owned(), "/usr".to_owned()],
        excluded_paths: vec!["/usr/local".to_owned()],
        attributes_recorded: false,
        entries,
    };
    (place, manifest)
}

fn entry(root: &Path, path: String) -> ImmutableEntry {
    let here = root.join(&path[1..]);
    let found = fs::symlink_metadata(&here).unwrap();
    let kind = if found.is_dir() {
        EntryKind::Directory
    } else if found.is_symlink() {
        EntryKind::Symlink { target: fs::read_link(&here).unwrap().to_str().unwrap().to_owned() }
    } else {
        let content = fs::read(&here).unwrap();
        EntryKind::File {
            size_bytes: content.len() as u64,
            digest: Digest::of(&content),
            extents: Vec::new(),
        }
    };
    ImmutableEntry {
        path,
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        attributes: Vec::new(),
        kind,
    }
}

struct Seen {
    altered: Vec<String>,
    missing: Vec<String>,
    foreign: Vec<String>,
    checked: u64,
}

fn look(place: &Path, manifest: &RootManifest, cache: Option<&FileCache>) -> Seen {
    let readings = compare_all(&Root::open(place).unwrap(), manifest, cache).readings();
    let list = |wanted| {
        let found = readings.iter().find(|(_, key, _)| *key == wanted).unwrap();
        match &found.2 {
            Outcome::Value(ReadingValue::List { items, .. }) => items.clone(),
            other => panic!("{wanted}: {other:?}"),
        }
    };
    let checked = match &readings.iter().find(|(_, key, _)| *key == ReadingKey::ImageFilesChecked).unwrap().2
    {
        Outcome::Value(ReadingValue::Count(count)) => *count,
        other => panic!("{other:?}"),
    };
    Seen {
        altered: list(ReadingKey::ImageFilesAltered),
        missing: list(ReadingKey::ImageFilesMissing),
        foreign: list(ReadingKey::ImageFilesForeign),
        checked,
    }
}

#[test]
fn a_tree_as_in_the_image_has_nothing_to_report() {
    let (place, manifest) = tree();
    fs::write(place.path().join("etc/own"), "own").unwrap();
    fs::write(place.path().join("usr/local/own/tool"), "own").unwrap();
    let seen = look(place.path(), &manifest, None);
    assert!(seen.altered.is_empty() && seen.missing.is_empty() && seen.foreign.is_empty());
    assert_eq!(seen.checked, manifest.entries.len() as u64);
}

#[test]
fn every_kind_of_difference_is_found_and_named() {
    let (place, manifest) = tree();
    let at = |name: &str| place.path().join("usr/bin").join(name);
    fs::write(at("00"), "content X").unwrap();
    fs::write(at("01"), "longer than it was").unwrap();
    fs::set_permissions(at("02"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::remove_file(at("03")).unwrap();
    fs::remove_file(at("04")).unwrap();
    symlink("05", at("04")).unwrap();
    fs::remove_file(at("06")).unwrap();
    fs::create_dir(at("06")).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("01", at("link")).unwrap();
    fs::remove_file(at("07")).unwrap();
    nix::unistd::mkfifo(&at("07"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(at("foreign"), "foreign").unwrap();
    fs::create_dir_all(at("folder/below")).unwrap();
    fs::create_dir(place.path().join("boot")).unwrap();
    let seen = look(place.path(), &manifest, None);
    let named = ["00", "01", "02", "04", "06", "07", "link"].map(|name| format!("/usr/bin/{name}"));
    assert_eq!(seen.altered, named);
    assert_eq!(seen.missing, ["/usr/bin/03"]);
    assert_eq!(seen.foreign, ["/boot", "/usr/bin/folder", "/usr/bin/folder/below", "/usr/bin/foreign"]);
}

#[test]
fn a_folder_swapped_for_a_link_to_the_same_content_is_still_altered() {
    let (place, manifest) = tree();
    fs::rename(place.path().join("usr/bin"), place.path().join("etc/bin")).unwrap();
    symlink("../etc/bin", place.path().join("usr/bin")).unwrap();
    let seen = look(place.path(), &manifest, None);
    assert_eq!(seen.altered, ["/usr/bin"]);
    assert_eq!(seen.missing.len(), FILES + 1);
}

#[test]
fn what_cannot_be_looked_at_is_neither_fine_nor_altered() {
    let (_place, mut manifest) = tree();
    // `/proc/self/mem` opens and its first page cannot be read: the same error as a bad sector.
    manifest.immutable_paths = vec!["/self".to_owned()];
    let status = fs::metadata("/proc/self/mem").unwrap();
    manifest.entries = vec![ImmutableEntry {
        path: format!("/{}/mem", std::process::id()),
        mode: status.mode() & 0o7777,
        uid: status.uid(),
        gid: status.gid(),
        attributes: Vec::new(),
        kind: EntryKind::File { size_bytes: 0, digest: Digest::of(b""), extents: Vec::new() },
    }];
    let findings = compare_all(&Root::open(Path::new("/proc")).unwrap(), &manifest, None);
    assert_eq!(findings.device_errors, 1);
    let readings = findings.readings();
    for key in [ReadingKey::ImageFilesAltered, ReadingKey::ImageFilesMissing] {
        let found = readings.iter().find(|(_, found, _)| *found == key).unwrap();
        assert!(matches!(found.2, Outcome::Unreadable(_)), "{found:?}");
    }
}

#[test]
fn with_a_cache_a_changed_file_is_read_and_an_unchanged_one_is_not() {
    let (place, manifest) = tree();
    let mut cache = FileCache::default();
    look(place.path(), &manifest, Some(&cache));
    cache.turn_over();
    // Just written files are not trusted to stay as they are, so nothing is cached yet.
    assert_eq!(cache.files(), 0);
    let old = std::time::SystemTime::UNIX_EPOCH;
    cache.accept_fresh_files();
    look(place.path(), &manifest, Some(&cache));
    cache.turn_over();
    assert_eq!(cache.files(), FILES);
    let saved = tempfile::tempdir().unwrap();
    cache.save(&saved.path().join("cache")).unwrap();
    let loaded = FileCache::load(&saved.path().join("cache"));
    assert_eq!(loaded.files(), FILES);
    // Same size, and the time of modification set back: the time of the change gives it away.
    let altered = place.path().join("usr/bin/05");
    let modified = fs::metadata(&altered).unwrap().modified().unwrap();
    fs::write(&altered, "content X").unwrap();
    fs::File::options().write(true).open(&altered).unwrap().set_modified(modified).unwrap();
    assert_eq!(look(place.path(), &manifest, Some(&loaded)).altered, ["/usr/bin/05"]);
    assert!(modified > old);
    fs::write(saved.path().join("cache"), "[[{").unwrap();
    assert_eq!(FileCache::load(&saved.path().join("cache")).files(), 0);
}

#[test]
fn an_attribute_that_grants_rights_is_found_through_the_cache() {
    let (place, mut manifest) = tree();
    manifest.attributes_recorded = true;
    let mut cache = FileCache::default();
    cache.accept_fresh_files();
    assert!(look(place.path(), &manifest, Some(&cache)).altered.is_empty());
    cache.turn_over();
    assert_eq!(cache.files(), FILES);
    set_attribute(&place.path().join("usr/bin/05"), CAPABILITY, &CAPABILITIES);
    assert_eq!(look(place.path(), &manifest, Some(&cache)).altered, ["/usr/bin/05"]);
    // Nor does what was compared without attributes serve where they are recorded.
    manifest.attributes_recorded = false;
    let mut cache = FileCache::default();
    cache.accept_fresh_files();
    assert!(look(place.path(), &manifest, Some(&cache)).altered.is_empty());
    cache.turn_over();
    manifest.attributes_recorded = true;
    assert_eq!(look(place.path(), &manifest, Some(&cache)).altered, ["/usr/bin/05"]);
}

/// A file system in memory, mounted; dropping it takes it down.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn at(path: std::path::PathBuf) -> Self {
        nix::mount::mount(
            Some("test"),
            &path,
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            Some("mode=0700"),
        )
        .unwrap_or_else(|error| panic!("mounting {}: {error} (needs root)", path.display()));
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn what_is_mounted_on_an_empty_folder_is_not_of_the_root_and_hides_nothing_elsewhere() {
    let (place, mut manifest) = tree();
    fs::create_dir(place.path().join("usr/efi")).unwrap();
    manifest.entries.push(entry(place.path(), "/usr/efi".to_owned()));
    manifest.entries.sort_by(|one, other| one.path.cmp(&other.path));
    fs::create_dir_all(place.path().join("usr/own/data")).unwrap();
    let efi = Mounted::at(place.path().join("usr/efi"));
    fs::write(efi.0.join("loader"), "of the boot partition").unwrap();
    let data = Mounted::at(place.path().join("usr/own/data"));
    fs::write(data.0.join("file"), "of another disk").unwrap();
    let seen = look(place.path(), &manifest, None);
    assert!(seen.altered.is_empty() && seen.missing.is_empty(), "{:?} {:?}", seen.altered, seen.missing);
    assert_eq!(seen.foreign, ["/usr/own", "/usr/own/data"]);
    // Mounted over what the image has, it is in the place of it.
    let over = Mounted::at(place.path().join("usr/bin"));
    fs::write(over.0.join("evil"), "x").unwrap();
    let seen = look(place.path(), &manifest, None);
    assert_eq!(seen.altered, ["/usr/bin"]);
    assert_eq!(seen.missing.len(), FILES + 1);
    assert_eq!(seen.foreign, ["/usr/bin/evil", "/usr/own", "/usr/own/data"]);
}
