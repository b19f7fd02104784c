//! The one boot decision (invariant 8): what a machine that asks the network does next.
//!
//! The rules are tried in order; the first that applies decides. Danger comes first: a machine
//! whose disk is half-written must never boot it, whatever else is known.
//!
//! | rule | when | directive |
//! |---|---|---|
//! | R1 | irreversible work has begun, attempts remain | ramdisk for the job |
//! | R2 | irreversible work has begun, attempts used up | hold, never boot local |
//! | R3 | held; its disks are nobody's: erased, or declared new | hold, never boot local |
//! | R3 | held otherwise | hold, boots what it has |
//! | R4 | unknown or never inventoried, attempts remain | ramdisk to discover |
//! | R5 | unknown or never inventoried, attempts used up | hold, boots what it has |
//! | R6 | not approved, attempts remain | ramdisk to discover (waits there) |
//! | R7 | not approved, attempts used up | hold, boots what it has |
//! | R8 | a job wants the ramdisk, attempts remain | ramdisk for the job |
//! | R9 | a job wants the ramdisk, attempts used up | hold, boots what it has |
//! | R10 | a job waits for the system to come up | local |
//! | R11 | nothing is wanted | local |

use contract::id::JobId;

/// What the service knows about a node, as far as booting is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBootFacts {
    /// The node is in the store.
    pub known: bool,
    /// An operator or a rule has approved it.
    pub approved: bool,
    /// Why it is held, if it is.
    pub hold: Option<String>,
    /// Its disks are nobody's, whatever is assigned to it: there is nothing on them to boot.
    pub empty: bool,
    /// How far its discovery is.
    pub discovery: DiscoveryFacts,
    /// Its open job.
    pub job: Option<JobBootFacts>,
}

/// How far the discovery of a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscoveryFacts {
    /// The ramdisk has reported an inventory.
    pub inventoried: bool,
    /// How often the ramdisk was handed out for discovery.
    pub attempts: u32,
    /// How often it may be handed out.
    pub attempts_max: u32,
}

/// What an open job means for booting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobBootFacts {
    /// Which job.
    pub id: JobId,
    /// It has work for the ramdisk; false while it waits for the installed system to come up.
    pub wants_ramdisk: bool,
    /// How often the ramdisk was handed out for it.
    pub attempts: u32,
    /// How often it may be handed out.
    pub attempts_max: u32,
    /// `begin` was recorded and no proven `finish` since: the disk may be half-written.
    pub irreversible_begun: bool,
}

/// Why a machine gets the ramdisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be inventoried, or to wait for approval.
    Discover,
    /// For this job.
    Job(JobId),
}

/// What a machine does next. Made by [`boot_decision`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootDirective {
    /// Boot the local disk at once.
    Local {
        /// For console and log.
        reason: String,
    },
    /// Boot the ramdisk. Whoever hands it out counts one more attempt first.
    Ramdisk {
        /// What for.
        purpose: Purpose,
    },
    /// Show the reason; then boot what it has, if it may.
    Hold {
        /// For console and log.
        reason: String,
        /// False while a half-written disk must not be booted.
        may_boot_local: bool,
    },
}

/// Decides; see the module's table of rules.
#[must_use]
pub fn boot_decision(facts: &NodeBootFacts) -> BootDirective {
    if let Some(job) = facts.job.as_ref().filter(|job| job.irreversible_begun) {
        return unfinished(job, facts.hold.as_deref());
    }
    if let Some(reason) = &facts.hold {
        return BootDirective::Hold { reason: reason.clone(), may_boot_local: !facts.empty }; // R3
    }
    let discovery = facts.discovery;
    let discovered = facts.known && discovery.inventoried;
    if !discovered || !facts.approved {
        if discovery.attempts < discovery.attempts_max {
            return BootDirective::Ramdisk { purpose: Purpose::Discover }; // R4, R6
        }
        let tried = format!("discovery attempts are used up ({})", discovery.attempts_max);
        return if discovered {
            hold(format!("waits for approval; {tried}")) // R7
        } else {
            hold(format!("was never inventoried; {tried}")) // R5
        };
    }
    match &facts.job {
        Some(job) if job.wants_ramdisk && job.attempts < job.attempts_max => {
            BootDirective::Ramdisk { purpose: Purpose::Job(job.id) } // R8
        }
        Some(job) if job.wants_ramdisk => {
            hold(format!("job {}: ramdisk attempts are used up ({})", job.id, job.attempts_max)) // R9
        }
        Some(job) => {
            BootDirective::Local { reason: format!("job {}: the installed system comes up", job.id) } // R10
        }
        None => BootDirective::Local { reason: "nothing to do".to_owned() }, // R11
    }
}

