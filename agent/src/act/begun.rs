//! A step that may write: permitted by an order, and its beginning on record at the service.

use anyhow::Context;
use contract::plan::Step;
use verdict::permit::StepPermit;

use super::service::Service;

/// The only thing that the code which writes accepts. It can't be made but by [`Begun::record`].
#[derive(Debug)]
#[must_use = "a step that was begun must be carried out or reported as failed"]
pub struct Begun {
    step: Step,
}

impl Begun {
    /// Tells the service that a step begins, and waits until that is durable there.
    ///
    /// # Errors
    /// When the service does not confirm it. Nothing may be written then, and nothing can be: the
    /// permit is gone.
    pub async fn record(permit: StepPermit, service: &dyn Service) -> anyhow::Result<Self> {
        service.begin(permit.order(), permit.index()).await.with_context(|| {
            format!(
                "the service did not record that step {} begins; nothing of it was written",
                permit.index()
            )
        })?;
        Ok(Self { step: permit.step().clone() })
    }

    /// What is to be done.
    #[must_use]
    pub fn step(&self) -> &Step {
        &self.step
    }
}
