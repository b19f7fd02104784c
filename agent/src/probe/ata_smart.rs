//! ATA disk health: SMART READ DATA and SMART RETURN STATUS through the SCSI generic ioctl.
//!
//! Only on a native ATA path: USB bridges and RAID controllers are known to answer such commands for
//! another device, or to fall over.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue};

/// What this probe reads.
pub const KEYS: [ReadingKey; 5] = [
    ReadingKey::AtaReallocatedSectors,
    ReadingKey::AtaReportedUncorrectable,
    ReadingKey::AtaPendingSectors,
    ReadingKey::AtaOfflineUncorrectable,
    ReadingKey::AtaSmartThresholdExceeded,
];

/// Attribute numbers of the first four of [`KEYS`].
const ATTRIBUTES: [u8; 4] = [5, 187, 197, 198];
/// SMART data is one sector.
const SMART_BYTES: usize = 512;
/// `SG_IO` of the kernel's `scsi/sg.h`.
const SG_IO: u64 = 0x2285;
/// A command that only reads must answer within this time, in milliseconds.
const TIMEOUT_MILLIS: u32 = 10_000;
/// `SG_DXFER_NONE`.
const TRANSFER_NONE: i32 = -1;
/// `SG_DXFER_FROM_DEV`.
const TRANSFER_FROM_DEVICE: i32 = -3;

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

#[allow(missing_docs)]
mod ioctl {
    nix::ioctl_readwrite_bad!(sg_io, super::SG_IO, super::SgIoHeader);
}

/// ATA PASS-THROUGH (16) (SAT-5): SMART READ DATA, PIO data-in, one sector.
const SMART_READ_DATA: [u8; 16] = [0x85, 0x08, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0];
/// ATA PASS-THROUGH (16): SMART RETURN STATUS, no data, registers wanted back (CK_COND).
const SMART_RETURN_STATUS: [u8; 16] = [0x85, 0x06, 0x20, 0, 0xda, 0, 0, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0];

/// The health of the disk at `device`; one outcome for each of [`KEYS`], in that order.
#[must_use]
pub fn read(device: &Path) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    let failed = |error: io::Error| format!("cannot read SMART of {}: {error}", device.display());
    let file = match File::open(device) {
        Ok(file) => file,
        Err(error) => {
            let why = failed(error);
            return KEYS.map(|key| (key, Outcome::Unreadable(why.clone()))).to_vec();
        }
    };
    let mut data = vec![0; SMART_BYTES];
    let attributes = match pass_through(&file, &SMART_READ_DATA, &mut data) {
        Ok(_) => parse_attributes(&data),
        Err(error) => {
            let why = failed(error);
            ATTRIBUTES.map(|_| Outcome::Unreadable(why.clone()))
        }
    };
    let threshold = match pass_through(&file, &SMART_RETURN_STATUS, &mut []) {
        Ok(sense) => parse_return_status(&sense),
        Err(error) => Outcome::Unreadable(failed(error)),
    };
    KEYS.into_iter().zip(attributes.into_iter().chain([threshold])).collect()
}

