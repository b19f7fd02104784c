//! What fails how often, and what an action costs: the figures that forecasts and costs are made from.
//!
//! They live in TOML as thresholds do; all are integers, so that a digest of them is the same everywhere.

use contract::id::{Digest, ModelDigest};
use serde::{Deserialize, Serialize};

const DEFAULT_TEXT: &str = include_str!("../default_model.toml");

/// Why a model text was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model, line {line}, key {key:?}: {problem}; correct it, or leave the key out for the default")]
pub struct ModelError {
    /// The line in the text, from 1; 0 if the text as a whole is meant.
    pub line: usize,
    /// The key, as far as it is known.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// How far ahead is looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastModel {
    pub horizon_days: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelSections {
    pub forecast: ForecastModel,
}

/// The figures to forecast with, complete and checked. Made only by [`Model::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    sections: ModelSections,
    digest: ModelDigest,
}

impl Model {
    /// Reads a model as TOML over the defaults; the empty text is the default model.
    ///
    /// # Errors
    /// [`ModelError`] names line and key of what is unknown, of the wrong kind or out of range.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let text = if text.is_empty() { DEFAULT_TEXT } else { text };
        let sections: ModelSections = toml::from_str(text).map_err(|error| ModelError {
            line: 0,
            key: String::new(),
            problem: error.message().to_owned(),
        })?;
        let canonical = serde_json::to_vec(&sections).map_err(|error| ModelError {
            line: 0,
            key: String::new(),
            problem: format!("could not be put into its canonical form: {error}"),
        })?;
        Ok(Self { sections, digest: ModelDigest(Digest::of(&canonical)) })
    }

    /// The default model as a commented file, to start a site's own from.
    #[must_use]
    pub fn default_text() -> &'static str {
        DEFAULT_TEXT
    }

    /// The digest of the model's canonical JSON after defaults are filled in: two texts that mean the same
    /// have the same digest.
    #[must_use]
    pub fn digest(&self) -> ModelDigest {
        self.digest
    }

    /// How many days ahead a forecast looks.
    #[must_use]
    pub fn horizon_days(&self) -> u64 {
        self.sections.forecast.horizon_days
    }
}
