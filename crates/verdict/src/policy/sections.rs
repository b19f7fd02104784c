//! All sections of the policy. A new one is a file beside this one and a line here.

use serde::{Deserialize, Serialize};

use super::basic::{
    BootFragment, BootPolicy, ConfidentialityFragment, ConfidentialityPolicy, EraseFragment, ErasePolicy,
    EvidenceFragment, EvidencePolicy, IntegrityFragment, IntegrityPolicy,
};
use super::blast_radius::{BlastRadiusFragment, BlastRadiusPolicy};
use super::bmc::{BmcFragment, BmcPolicy};
use super::burn_in::{BurnInFragment, BurnInPolicy};
use super::command_line::{CommandLineFragment, CommandLinePolicy};
use super::fitness::{FitnessFragment, FitnessPolicy};
use super::hardware::{
    BootTrustFragment, BootTrustPolicy, DisksFragment, DisksPolicy, GpuFragment, GpuPolicy, KernelFragment,
    KernelPolicy, LinksFragment, LinksPolicy, MemoryFragment, MemoryPolicy, ProcessorFragment,
    ProcessorPolicy, SensorsFragment, SensorsPolicy,
};
use super::hold::Hold;
use super::log_pattern::LogPattern;
use super::outlook::{OutlookFragment, OutlookPolicy};
use super::rule::OperatorRule;
use super::section::BadValue;
use super::tenancy::{TenancyFragment, TenancyPolicy};
use super::trust::{TrustFragment, TrustPolicy};
use super::waves::{WavesFragment, WavesPolicy};
use super::windows::{WindowsFragment, WindowsPolicy};

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
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub log_pattern: Vec<LogPattern>,
        }

        /// What one file says.
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Fragment {
            $($section: $fragment,)*
            hold: Vec<Hold>,
            rule: Vec<OperatorRule>,
            log_pattern: Vec<LogPattern>,
        }

        impl Fragment {
            pub(super) fn over(self, base: Sections) -> Sections {
                Sections {
                    $($section: self.$section.over(base.$section),)*
                    hold: added(base.hold, self.hold),
                    rule: added(base.rule, self.rule),
                    log_pattern: added(base.log_pattern, self.log_pattern),
                }
            }

            /// The first hold, rule or pattern whose name one of the files below has: which list, and the name.
            pub(super) fn hides(&self, base: &Sections) -> Option<(&'static str, String)> {
                let hold = self.hold.iter().map(|one| &one.name);
                let hold = hold.filter(|name| base.hold.iter().any(|other| other.name == **name));
                let rule = self.rule.iter().map(|one| &one.name);
                let rule = rule.filter(|name| base.rule.iter().any(|other| other.name == **name));
                let hold = hold.map(|name| ("hold", name.clone()));
                let pattern = self.log_pattern.iter().map(|one| &one.name);
                let pattern = pattern.filter(|name| base.log_pattern.iter().any(|other| other.name == **name));
                let rest = rule.map(|name| ("rule", name.clone()));
                hold.chain(rest).chain(pattern.map(|name| ("log_pattern", name.clone()))).next()
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

impl Fragment {
    /// Puts values where they belong now that stand under an earlier name. A file that has both contradicts
    /// itself.
    pub(super) fn moved(mut self) -> Result<Self, (&'static str, BadValue)> {
        let formerly = self.integrity.keep_trust_min.take();
        if formerly.is_some_and(|trust| !self.trust.take_keep(trust)) {
            let problem = "is the earlier name of trust.keep, which is there too; leave one of them out";
            return Err(("integrity", BadValue::new("keep_trust_min", problem)));
        }
        Ok(self)
    }
}

/// Holds, rules and patterns of a file come to those of the files below it, and none takes another's place: what a site
/// holds, no pool lifts.
fn added<T>(mut below: Vec<T>, own: Vec<T>) -> Vec<T> {
    below.extend(own);
    below
}

sections! {
    evidence: EvidencePolicy, EvidenceFragment;
    confidentiality: ConfidentialityPolicy, ConfidentialityFragment;
    tenancy: TenancyPolicy, TenancyFragment;
    trust: TrustPolicy, TrustFragment;
    integrity: IntegrityPolicy, IntegrityFragment;
    fitness: FitnessPolicy, FitnessFragment;
    disks: DisksPolicy, DisksFragment;
    memory: MemoryPolicy, MemoryFragment;
    processor: ProcessorPolicy, ProcessorFragment;
    kernel: KernelPolicy, KernelFragment;
    sensors: SensorsPolicy, SensorsFragment;
    bmc: BmcPolicy, BmcFragment;
    links: LinksPolicy, LinksFragment;
    gpu: GpuPolicy, GpuFragment;
    burn_in: BurnInPolicy, BurnInFragment;
    boot_trust: BootTrustPolicy, BootTrustFragment;
    command_line: CommandLinePolicy, CommandLineFragment;
    outlook: OutlookPolicy, OutlookFragment;
    erase: ErasePolicy, EraseFragment;
    boot: BootPolicy, BootFragment;
    windows: WindowsPolicy, WindowsFragment;
    blast_radius: BlastRadiusPolicy, BlastRadiusFragment;
    waves: WavesPolicy, WavesFragment;
}
