//! A ramdisk introduces itself with the one-time token of its boot script.

use contract::agent_api::{EnrollReply, EnrollRequest};
use contract::operator_api::ErrorKind;
use contract::reading::Outcome;

use crate::attestation;
use crate::bearer;
use crate::http::endpoints::Endpoints;
use crate::jobs::state;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::nodes::NodeRecord;
use crate::store::sessions::{SessionRow, TokenRow};

/// How long a session is good for.
pub(super) const SESSION_MILLIS: u64 = 2 * 3_600_000;
/// How many addresses a machine may report.
const MACS_REPORTED_MAX: usize = 256;

fn bad_token(why: &str) -> Refusal {
    Refusal::new(
        ErrorKind::Unauthorized,
        format!("the one-time token {why}"),
        "boot the machine from the network again; every boot script has a new token",
    )
}

impl Service {
    /// Admits a ramdisk. The token is used up in the same transaction that makes the session.
    ///
    /// # Errors
    /// If the token is not good for this machine, or the machine is not the node it says it is.
    pub async fn enroll(
        &self,
        request: &EnrollRequest,
        endpoints: &Endpoints,
    ) -> Result<EnrollReply, Refusal> {
        if request.macs.len() > MACS_REPORTED_MAX || request.agent_version.len() > 100 {
            return Err(Refusal::bad_request(
                "the machine reports more than a machine has",
                "update the ramdisk",
            ));
        }
        let hash = bearer::hash(request.token.reveal());
        let mut reading = self.store.read().await?;
        let token =
            store::sessions::token(&mut reading, hash).await?.ok_or_else(|| bad_token("is not known"))?;
        drop(reading);
        check_token(&token, request)?;
        let mut change = self.change(token.node).await?;
        let now = change.now;
        check_identity(&change.node, request)?;
        if !store::sessions::use_token(&mut change.transaction, hash, now).await? {
            return Err(bad_token("was used already or has lapsed"));
        }
        if !store::sessions::take_nonce(&mut change.transaction, request.nonce, token.node, now).await? {
            return Err(Refusal::conflict(
                "the nonce of this boot was seen before",
                "reset the machine and boot again",
            ));
        }
        let session = bearer::mint()?;
        if change.job.as_ref().is_some_and(|job| state::wants_ramdisk(&job.state)) {
            change.take(state::enroll)?;
            change.note(format!(
                "the ramdisk has enrolled, {} ms after kernel start (agent {})",
                request.since_kernel_start_millis, request.agent_version
            ));
        }
        let job = change.job.as_ref().map(|job| job.id);
        let row = SessionRow {
            hash: bearer::hash(session.reveal()),
            node: token.node,
            job,
            boot_id: request.boot_id,
            nonce: request.nonce,
            token: Some(hash),
            created_at: now,
            expires_at: now.plus_millis(SESSION_MILLIS),
        };
        store::sessions::insert_session(&mut change.transaction, &row).await?;
        if let Outcome::Value(uuid) = &request.system_uuid {
            change.node.system_uuid.get_or_insert(*uuid);
        }
        change.node.last_seen = now;
        let mut context = {
            let (node, job) = (change.node.clone(), change.job.clone());
            self.context_of(&mut change.transaction, &node, job.as_ref()).await?
        };
        let demanded = self.key_demanded(&change.node);
        change.node.boot.facts_in(row.hash, demanded).tell(&mut context);
        store::peers::freeze(&mut change.transaction, row.hash, &context.peers).await?;
        store::bmc::freeze(&mut change.transaction, row.hash, context.bmc.as_ref()).await?;
        change.commit().await?;
        self.live.ramdisk_spoke(token.node);
        let boot_challenge = Some(attestation::challenge(&row));
        Ok(EnrollReply { session, context: self.context_reply(context, endpoints, now), job, boot_challenge })
    }
}

/// The token is good for this node and one of its addresses. A token that somebody else shows is not
/// used up by that.
fn check_token(token: &TokenRow, request: &EnrollRequest) -> Result<(), Refusal> {
    if token.used {
        return Err(bad_token("was used already"));
    }
    if token.expires_at <= crate::clock::now() {
        return Err(bad_token("has lapsed"));
    }
    if token.node != request.node {
        return Err(bad_token("is another node's"));
    }
    if !request.macs.contains(&token.mac) {
        return Err(bad_token("was given to an address that this machine does not have"));
    }
    Ok(())
}

/// The machine is not another one than was known under this address. "Could not read it" is no proof
/// that it is the same.
fn check_identity(node: &NodeRecord, request: &EnrollRequest) -> Result<(), Refusal> {
    match (node.system_uuid, &request.system_uuid) {
        (None, _) => Ok(()),
        (Some(known), Outcome::Value(shown)) if known == *shown => Ok(()),
        (Some(known), shown) => {
            let shown = match shown {
                Outcome::Value(uuid) => uuid.to_string(),
                Outcome::Absent => "has none".to_owned(),
                Outcome::Unreadable(why) => format!("could not read it: {why}"),
            };
            Err(Refusal::conflict(
                format!("node {} has the SMBIOS UUID {known}, this machine: {shown}", node.id),
                "a network card may have moved to another machine; look at both",
            ))
        }
    }
}
