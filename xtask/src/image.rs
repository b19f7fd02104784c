//! `cargo xtask image`: a small real Debian with the agent installed from its package.
//!
//! The base system comes from the machine's own mirror and is kept as an archive until its recipe
//! changes; the agent's package, the configuration and the disk around it are then a matter of seconds.

pub use self::disk::root_place;

mod cloud;
mod disk;
mod grub;
mod root;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::{deb, packages, paths, toolchain};

/// What to build.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Cargo profile of the agent.
    #[arg(long, default_value = "ramdisk")]
    pub profile: String,
    /// A static program to install as the agent, instead of building it.
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Build even if nothing has changed, with the mirror's newest packages.
    #[arg(long)]
    pub anew: bool,
    /// Instead, build an image as Debian's generic cloud image is: qcow2, with cloud-init, without the agent.
    #[arg(long)]
    pub cloud: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { profile: "ramdisk".to_owned(), agent: None, anew: false, cloud: false }
    }
}

/// What the EFI system partition holds: the name that firmware starts when it has no entry of its own
/// (UEFI 2.10, §3.5.1.1).
const EFI_PROGRAM: &str = "EFI/BOOT/BOOTX64.EFI";

/// Counted up when this code builds something else from the same files.
const RECIPE_VERSION: u32 = 2;

/// UUID of the root file system; every node has the same image and so the same one.
const ROOT_UUID: &str = "6f1d3c52-95b0-4c5e-9d0a-52e3f0b7a001";

/// Where the image is, when it was built.
pub fn file() -> PathBuf {
    paths::build("image").join("reprieve-debian.raw")
}

/// Builds `build/image/reprieve-debian.raw`, or the cloud image, unless it is there and nothing has
/// changed.
pub fn build(options: &Options) -> Result<PathBuf> {
    let started = Instant::now();
    packages::ensure(packages::BUILD)?;
    packages::ensure(packages::IMAGE)?;
    if options.cloud {
        return cloud::build(options.anew);
    }
    println!("image");
    let agent = match &options.agent {
        Some(file) => file.clone(),
        None => toolchain::build_static("reprieve-agent", &options.profile)?,
    };
    toolchain::require_static(&agent)?;
    let agent_package = deb::agent_package(&agent)?;

    let folder = paths::build("image");
    paths::ensure_directory(&folder)?;
    let image = file();
    let base_digest =
        digest(&["packages.list", "initramfs.conf", "initramfs-modules.list"].map(recipe), &[])?;
    let package_bytes =
        std::fs::read(&agent_package).with_context(|| format!("reading {}", agent_package.display()))?;
    let image_digest = digest(
        &["overlay", "grub.cfg", "grub-early.cfg"].map(recipe),
        &[base_digest.as_bytes(), &package_bytes],
    )?;
    if !options.anew && image.is_file() && is_recorded("image", &image_digest) {
        println!("  {} is current", image.display());
        return Ok(image);
    }

    let base = folder.join("base.tar");
    if options.anew || !base.is_file() || !is_recorded("base", &base_digest) {
        println!("  building the base system (some minutes, once)");
        // There before the kernel, so that its initial ramdisk is made once and is the small one.
        let placed = [
            (recipe("initramfs.conf"), "etc/initramfs-tools/conf.d/small"),
            (recipe("initramfs-modules.list"), "usr/share/initramfs-tools/modules.d/small"),
        ];
        root::build_base(&base, &recipe("packages.list"), &placed)?;
        record("base", &base_digest)?;
        println!("  base system after {:.0} s", started.elapsed().as_secs_f64());
    }
    let root = root::assemble(&base, &agent_package)?;
    let result = grub::efi_program().and_then(|file| disk::assemble(&root, &[(file, EFI_PROGRAM)], &image));
    root::remove(&root)?;
    result?;
    record("image", &image_digest)?;
    print(&image, started)?;
    Ok(image)
}

/// A digest over recipe files, their names, and what else goes in.
fn digest(files: &[PathBuf], more: &[&[u8]]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&RECIPE_VERSION.to_le_bytes());
    for file in files {
        hash_path(&mut hasher, file)?;
    }
    for bytes in more {
        hasher.update(blake3::hash(bytes).as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn hash_path(hasher: &mut blake3::Hasher, path: &std::path::Path) -> Result<()> {
    hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
        let mut below: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        below.sort();
        return below.iter().try_for_each(|path| hash_path(hasher, path));
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    hasher.update(blake3::hash(&bytes).as_bytes());
    Ok(())
}

/// A file of the image's recipe.
fn recipe(name: &str) -> PathBuf {
    paths::repository().join("images/debian").join(name)
}

/// A text of the recipe with the file systems' identities put in.
fn recipe_text(name: &str) -> Result<String> {
    paths::read_text(&recipe(name)).map(|text| with_identities(&text))
}

/// A text with the identities of root file system and EFI system partition put in.
fn with_identities(text: &str) -> String {
    text.replace("@ROOT_UUID@", ROOT_UUID).replace("@EFI_GUID@", disk::EFI_SYSTEM_GUID)
}

fn is_recorded(what: &str, digest: &str) -> bool {
    std::fs::read_to_string(record_file(what)).is_ok_and(|recorded| recorded == digest)
}

fn record(what: &str, digest: &str) -> Result<()> {
    paths::write_whole(&record_file(what), digest.as_bytes())
}

fn record_file(what: &str) -> PathBuf {
    paths::build("image").join(format!("{what}.digest"))
}

fn print(image: &std::path::Path, started: Instant) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(image).with_context(|| format!("looking at {}", image.display()))?;
    println!(
        "  {}: {} MiB, of which {} MiB hold something, after {:.0} s",
        image.display(),
        metadata.len() >> 20,
        (metadata.blocks() * 512) >> 20,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
