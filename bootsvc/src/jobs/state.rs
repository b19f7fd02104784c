//! The life of a job: one function for each edge. Pure; whoever calls it makes the new state durable.
//!
//! ```text
//!             hand_out            enroll           order             begin           come_up
//!  Waiting ───────────► Booting ─────────► Looking ─────► Ordered ─────────► Acting ─────────► ComingUp
//!   ▲ ▲  └─────────────────────────────────►  │                                                   │
//!   │ │            enroll                     └─ keep ─► Done ◄──────────── settle ────────────────┤
//!   │ └─ release ─ Held ◄─ hold (from every open state)      RolledBack ◄── settle_back ───────────┤
//!   └──────────────────────────────── go_back ─────────────────────────────────────────────────────┘
//! ```
//!
//! `leave_empty` leads from the last step of Acting to Done, where disks were erased and nothing was
//! installed that could come up.
//!
//! `go_back` is taken at most once in a job, when what was written did not come up as what was asked
//! for (`jobs::validation`); from then on the job ends by `settle_back` and not by `settle`.
//!
//! `hand_out` and `enroll` also lead back from Looking, Ordered and Acting, because a machine may lose
//! power at any moment and come again; `begin` leads from one step of Acting to the next; `cancel`
//! leads from everything before Acting to Cancelled. A held job whose writing was begun may get the
//! ramdisk (it must not boot its disk) and stays held.

use contract::decision::Action;
use contract::operator_api::JobState;

/// Why a job does not take an edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefused {
    /// The edge does not begin in this state.
    #[error("a job that is {from} cannot {edge}")]
    NotFrom {
        /// The state.
        from: &'static str,
        /// The edge.
        edge: &'static str,
    },
    /// Steps begin in their order.
    #[error("step {step} of {steps} cannot begin now; the next is step {expected}")]
    StepOutOfOrder {
        /// The step that was to begin.
        step: u32,
        /// How many there are.
        steps: u32,
        /// The step that may begin.
        expected: u32,
    },
    /// Not every step has begun, so they cannot all be done.
    #[error("only {begun} of {steps} steps were begun")]
    StepsMissing {
        /// How many have begun.
        begun: u32,
        /// How many there are.
        steps: u32,
    },
    /// Something irreversible has begun.
    #[error("something irreversible has begun")]
    Irreversible,
}

/// The state's name.
#[must_use]
pub fn name(state: &JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Booting { .. } => "booting",
        JobState::Looking => "looking",
        JobState::Ordered => "ordered",
        JobState::Acting { .. } => "acting",
        JobState::ComingUp => "coming-up",
        JobState::Done { .. } => "done",
        JobState::Held { .. } => "held",
        JobState::Cancelled => "cancelled",
        JobState::RolledBack { .. } => "rolled-back",
    }
}

/// Whether something may still happen.
#[must_use]
pub fn is_open(state: &JobState) -> bool {
    !matches!(state, JobState::Done { .. } | JobState::Cancelled | JobState::RolledBack { .. })
}

/// Whether the machine has to come into the ramdisk.
#[must_use]
pub fn wants_ramdisk(state: &JobState) -> bool {
    match state {
        JobState::Waiting
        | JobState::Booting { .. }
        | JobState::Looking
        | JobState::Ordered
        | JobState::Acting { .. } => true,
        JobState::ComingUp
        | JobState::Done { .. }
        | JobState::Held { .. }
        | JobState::Cancelled
        | JobState::RolledBack { .. } => false,
    }
}

fn not_from(state: &JobState, edge: &'static str) -> TransitionRefused {
    TransitionRefused::NotFrom { from: name(state), edge }
}

/// The machine was given the ramdisk.
///
/// # Errors
/// While the installed system comes up, and when the job has ended.
pub fn hand_out(state: JobState, attempt: u32) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::Waiting
        | JobState::Booting { .. }
        | JobState::Looking
        | JobState::Ordered
        | JobState::Acting { .. } => Ok(JobState::Booting { attempt }),
        held @ JobState::Held { .. } => Ok(held),
        other => Err(not_from(&other, "hand out the ramdisk")),
    }
}

