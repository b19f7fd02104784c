//! The other disks of a plan, which the system's disk waits for.
//!
//! The system must not boot before every disk of its plan is proven: what it finds on a data disk then is
//! the tenant's, and a plan that was cut off may go on only where no system is.

use anyhow::Context;
use tokio::sync::oneshot;

/// The disks that have to be proven first.
#[derive(Debug, Default)]
pub struct Others(Vec<oneshot::Receiver<()>>);

/// Says that one of them is proven. One that is dropped says that it never will be.
#[derive(Debug)]
#[must_use = "a disk of which nobody says that it is proven is not"]
pub struct Teller(oneshot::Sender<()>);

impl Others {
    /// One more disk to wait for.
    pub fn add(&mut self) -> Teller {
        let (teller, waits) = oneshot::channel();
        self.0.push(waits);
        Teller(teller)
    }

    /// Returns when all of them are proven.
    ///
    /// # Errors
    /// As soon as it is known that one of them never will be.
    pub async fn all_proven(self) -> anyhow::Result<()> {
        for waits in self.0 {
            waits.await.ok().context(
                "another disk of the plan was not proven, so this one got no partition tables and does not boot",
            )?;
        }
        Ok(())
    }
}

impl Teller {
    /// The disk is proven.
    pub fn proven(self) {
        // Whoever waited may have failed meanwhile.
        let _ = self.0.send(());
    }
}
