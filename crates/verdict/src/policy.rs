//! The thresholds that rules compare with. They live in TOML; no rule has a threshold of its own.

use contract::decision::SanitizeLevel;
use contract::id::{Digest, PolicyDigest};
use contract::plan::{BootMethod, VerifyDepth};
use contract::reading::Trust;
use serde::{Deserialize, Serialize};

const DEFAULT_TEXT: &str = include_str!("default_policy.toml");

/// Why a policy text was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy, line {line}, key {key:?}: {problem}; correct it, or leave the key out for the default")]
pub struct PolicyError {
    /// The line in the text, from 1; 0 if the text as a whole is meant.
    pub line: usize,
    /// The key, as far as it is known.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What to do with files under immutable paths that the image does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ForeignFiles {
    Ignore,
    Watch,
    Remove,
    Reimage,
}

/// What follows if a needed health reading cannot be had even in the ramdisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HealthUnreadable {
    Quarantine,
    Watch,
}

/// Limits of one counter; what is left out never triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_above: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_above: Option<u64>,
}

/// One section: the complete form, and the fragment of a file in which every key may be missing.
macro_rules! section {
    ($name:ident, $fragment:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $(pub $field: $type,)* }

        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $fragment { $($field: Option<$type>,)* }

        impl $fragment {
            fn over(self, base: $name) -> $name {
                $name { $($field: self.$field.unwrap_or(base.$field),)* }
            }
        }
    };
}

section!(EvidencePolicy, EvidenceFragment { age_max_seconds: u64, reading_age_max_seconds: u64 });
section!(ConfidentialityPolicy, ConfidentialityFragment { tenant_change_level: SanitizeLevel });
section!(
    IntegrityPolicy,
    IntegrityFragment {
        keep_trust_min: Trust,
        altered_percent_reimage_above: u64,
        foreign_files: ForeignFiles,
        file_system_errors_reimage_above: u64,
    }
);
section!(FitnessPolicy, FitnessFragment {
    nvme_critical_warning_quarantine_mask: u64,
    nvme_critical_warning_watch_mask: u64,
    nvme_percentage_used: Limits,
    nvme_media_errors: Limits,
    ata_reallocated_sectors: Limits,
    ata_reported_uncorrectable: Limits,
    ata_pending_sectors: Limits,
    ata_offline_uncorrectable: Limits,
    disk_read_errors: Limits,
    health_unreadable: HealthUnreadable,
    kernel_hardware_errors_fatal: Vec<String>,
    memory_percent_min: u64,
    remediations_watch_from: u64,
    remediations_window_hours: u64,
});
section!(ErasePolicy, EraseFragment { verify: VerifyDepth, verify_samples: u32, skip_already_clean: bool });
section!(BootPolicy, BootFragment { method: BootMethod });

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sections {
    pub evidence: EvidencePolicy,
    pub confidentiality: ConfidentialityPolicy,
    pub integrity: IntegrityPolicy,
    pub fitness: FitnessPolicy,
    pub erase: ErasePolicy,
    pub boot: BootPolicy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fragment {
    evidence: EvidenceFragment,
    confidentiality: ConfidentialityFragment,
    integrity: IntegrityFragment,
    fitness: FitnessFragment,
    erase: EraseFragment,
    boot: BootFragment,
}

/// The thresholds to judge with, complete and checked. Made only by [`Policy::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    sections: Sections,
    digest: PolicyDigest,
}

impl Policy {
    /// Reads a policy as TOML over the defaults; the empty text is the default policy.
    ///
    /// # Errors
    /// [`PolicyError`] names line and key of what is unknown, of the wrong kind or out of range.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let base: Sections = toml::from_str(DEFAULT_TEXT).map_err(|error| in_text(DEFAULT_TEXT, &error))?;
        let fragment: Fragment = toml::from_str(text).map_err(|error| in_text(text, &error))?;
        let sections = Sections {
            evidence: fragment.evidence.over(base.evidence),
            confidentiality: fragment.confidentiality.over(base.confidentiality),
            integrity: fragment.integrity.over(base.integrity),
            fitness: fragment.fitness.over(base.fitness),
            erase: fragment.erase.over(base.erase),
            boot: fragment.boot.over(base.boot),
        };
        check_ranges(&sections, text)?;
        let canonical = serde_json::to_vec(&sections).map_err(|error| PolicyError {
            line: 0,
            key: String::new(),
            problem: format!("could not be put into its canonical form: {error}"),
        })?;
        Ok(Self { sections, digest: PolicyDigest(Digest::of(&canonical)) })
    }

    /// The default policy as a commented file, to start a site's own from.
    #[must_use]
    pub fn default_text() -> &'static str {
        DEFAULT_TEXT
    }

    /// The digest of the policy's canonical JSON after defaults are filled in: two texts that mean
    /// the same have the same digest.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// How a machine gets from the ramdisk into its system.
    #[must_use]
    pub fn boot_method(&self) -> BootMethod {
        self.sections.boot.method
    }

    /// How thoroughly data are made unreadable before another tenant gets the machine.
    #[must_use]
    pub fn tenant_change_level(&self) -> SanitizeLevel {
        self.sections.confidentiality.tenant_change_level
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.sections
    }
}

