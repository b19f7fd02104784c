//! NVMe admin commands through the kernel (`NVME_IOCTL_ADMIN_CMD`), and Identify.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use contract::inventory::NvmeCapabilities;
use contract::reading::Outcome;

/// Identify data structures are this long (NVM Express Base Specification, Identify command).
pub const IDENTIFY_BYTES: usize = 4096;
/// Opcode of Identify.
const OPCODE_IDENTIFY: u8 = 0x06;
/// Opcode of Get Log Page.
const OPCODE_GET_LOG_PAGE: u8 = 0x02;
/// Identify a controller.
const CNS_CONTROLLER: u32 = 0x01;
/// Namespaces active on this controller.
const CNS_ACTIVE_NAMESPACES: u32 = 0x02;
/// Namespaces allocated on the subsystem.
const CNS_ALLOCATED_NAMESPACES: u32 = 0x10;
/// All namespaces.
const NAMESPACE_ALL: u32 = 0xffff_ffff;
/// A command that only reads must answer within this time, in milliseconds.
const READ_TIMEOUT_MILLIS: u32 = 10_000;

/// `struct nvme_passthru_cmd` of the kernel's `linux/nvme_ioctl.h`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct PassthroughCommand {
    /// Command opcode.
    pub opcode: u8,
    /// Command flags.
    pub flags: u8,
    reserved: u16,
    /// Namespace.
    pub namespace: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    /// Command dwords 10 to 15.
    pub cdw10_to_15: [u32; 6],
    /// Give up after this long; 0 is the kernel's default.
    pub timeout_millis: u32,
    /// Completion dword 0.
    pub result: u32,
}

#[allow(missing_docs)]
mod ioctl {
    nix::ioctl_readwrite!(nvme_admin_command, b'N', 0x41, super::PassthroughCommand);
}

/// Sends an admin command with a buffer for its data.
///
/// # Errors
/// The kernel's error, or the device's status in words.
pub fn admin_command(device: &File, mut command: PassthroughCommand, data: &mut [u8]) -> io::Result<u32> {
    command.address = if data.is_empty() { 0 } else { data.as_mut_ptr() as u64 };
    command.data_bytes = u32::try_from(data.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the call, the structure has the kernel's layout, and `address`
    // with `data_bytes` is exactly the exclusively borrowed buffer, which outlives the call.
    let status = unsafe { ioctl::nvme_admin_command(device.as_raw_fd(), &raw mut command) }?;
    if status != 0 {
        return Err(io::Error::other(format!("the device answered with NVMe status {status:#x}")));
    }
    Ok(command.result)
}

fn identify(device: &File, structure: u32) -> io::Result<Vec<u8>> {
    let mut data = vec![0; IDENTIFY_BYTES];
    let mut command = PassthroughCommand { opcode: OPCODE_IDENTIFY, ..Default::default() };
    command.cdw10_to_15[0] = structure;
    command.timeout_millis = READ_TIMEOUT_MILLIS;
    admin_command(device, command, &mut data)?;
    Ok(data)
}

/// Reads a log page of the controller.
///
/// # Errors
/// As [`admin_command`].
pub fn log_page(device: &File, page: u8, bytes: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; bytes];
    let dwords_less_one = u32::try_from(bytes / 4).map_err(io::Error::other)?.saturating_sub(1);
    let mut command =
        PassthroughCommand { opcode: OPCODE_GET_LOG_PAGE, namespace: NAMESPACE_ALL, ..Default::default() };
    command.cdw10_to_15[0] = (dwords_less_one << 16) | u32::from(page);
    command.timeout_millis = READ_TIMEOUT_MILLIS;
    admin_command(device, command, &mut data)?;
    Ok(data)
}

/// What the controller of this namespace's device can do.
#[must_use]
pub fn read_capabilities(device: &Path) -> Outcome<NvmeCapabilities> {
    match try_capabilities(device) {
        Ok(Some(capabilities)) => Outcome::Value(capabilities),
        Ok(None) => Outcome::Unreadable(format!("{}: the identify data is too short", device.display())),
        Err(error) => Outcome::Unreadable(format!("cannot identify {}: {error}", device.display())),
    }
}

fn try_capabilities(device: &Path) -> io::Result<Option<NvmeCapabilities>> {
    let device = File::open(device)?;
    let controller = identify(&device, CNS_CONTROLLER)?;
    let Some(mut capabilities) = parse_controller(&controller) else { return Ok(None) };
    // Without namespace management every namespace that exists is active on the controller.
    let list = if manages_namespaces(&controller) { CNS_ALLOCATED_NAMESPACES } else { CNS_ACTIVE_NAMESPACES };
    capabilities.namespaces = Outcome::from(identify(&device, list).map(|data| count_namespaces(&data)));
    Ok(Some(capabilities))
}

/// OACS (bytes 256-257) and FNA (byte 524) of Identify Controller; namespaces are not in it.
#[must_use]
pub fn parse_controller(data: &[u8]) -> Option<NvmeCapabilities> {
    let oacs = u16::from_le_bytes([*data.get(256)?, *data.get(257)?]);
    let fna = *data.get(524)?;
    Some(NvmeCapabilities {
        format: oacs & 0b10 != 0,
        format_covers_all_namespaces: fna & 0b001 != 0,
        erase_covers_all_namespaces: fna & 0b010 != 0,
        crypto_erase: fna & 0b100 != 0,
        namespaces: Outcome::Unreadable("namespaces were not counted".to_owned()),
    })
}

/// OACS bit 3.
fn manages_namespaces(data: &[u8]) -> bool {
    data.get(256).is_some_and(|oacs| oacs & 0b1000 != 0)
}

/// Entries of a namespace list up to the first zero.
#[must_use]
pub fn count_namespaces(data: &[u8]) -> u32 {
    let used = data.chunks_exact(4).take_while(|id| id.iter().any(|&byte| byte != 0)).count();
    u32::try_from(used).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn the_command_has_the_kernel_s_layout() {
        assert_eq!(size_of::<PassthroughCommand>(), 72);
        assert_eq!(std::mem::offset_of!(PassthroughCommand, address), 24);
        assert_eq!(std::mem::offset_of!(PassthroughCommand, cdw10_to_15), 40);
    }

    #[test]
    fn capabilities_come_from_oacs_and_fna() {
        let mut data = vec![0; IDENTIFY_BYTES];
        data[256] = 0b1010;
        data[524] = 0b101;
        let read = parse_controller(&data).unwrap();
        assert!(read.format && read.crypto_erase && read.format_covers_all_namespaces);
        assert!(!read.erase_covers_all_namespaces);
        assert!(manages_namespaces(&data));
        assert_eq!(parse_controller(&data[..524]), None);
    }

    #[test]
    fn namespaces_are_counted_up_to_the_first_zero() {
        let mut data = vec![0; IDENTIFY_BYTES];
        data[0] = 1;
        data[5] = 1;
        data[12] = 9;
        assert_eq!(count_namespaces(&data), 2);
        assert_eq!(count_namespaces(&[]), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_controller(&data);
            let _ = count_namespaces(&data);
        }
    }
}
