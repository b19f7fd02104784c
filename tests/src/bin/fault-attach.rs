//! The first process of a laboratory machine whose processor has reported a machine check and whose memory
//! has lost a page: provokes both in the kernel and becomes the real `/init`.
//!
//! The machine check goes in through the kernel's own `mce-inject` (Linux, `arch/x86/kernel/cpu/mce/inject.c`),
//! past the processor, because emulated ones log none. The page is taken out of use with `MADV_HWPOISON`.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use reprieve_tests::guest::start::{become_init, give_up, prepare};

const DEBUG: &str = "/sys/kernel/debug";
/// A page of x86.
const PAGE_BYTES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Valid, enabled, not uncorrected, no address: an internal parity error (Intel SDM volume 3, table 17-9).
const STATUS: &str = "0x9000000000000005";
const BANK: &str = "4";

fn main() {
    if let Err(error) =
        prepare().and_then(|()| machine_check()).and_then(|()| lose_page()).and_then(|()| become_init())
    {
        give_up(&error);
    }
}

fn machine_check() -> Result<()> {
    mount(Some("debugfs"), DEBUG, Some("debugfs"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("could not mount {DEBUG}"))?;
    let folder = Path::new(DEBUG).join("mce-inject");
    // The bank comes last: writing it reports the machine check. The last character is taken for the end of a line.
    for (name, value) in [("flags", "sw"), ("cpu", "0"), ("status", STATUS), ("bank", BANK)] {
        let file = folder.join(name);
        std::fs::write(&file, format!("{value}\n"))
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    umount(DEBUG).with_context(|| format!("could not unmount {DEBUG}"))
}

fn lose_page() -> Result<()> {
    let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
    // SAFETY: a new mapping at a place of the kernel's choice.
    let page =
        unsafe { mmap_anonymous(None, PAGE_BYTES, protection, flags) }.context("could not map a page")?;
    // SAFETY: the page is mapped, writable, and nobody else's.
    unsafe { page.cast::<u8>().write_volatile(1) };
    // SAFETY: the page is this process's own and is not touched any more.
    unsafe { madvise(page, PAGE_BYTES.get(), MmapAdvise::MADV_HWPOISON) }
        .context("could not take a page out of use")
}
