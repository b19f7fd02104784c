//! The thresholds that rules compare with. They live in TOML; no rule has a threshold of its own.
//!
//! | file | what |
//! |---|---|
//! | `sections` | all sections; a new one is a file and a line there |
//! | `section` | how one section is written down |
//! | `tenancy`, `hold` | whose data are worth what; what nobody may change |
//! | `trust` | how far evidence has to be believed |
//! | `windows` | when destructive work may begin |
//! | `log_pattern` | what the operator looks for in the kernel's log |
//! | `rule`, `expression` | the operator's own rules, and the part of CEL that they are written in |
//! | `error` | file, line, key, and what was probably meant |

mod basic;
mod blast_radius;
mod bmc;
mod burn_in;
mod command_line;
mod described;
mod error;
pub(crate) mod expression;
mod fitness;
mod hardware;
mod hold;
mod instant;
mod limits;
mod log_pattern;
mod outlook;
pub(crate) mod rule;
pub(crate) mod section;
mod sections;
mod tenancy;
mod trust;
mod waves;
mod windows;

use contract::assignment::DataOwner;
use contract::boot_key::KnownBy;
use contract::decision::SanitizeLevel;
use contract::id::{Digest, PolicyDigest, UnixMillis};
use contract::plan::BootMethod;

pub(crate) use command_line::LineResponse;
pub use described::described;
pub use error::PolicyError;
pub(crate) use hardware::GpuPolicy;
pub use instant::written;
pub(crate) use limits::{ForeignFiles, HealthUnreadable, Limits, Response};
pub use log_pattern::{LOG_PATTERNS_MAX, LogMatcher, LogPattern};
pub(crate) use sections::Sections;

use rule::Compiled;
use section::BadValue;
use sections::Fragment;

const DEFAULT_TEXT: &str = include_str!("../default_policy.toml");

/// The thresholds to judge with, complete and checked. Made only by [`Policy::parse`] and
/// [`Policy::layered`].
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    sections: Sections,
    rules: Vec<Compiled>,
    digest: PolicyDigest,
    text: String,
}

impl Policy {
    /// Reads a policy as TOML over the defaults; the empty text is the default policy.
    ///
    /// # Errors
    /// [`PolicyError`] names line and key of what is unknown, of the wrong kind or out of range.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::layered(&[("", text)])
    }

    /// Reads files over the defaults, each over those before it: the site's, then the pool's. A key that a
    /// file leaves out keeps the value that it had.
    ///
    /// # Errors
    /// [`PolicyError`] names file, line and key of what is unknown, of the wrong kind or out of range.
    pub fn layered(layers: &[(&str, &str)]) -> Result<Self, PolicyError> {
        let in_defaults = |error| PolicyError::in_text("the defaults", DEFAULT_TEXT, &error);
        let mut sections: Sections = toml::from_str(DEFAULT_TEXT).map_err(in_defaults)?;
        for (layer, text) in layers {
            let fragment: Fragment =
                toml::from_str(text).map_err(|error| PolicyError::in_text(layer, text, &error))?;
            if let Some((list, name)) = fragment.hides(&sections) {
                let problem = format!(
                    "a file below this one has a {list} of this name, and what it demands cannot be taken back; \
                     give this one another name"
                );
                return Err(PolicyError::of_entry(layer, text, list, &name, BadValue::new("name", problem)));
            }
            let bad_value = |(section, bad)| PolicyError::of_value(layer, text, section, bad);
            sections = fragment.moved().map_err(bad_value)?.over(sections);
            sections.check().map_err(bad_value)?;
            hold::check(&sections.hold)
                .map_err(|(name, bad)| PolicyError::of_entry(layer, text, "hold", &name, bad))?;
            log_pattern::check(&sections.log_pattern)
                .map_err(|(name, bad)| PolicyError::of_entry(layer, text, "log_pattern", &name, bad))?;
            rule::compile(&sections.rule).map_err(|(name, bad, suggestion)| PolicyError {
                suggestion,
                ..PolicyError::of_entry(layer, text, "rule", &name, bad)
            })?;
        }
        let rules = rule::compile(&sections.rule).map_err(|_| PolicyError::whole(&"a rule is broken"))?;
        let canonical = serde_json::to_vec(&sections).map_err(|error| PolicyError::whole(&error))?;
        let text = toml::to_string(&sections).map_err(|error| PolicyError::whole(&error))?;
        Ok(Self { sections, rules, digest: PolicyDigest(Digest::of(&canonical)), text })
    }

    /// The whole policy as TOML with every default filled in, which any reader of policies understands as
    /// the same policy: what agents are given, so that they need no files.
    #[must_use]
    pub fn canonical_text(&self) -> &str {
        &self.text
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

    /// By what the key of a boot has to be known for the boot to count as proven.
    #[must_use]
    pub fn boot_key_known_by(&self) -> KnownBy {
        self.sections.boot_trust.key_known_by
    }

    /// How thoroughly data are made unreadable before another tenant gets the machine.
    #[must_use]
    pub fn tenant_change_level(&self) -> SanitizeLevel {
        self.sections.confidentiality.tenant_change_level
    }

    /// The least level to which data of this owner are sanitized: what a change of tenant demands, and what
    /// the class of the data demands.
    #[must_use]
    pub fn sanitize_level(&self, owner: &DataOwner) -> SanitizeLevel {
        let tenancy = &self.sections.tenancy;
        self.tenant_change_level().max(tenancy.level_of(tenancy.class_of(owner)))
    }

    /// The name of the class of data of this owner, such as `regulated`.
    #[must_use]
    pub fn data_class(&self, owner: &DataOwner) -> &'static str {
        self.sections.tenancy.class_of(owner).name()
    }

    /// Whether media with data of this owner must not leave the site before they are sanitized.
    #[must_use]
    pub fn media_stay(&self, owner: &DataOwner) -> bool {
        self.sections.tenancy.media_stay(owner)
    }

    /// When destructive work may begin, if it may not begin now.
    #[must_use]
    pub fn window_opens_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.sections.windows.opens_at(now)
    }

    /// What the operator looks for in the kernel's log; agents do.
    #[must_use]
    pub fn log_patterns(&self) -> &[LogPattern] {
        &self.sections.log_pattern
    }

    /// The operator's own rules.
    pub(crate) fn rules(&self) -> &[Compiled] {
        &self.rules
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.sections
    }
}

#[cfg(test)]
mod tests;
