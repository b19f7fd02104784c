use contract::decision::{Axis, Confidentiality, Finding, Severity};
use contract::history::ImageOutcome;
use contract::id::{Digest, EvidenceId, PolicyDigest};
use contract::reading::Subject;
use netboot::directive::{BootDirective, DiscoveryFacts, JobBootFacts, NodeBootFacts, boot_decision};
use proptest::prelude::{any, proptest};
use proptest::{collection, prop_assert, prop_assert_eq};
use uuid::Uuid;

use super::*;

const ATTEMPTS_MAX: u32 = 3;

fn image(name: &str) -> ImageId {
    ImageId(Digest::of(name.as_bytes()))
}

fn decision(action: Action, integrity: Integrity, fitness: Fitness, rules: &[&str]) -> Decision {
    let finding = |rule: &&str| Finding {
        rule: (*rule).to_owned(),
        axis: Axis::Request,
        severity: Severity::Unknown,
        subject: Subject::Node,
        key: None,
        observed: String::new(),
        threshold: String::new(),
        source: String::new(),
        statement: String::new(),
    };
    Decision {
        node: NodeId(Uuid::nil()),
        evidence: EvidenceId(Uuid::nil()),
        decided_at: UnixMillis(0),
        confidentiality: Confidentiality::KeepData,
        integrity,
        fitness,
        action,
        reasons: rules.iter().map(finding).collect(),
        rejected: Vec::new(),
        what_would_change_it: Vec::new(),
        findings: Vec::new(),
        policy: PolicyDigest(Digest::of(b"")),
        engine: String::new(),
        model: None,
        costs: Vec::new(),
        forecast: Vec::new(),
        readiness: None,
        remedies: Vec::new(),
    }
}

#[test]
fn what_a_first_report_says() {
    use FirstReport::{AsAsked, ImageFailed, Otherwise};
    let (a, b) = (Some(image("A")), Some(image("B")));
    let (intact, altered) = (Integrity::Intact, Integrity::Repair);
    let (fit, failing) = (Fitness::Fit, Fitness::Quarantine);
    let trust: &[&str] = &[SEEN_FROM_RAMDISK];
    let table = [
        (a, a, decision(Action::Keep, intact, fit, &[]), AsAsked),
        (a, a, decision(Action::Keep, intact, Fitness::Watch, &["x"]), AsAsked),
        (a, b, decision(Action::Keep, intact, fit, &[]), Otherwise),
        (a, None, decision(Action::Keep, intact, fit, &[]), Otherwise),
        (None, None, decision(Action::Keep, intact, fit, &[]), Otherwise),
        (a, a, decision(Action::LookDeeper, intact, fit, trust), AsAsked),
        (a, b, decision(Action::LookDeeper, intact, fit, trust), Otherwise),
        (a, a, decision(Action::LookDeeper, intact, failing, trust), Otherwise),
        (a, a, decision(Action::LookDeeper, Integrity::Reimage, fit, trust), Otherwise),
        (a, a, decision(Action::LookDeeper, intact, fit, &[SEEN_FROM_RAMDISK, "y"]), Otherwise),
        (a, a, decision(Action::LookDeeper, intact, fit, &[]), Otherwise),
        (a, a, decision(Action::Repair, altered, fit, &[]), ImageFailed),
        (a, b, decision(Action::Reimage, Integrity::Reimage, fit, &[]), ImageFailed),
        (a, a, decision(Action::Wipe, intact, fit, &[]), Otherwise),
        (a, b, decision(Action::Quarantine, Integrity::Reimage, failing, &[]), Otherwise),
    ];
    for (assigned, installed, decision, expected) in table {
        let found = first_report(assigned, installed, &decision);
        assert_eq!(found, expected, "{assigned:?} {installed:?} {:?}", decision.action);
    }
}

/// A node with one job, as the service leads it: the boot decision, the job's edges, the history and
/// [`way_back`] are the real ones; only the database is left out.
struct Node {
    state: JobState,
    attempts: u32,
    coming_up_boots: u32,
    unfinished: bool,
    went_back: bool,
    protected: bool,
    automatic: bool,
    images: Vec<PastImage>,
    assigned: ImageId,
    job: JobId,
    tenant: TenantId,
    writes: u32,
}

impl Node {
    fn new(earlier: &str, automatic: bool, protected: bool) -> Self {
        let tenant: TenantId = "t".parse().unwrap();
        let mut images = Vec::new();
        if !earlier.is_empty() {
            history::good(&mut images, image(earlier), Some(tenant.clone()), UnixMillis(1));
        }
        Self {
            state: JobState::Waiting,
            attempts: 0,
            coming_up_boots: 0,
            unfinished: false,
            went_back: false,
            protected,
            automatic,
            images,
            assigned: image("B"),
            job: JobId(Uuid::from_u128(1)),
            tenant,
            writes: 0,
        }
    }

    fn edge(&mut self, edge: impl FnOnce(JobState) -> Result<JobState, state::TransitionRefused>) {
        self.state = edge(self.state.clone()).unwrap();
    }

