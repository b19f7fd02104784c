use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use imaging::source::ReadAt as _;
use proptest::prelude::{ProptestConfig, any, proptest};

use super::Source;

/// A disk with data, zeros and data again, 3 MiB and a half and one sector.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; (7 << 19) + 512];
    for (at, byte) in disk.iter_mut().enumerate() {
        let in_hole = (1 << 20..2 << 20).contains(&at);
        *byte = if in_hole { 0 } else { (at / 512 + at) as u8 };
    }
    disk
}

fn open(path: &Path) -> anyhow::Result<Source> {
    Source::open(path, &mut |_| {})
}

fn content(source: &Source) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(source.size_bytes()).unwrap()];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

fn refusal(path: &Path) -> String {
    match open(path) {
        Ok(_) => panic!("{} was accepted", path.display()),
        Err(error) => format!("{error:#}"),
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("qemu-img (package qemu-utils) runs");
    assert!(status.success(), "{program} {arguments:?}");
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The disk as qcow2, made by qemu-img with these options.
    fn qcow2(&self, options: &[&str]) -> PathBuf {
        let raw = self.write("disk.raw", &disk());
        let path = self.0.path().join("disk.qcow2");
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options);
        arguments.extend([raw.to_str().unwrap(), path.to_str().unwrap()]);
        run("qemu-img", &arguments);
        path
    }
}

#[test]
fn raw_and_qcow2_read_the_same() {
    let folder = Folder::new();
    assert_eq!(content(&open(&folder.write("raw", &disk())).unwrap()), disk());
    for options in [
        &[][..],
        &["-c"],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M"],
        &["-o", "compat=0.10"],
        &["-o", "preallocation=full"],
        &["-S", "0"],
    ] {
        let source = open(&folder.qcow2(options)).unwrap_or_else(|error| panic!("{options:?}: {error:#}"));
        assert!(matches!(source, Source::Qcow2(_)));
        assert_eq!(content(&source), disk(), "{options:?}");
        assert!(source.read_at(source.size_bytes() - 1, &mut [0; 2]).is_err());
    }
}

#[test]
fn compressed_images_are_unpacked_whatever_their_name() {
    let folder = Folder::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&disk()).unwrap();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&disk()).unwrap();
    let zstd = zstd::encode_all(disk().as_slice(), 1).unwrap();
    for packed in [gzip.finish().unwrap(), xz.finish().unwrap(), zstd] {
        let path = folder.write("image.raw", &packed);
        assert_eq!(content(&open(&path).unwrap()), disk());
        let cut = folder.write("cut", &packed[..packed.len() / 2]);
        assert!(refusal(&cut).contains("cut off or damaged"), "{}", refusal(&cut));
        let mut names: Vec<_> =
            fs::read_dir(folder.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["cut", "image.raw"], "nothing is left behind");
        fs::remove_file(cut).unwrap();
    }
    let inner = fs::read(folder.qcow2(&[])).unwrap();
    let packed = folder.write("disk.qcow2.zst", &zstd::encode_all(inner.as_slice(), 1).unwrap());
    assert_eq!(content(&open(&packed).unwrap()), disk());
    let twice = zstd::encode_all(fs::read(&packed).unwrap().as_slice(), 1).unwrap();
    assert!(refusal(&folder.write("twice", &twice)).contains("compressed twice"));
}

#[test]
fn what_is_no_whole_image_is_refused_with_what_to_do() {
    let folder = Folder::new();
    assert!(refusal(&folder.0.path().join("nothing")).contains("could not open"));
    assert!(refusal(folder.0.path()).contains("not a file"));
    assert!(refusal(&folder.write("a", b"")).contains("empty"));
    assert!(refusal(&folder.write("b", &[0; 1000])).contains("not whole sectors"));
    assert!(refusal(&folder.write("c", b"KDMV and so on")).contains("qemu-img convert"));
    assert!(refusal(&folder.qcow2(&["-o", "extended_l2=on"])).contains("qemu-img convert"));
}

#[test]
fn a_qcow2_image_cut_anywhere_is_refused() {
    for options in [&[][..], &["-o", "cluster_size=512"]] {
        let folder = Folder::new();
        let whole = fs::read(folder.qcow2(options)).unwrap();
        for part in 1..20 {
            let cut = folder.write("cut.qcow2", &whole[..whole.len() * part / 20]);
            let message = refusal(&cut);
            assert!(message.contains("cut off"), "{part}/20 of {options:?}: {message}");
        }
    }
}

#[test]
fn a_qcow2_image_that_names_other_files_is_refused() {
    let folder = Folder::new();
    let secret = folder.write("secret", &[7; 1 << 20]);
    let overlay = folder.0.path().join("overlay.qcow2");
    let (secret, path) = (secret.to_str().unwrap(), overlay.to_str().unwrap());
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, path]);
    assert!(refusal(&overlay).contains("refers to another file"));
    let mut bytes = fs::read(folder.qcow2(&[])).unwrap();
    bytes[79] |= 4;
    assert!(refusal(&folder.write("data.qcow2", &bytes)).contains("refers to another file"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_qcow2_header_or_table_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        use std::sync::OnceLock;
        static WHOLE: OnceLock<(Folder, Vec<u8>)> = OnceLock::new();
        let (folder, whole) = WHOLE.get_or_init(|| {
            let folder = Folder::new();
            let whole = fs::read(folder.qcow2(&["-o", "cluster_size=512"])).unwrap();
            (folder, whole)
        });
        let mut damaged = whole.clone();
        for (at, to) in changes {
            damaged[at.index(4096)] = to;
        }
        let path = folder.write("damaged.qcow2", &damaged);
        if let Ok(source) = open(&path) {
            let mut buffer = vec![0; 4096];
            for at in (0..source.size_bytes().min(1 << 22)).step_by(1 << 16) {
                let _ = source.read_at(at, &mut buffer);
            }
        }
    }
}
