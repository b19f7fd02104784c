//! What fails how often, and what an action costs: the figures that forecasts and costs are made from.
//!
//! They live in TOML as thresholds do; all are integers, so that a digest of them is the same everywhere.
//!
//! | file | what |
//! |---|---|
//! | `rates` | how often a kind of part fails, signs that make it likelier, what the fleet itself has seen |
//! | `figures` | horizon, costs, weights of readiness |

mod figures;
mod rates;
#[cfg(test)]
mod tests;

use contract::id::{Digest, ModelDigest};
use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;
use crate::policy::section::BadValue;
pub(crate) use figures::{CostModel, ForecastModel, ReadinessModel};
use figures::{CostModelFragment, ForecastModelFragment, ReadinessModelFragment};
pub(crate) use rates::{Counts, Rate, Sign};
pub use rates::{NO_SIGN, Observed};

const DEFAULT_TEXT: &str = include_str!("../default_model.toml");
/// What a model is called in what is said of it.
const NAME: &str = "model";

/// Why a model text was not accepted: line, key, what is wrong, what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ModelError(PolicyError);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub forecast: ForecastModel,
    pub cost: CostModel,
    pub readiness: ReadinessModel,
    pub rate: Vec<Rate>,
    pub sign: Vec<Sign>,
    #[serde(default)]
    pub observed: Vec<Observed>,
}

/// What one file says.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fragment {
    forecast: ForecastModelFragment,
    cost: CostModelFragment,
    readiness: ReadinessModelFragment,
    rate: Option<Vec<Rate>>,
    sign: Option<Vec<Sign>>,
    observed: Option<Vec<Observed>>,
}

impl Fragment {
    fn over(self, base: Figures) -> Figures {
        Figures {
            forecast: self.forecast.over(base.forecast),
            cost: self.cost.over(base.cost),
            readiness: self.readiness.over(base.readiness),
            rate: self.rate.unwrap_or(base.rate),
            sign: self.sign.unwrap_or(base.sign),
            observed: self.observed.unwrap_or(base.observed),
        }
    }
}

impl Figures {
    fn check(&self) -> Result<(), (&'static str, BadValue)> {
        self.forecast.check().map_err(|bad| ("forecast", bad))?;
        self.cost.check().map_err(|bad| ("cost", bad))?;
        self.readiness.check().map_err(|bad| ("readiness", bad))?;
        rates::check_rates(&self.rate).map_err(|bad| ("", bad))?;
        rates::check_signs(&self.sign).map_err(|bad| ("", bad))?;
        rates::check_observed(&self.observed).map_err(|bad| ("", bad))
    }
}

/// The figures to forecast with, complete and checked. Made only by [`Model::parse`] and
/// [`Model::with_observed`].
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    figures: Figures,
    digest: ModelDigest,
}

impl Model {
    /// Reads a model as TOML over the defaults; the empty text is the default model.
    ///
    /// # Errors
    /// [`ModelError`] names line and key of what is unknown, of the wrong kind or out of range.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let in_text = |text: &str, error| ModelError(PolicyError::in_text(NAME, text, &error));
        let base: Figures = toml::from_str(DEFAULT_TEXT).map_err(|error| in_text(DEFAULT_TEXT, error))?;
        let fragment: Fragment = toml::from_str(text).map_err(|error| in_text(text, error))?;
        Self::checked(fragment.over(base), text)
    }

    /// The same model with other counts of the fleet's own outcomes.
    ///
    /// # Errors
    /// [`ModelError`] if there are too many rows or a row cannot be meant.
    pub fn with_observed(&self, mut observed: Vec<Observed>) -> Result<Self, ModelError> {
        observed.sort_by(|a, b| {
            (a.kind, &a.hardware_model, &a.bucket).cmp(&(b.kind, &b.hardware_model, &b.bucket))
        });
        Self::checked(Figures { observed, ..self.figures.clone() }, "")
    }

    fn checked(figures: Figures, text: &str) -> Result<Self, ModelError> {
        figures
            .check()
            .map_err(|(section, bad)| ModelError(PolicyError::of_value(NAME, text, section, bad)))?;
        let canonical =
            serde_json::to_vec(&figures).map_err(|error| ModelError(PolicyError::whole(&error)))?;
        Ok(Self { figures, digest: ModelDigest(Digest::of(&canonical)) })
    }

    /// The whole model as TOML with every default filled in, which any reader understands as the same model:
    /// what agents are given.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn canonical_text(&self) -> Result<String, ModelError> {
        toml::to_string(&self.figures).map_err(|error| ModelError(PolicyError::whole(&error)))
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
        self.figures.forecast.horizon_days
    }

    /// What the fleet itself has seen.
    #[must_use]
    pub fn observed(&self) -> &[Observed] {
        &self.figures.observed
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }
}
