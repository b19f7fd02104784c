//! All sections of the policy. A new one is a file beside this one and a line here.

use serde::{Deserialize, Serialize};

use super::basic::{
    BootFragment, BootPolicy, ConfidentialityFragment, ConfidentialityPolicy, EraseFragment, ErasePolicy,
    EvidenceFragment, EvidencePolicy, IntegrityFragment, IntegrityPolicy,
};
use super::blast_radius::{BlastRadiusFragment, BlastRadiusPolicy};
use super::burn_in::{BurnInFragment, BurnInPolicy};
use super::fitness::{FitnessFragment, FitnessPolicy};
use super::hardware::{
    BootTrustFragment, BootTrustPolicy, DisksFragment, DisksPolicy, GpuFragment, GpuPolicy, KernelFragment,
    KernelPolicy, LinksFragment, LinksPolicy, MemoryFragment, MemoryPolicy, ProcessorFragment,
    ProcessorPolicy, SensorsFragment, SensorsPolicy,
};
use super::hold::Hold;
use super::outlook::{OutlookFragment, OutlookPolicy};
use super::rule::OperatorRule;
use super::section::BadValue;
use super::tenancy::{TenancyFragment, TenancyPolicy};
use super::waves::{WavesFragment, WavesPolicy};

macro_rules! sections {
    ($($section:ident: $policy:ident, $fragment:ident;)*) => {
        /// Every section, complete.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Sections {
            $(pub $section: $policy,)*
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub hold: Vec<Hold>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub rule: Vec<OperatorRule>,
        }

        /// What one file says.
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Fragment {
            $($section: $fragment,)*
            hold: Vec<Hold>,
            rule: Vec<OperatorRule>,
        }

        impl Fragment {
            pub(super) fn over(self, base: Sections) -> Sections {
                Sections {
                    $($section: self.$section.over(base.$section),)*
                    hold: added(base.hold, self.hold, |hold| &hold.name),
                    rule: added(base.rule, self.rule, |rule| &rule.name),
                }
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

/// Holds and rules of a file come to those of the files below it; one of the same name takes its place.
fn added<T>(below: Vec<T>, own: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let replaced = |one: &T| own.iter().any(|other| name(other) == name(one));
    let mut all: Vec<T> = below.into_iter().filter(|one| !replaced(one)).collect();
    all.extend(own);
    all
}

sections! {
    evidence: EvidencePolicy, EvidenceFragment;
    confidentiality: ConfidentialityPolicy, ConfidentialityFragment;
    tenancy: TenancyPolicy, TenancyFragment;
    integrity: IntegrityPolicy, IntegrityFragment;
    fitness: FitnessPolicy, FitnessFragment;
    disks: DisksPolicy, DisksFragment;
    memory: MemoryPolicy, MemoryFragment;
    processor: ProcessorPolicy, ProcessorFragment;
    kernel: KernelPolicy, KernelFragment;
    sensors: SensorsPolicy, SensorsFragment;
    links: LinksPolicy, LinksFragment;
    gpu: GpuPolicy, GpuFragment;
    burn_in: BurnInPolicy, BurnInFragment;
    boot_trust: BootTrustPolicy, BootTrustFragment;
    outlook: OutlookPolicy, OutlookFragment;
    erase: ErasePolicy, EraseFragment;
    boot: BootPolicy, BootFragment;
    blast_radius: BlastRadiusPolicy, BlastRadiusFragment;
    waves: WavesPolicy, WavesFragment;
}
