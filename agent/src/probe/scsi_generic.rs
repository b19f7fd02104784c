//! SCSI commands through the kernel (`SG_IO`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A command that only reads must answer within this time, in milliseconds.
pub const READ_TIMEOUT_MILLIS: u32 = 10_000;
/// Sense data are never longer (SPC-5).
const SENSE_BYTES: u8 = 252;
/// `SG_IO` of the kernel's `scsi/sg.h`.
const SG_IO: u64 = 0x2285;
/// `SG_DXFER_NONE`, `SG_DXFER_TO_DEV`, `SG_DXFER_FROM_DEV`.
const TRANSFER_NONE: i32 = -1;
const TRANSFER_TO_DEVICE: i32 = -2;
const TRANSFER_FROM_DEVICE: i32 = -3;
/// `DRIVER_SENSE`: there are sense data. Every other driver status is an error.
const DRIVER_SENSE: u16 = 0x08;

/// `struct sg_io_hdr` of the kernel's `scsi/sg.h`.
#[repr(C)]
struct SgIoHeader {
    interface_id: i32,
    transfer_direction: i32,
    command_bytes: u8,
    sense_bytes_max: u8,
    iovec_count: u16,
    transfer_bytes: u32,
    transfer: *mut u8,
    command: *const u8,
    sense: *mut u8,
    timeout_millis: u32,
    flags: u32,
    pack_id: i32,
    user: *mut u8,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_bytes: u8,
    host_status: u16,
    driver_status: u16,
    residual_bytes: i32,
    duration_millis: u32,
    info: u32,
}

mod ioctl {
    //! The request of `scsi/sg.h`.
    #![allow(missing_docs)] // the macro makes a function that carries no documentation
    nix::ioctl_readwrite_bad!(sg_io, super::SG_IO, super::SgIoHeader);
}

/// The data that go with a command.
#[derive(Debug)]
pub enum Data<'a> {
    /// None.
    None,
    /// From the device into this buffer.
    In(&'a mut [u8]),
    /// To the device.
    Out(&'a [u8]),
}

/// What a device answered. That there is an answer says nothing of success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// SCSI status: 0 is good, 2 is a check condition.
    pub status: u8,
    /// Sense data, as many as came.
    pub sense: Vec<u8>,
    /// How many bytes of the data moved.
    pub moved_bytes: usize,
}

/// The way to a SCSI device.
pub trait ScsiPort {
    /// Sends a command.
    ///
    /// # Errors
    /// When the kernel or the transport could not deliver it or it did not end in time.
    fn send(&self, command: &[u8], data: Data<'_>, timeout_millis: u32) -> io::Result<Answer>;
}

impl ScsiPort for File {
    fn send(&self, command: &[u8], data: Data<'_>, timeout_millis: u32) -> io::Result<Answer> {
        let (direction, buffer, length) = match data {
            Data::None => (TRANSFER_NONE, std::ptr::null_mut(), 0),
            Data::In(bytes) => (TRANSFER_FROM_DEVICE, bytes.as_mut_ptr(), bytes.len()),
            // The kernel only reads from it with this direction.
            Data::Out(bytes) => (TRANSFER_TO_DEVICE, bytes.as_ptr().cast_mut(), bytes.len()),
        };
        let mut sense = [0_u8; SENSE_BYTES as usize];
        let mut header = SgIoHeader {
            interface_id: i32::from(b'S'),
            transfer_direction: direction,
            command_bytes: u8::try_from(command.len()).map_err(io::Error::other)?,
            sense_bytes_max: SENSE_BYTES,
            iovec_count: 0,
            transfer_bytes: u32::try_from(length).map_err(io::Error::other)?,
            transfer: buffer,
            command: command.as_ptr(),
            sense: sense.as_mut_ptr(),
            timeout_millis,
            flags: 0,
            pack_id: 0,
            user: std::ptr::null_mut(),
            status: 0,
            masked_status: 0,
            message_status: 0,
            sense_bytes: 0,
            host_status: 0,
            driver_status: 0,
            residual_bytes: 0,
            duration_millis: 0,
            info: 0,
        };
        // SAFETY: the descriptor is open for the call, the header has the kernel's layout, and its
        // pointers are to live buffers of exactly the lengths that it names; the one that the kernel
        // may write to is borrowed exclusively.
        unsafe { ioctl::sg_io(self.as_raw_fd(), &raw mut header) }?;
        if header.host_status != 0 || header.driver_status & !DRIVER_SENSE != 0 {
            return Err(io::Error::other(format!(
                "the command did not get through (host status {:#x}, driver status {:#x})",
                header.host_status, header.driver_status
            )));
        }
        let sense = sense.get(..usize::from(header.sense_bytes)).unwrap_or(&sense).to_vec();
        let missing = usize::try_from(header.residual_bytes).unwrap_or(0);
        Ok(Answer { status: header.status, sense, moved_bytes: length.saturating_sub(missing) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_kernel_s_layout() {
        assert_eq!(size_of::<SgIoHeader>(), 88);
        assert_eq!(std::mem::offset_of!(SgIoHeader, transfer), 16);
        assert_eq!(std::mem::offset_of!(SgIoHeader, status), 64);
    }

    #[test]
    fn a_file_takes_no_command() {
        let file = tempfile::tempfile().unwrap();
        assert!(file.send(&[0; 6], Data::None, 1000).is_err());
    }
}
