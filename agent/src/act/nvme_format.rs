//! NVMe Format NVM through the kernel's admin passthrough, keeping the namespace's format.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Secure Erase Settings of NVMe Format NVM (NVM Express Command Set Specification, Format NVM,
/// command dword 10 bits 11:9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatErase {
    /// 1: user data erase.
    UserData,
    /// 2: cryptographic erase.
    Crypto,
}

/// How long a format may take; large disks need hours. In milliseconds.
const FORMAT_TIMEOUT_MILLIS: u32 = 4 * 60 * 60 * 1000;
/// How long an identify may take, in milliseconds.
const IDENTIFY_TIMEOUT_MILLIS: u32 = 60 * 1000;
/// Length of the Identify data structures, in bytes.
const IDENTIFY_BYTES: usize = 4096;
/// Admin opcodes (NVM Express Base Specification, Admin Command Set).
const OPCODE_IDENTIFY: u8 = 0x06;
const OPCODE_FORMAT: u8 = 0x80;

/// `struct nvme_admin_cmd` of `linux/nvme_ioctl.h`.
#[repr(C)]
#[derive(Default)]
struct AdminCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dwords_2_3: [u32; 2],
    metadata: u64,
    data: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    dwords_10_15: [u32; 6],
    timeout_millis: u32,
    result: u32,
}

mod ioctl {
    //! Requests of `linux/nvme_ioctl.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    use super::AdminCommand;
    nix::ioctl_none_bad!(namespace_id, nix::request_code_none!(b'N', 0x40));
    nix::ioctl_readwrite!(admin_command, b'N', 0x41, AdminCommand);
}

/// Formats the namespace that this file is, with its present LBA format and protection settings.
///
/// # Errors
/// When the file is not an NVMe namespace, or the controller does not answer with success.
pub fn format(file: &File, erase: FormatErase) -> io::Result<()> {
    // SAFETY: the descriptor is open; NVME_IOCTL_ID takes no argument.
    let namespace = unsafe { ioctl::namespace_id(file.as_raw_fd()) }?;
    let namespace = u32::try_from(namespace)
        .ok()
        .filter(|namespace| (1..u32::MAX).contains(namespace))
        .ok_or_else(|| io::Error::other(format!("the kernel names no NVMe namespace but {namespace}")))?;
    let identify = identify_namespace(file, namespace)?;
    let mut command = AdminCommand {
        opcode: OPCODE_FORMAT,
        namespace,
        timeout_millis: FORMAT_TIMEOUT_MILLIS,
        ..AdminCommand::default()
    };
    command.dwords_10_15[0] = format_dword_10(&identify, erase);
    submit(file, &mut command, "Format NVM")
}

fn identify_namespace(file: &File, namespace: u32) -> io::Result<[u8; IDENTIFY_BYTES]> {
    let mut identify = [0_u8; IDENTIFY_BYTES];
    let mut command = AdminCommand {
        opcode: OPCODE_IDENTIFY,
        namespace,
        data: identify.as_mut_ptr() as u64,
        data_bytes: IDENTIFY_BYTES as u32,
        timeout_millis: IDENTIFY_TIMEOUT_MILLIS,
        ..AdminCommand::default()
    };
    submit(file, &mut command, "Identify Namespace")?;
    Ok(identify)
}

fn submit(file: &File, command: &mut AdminCommand, name: &str) -> io::Result<()> {
    // SAFETY: the descriptor is open, the command has the kernel's layout, and its data pointer is
    // either null with length 0 or a buffer of `data_bytes` that outlives the call.
    let status = unsafe { ioctl::admin_command(file.as_raw_fd(), command) }?;
    if status != 0 {
        return Err(io::Error::other(format!(
            "the controller answered NVMe {name} with status {status:#06x}"
        )));
    }
    Ok(())
}

/// Command dword 10 of Format NVM that keeps what Identify Namespace says is in use: LBA format
/// (FLBAS, byte 26), metadata setting (FLBAS bit 4) and protection (DPS, byte 29).
fn format_dword_10(identify: &[u8; IDENTIFY_BYTES], erase: FormatErase) -> u32 {
    let flbas = u32::from(identify[26]);
    let protection = u32::from(identify[29]);
    // FLBAS bits 6:5 are the upper bits only where there are more than 16 formats (NLBAF, byte 25).
    let upper = if identify[25] > 16 { (flbas >> 5) & 0b11 } else { 0 };
    let settings: u32 = match erase {
        FormatErase::UserData => 1,
        FormatErase::Crypto => 2,
    };
    (flbas & 0b1111)
        | (flbas & 0b1_0000)
        | ((protection & 0b111) << 5)
        | (((protection >> 3) & 1) << 8)
        | (settings << 9)
        | (upper << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_the_layout_of_the_kernel() {
        assert_eq!(size_of::<AdminCommand>(), 72);
        assert_eq!(std::mem::offset_of!(AdminCommand, data), 24);
        assert_eq!(std::mem::offset_of!(AdminCommand, dwords_10_15), 40);
    }

    #[test]
    fn a_format_keeps_the_lba_format_and_sets_the_erase() {
        let mut identify = [0; IDENTIFY_BYTES];
        assert_eq!(format_dword_10(&identify, FormatErase::UserData), 0x200);
        identify[26] = 0x11; // format 1, metadata with the data
        identify[29] = 0b1010; // protection type 2, first bytes
        assert_eq!(format_dword_10(&identify, FormatErase::Crypto), 0x400 | 0x11 | (2 << 5) | (1 << 8));
        identify[25] = 17;
        identify[26] = 0b0100_0010; // format 34
        identify[29] = 0;
        assert_eq!(format_dword_10(&identify, FormatErase::UserData), 0x200 | 2 | (0b10 << 12));
    }
}