/// Sends a command; the answer is the sense data, which carries the registers if they were asked for.
fn pass_through(device: &File, command: &[u8; 16], data: &mut [u8]) -> io::Result<Vec<u8>> {
    let mut sense = [0; 64];
    let mut header = SgIoHeader {
        interface_id: i32::from(b'S'),
        transfer_direction: if data.is_empty() { TRANSFER_NONE } else { TRANSFER_FROM_DEVICE },
        command_bytes: 16,
        sense_bytes_max: 64,
        iovec_count: 0,
        transfer_bytes: u32::try_from(data.len()).map_err(io::Error::other)?,
        transfer: data.as_mut_ptr(),
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_millis: TIMEOUT_MILLIS,
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
    // SAFETY: the descriptor is open for the call, the header has the kernel's layout, and its three
    // pointers are to live buffers of exactly the lengths that it names.
    unsafe { ioctl::sg_io(device.as_raw_fd(), &raw mut header) }?;
    let sense = sense[..usize::from(header.sense_bytes).min(64)].to_vec();
    if header.host_status != 0 {
        return Err(io::Error::other(format!("the host adapter failed with {:#x}", header.host_status)));
    }
    // CHECK CONDITION is the normal answer when registers are wanted back.
    let wants_registers = command[2] & 0x20 != 0;
    if header.status != 0 && !(wants_registers && registers(&sense).is_some()) {
        return Err(io::Error::other(format!(
            "SCSI status {:#x}, sense {}",
            header.status,
            hex::encode(&sense)
        )));
    }
    if usize::try_from(header.residual_bytes).unwrap_or(0) > 0 {
        return Err(io::Error::other(format!("{} bytes are missing", header.residual_bytes)));
    }
    Ok(sense)
}

/// Raw values of the four attributes in SMART data (30 entries of 12 bytes from offset 2). A disk that
/// does not keep an attribute does not have it: absent.
#[must_use]
pub fn parse_attributes(data: &[u8]) -> [Outcome<ReadingValue>; 4] {
    if data.len() < SMART_BYTES {
        return ATTRIBUTES.map(|_| Outcome::Unreadable("the SMART data is too short".to_owned()));
    }
    let sum = data[..SMART_BYTES].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 {
        return ATTRIBUTES.map(|_| Outcome::Unreadable("the SMART data has a wrong checksum".to_owned()));
    }
    ATTRIBUTES.map(|wanted| {
        let entry = data[2..362].chunks_exact(12).find(|entry| entry[0] == wanted);
        match entry {
            // Six raw bytes; the upper two are vendors' extras on many disks, the count is in the lower four.
            Some(entry) => {
                let count = u32::from_le_bytes([entry[5], entry[6], entry[7], entry[8]]);
                Outcome::Value(ReadingValue::Count(u64::from(count)))
            }
            None => Outcome::Absent,
        }
    })
}

/// LBA mid and high of the returned registers: 4Fh/C2h is well, F4h/2Ch is a threshold exceeded.
#[must_use]
pub fn parse_return_status(sense: &[u8]) -> Outcome<ReadingValue> {
    match registers(sense) {
        Some((0x4f, 0xc2)) => Outcome::Value(ReadingValue::Flag(false)),
        Some((0xf4, 0x2c)) => Outcome::Value(ReadingValue::Flag(true)),
        Some((mid, high)) => {
            Outcome::Unreadable(format!("SMART RETURN STATUS gave registers {mid:02x} {high:02x}"))
        }
        None => Outcome::Unreadable("SMART RETURN STATUS gave no registers".to_owned()),
    }
}

/// LBA mid and high from an ATA Status Return descriptor (SAT-5), or from fixed-format sense.
fn registers(sense: &[u8]) -> Option<(u8, u8)> {
    match sense.first()? & 0x7f {
        0x72 | 0x73 => {
            let mut rest = sense.get(8..)?;
            while let [code, length, ..] = *rest {
                let whole = usize::from(length) + 2;
                if code == 0x09 {
                    return Some((*rest.get(9)?, *rest.get(11)?));
                }
                rest = rest.get(whole..)?;
            }
            None
        }
        // Fixed format: the registers lie in the information and command-specific fields (SAT-5 table
        // "fixed format sense data"): bytes 10 and 11 are LBA mid and high.
        0x70 | 0x71 if sense.get(12) == Some(&0x00) && sense.get(13) == Some(&0x1d) => {
            Some((*sense.get(10)?, *sense.get(11)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn smart_data(entries: &[(u8, u32)]) -> Vec<u8> {
        let mut data = vec![0u8; SMART_BYTES];
        for (slot, (id, raw)) in entries.iter().enumerate() {
            let at = 2 + 12 * slot;
            data[at] = *id;
            data[at + 5..at + 9].copy_from_slice(&raw.to_le_bytes());
        }
        let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        data[511] = 0u8.wrapping_sub(sum);
        data
    }

    #[test]
    fn the_header_has_the_kernel_s_layout() {
        assert_eq!(size_of::<SgIoHeader>(), 88);
        assert_eq!(std::mem::offset_of!(SgIoHeader, transfer), 16);
        assert_eq!(std::mem::offset_of!(SgIoHeader, status), 64);
    }

    #[test]
    fn attributes_are_found_wherever_they_stand() {
        let read = parse_attributes(&smart_data(&[(1, 7), (198, 3), (5, 258)]));
        assert_eq!(read[0], Outcome::Value(ReadingValue::Count(258)));
        assert_eq!(read[1], Outcome::Absent);
        assert_eq!(read[2], Outcome::Absent);
        assert_eq!(read[3], Outcome::Value(ReadingValue::Count(3)));
    }

    #[test]
    fn short_or_altered_data_is_unreadable_not_absent() {
        let mut data = smart_data(&[(5, 0)]);
        data[40] ^= 1;
        for data in [&data[..], &data[..511]] {
            assert!(parse_attributes(data).iter().all(|one| matches!(one, Outcome::Unreadable(_))));
        }
    }

    #[test]
    fn return_status_is_read_from_both_sense_formats() {
        let descriptor = |mid: u8, high: u8| {
            let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14, 0x09, 12];
            sense.extend([0, 0, 0, 0, 0, 0, 0, mid, 0, high, 0, 0x50]);
            sense
        };
        let fixed = |mid: u8, high: u8| vec![0x70, 0, 1, 0, 0, 0, 0, 10, 0, 0, mid, high, 0x00, 0x1d];
        for make in [&descriptor as &dyn Fn(u8, u8) -> Vec<u8>, &fixed] {
            assert_eq!(parse_return_status(&make(0x4f, 0xc2)), Outcome::Value(ReadingValue::Flag(false)));
            assert_eq!(parse_return_status(&make(0xf4, 0x2c)), Outcome::Value(ReadingValue::Flag(true)));
            assert!(matches!(parse_return_status(&make(0, 0)), Outcome::Unreadable(_)));
        }
        assert!(matches!(parse_return_status(&[]), Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_attributes(&data);
            let _ = parse_return_status(&data);
        }
    }
}
