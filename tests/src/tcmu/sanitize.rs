//! The sanitize state machine (SBC-4, "Sanitize operations").
//!
//! ```text
//!                 start                      ended well
//!  ┌──► Idle ──────────────► Running ─────────────────────► Idle
//!  │                          │    ▲ ended badly ▼
//!  │      exit failure        │    │ start (AUSE 0 only, if it was restricted)
//!  └── (unrestricted only) ── Failed ┘
//! ```
//!
//! Nothing stops a sanitize: a reset does not, and after a power cycle it goes on. It stands still only
//! while there is no power.

use std::time::Duration;

use super::lies::ProgressLie;
use super::sense::Sense;

/// How long each takes.
const TAKES: Duration = Duration::from_millis(1500);
/// The whole way, in parts of 65536.
const WHOLE: u64 = 65_536;

/// What a sanitize does to the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Overwrite with this byte.
    Overwrite(u8),
    /// Block erase.
    Block,
    /// Cryptographic erase.
    Crypto,
}

/// Where the sanitize is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is going on.
    Idle,
    /// It is going on.
    Running {
        /// What.
        action: Action,
        /// Failing leaves the disk restricted (AUSE 0).
        restricted: bool,
        /// How long it has been at it, with power.
        spent: Duration,
    },
    /// It failed.
    Failed {
        /// Only another restricted sanitize leads out.
        restricted: bool,
    },
}

/// The sanitize of a disk.
#[derive(Debug, Clone)]
pub struct Sanitize {
    phase: Phase,
    seen_at: Duration,
    powered: bool,
}

impl Sanitize {
    /// Never started.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: Phase::Idle, seen_at: Duration::ZERO, powered: true }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Starts one.
    ///
    /// # Errors
    /// The sense data with which the command is refused.
    pub fn start(&mut self, action: Action, restricted: bool, lie: ProgressLie) -> Result<(), Sense> {
        match self.phase {
            Phase::Running { .. } => Err(Sense::sanitizing(self.progress_65536(lie))),
            Phase::Failed { restricted: true } if !restricted => Err(Sense::SANITIZE_FAILED),
            Phase::Idle | Phase::Failed { .. } => {
                self.phase = Phase::Running { action, restricted, spent: Duration::ZERO };
                Ok(())
            }
        }
    }

    /// EXIT FAILURE MODE: back to work after a failure, with nothing sanitized.
    ///
    /// # Errors
    /// The sense data with which the command is refused.
    pub fn exit_failure(&mut self, lie: ProgressLie) -> Result<(), Sense> {
        match self.phase {
            Phase::Running { .. } => Err(Sense::sanitizing(self.progress_65536(lie))),
            Phase::Failed { restricted: true } => Err(Sense::SANITIZE_FAILED),
            Phase::Failed { restricted: false } | Phase::Idle => {
                self.phase = Phase::Idle;
                Ok(())
            }
        }
    }

    /// Time has passed. The action that ended well just now, if one did.
    pub fn advance(&mut self, now: Duration, lie: ProgressLie) -> Option<Action> {
        let passed = now.saturating_sub(self.seen_at);
        self.seen_at = now;
        let Phase::Running { action, restricted, spent } = self.phase else { return None };
        let spent = if self.powered { spent.saturating_add(passed) } else { spent };
        self.phase = Phase::Running { action, restricted, spent };
        match lie {
            ProgressLie::FailsAt(at) if reached(spent) >= u64::from(at) => {
                self.phase = Phase::Failed { restricted };
                None
            }
            ProgressLie::Honest if reached(spent) >= WHOLE => {
                self.phase = Phase::Idle;
                Some(action)
            }
            ProgressLie::StuckAt(_) | ProgressLie::FailsAt(_) | ProgressLie::Honest => None,
        }
    }

    /// What it says of its progress.
    #[must_use]
    pub fn progress_65536(&self, lie: ProgressLie) -> u16 {
        let Phase::Running { spent, .. } = self.phase else { return u16::MAX };
        let most = match lie {
            ProgressLie::StuckAt(at) => at,
            ProgressLie::Honest | ProgressLie::FailsAt(_) => u16::MAX,
        };
        u16::try_from(reached(spent)).unwrap_or(u16::MAX).min(most)
    }

    /// The power goes or comes. Time up to `now` has been counted by [`Sanitize::advance`].
    pub fn power(&mut self, powered: bool) {
        self.powered = powered;
    }

    /// It forgets that it failed, without having done anything.
    pub fn forget_failure(&mut self) {
        if let Phase::Failed { .. } = self.phase {
            self.phase = Phase::Idle;
        }
    }
}

impl Default for Sanitize {
    fn default() -> Self {
        Self::new()
    }
}

fn reached(spent: Duration) -> u64 {
    // The quotient of two short times fits.
    (spent.as_millis() as u64).saturating_mul(WHOLE) / TAKES.as_millis() as u64
}

/// The byte of an overwrite, from its parameter list: how often (byte 0 bits 4:0), the length of the
/// pattern (bytes 2 and 3), the pattern. This disk takes patterns of one byte over and over, not inverted.
///
/// # Errors
/// The sense data with which the command is refused.
pub fn overwrite_pattern(list_bytes: u16, list: &[u8]) -> Result<u8, Sense> {
    let list = list.get(..usize::from(list_bytes)).ok_or(Sense::BAD_FIELD)?;
    let [passes, _, high, low, pattern @ ..] = list else { return Err(Sense::BAD_PARAMETER) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let once_or_more = passes & 0x1f != 0 && passes & 0x80 == 0;
    match pattern {
        [first, ..]
            if once_or_more && pattern.len() == length && pattern.iter().all(|byte| byte == first) =>
        {
            Ok(*first)
        }
        _ => Err(Sense::BAD_PARAMETER),
    }
}
