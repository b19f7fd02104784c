//! The thresholds that rules compare with. They live in TOML; no rule has a threshold of its own.
//!
//! | file | what |
//! |---|---|
//! | `sections` | all sections; a new one is a file and a line there |
//! | `section` | how one section is written down |
//! | `tenancy`, `hold` | whose data are worth what; what nobody may change |
//! | `rule`, `expression` | the operator's own rules, and the part of CEL that they are written in |
//! | `error` | file, line, key, and what was probably meant |

mod basic;
mod blast_radius;
mod burn_in;
mod described;
mod error;
pub(crate) mod expression;
mod fitness;
mod hardware;
mod hold;
mod instant;
mod limits;
mod outlook;
pub(crate) mod rule;
pub(crate) mod section;
mod sections;
mod tenancy;
mod waves;

use contract::assignment::DataOwner;
use contract::decision::SanitizeLevel;
use contract::id::{Digest, PolicyDigest};
use contract::plan::BootMethod;

pub use described::described;
pub use error::PolicyError;
pub(crate) use hardware::GpuPolicy;
pub(crate) use limits::{ForeignFiles, HealthUnreadable, Limits, Response};
pub(crate) use sections::Sections;

use rule::Compiled;
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
            sections = fragment.over(sections);
            sections.check().map_err(|(section, bad)| PolicyError::of_value(layer, text, section, bad))?;
            hold::check(&sections.hold)
                .map_err(|(name, bad)| PolicyError::of_entry(layer, text, "hold", &name, bad))?;
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
