//! How the ramdisk introduces its machine.

use contract::agent_api::EnrollRequest;
use contract::id::Digest;
use contract::reading::Outcome;

use crate::clock::since_kernel_start_millis;
use crate::kernel_command_line::BootParameters;
use crate::probe::source::Source;
use crate::probe::{kernel, nics, smbios};

/// Who this machine is, and that it is the one that the boot script was made for.
pub fn request(parameters: &BootParameters, nonce: Digest, source: &Source) -> EnrollRequest {
    let mut macs: Vec<_> = match nics::read(source) {
        Outcome::Value(nics) => nics.into_iter().map(|nic| nic.mac).collect(),
        Outcome::Absent | Outcome::Unreadable(_) => Vec::new(),
    };
    if !macs.contains(&parameters.interface) {
        // It is up and has the address; a driver without a device link in sysfs is still hardware.
        macs.push(parameters.interface);
    }
    EnrollRequest {
        node: parameters.node,
        token: parameters.token.clone(),
        boot_id: kernel::boot_id(source).0,
        nonce,
        system_uuid: smbios::read(source).system_uuid,
        macs,
        agent_version: crate::VERSION.to_owned(),
        since_kernel_start_millis: since_kernel_start_millis(),
    }
}
