//! The sanitize state machine (NVM Express Base Specification 1.4, section 8.15).
//!
//! ```text
//!                 start                      ended well
//!  ┌──► Idle ──────────────► Running ─────────────────────► Idle
//!  │      ▲                   │ ▲  ▲ ended badly
//!  │      │  exit_failure     │ │  │ start (any)
//!  │      └───────────────────┼─┼──┴── Failed, unrestricted (AUSE 1)
//!  │                          │ │
//!  │                          ▼ │ start (AUSE 0 only)
//!  └─(never)─────────────── Failed, restricted (AUSE 0)
//! ```
//!
//! Nothing stops a sanitize: a reset does not, and after a power cycle it goes on. It stands still only
//! while there is no power.

use std::time::Duration;

use super::command::Status;
use super::lies::ProgressLie;

/// What a sanitize does to the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Block erase.
    Block,
    /// Overwrite with this pattern.
    Overwrite(u32),
    /// Cryptographic erase.
    Crypto,
}

impl Action {
    fn index(self) -> usize {
        match self {
            Self::Block => 0,
            Self::Overwrite(_) => 1,
            Self::Crypto => 2,
        }
    }
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
        /// Failing leaves the device restricted.
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

/// The sanitize of a subsystem.
#[derive(Debug, Clone)]
pub struct Sanitize {
    phase: Phase,
    seen_at: Duration,
    powered: bool,
    /// SSTAT bits 2:0 of the last that ended.
    last: u16,
    /// Dword 10 of the last that was started.
    dword_10: u32,
    /// How long each action takes: block erase, overwrite, cryptographic erase.
    takes: [Duration; 3],
}

/// Sanitize status of log page 81h, bits 2:0.
const STATUS_NEVER: u16 = 0;
const STATUS_DONE: u16 = 1;
const STATUS_RUNNING: u16 = 2;
const STATUS_FAILED: u16 = 3;
/// Global Data Erased, bit 8.
const STATUS_ERASED: u16 = 1 << 8;

impl Sanitize {
    /// Never started; block erase, overwrite and cryptographic erase take this long.
    #[must_use]
    pub fn new(takes: [Duration; 3]) -> Self {
        Self {
            phase: Phase::Idle,
            seen_at: Duration::ZERO,
            powered: true,
            last: STATUS_NEVER,
            dword_10: 0,
            takes,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Starts one, as dwords 10 and 11 of the command say.
    ///
    /// # Errors
    /// The status that the command gets.
    pub fn start(&mut self, dword_10: u32, dword_11: u32) -> Result<(), Status> {
        let restricted = dword_10 & 0b1000 == 0;
        let action = match dword_10 & 0b111 {
            1 => return self.exit_failure(),
            2 => Action::Block,
            3 => Action::Overwrite(dword_11),
            4 => Action::Crypto,
            _ => return Err(Status::INVALID_FIELD),
        };
        match self.phase {
            Phase::Running { .. } => return Err(Status::SANITIZE_IN_PROGRESS),
            Phase::Failed { restricted: true } if !restricted => return Err(Status::SANITIZE_FAILED),
            Phase::Idle | Phase::Failed { .. } => {}
        }
        self.dword_10 = dword_10;
        self.phase = Phase::Running { action, restricted, spent: Duration::ZERO };
        Ok(())
    }

    /// Back to work after a failure, with nothing sanitized.
    fn exit_failure(&mut self) -> Result<(), Status> {
        match self.phase {
            Phase::Running { .. } => Err(Status::SANITIZE_IN_PROGRESS),
            Phase::Failed { restricted: true } => Err(Status::SANITIZE_FAILED),
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
        let reached = self.reached(action, spent);
        match lie {
            ProgressLie::FailsAt(at) if reached >= u64::from(at) => {
                self.phase = Phase::Failed { restricted };
                self.last = STATUS_FAILED;
                None
            }
            ProgressLie::StuckAt(_) => None,
            ProgressLie::Honest | ProgressLie::FailsAt(_) if reached > u64::from(u16::MAX) => {
                self.phase = Phase::Idle;
                self.last = STATUS_DONE;
                Some(action)
            }
            ProgressLie::Honest | ProgressLie::FailsAt(_) => None,
        }
    }

    /// The power goes or comes.
    pub fn power(&mut self, now: Duration, powered: bool) {
        if let Phase::Running { action, restricted, spent } = self.phase
            && self.powered
        {
            let spent = spent.saturating_add(now.saturating_sub(self.seen_at));
            self.phase = Phase::Running { action, restricted, spent };
        }
        self.seen_at = now;
        self.powered = powered;
    }

    /// Parts of 65536 that the time would have done.
    fn reached(&self, action: Action, spent: Duration) -> u64 {
        let takes = self.takes[action.index()].as_millis().max(1);
        u64::try_from(spent.as_millis().saturating_mul(65536) / takes).unwrap_or(u64::MAX)
    }

    /// Sanitize Status, log page 81h: progress, status, dword 10, estimates.
    #[must_use]
    pub fn log_page(&self, erased: bool, lie: ProgressLie) -> Vec<u8> {
        let (progress, mut status) = match self.phase {
            Phase::Idle | Phase::Failed { .. } => (u16::MAX, self.last),
            Phase::Running { action, spent, .. } => {
                let most = match lie {
                    ProgressLie::StuckAt(at) => at,
                    ProgressLie::Honest | ProgressLie::FailsAt(_) => u16::MAX - 1,
                };
                let reached = self.reached(action, spent).min(u64::from(most));
                (u16::try_from(reached).unwrap_or(most), STATUS_RUNNING)
            }
        };
        if erased && status != STATUS_RUNNING {
            status |= STATUS_ERASED;
        }
        let mut page = vec![0; 512];
        page[0..2].copy_from_slice(&progress.to_le_bytes());
        page[2..4].copy_from_slice(&status.to_le_bytes());
        page[4..8].copy_from_slice(&self.dword_10.to_le_bytes());
        // Overwrite, block erase, cryptographic erase; the same three without deallocation.
        for (place, takes) in [1, 0, 2, 1, 0, 2].map(|index| self.takes[index]).iter().enumerate() {
            let seconds = u32::try_from(takes.as_secs().max(1)).unwrap_or(u32::MAX);
            page[8 + 4 * place..12 + 4 * place].copy_from_slice(&seconds.to_le_bytes());
        }
        page
    }

    /// What every command that sanitize keeps away gets now; none if nothing is kept away.
    #[must_use]
    pub fn refusal(&self) -> Option<Status> {
        match self.phase {
            Phase::Idle => None,
            Phase::Running { .. } => Some(Status::SANITIZE_IN_PROGRESS),
            Phase::Failed { .. } => Some(Status::SANITIZE_FAILED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Phase, Sanitize};
    use crate::nvme_tcp::command::Status;
    use crate::nvme_tcp::lies::ProgressLie;
    use std::time::Duration;

    const HONEST: ProgressLie = ProgressLie::Honest;
    const BLOCK: u32 = 2;
    const BLOCK_UNRESTRICTED: u32 = 2 | 1 << 3;
    const EXIT: u32 = 1;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn sanitize() -> Sanitize {
        Sanitize::new([seconds(10); 3])
    }

    fn said(sanitize: &Sanitize, lie: ProgressLie) -> (u16, u16) {
        let page = sanitize.log_page(false, lie);
        (u16::from_le_bytes([page[0], page[1]]), u16::from_le_bytes([page[2], page[3]]))
    }

    #[test]
    fn one_that_ends_well() {
        let mut it = sanitize();
        assert_eq!(said(&it, HONEST), (0xffff, 0));
        it.start(BLOCK, 0).unwrap();
        assert_eq!(it.advance(seconds(5), HONEST), None);
        assert_eq!(said(&it, HONEST), (0x8000, 2));
        assert_eq!(it.refusal(), Some(Status::SANITIZE_IN_PROGRESS));
        assert_eq!(it.start(BLOCK, 0), Err(Status::SANITIZE_IN_PROGRESS));
        assert_eq!(it.start(EXIT, 0), Err(Status::SANITIZE_IN_PROGRESS));
        assert_eq!(it.advance(seconds(10), HONEST), Some(Action::Block));
        assert_eq!((said(&it, HONEST), it.refusal()), ((0xffff, 1), None));
        assert_eq!(it.advance(seconds(99), HONEST), None);
        assert_eq!(it.log_page(true, HONEST)[3], 1, "global data erased is bit 8");
    }

    #[test]
    fn only_a_restricted_sanitize_leads_out_of_restricted_failure() {
        let mut it = sanitize();
        it.start(BLOCK, 0).unwrap();
        it.advance(seconds(9), ProgressLie::FailsAt(0x4000));
        assert_eq!(it.phase(), Phase::Failed { restricted: true });
        assert_eq!(it.refusal(), Some(Status::SANITIZE_FAILED));
        assert_eq!(it.start(EXIT, 0), Err(Status::SANITIZE_FAILED));
        assert_eq!(it.start(BLOCK_UNRESTRICTED, 0), Err(Status::SANITIZE_FAILED));
        it.start(BLOCK, 0).unwrap();
        assert_eq!(it.advance(seconds(30), HONEST), Some(Action::Block));
    }

    #[test]
    fn exit_failure_leads_out_of_unrestricted_failure_with_nothing_sanitized() {
        let mut it = sanitize();
        it.start(BLOCK_UNRESTRICTED, 0).unwrap();
        assert_eq!(it.advance(seconds(9), ProgressLie::FailsAt(1)), None);
        it.start(EXIT, 0).unwrap();
        assert_eq!((it.phase(), said(&it, HONEST)), (Phase::Idle, (0xffff, 3)));
    }

    #[test]
    fn it_stands_still_without_power_and_goes_on_with_it() {
        let mut it = sanitize();
        it.start(BLOCK, 0).unwrap();
        it.power(seconds(4), false);
        it.power(seconds(400), true);
        assert_eq!(it.advance(seconds(405), HONEST), None);
        assert_eq!(it.advance(seconds(406), HONEST), Some(Action::Block));
    }

    #[test]
    fn a_stuck_one_shows_progress_up_to_there_and_never_ends() {
        let mut it = sanitize();
        let lie = ProgressLie::StuckAt(655);
        it.start(4, 0).unwrap();
        assert_eq!(it.advance(seconds(1_000_000), lie), None);
        assert_eq!(said(&it, lie), (655, 2));
    }

    #[test]
    fn actions_that_there_are_not_are_refused() {
        for dword in [0, 5, 6, 7] {
            assert_eq!(sanitize().start(dword, 0), Err(Status::INVALID_FIELD));
        }
    }
}