/// The agent has introduced itself, or goes over from discovery to this job.
///
/// # Errors
/// While the installed system comes up, and when the job has ended.
pub fn enroll(state: JobState) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::Waiting
        | JobState::Booting { .. }
        | JobState::Looking
        | JobState::Ordered
        | JobState::Acting { .. } => Ok(JobState::Looking),
        held @ JobState::Held { .. } => Ok(held),
        other => Err(not_from(&other, "enroll a machine")),
    }
}

/// Nothing has to be done.
///
/// # Errors
/// Unless the agent was looking.
pub fn keep(state: JobState) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::Looking => Ok(JobState::Done { action: Action::Keep }),
        other => Err(not_from(&other, "keep the node as it is")),
    }
}

/// An order was signed.
///
/// # Errors
/// Unless the agent was looking.
pub fn order(state: JobState) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::Looking => Ok(JobState::Ordered),
        other => Err(not_from(&other, "get an order")),
    }
}

/// A step begins. A step that has begun may say so again, because the answer may have been lost.
///
/// # Errors
/// Without an order, or out of order.
pub fn begin(state: JobState, step: u32, steps: u32) -> Result<JobState, TransitionRefused> {
    let expected = match state {
        JobState::Ordered => 0,
        JobState::Acting { step: current, .. } if step == current => current,
        JobState::Acting { step: current, .. } => current.saturating_add(1),
        other => return Err(not_from(&other, "begin a step")),
    };
    if step != expected || step >= steps {
        return Err(TransitionRefused::StepOutOfOrder { step, steps, expected });
    }
    Ok(JobState::Acting { step, steps })
}

/// All steps are proven.
///
/// # Errors
/// Unless the last step was begun.
pub fn come_up(state: JobState) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::Acting { step, steps } if step.saturating_add(1) == steps => Ok(JobState::ComingUp),
        JobState::Acting { step, steps } => {
            Err(TransitionRefused::StepsMissing { begun: step.saturating_add(1), steps })
        }
        other => Err(not_from(&other, "be done with its steps")),
    }
}

/// All steps are proven, and nothing was installed.
///
/// # Errors
/// Unless the last step was begun.
pub fn leave_empty(state: JobState) -> Result<JobState, TransitionRefused> {
    come_up(state).map(|_| JobState::Done { action: Action::Wipe })
}

/// The installed system has reported and is what was asked for.
///
/// # Errors
/// Unless the system was coming up.
pub fn settle(state: JobState, action: Action) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::ComingUp => Ok(JobState::Done { action }),
        other => Err(not_from(&other, "settle")),
    }
}

/// What was written did not come up; from the start again, with the image before.
///
/// # Errors
/// Unless the system was coming up.
pub fn go_back(state: JobState) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::ComingUp => Ok(JobState::Waiting),
        other => Err(not_from(&other, "go back")),
    }
}

/// The image before has come up again.
///
/// # Errors
/// Unless the system was coming up.
pub fn settle_back(state: JobState, reason: String) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::ComingUp => Ok(JobState::RolledBack { reason }),
        other => Err(not_from(&other, "settle")),
    }
}

/// A person has to look.
///
/// # Errors
/// When the job has ended.
pub fn hold(state: JobState, reason: String) -> Result<JobState, TransitionRefused> {
    if is_open(&state) { Ok(JobState::Held { reason }) } else { Err(not_from(&state, "be held")) }
}

/// A person has looked; from the start again.
///
/// # Errors
/// Unless it was held.
pub fn release(state: JobState) -> Result<JobState, TransitionRefused> {
    match state {
        JobState::Held { .. } => Ok(JobState::Waiting),
        other => Err(not_from(&other, "be released")),
    }
}