/// R1 and R2.
fn unfinished(job: &JobBootFacts, held: Option<&str>) -> BootDirective {
    if job.attempts < job.attempts_max {
        return BootDirective::Ramdisk { purpose: Purpose::Job(job.id) };
    }
    let because = held.map(|reason| format!("; {reason}")).unwrap_or_default();
    BootDirective::Hold {
        reason: format!(
            "job {} has begun to write and was not finished; attempts are used up ({}){because}",
            job.id, job.attempts_max
        ),
        may_boot_local: false,
    }
}

fn hold(reason: String) -> BootDirective {
    BootDirective::Hold { reason, may_boot_local: true }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any};
    use proptest::{prop_assert, proptest};

    use super::*;

    fn job_id() -> JobId {
        "018f0000-0000-7000-8000-000000000001".parse().unwrap()
    }

    fn ready() -> NodeBootFacts {
        NodeBootFacts {
            known: true,
            approved: true,
            hold: None,
            empty: false,
            discovery: DiscoveryFacts { inventoried: true, attempts: 1, attempts_max: 3 },
            job: None,
        }
    }

    fn job(wants_ramdisk: bool, attempts: u32, irreversible_begun: bool) -> Option<JobBootFacts> {
        Some(JobBootFacts { id: job_id(), wants_ramdisk, attempts, attempts_max: 3, irreversible_begun })
    }

    fn discovery(inventoried: bool, attempts: u32) -> DiscoveryFacts {
        DiscoveryFacts { inventoried, attempts, attempts_max: 3 }
    }

    const FOR_JOB: fn() -> BootDirective = || BootDirective::Ramdisk { purpose: Purpose::Job(job_id()) };
    const DISCOVER: BootDirective = BootDirective::Ramdisk { purpose: Purpose::Discover };

    fn is_hold(facts: &NodeBootFacts, boots_local: bool, word: &str) {
        match boot_decision(facts) {
            BootDirective::Hold { reason, may_boot_local } => {
                assert_eq!(may_boot_local, boots_local, "{reason}");
                assert!(reason.contains(word), "{reason} lacks {word}");
            }
            other => panic!("not held: {other:?}"),
        }
    }

    #[test]
    fn r1_begun_work_goes_on_even_if_held_or_unapproved() {
        for (hold, empty) in
            [(None, false), (Some("operator".to_owned()), false), (Some("nobody's".into()), true)]
        {
            for (approved, wants) in [(true, true), (false, true), (true, false)] {
                let job = job(wants, 2, true);
                let facts = NodeBootFacts { approved, hold: hold.clone(), empty, job, ..ready() };
                assert_eq!(boot_decision(&facts), FOR_JOB());
            }
        }
    }

    #[test]
    fn r2_begun_work_out_of_attempts_never_boots_the_disk() {
        is_hold(&NodeBootFacts { job: job(true, 3, true), ..ready() }, false, "not finished");
        let held = NodeBootFacts { hold: Some("disk is failing".into()), job: job(true, 9, true), ..ready() };
        is_hold(&held, false, "disk is failing");
    }

    #[test]
    fn r3_held_boots_what_it_has() {
        let facts = NodeBootFacts { hold: Some("quarantine".into()), job: job(true, 0, false), ..ready() };
        is_hold(&facts, true, "quarantine");
    }

    #[test]
    fn r3_held_with_nothing_on_its_disks_boots_nothing() {
        let facts = NodeBootFacts { hold: Some("left empty".into()), empty: true, ..ready() };
        is_hold(&facts, false, "left empty");
        assert!(matches!(
            boot_decision(&NodeBootFacts { empty: true, ..ready() }),
            BootDirective::Local { .. }
        ));
    }

    #[test]
    fn r4_unknown_or_never_inventoried_is_discovered() {
        let unknown =
            NodeBootFacts { known: false, approved: false, discovery: discovery(false, 0), ..ready() };
        assert_eq!(boot_decision(&unknown), DISCOVER);
        // Approved beforehand by a rule, but nobody has looked at it yet; a job waits for that too.
        let unseen = NodeBootFacts { discovery: discovery(false, 2), job: job(true, 0, false), ..ready() };
        assert_eq!(boot_decision(&unseen), DISCOVER);
        // "Inventoried" of a node that is not known is not believed.
        let odd = NodeBootFacts { known: false, ..ready() };
        assert_eq!(boot_decision(&odd), DISCOVER);
    }

    #[test]
    fn r5_discovery_does_not_loop() {
        is_hold(&NodeBootFacts { discovery: discovery(false, 3), ..ready() }, true, "never inventoried");
    }

    #[test]
    fn r6_unapproved_waits_in_the_ramdisk() {
        let facts = NodeBootFacts { approved: false, discovery: discovery(true, 2), ..ready() };
        assert_eq!(boot_decision(&facts), DISCOVER);
    }

    #[test]
    fn r7_waiting_for_approval_does_not_loop() {
        let facts = NodeBootFacts { approved: false, discovery: discovery(true, 3), ..ready() };
        is_hold(&facts, true, "approval");
    }

    #[test]
    fn r8_a_job_gets_the_ramdisk() {
        assert_eq!(boot_decision(&NodeBootFacts { job: job(true, 2, false), ..ready() }), FOR_JOB());
    }

    #[test]
    fn r9_a_job_does_not_loop() {
        is_hold(&NodeBootFacts { job: job(true, 3, false), ..ready() }, true, "used up");
    }

    #[test]
    fn r10_a_job_that_waits_for_the_system_boots_local() {
        let directive = boot_decision(&NodeBootFacts { job: job(false, 1, false), ..ready() });
        assert!(matches!(directive, BootDirective::Local { reason } if reason.contains("comes up")));
    }

    #[test]
    fn r11_nothing_to_do_boots_local() {
        assert!(matches!(boot_decision(&ready()), BootDirective::Local { .. }));
    }

    fn any_facts() -> impl Strategy<Value = NodeBootFacts> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (flags, any::<bool>(), 0..5u32, 0..5u32, any::<Option<(bool, bool)>>()).prop_map(
            |((known, approved, held, inventoried), empty, attempts, tries, of_job)| NodeBootFacts {
                known,
                approved,
                hold: held.then(|| "held".to_owned()),
                empty,
                discovery: discovery(inventoried, attempts),
                job: of_job.and_then(|(wants, begun)| job(wants, tries, begun)),
            },
        )
    }

    proptest! {
        /// Invariant 7: whoever follows the directives and counts attempts stops getting the ramdisk.
        #[test]
        fn a_node_never_loops(mut facts in any_facts()) {
            for _ in 0..8 {
                match boot_decision(&facts) {
                    BootDirective::Ramdisk { purpose: Purpose::Discover } => facts.discovery.attempts += 1,
                    BootDirective::Ramdisk { purpose: Purpose::Job(_) } => {
                        facts.job.as_mut().unwrap().attempts += 1;
                    }
                    BootDirective::Local { .. } | BootDirective::Hold { .. } => return Ok(()),
                }
            }
            prop_assert!(false, "still gets the ramdisk: {facts:?}");
        }

        /// Nobody is told to boot what was erased.
        #[test]
        fn a_held_empty_node_is_never_booted(facts in any_facts()) {
            let held = facts.hold.is_some() && facts.empty && facts.job.is_none();
            let booted_never =
                matches!(boot_decision(&facts), BootDirective::Hold { may_boot_local: false, .. });
            prop_assert!(!held || booted_never);
        }

        /// A disk that may be half-written is never booted.
        #[test]
        fn a_half_written_disk_is_never_booted(facts in any_facts()) {
            if facts.job.is_some_and(|job| job.irreversible_begun) {
                let booted = match boot_decision(&facts) {
                    BootDirective::Local { .. } => true,
                    BootDirective::Hold { may_boot_local, .. } => may_boot_local,
                    BootDirective::Ramdisk { .. } => false,
                };
                prop_assert!(!booted);
            }
        }
    }
}
