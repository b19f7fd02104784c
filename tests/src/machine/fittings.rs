//! What a machine has beside its spec, and what is changed in it while it is off or on.

use anyhow::Result;
use serde_json::json;

use super::Machine;
use crate::disk::Disk;
use crate::qmp::Qmp;

/// What a machine has from the next start on, beside its spec and its disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fittings {
    /// A TPM 2.0, whose state stays from one start to the next.
    pub tpm: bool,
    /// Another build of its UEFI firmware, which measures itself as another.
    pub other_firmware: bool,
    /// How fast its network card says that the wire is, in megabits a second; none says nothing.
    pub card_megabits: Option<u32>,
    /// A second network card, with nobody at the other end of its wire.
    pub second_card: bool,
    /// What its clock says at power-on, such as `2001-02-03T04:05:06`; none is the right time.
    pub clock: Option<String>,
}

impl Machine {
    /// Fits it with these, and takes out what is not among them, from the next start on.
    pub fn fit(&mut self, fittings: Fittings) {
        self.fittings = fittings;
    }

    /// Gives it this much memory, in MiB, from the next start on.
    pub fn set_memory(&mut self, memory_mib: u32) {
        self.spec.memory_mib = memory_mib;
    }

    /// Gives it these disks and no others, from the next start on.
    pub fn set_disks(&mut self, disks: Vec<Disk>) {
        self.disks = disks;
    }

    /// Makes its first disk, an NVMe disk, raise these bits of its critical warning from the next
    /// start on.
    pub fn raise_nvme_warning(&mut self, bits: u8) {
        self.nvme_warning = Some(bits);
    }

    /// Makes its first disk, an NVMe disk, raise these bits of its critical warning while it runs.
    ///
    /// # Errors
    /// If it is off or QEMU refuses.
    pub fn raise_nvme_warning_now(&mut self, bits: u8) -> Result<()> {
        set_nvme_warning(self.qmp()?, bits)
    }
}

pub(super) fn set_nvme_warning(qmp: &mut Qmp, bits: u8) -> Result<()> {
    let arguments =
        json!({ "path": "/machine/peripheral/disk0", "property": "smart_critical_warning", "value": bits });
    qmp.call("qom-set", arguments).map(|_| ())
}
