//! All sections of the policy. A new one is a file beside this one and a line here.

use serde::{Deserialize, Serialize};

use super::basic::{
    BootFragment, BootPolicy, ConfidentialityFragment, ConfidentialityPolicy, EraseFragment, ErasePolicy,
    EvidenceFragment, EvidencePolicy, IntegrityFragment, IntegrityPolicy,
};
use super::blast_radius::{BlastRadiusFragment, BlastRadiusPolicy};
use super::fitness::{FitnessFragment, FitnessPolicy};
use super::hardware::{
    BootTrustFragment, BootTrustPolicy, DisksFragment, DisksPolicy, GpuFragment, GpuPolicy, KernelFragment,
    KernelPolicy, LinksFragment, LinksPolicy, MemoryFragment, MemoryPolicy, ProcessorFragment,
    ProcessorPolicy, SensorsFragment, SensorsPolicy,
};
use super::outlook::{OutlookFragment, OutlookPolicy};
use super::section::BadValue;

macro_rules! sections {
    ($($section:ident: $policy:ident, $fragment:ident;)*) => {
        /// Every section, complete.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Sections { $(pub $section: $policy,)* }

        /// What one file says.
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Fragment { $($section: $fragment,)* }

        impl Fragment {
            pub(super) fn over(self, base: Sections) -> Sections {
                Sections { $($section: self.$section.over(base.$section),)* }
            }
        }

        impl Sections {
            /// The first value that cannot be meant, with the section that it stands in.
            pub(super) fn check(&self) -> Result<(), (&'static str, BadValue)> {
                $(self.$section.check().map_err(|bad| (stringify!($section), bad))?;)*
                Ok(())
            }
        }
    };
}

sections! {
    evidence: EvidencePolicy, EvidenceFragment;
    confidentiality: ConfidentialityPolicy, ConfidentialityFragment;
    integrity: IntegrityPolicy, IntegrityFragment;
    fitness: FitnessPolicy, FitnessFragment;
    disks: DisksPolicy, DisksFragment;
    memory: MemoryPolicy, MemoryFragment;
    processor: ProcessorPolicy, ProcessorFragment;
    kernel: KernelPolicy, KernelFragment;
    sensors: SensorsPolicy, SensorsFragment;
    links: LinksPolicy, LinksFragment;
    gpu: GpuPolicy, GpuFragment;
    boot_trust: BootTrustPolicy, BootTrustFragment;
    outlook: OutlookPolicy, OutlookFragment;
    erase: ErasePolicy, EraseFragment;
    boot: BootPolicy, BootFragment;
    blast_radius: BlastRadiusPolicy, BlastRadiusFragment;
}
