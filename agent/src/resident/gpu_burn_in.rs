//! Working the GPUs before the node goes into the ramdisk for a burn-in, which has no driver for them.
//!
//! Once in a job. That the work begins is written down before it does: the driver's library runs in this process,
//! and whoever is killed by it must not come again for more.

use std::time::Duration;

use contract::id::{BootId, JobId};
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::probe::evidence::Found;
use crate::probe::gpu_test;
use crate::probe::source::Source;

const MINUTE_SECONDS: u64 = 60;

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTest {
    job: JobId,
    boot: BootId,
    /// What was found; none while the GPUs are at work.
    found: Option<Vec<Found>>,
}

/// What works the GPUs, for a burn-in that takes so long; a test puts something else in its place.
pub type Work<'a> = &'a dyn Fn(&Source, Duration) -> Vec<Found>;

/// For which burn-in, and when.
#[derive(Debug, Clone, Copy)]
pub struct BurnIn {
    /// The job.
    pub job: JobId,
    /// How long it takes.
    pub minutes: u32,
    /// This boot.
    pub boot: BootId,
}

/// What is known of the GPUs for a burn-in: of this boot if they were worked in it, else they are worked now.
#[must_use]
pub fn found(source: &Source, state: &State, burn_in: BurnIn, work: Work<'_>) -> Vec<Found> {
    let BurnIn { job, minutes, boot } = burn_in;
    let keep = |found: Option<Vec<Found>>| state.keep_gpu_test(&KeptTest { job, boot, found });
    let untested = |why: &str| gpu_test::untested(source, why);
    let found = match state.gpu_test().filter(|kept| kept.job == job) {
        // Nobody knows whether the agent, the machine or its power gave up, and for this job nobody tries again.
        Some(KeptTest { found: None, .. }) => return untested("the agent ended while it worked the GPUs"),
        Some(KeptTest { found: Some(found), boot: then, .. }) if then == boot => return found,
        _ => match keep(None) {
            Ok(()) => work(source, Duration::from_secs(MINUTE_SECONDS * u64::from(minutes))),
            Err(error) => untested(&format!("that it begins could not be written down: {error:#}")),
        },
    };
    if let Err(error) = keep(Some(found.clone())) {
        tracing::warn!("cannot keep what was found in the GPUs: {error:#}");
    }
    found
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
    use uuid::Uuid;

    use super::*;
    use crate::probe::recorded::Tree;

    fn with_gpu() -> Tree {
        let tree = Tree::new();
        for (name, text) in [("class", "0x030200\n"), ("vendor", "0x10de\n"), ("device", "0x2330\n")] {
            tree.write(&format!("sys/bus/pci/devices/0000:3b:00.0/{name}"), text);
        }
        tree
    }

    fn burn_in(job: u128, boot: u128) -> BurnIn {
        BurnIn { job: JobId(Uuid::from_u128(job)), minutes: 10, boot: BootId(Uuid::from_u128(boot)) }
    }

    /// A GPU in whose `round` this many answers were wrong.
    fn result(round: u64) -> Vec<Found> {
        let outcome = Outcome::Value(ReadingValue::Count(round));
        vec![(Subject::Gpu("0000:3b:00.0".to_owned()), ReadingKey::GpuTestErrors, outcome)]
    }

    #[test]
    fn gpus_are_worked_once_for_a_job_and_anew_for_another_or_after_a_boot() {
        let (tree, folder, rounds) = (with_gpu(), tempfile::tempdir().unwrap(), Cell::new(0));
        let work = |_: &Source, time: Duration| {
            assert_eq!(time, Duration::from_secs(600));
            rounds.set(rounds.get() + 1);
            result(rounds.get())
        };
        // Each time as an agent that was started again.
        let then = |burn_in| found(&tree.source(), &State::at(folder.path()), burn_in, &work);
        assert_eq!(then(burn_in(1, 1)), result(1));
        assert_eq!(then(burn_in(1, 1)), result(1), "what is known is not looked for again");
        assert_eq!(then(burn_in(2, 1)), result(2));
        assert_eq!(then(burn_in(2, 2)), result(3), "a GPU may be another one after a boot");
    }

    #[test]
    fn who_was_killed_at_it_says_so_and_does_not_begin_again() {
        let (tree, folder) = (with_gpu(), tempfile::tempdir().unwrap());
        let state = State::at(folder.path());
        let killed = |_: &Source, _: Duration| std::panic::resume_unwind(Box::new("killed"));
        let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            found(&tree.source(), &state, burn_in(1, 1), &killed)
        }));
        assert!(first.is_err());
        // The machine may have gone down with it.
        for boot in [1, 2] {
            let found = found(&tree.source(), &state, burn_in(1, boot), &|_, _| result(0));
            let (_, _, Outcome::Unreadable(why)) = &found[0] else { panic!("{found:?}") };
            assert!(found.len() == gpu_test::KEYS.len() && why.contains("ended while"), "{found:?}");
        }
        let worked = found(&tree.source(), &state, burn_in(2, 2), &|_, _| result(0));
        assert_eq!(worked, result(0), "another job is another try");
    }

    #[test]
    fn nothing_is_worked_that_cannot_be_written_down_before() {
        let tree = with_gpu();
        let nowhere = State::at(&tree.path("nothing/there"));
        let found = found(&tree.source(), &nowhere, burn_in(1, 1), &|_, _| panic!("worked"));
        let (_, _, Outcome::Unreadable(why)) = &found[0] else { panic!("{found:?}") };
        assert!(why.contains("written down"), "{why}");
    }
}
