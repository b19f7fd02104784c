//! One look at a machine through its controller: which questions are asked, one after the other, and what they
//! amount to. Whoever has the connection asks [`Look::next_question`] and hands in what came ([`Look::answered`]) until
//! nothing is left to be asked.
//!
//! Bounds: [`QUESTIONS_MAX`] questions, each once; [`ANSWER_BYTES_MAX`] bytes an answer; links of the controller
//! itself only ([`Link`]).

use std::collections::{BTreeSet, VecDeque};

use contract::bmc::{BAD_PARTS_MAX, BmcPart, BmcPartKind, BmcTold, UNREAD_MAX};
use contract::id::UnixMillis;
use serde_json::Value;

use crate::condition::Said;
use crate::document::{self, clean};
use crate::identity::Expected;
use crate::link::Link;
use crate::visit::{Context, Question, SystemSeen, Topic};

/// How many questions a look asks at most. A machine with three hundred sensors that tells each of them apart is
/// not read whole, and says so.
pub const QUESTIONS_MAX: usize = 200;
/// The longest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How many parts are looked at.
const PARTS_MAX: u32 = 5_000;

/// Why a look came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// Something without which nothing can be told was not answered.
    #[error("{what} could not be read: {why}")]
    Unread {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// The controller speaks of another machine.
    #[error(
        "it speaks of another machine than this node: {shown}; look which controller belongs to which node"
    )]
    OtherMachine {
        /// Of which.
        shown: String,
    },
    /// The machine is not on, so its sensors say nothing of how it works.
    #[error("it says that the machine is not switched on (PowerState {state})")]
    NotOn {
        /// Its power state.
        state: String,
    },
    /// The controller answered, and nothing that it said was about a sensor.
    #[error("it tells nothing of temperatures, fans and power supplies")]
    Nothing,
}

/// One look.
#[derive(Debug)]
pub struct Look {
    pub(crate) expected: Expected,
    pub(crate) context: Context,
    waiting: VecDeque<Question>,
    asked: BTreeSet<(String, bool)>,
    under_way: Option<Question>,
    pub(crate) systems: Vec<SystemSeen>,
    good: u32,
    not_told: u32,
    bad: Vec<BmcPart>,
    unread: Vec<String>,
    failed: Option<LookError>,
}

impl Look {
    /// Begins a look at the machine that is meant.
    #[must_use]
    pub fn at(expected: Expected) -> Self {
        Self {
            expected,
            context: Context::default(),
            waiting: VecDeque::from([Question::about(Topic::Root, Link::root())]),
            asked: BTreeSet::new(),
            under_way: None,
            systems: Vec::new(),
            good: 0,
            not_told: 0,
            bad: Vec::new(),
            unread: Vec::new(),
            failed: None,
        }
    }

    /// The path and query that is to be asked for next; none if the look is over.
    pub fn next_question(&mut self) -> Option<String> {
        while self.failed.is_none() {
            let question = self.waiting.pop_front()?;
            if self.asked.len() >= QUESTIONS_MAX {
                self.waiting.clear();
                self.leave_unread(
                    "the rest",
                    &format!("after {QUESTIONS_MAX} questions nothing more is asked"),
                );
                return None;
            }
            let path = question.path();
            if self.asked.insert((path.clone(), question.expand)) {
                self.under_way = Some(question);
                return Some(path);
            }
        }
        None
    }

    /// What came of the question that was asked last: the body of an answer, or why there is none.
    pub fn answered(&mut self, answer: Result<&[u8], &str>) {
        let Some(question) = self.under_way.take() else { return };
        match answer.map_err(str::to_owned).and_then(document::parse) {
            Ok(document) => self.visit(&question, &document),
            Err(why) => self.unanswered(question, &clean(&why)),
        }
        if !self.waiting.iter().any(Question::comes_before_choosing) {
            self.choose_system();
        }
    }

    /// What the look amounts to, at this time.
    ///
    /// # Errors
    /// If it amounts to nothing: see [`LookError`].
    pub fn finish(mut self, observed_at: UnixMillis) -> Result<BmcTold, LookError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let unfinished = self.under_way.is_some() || !self.waiting.is_empty();
        if unfinished {
            self.leave_unread("the rest", "the look was broken off");
        }
        // Parts that nothing is told about are no sensors that find it well.
        if self.good == 0 && self.bad.is_empty() && self.unread.is_empty() {
            return Err(LookError::Nothing);
        }
        self.bad.sort_by(|one, other| {
            let key = |part: &BmcPart| {
                (std::cmp::Reverse(part.condition), part.kind, part.name.clone(), part.said.clone())
            };
            key(one).cmp(&key(other))
        });
        self.bad.dedup();
        let bad_total = u32::try_from(self.bad.len()).unwrap_or(u32::MAX);
        self.bad.truncate(BAD_PARTS_MAX);
        self.unread.sort();
        self.unread.dedup();
        self.unread.truncate(UNREAD_MAX);
        let Self { good, not_told, bad, unread, .. } = self;
        Ok(BmcTold { observed_at, good, not_told, bad_total, bad, unread })
    }

    pub(crate) fn ask(&mut self, question: Question) {
        self.waiting.push_back(question);
    }

    /// Asks for what a controller links to; a link that is not followed is something that could not be read.
    pub(crate) fn ask_linked(&mut self, topic: Topic, address: &str) {
        match Link::parse(address) {
            Ok(link) => self.ask(Question::about(topic, link)),
            Err(error) => self.leave_unread(topic.name(), &error.to_string()),
        }
    }

    pub(crate) fn fail(&mut self, error: LookError) {
        self.failed.get_or_insert(error);
    }

    /// Notes what could not be read. The first word tells where.
    pub(crate) fn leave_unread(&mut self, what: &str, why: &str) {
        // A controller that fails at everything says so a few times, not two hundred.
        if self.unread.len() < 4 * UNREAD_MAX {
            self.unread.push(clean(&format!("{}: {why}", clean(what))));
        }
    }

    /// What could not be read first, or else this.
    pub(crate) fn why_unread(&self, otherwise: &str) -> String {
        self.unread.first().cloned().unwrap_or_else(|| otherwise.to_owned())
    }

    /// Takes in what was said of a part.
    pub(crate) fn take(&mut self, kind: BmcPartKind, name: &str, said: Said) {
        if self.good + self.not_told >= PARTS_MAX || self.bad.len() >= PARTS_MAX as usize {
            return self.leave_unread("the rest", &format!("more than {PARTS_MAX} parts are told of"));
        }
        match said {
            Said::NotThere => {}
            Said::NotTold => self.not_told += 1,
            Said::Good => self.good += 1,
            Said::Bad(condition, said) => {
                self.bad.push(BmcPart { kind, name: clean(name), condition, said });
            }
        }
    }

    fn unanswered(&mut self, question: Question, why: &str) {
        // Not every controller that says so can put the members of a collection into one answer.
        if question.expand {
            return self.ask(Question { expand: false, ..question });
        }
        let what = question.link.to_string();
        match question.topic {
            Topic::Root | Topic::Systems => self.fail(LookError::Unread { what, why: why.to_owned() }),
            // The older and the newer schema tell the same; one of them is enough.
            Topic::Thermal { instead } | Topic::Power { instead } if !instead.is_empty() => {
                instead.into_iter().for_each(|question| self.ask(question));
            }
            _ => self.leave_unread(&what, why),
        }
    }

    fn visit(&mut self, question: &Question, document: &Value) {
        crate::visit::visit(self, question, document);
    }
}