fn in_text(text: &str, error: &toml::de::Error) -> PolicyError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.get(..start).map_or(0, |before| before.matches('\n').count());
    let key = text.lines().nth(line).unwrap_or_default();
    let key = key.split('=').next().unwrap_or_default().trim().chars().take(80).collect();
    PolicyError { line: line + 1, key, problem: error.message().to_owned() }
}

/// Refuses values that would switch a rule off by accident.
fn check_ranges(sections: &Sections, text: &str) -> Result<(), PolicyError> {
    let fitness = &sections.fitness;
    let ranges: [(&str, u64, u64, u64); 9] = [
        ("age_max_seconds", sections.evidence.age_max_seconds, 60, 86_400),
        ("reading_age_max_seconds", sections.evidence.reading_age_max_seconds, 60, 604_800),
        ("altered_percent_reimage_above", sections.integrity.altered_percent_reimage_above, 0, 100),
        ("nvme_critical_warning_quarantine_mask", fitness.nvme_critical_warning_quarantine_mask, 1, 255),
        ("nvme_critical_warning_watch_mask", fitness.nvme_critical_warning_watch_mask, 0, 255),
        ("memory_percent_min", fitness.memory_percent_min, 1, 100),
        ("remediations_watch_from", fitness.remediations_watch_from, 1, 20),
        ("remediations_window_hours", fitness.remediations_window_hours, 1, 8_760),
        // Fewer than 1000 samples find less than NIST SP 800-88r1's sampling rule would look at; more
        // than 100000 are no sample any more.
        ("verify_samples", u64::from(sections.erase.verify_samples), 1_000, 100_000),
    ];
    for (key, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            let problem = format!("{value} is not between {least} and {most}");
            return Err(PolicyError { line: line_of(text, key), key: key.to_owned(), problem });
        }
    }
    if fitness.kernel_hardware_errors_fatal.iter().any(|pattern| pattern.trim().is_empty()) {
        let key = "kernel_hardware_errors_fatal";
        let problem = "an empty text would make every line fatal".to_owned();
        return Err(PolicyError { line: line_of(text, key), key: key.to_owned(), problem });
    }
    Ok(())
}

fn line_of(text: &str, key: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(key)).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_text_and_the_default_text_are_the_same_policy() {
        assert_eq!(Policy::parse("").unwrap(), Policy::parse(Policy::default_text()).unwrap());
    }

    #[test]
    fn every_default_has_a_comment_above_it() {
        let mut previous = "";
        for line in Policy::default_text().lines() {
            if line.contains(" = ") && !line.starts_with('#') {
                let explained = previous.starts_with('#') || line.starts_with("remediations_window");
                assert!(explained, "{line}");
            }
            previous = line;
        }
    }

    #[test]
    fn a_fragment_changes_only_what_it_names() {
        let changed = Policy::parse("[erase]\nverify_samples = 5000\n").unwrap();
        let default = Policy::parse("").unwrap();
        assert_eq!(changed.sections.erase.verify_samples, 5000);
        assert_eq!(changed.sections.fitness, default.sections.fitness);
        assert_ne!(changed.digest(), default.digest());
    }

    #[test]
    fn errors_name_line_and_key() {
        let cases = [
            ("[fitness]\nmemory_min = 3\n", 2, "memory_min", "unknown field"),
            ("[fitnes]\n", 1, "[fitnes]", "unknown field"),
            ("\n\n[boot]\nmethod = \"warp\"\n", 4, "method", "warp"),
            ("[erase]\nverify_samples = \"many\"\n", 2, "verify_samples", "invalid type"),
            ("[erase]\n# few\nverify_samples = 3\n", 3, "verify_samples", "between 1000 and 100000"),
            ("[erase]\nverify = \"some\"\n", 2, "verify", "some"),
            ("[erase]\nskip_already_clean = \"yes\"\n", 2, "skip_already_clean", "invalid type"),
            ("[erase]\nskip_if_clean = true\n", 2, "skip_if_clean", "unknown field"),
            ("[fitness]\ndisk_read_errors = { above = 3 }\n", 2, "disk_read_errors", "unknown field"),
            (
                "[fitness]\nkernel_hardware_errors_fatal = [\"\"]\n",
                2,
                "kernel_hardware_errors_fatal",
                "every line",
            ),
            ("[evidence\n", 1, "[evidence", "unclosed"),
        ];
        for (text, line, key, problem) in cases {
            let error = Policy::parse(text).unwrap_err();
            assert_eq!((error.line, error.key.as_str()), (line, key), "{text}: {error}");
            assert!(error.to_string().contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn nothing_is_skipped_unless_the_site_says_so() {
        assert!(!Policy::parse("").unwrap().sections.erase.skip_already_clean);
        let on = Policy::parse("[erase]\nskip_already_clean = true\n").unwrap();
        assert!(on.sections.erase.skip_already_clean);
        assert_ne!(on.digest(), Policy::parse("").unwrap().digest());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Policy::parse(&text);
        }
    }
}
