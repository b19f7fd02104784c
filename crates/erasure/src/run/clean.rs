//! A disk that is to be found clean: its own word, before and after it is read back.

use super::task::SaidClean;
use super::{EraseRun, State};
use crate::method::{is_one_sanitize, may_deliver};
use crate::not_erased::NotErased;

impl EraseRun {
    /// The device says that it is clean already, or says otherwise.
    pub fn said_clean(&mut self, result: Result<SaidClean, String>) {
        self.step(|run, state| {
            let next = match state {
                State::AskClean => State::LookAgain,
                State::AskCleanAgain => State::Done,
                _ => return Err(NotErased::OutOfOrder("a device said that it is clean when nobody asked")),
            };
            let said = result.map_err(NotErased::NotClean)?;
            run.suffices(&said)?;
            if run.statuses.first() != Some(&said.status) {
                run.statuses.push(said.status);
            }
            Ok(next)
        });
    }

    /// Whether what the device says was done to it delivers what is demanded now, by the same table.
    fn suffices(&self, said: &SaidClean) -> Result<(), NotErased> {
        if is_one_sanitize(said.sanitized_by) && may_deliver(said.sanitized_by, self.task.level) {
            return Ok(());
        }
        let why = format!("{:?} does not deliver what is demanded ({})", said.sanitized_by, said.status);
        Err(NotErased::NotClean(why))
    }
}
