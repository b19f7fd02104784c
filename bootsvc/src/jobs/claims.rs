//! What a report may claim: it speaks about its sender only, of this boot, under an id of its own, and has no more
//! readings than a machine can have.

use contract::agent_api::Report;
use contract::evidence::{Evidence, READINGS_MAX};
use contract::reading::Trust;

use crate::jobs::Caller;
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::store;

/// A report speaks about its sender only, and claims no more trust than its sender can have.
pub(super) fn check_claims(caller: &Caller, most: Trust, report: &Report) -> Result<(), Refusal> {
    let evidence = &report.evidence;
    let claims = |what: &str| {
        Refusal::bad_request(format!("the report {what}"), "report what this machine saw in this boot")
    };
    if evidence.readings.len() > READINGS_MAX {
        return Err(claims(&format!("has {} readings, more than {READINGS_MAX}", evidence.readings.len())));
    }
    if evidence.node != caller.node() {
        return Err(claims("is about another node"));
    }
    if let Caller::Ramdisk(session) = caller {
        if evidence.boot_id != session.boot_id {
            return Err(claims("is from another boot"));
        }
        if report.nonce != session.nonce {
            return Err(claims("has another boot's nonce"));
        }
    }
    let claimed = evidence.readings.iter().map(|reading| reading.trust).chain([evidence.trust]).max();
    if claimed.is_some_and(|trust| trust > most) {
        return Err(claims("claims more trust than its sender has"));
    }
    Ok(())
}

/// Evidence is recorded under its id; nobody may replace another node's.
pub(super) async fn check_new(change: &mut Change<'_>, evidence: &Evidence) -> Result<(), Refusal> {
    match store::evidence::owner(&mut change.transaction, evidence.id).await? {
        Some(owner) if owner != change.node.id => {
            Err(Refusal::conflict("this evidence id is another node's", "draw a new id for every run"))
        }
        _ => Ok(()),
    }
}