    fn failed(&mut self) {
        let facts = Facts {
            automatic: self.automatic,
            protected: self.protected,
            went_back: self.went_back,
            images: &self.images,
            job: self.job,
            tenant: Some(&self.tenant),
        };
        let way = way_back(facts);
        history::failed(&mut self.images, self.job, "failed", UnixMillis(2));
        match way {
            Ok(to) => {
                self.edge(state::go_back);
                assert!(!self.went_back, "twice");
                assert_ne!(to, self.assigned);
                (self.went_back, self.assigned) = (true, to);
                (self.attempts, self.coming_up_boots) = (0, 0);
            }
            Err(why) => self.edge(|job| state::hold(job, why)),
        }
    }

    /// The machine comes to the network once. `what` is what it does then.
    fn boots(&mut self, what: u8) {
        if self.state == JobState::ComingUp {
            self.coming_up_boots += 1;
            if self.coming_up_boots > ATTEMPTS_MAX {
                self.failed();
            }
        }
        let held = matches!(self.state, JobState::Held { .. });
        let facts = NodeBootFacts {
            known: true,
            approved: true,
            hold: held.then(String::new),
            empty: false,
            discovery: DiscoveryFacts { inventoried: true, attempts: 0, attempts_max: ATTEMPTS_MAX },
            job: state::is_open(&self.state).then(|| JobBootFacts {
                id: self.job,
                wants_ramdisk: state::wants_ramdisk(&self.state),
                attempts: self.attempts,
                attempts_max: ATTEMPTS_MAX,
                irreversible_begun: self.unfinished,
            }),
        };
        match boot_decision(&facts) {
            BootDirective::Ramdisk { .. } => self.ramdisk(what),
            BootDirective::Local { .. } if self.state == JobState::ComingUp => match what % 4 {
                0 => self.first_report(FirstReport::AsAsked),
                1 => self.first_report(FirstReport::ImageFailed),
                2 => self.first_report(FirstReport::Otherwise),
                _ => {}
            },
            BootDirective::Hold { .. } if !held => self.edge(|job| state::hold(job, "used up".to_owned())),
            BootDirective::Local { .. } | BootDirective::Hold { .. } => {}
        }
    }

    fn ramdisk(&mut self, what: u8) {
        self.attempts += 1;
        let attempt = self.attempts;
        self.edge(|job| state::hand_out(job, attempt));
        if what & 1 == 0 || matches!(self.state, JobState::Held { .. }) {
            return;
        }
        self.edge(state::enroll);
        self.edge(state::order);
        self.edge(|job| state::begin(job, 0, 1));
        self.unfinished = true;
        self.writes += 1;
        history::writing(&mut self.images, self.assigned, Some(self.tenant.clone()), self.job, UnixMillis(3));
        if what & 2 == 0 {
            return;
        }
        self.edge(state::come_up);
        self.unfinished = false;
        history::proven(&mut self.images, self.job, UnixMillis(4));
    }

    fn first_report(&mut self, says: FirstReport) {
        match says {
            FirstReport::AsAsked if self.went_back => {
                self.edge(|job| state::settle_back(job, String::new()));
            }
            FirstReport::AsAsked => self.edge(|job| state::settle(job, Action::Reimage)),
            FirstReport::ImageFailed => self.failed(),
            FirstReport::Otherwise => self.edge(|job| state::hold(job, "hardware".to_owned())),
        }
    }
}

proptest! {
    /// Invariant 7: whatever the machine does, it goes back at most once, its disk is written a bounded
    /// number of times, and it comes to rest.
    #[test]
    fn a_node_that_goes_back_never_loops(
        does in collection::vec(any::<u8>(), 1..40),
        earlier in proptest::sample::select(vec!["", "A", "B"]),
        automatic in any::<bool>(),
        protected in any::<bool>(),
    ) {
        let mut node = Node::new(earlier, automatic, protected);
        let rests = |node: &Node| {
            matches!(node.state, JobState::Held { .. }) && !node.unfinished || !state::is_open(&node.state)
        };
        // On each of the two ways at most the attempts for the ramdisk and those for the system, and
        // one boot more that finds them used up.
        let boots_max = 2 * (2 * ATTEMPTS_MAX + 2);
        let mut boots = 0;
        while !rests(&node) && boots <= boots_max {
            if matches!(node.state, JobState::Held { .. }) && node.attempts >= ATTEMPTS_MAX {
                break;
            }
            node.boots(does[boots as usize % does.len()]);
            boots += 1;
        }
        prop_assert!(boots <= boots_max, "still goes on: {:?}", node.state);
        prop_assert!(node.writes <= 2 * ATTEMPTS_MAX);
        let may = automatic && !protected && earlier == "A";
        prop_assert!(!node.went_back || may, "went back where it must not");
        prop_assert_eq!(node.went_back, node.assigned == image("A"));
        if let JobState::RolledBack { .. } = node.state {
            prop_assert!(node.went_back);
        }
        if let JobState::Done { .. } = node.state {
            prop_assert!(!node.went_back, "done, though not what was asked for");
        }
    }
}

#[test]
fn what_is_not_known_to_have_worked_is_no_way_back() {
    let mut node = Node::new("A", true, false);
    node.images[0].outcome = ImageOutcome::ComingUp;
    node.ramdisk(3);
    node.first_report(FirstReport::ImageFailed);
    assert!(matches!(&node.state, JobState::Held { reason } if reason.contains("known to have worked")));
}
