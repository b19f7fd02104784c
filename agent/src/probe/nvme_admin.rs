//! NVMe admin commands through the kernel (`NVME_IOCTL_ADMIN_CMD`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use erasure::nvme::admin::{self, AdminCommand};
use erasure::nvme::identify::IDENTIFY_BYTES;
use erasure::nvme::status;

/// A command that only reads must answer within this time, in milliseconds.
pub const READ_TIMEOUT_MILLIS: u32 = 10_000;

/// `struct nvme_passthru_cmd` of the kernel's `linux/nvme_ioctl.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct PassthroughCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dwords_2_3: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    dwords_10_15: [u32; 6],
    timeout_millis: u32,
    result: u32,
}

mod ioctl {
    //! Requests of `linux/nvme_ioctl.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    nix::ioctl_none_bad!(namespace_id, nix::request_code_none!(b'N', 0x40));
    nix::ioctl_readwrite!(admin_command, b'N', 0x41, super::PassthroughCommand);
}

/// The way to an NVMe namespace and its controller.
pub trait NvmePort {
    /// Sends an admin command with a buffer for its data; the answer is dword 0 of the completion.
    ///
    /// # Errors
    /// The kernel's error, or the controller's status in words.
    fn admin(&self, command: AdminCommand, data: &mut [u8], timeout_millis: u32) -> io::Result<u32>;

    /// Which namespace this is.
    ///
    /// # Errors
    /// When it is none.
    fn namespace(&self) -> io::Result<u32>;

    /// Identify.
    ///
    /// # Errors
    /// As [`NvmePort::admin`].
    fn identify(&self, structure: u32, namespace: u32) -> io::Result<Vec<u8>> {
        let mut data = vec![0; IDENTIFY_BYTES];
        self.admin(admin::identify(structure, namespace), &mut data, READ_TIMEOUT_MILLIS)?;
        Ok(data)
    }

    /// Reads a log page of the controller, whole.
    ///
    /// # Errors
    /// As [`NvmePort::admin`].
    fn log_page(&self, page: u8, bytes: u16) -> io::Result<Vec<u8>> {
        let mut data = vec![0; usize::from(bytes)];
        self.admin(admin::get_log_page(page, bytes), &mut data, READ_TIMEOUT_MILLIS)?;
        Ok(data)
    }
}

impl NvmePort for File {
    fn admin(&self, command: AdminCommand, data: &mut [u8], timeout_millis: u32) -> io::Result<u32> {
        let mut passed = PassthroughCommand {
            opcode: command.opcode,
            namespace: command.namespace,
            address: if data.is_empty() { 0 } else { data.as_mut_ptr() as u64 },
            data_bytes: u32::try_from(data.len()).map_err(io::Error::other)?,
            dwords_10_15: [command.dword_10, command.dword_11, 0, 0, 0, 0],
            timeout_millis,
            ..PassthroughCommand::default()
        };
        // SAFETY: the descriptor is open for the call, the structure has the kernel's layout, and
        // `address` with `data_bytes` is exactly the exclusively borrowed buffer, which outlives the call.
        let answer = unsafe { ioctl::admin_command(self.as_raw_fd(), &raw mut passed) }?;
        match u16::try_from(answer) {
            Ok(0) => Ok(passed.result),
            Ok(refused) => Err(io::Error::other(status::in_words(refused))),
            Err(_) => Err(io::Error::other(format!("the kernel answered with {answer}"))),
        }
    }

    fn namespace(&self) -> io::Result<u32> {
        // SAFETY: the descriptor is open; NVME_IOCTL_ID takes no argument.
        let id = unsafe { ioctl::namespace_id(self.as_raw_fd()) }?;
        u32::try_from(id)
            .ok()
            .filter(|id| (1..u32::MAX).contains(id))
            .ok_or_else(|| io::Error::other(format!("the kernel names no NVMe namespace but {id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_the_kernel_s_layout() {
        assert_eq!(size_of::<PassthroughCommand>(), 72);
        assert_eq!(std::mem::offset_of!(PassthroughCommand, address), 24);
        assert_eq!(std::mem::offset_of!(PassthroughCommand, dwords_10_15), 40);
    }

    #[test]
    fn a_file_is_no_namespace_and_takes_no_command() {
        let file = tempfile::tempfile().unwrap();
        assert!(file.namespace().is_err());
        assert!(file.identify(admin::CNS_CONTROLLER, 0).is_err());
    }
}