/// Given up. `irreversible` says whether anything irreversible has begun and is not finished.
///
/// # Errors
/// After something irreversible has begun, and when the job has ended.
pub fn cancel(state: JobState, irreversible: bool) -> Result<JobState, TransitionRefused> {
    if irreversible {
        return Err(TransitionRefused::Irreversible);
    }
    match state {
        JobState::Waiting
        | JobState::Booting { .. }
        | JobState::Looking
        | JobState::Ordered
        | JobState::Held { .. } => Ok(JobState::Cancelled),
        JobState::Acting { .. } | JobState::ComingUp => Err(TransitionRefused::Irreversible),
        other @ (JobState::Done { .. } | JobState::Cancelled | JobState::RolledBack { .. }) => {
            Err(not_from(&other, "be cancelled"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> Vec<JobState> {
        vec![
            JobState::Waiting,
            JobState::Booting { attempt: 1 },
            JobState::Looking,
            JobState::Ordered,
            JobState::Acting { step: 0, steps: 2 },
            JobState::Acting { step: 1, steps: 2 },
            JobState::ComingUp,
            JobState::Held { reason: "r".into() },
            JobState::Done { action: Action::Keep },
            JobState::Cancelled,
            JobState::RolledBack { reason: "r".into() },
        ]
    }

    type Edge = (&'static str, fn(JobState) -> Result<JobState, TransitionRefused>);

    const EDGES: [Edge; 15] = [
        ("hand_out", |s| hand_out(s, 2)),
        ("enroll", enroll),
        ("keep", keep),
        ("order", order),
        ("begin 0/2", |s| begin(s, 0, 2)),
        ("begin 1/2", |s| begin(s, 1, 2)),
        ("come_up", come_up),
        ("leave_empty", leave_empty),
        ("settle", |s| settle(s, Action::Repair)),
        ("settle_back", |s| settle_back(s, "r".into())),
        ("go_back", go_back),
        ("hold", |s| hold(s, "r".into())),
        ("release", release),
        ("cancel", |s| cancel(s, false)),
        ("cancel begun", |s| cancel(s, true)),
    ];

    fn show(state: &JobState) -> String {
        match state {
            JobState::Acting { step, steps } => format!("acting {step}/{steps}"),
            other => name(other).to_owned(),
        }
    }

    /// The whole table: every edge from every state. What is not here is refused.
    #[test]
    fn table_of_transitions() {
        let mut table = String::new();
        for (edge, take) in EDGES {
            let taken: Vec<String> = states()
                .into_iter()
                .filter_map(|from| take(from.clone()).ok().map(|to| format!("{}>{}", show(&from), show(&to))))
                .collect();
            table.push_str(&format!("{edge}: {}\n", taken.join(" ")));
        }
        let expected = "\
hand_out: waiting>booting booting>booting looking>booting ordered>booting acting 0/2>booting acting 1/2>booting held>held
enroll: waiting>looking booting>looking looking>looking ordered>looking acting 0/2>looking acting 1/2>looking held>held
keep: looking>done
order: looking>ordered
begin 0/2: ordered>acting 0/2 acting 0/2>acting 0/2
begin 1/2: acting 0/2>acting 1/2 acting 1/2>acting 1/2
come_up: acting 1/2>coming-up
leave_empty: acting 1/2>done
settle: coming-up>done
settle_back: coming-up>rolled-back
go_back: coming-up>waiting
hold: waiting>held booting>held looking>held ordered>held acting 0/2>held acting 1/2>held coming-up>held held>held
release: held>waiting
cancel: waiting>cancelled booting>cancelled looking>cancelled ordered>cancelled held>cancelled
cancel begun: \n";
        assert_eq!(table, expected);
    }

    #[test]
    fn ended_jobs_take_no_edge() {
        for (edge, take) in EDGES {
            let reason = "r".to_owned();
            for ended in [
                JobState::Done { action: Action::Keep },
                JobState::Cancelled,
                JobState::RolledBack { reason },
            ] {
                assert!(take(ended).is_err(), "{edge}");
            }
        }
    }

    #[test]
    fn a_step_beyond_the_last_never_begins() {
        assert!(begin(JobState::Acting { step: 1, steps: 2 }, 2, 2).is_err());
        assert!(begin(JobState::Ordered, 0, 0).is_err());
        assert!(begin(JobState::Ordered, u32::MAX, 2).is_err());
    }
}
