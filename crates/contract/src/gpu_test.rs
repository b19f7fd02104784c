//! What came of working a GPU, as the service tells it to who cannot see it: GPUs are worked by the running
//! system's agent, and the burn-in is judged in the ramdisk, which has no driver for them.

use serde::{Deserialize, Serialize};

use crate::reading::Outcome;

/// A GPU that was worked, or that somebody tried to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuTest {
    /// Its id in the inventory of that look.
    pub gpu: String,
    /// Its PCI address, by which the ramdisk knows it; empty where the inventory of that look lacks it.
    pub pci_address: String,
    /// The name that it gives itself; empty where nobody knows.
    pub hardware_model: String,
    /// Known answers that it got wrong.
    pub wrong_answers: Outcome<u64>,
    /// Words of its memory that did not read back as written.
    pub memory_errors: Outcome<u64>,
    /// Known answers in a second.
    pub answers: Outcome<u64>,
    /// Megabytes of its memory written and read in a second.
    pub memory_megabytes: Outcome<u64>,
}
