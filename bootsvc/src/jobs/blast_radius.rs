//! Hard rule H8: what too many nodes want at once is held until a person has looked. How many are too many is
//! decided in `verdict::blast_radius`; here it is counted, held and paged.
//!
//! Counted is every verdict that would be carried out, whether it was ordered or held. Not counted is an image
//! for disks that are nobody's, which takes nothing from anybody, and work that was begun and has to be
//! finished. An incident stays open until a person releases it, and until then everybody who wants the same
//! among the same nodes is held; so nothing trickles through when the window has passed.

use contract::assignment::DataOwner;
use contract::blast_radius::{Alike, Group, IncidentView, Release, ReleaseRequest};
use contract::decision::{Action, Decision};
use contract::id::{IncidentId, NodeId, UnixMillis};
use contract::operator_api::JobState;
use verdict::blast_radius::{self, Count, Exceeded};
use verdict::policy::Policy;

use crate::bearer;
use crate::jobs::change::Change;
use crate::jobs::state;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::incidents::Standing;
use crate::store::wishes::{Wish, groups_of};

/// The longest that a person may let the same go on without being held.
const ALLOWED_MINUTES_MAX: u64 = 1_440;
/// How long a reason may be, in characters.
const WHY_CHARACTERS_MAX: usize = 200;

/// Whether what a verdict wants may be done now.
pub(super) enum Passage {
    /// It may.
    Free,
    /// Too many want the same.
    Held {
        /// The incident that it belongs to.
        incident: IncidentId,
        /// For people, with what to do.
        reason: String,
    },
}

impl Service {
    /// Counts what a verdict wants that is about to be carried out, and says whether it may be.
    ///
    /// # Errors
    /// If the database fails; then nothing may be carried out.
    pub(super) async fn passage(
        &self,
        change: &mut Change<'_>,
        decision: &Decision,
        policy: &Policy,
    ) -> Result<Passage, Refusal> {
        let takes_nothing = decision.action == Action::Reimage && change.node.data_owner == DataOwner::Nobody;
        if !blast_radius::counts(decision.action) || takes_nothing || change.node.unfinished.is_some() {
            return Ok(Passage::Free);
        }
        let wish = self.record_wish(change, decision, true).await?;
        // A wave has its own stages and its own brake; what it did not mean to do is held all the same.
        let meant = matches!(wish.action, Action::Repair | Action::Reimage)
            && change.job.as_ref().is_some_and(|job| crate::waves::wave_of(job).is_some());
        let action = (!meant).then_some(Alike::Action(wish.action));
        let mut alike: Vec<Alike> = action.into_iter().collect();
        alike.extend(wish.cause.map(Alike::Cause));
        self.weigh(change, &alike, policy).await
    }

    /// Counts what a running system's verdict would want. Nothing follows from it for the node; but many with
    /// the same cause are one incident.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn notice(
        &self,
        change: &mut Change<'_>,
        decision: &Decision,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        if blast_radius::cause_of(decision).is_none() {
            return Ok(());
        }
        let wish = self.record_wish(change, decision, false).await?;
        let alike: Vec<Alike> = wish.cause.map(Alike::Cause).into_iter().collect();
        self.weigh(change, &alike, policy).await.map(drop)
    }

    /// Holds a node for an incident, so that it goes on when that is released.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn hold_for(
        &self,
        change: &mut Change<'_>,
        incident: IncidentId,
        reason: &str,
    ) -> Result<(), Refusal> {
        change.hold(reason)?;
        let (node, now) = (change.node.id, change.now);
        let held = change.node.hold_reason.clone().unwrap_or_default();
        store::incidents::add_node(&mut change.transaction, incident, node, &held, now).await?;
        self.counters.add("blast-radius.held");
        Ok(())
    }

    async fn record_wish(
        &self,
        change: &mut Change<'_>,
        decision: &Decision,
        counted: bool,
    ) -> Result<Wish, Refusal> {
        let cause = blast_radius::cause_of(decision);
        let (evidence, node, action) = (decision.evidence, decision.node, decision.action);
        let wish = Wish { evidence, node, action, counted, cause };
        store::wishes::record(&mut change.transaction, &wish, &change.node, change.now).await?;
        Ok(wish)
    }

    async fn weigh(
        &self,
        change: &mut Change<'_>,
        alike: &[Alike],
        policy: &Policy,
    ) -> Result<Passage, Refusal> {
        let mut counted = Vec::new();
        for alike in alike {
            let mut groups = groups_of(&change.node);
            if matches!(alike, Alike::Cause(_)) {
                groups.push(Group::Site);
            }
            for group in groups {
                match store::incidents::standing(&mut change.transaction, &group, alike, change.now).await? {
                    Standing::Open(incident) => return self.held_again(change, incident).await,
                    Standing::Allowed => {}
                    Standing::None => counted.push(count(change, group, alike, policy).await?),
                }
            }
        }
        let in_force = self.policies.of(&change.node.assignment.pool);
        match blast_radius::exceeded(&in_force.policy, &counted) {
            None => Ok(Passage::Free),
            Some(exceeded) => self.open_incident(change, &exceeded).await,
        }
    }

    async fn held_again(&self, change: &mut Change<'_>, incident: IncidentId) -> Result<Passage, Refusal> {
        let view = store::incidents::by_id(&mut change.transaction, incident).await?;
        let view = view.ok_or_else(|| no_incident(&incident.to_string()))?;
        let what =
            format!("{} of {} nodes of {} wanted {}", view.wanting, view.nodes, view.group, view.alike);
        Ok(Passage::Held { incident, reason: with_what_to_do(&what, incident) })
    }

    async fn open_incident(&self, change: &mut Change<'_>, exceeded: &Exceeded) -> Result<Passage, Refusal> {
        let id = IncidentId(bearer::new_uuid());
        let count = &exceeded.count;
        let view = IncidentView {
            id,
            group: count.group.clone(),
            alike: count.alike.clone(),
            opened_at: change.now,
            wanting: count.wanting,
            nodes: count.nodes,
            most: exceeded.most,
            window_minutes: exceeded.window_minutes,
            held: Vec::new(),
            held_total: 0,
            release: None,
        };
        store::incidents::insert(&mut change.transaction, &view).await?;
        self.counters.add("blast-radius.incidents");
        // This line is what a site's paging listens for.
        tracing::error!(incident = %id, node = %change.node.id, "blast radius: {exceeded}; somebody must look");
        Ok(Passage::Held { incident: id, reason: with_what_to_do(&exceeded.to_string(), id) })
    }

    /// A person has looked at an incident: what was held for it goes on, or stays held. Where a release was
    /// broken off, or left nodes held, the same call goes on with those that are held for it still. One that
    /// cannot go on is said in the log and stops no other.
    ///
    /// # Errors
    /// If there is no such incident, nothing is left to release, or the request contradicts itself.
    pub async fn release_incident(
        &self,
        id: IncidentId,
        request: &ReleaseRequest,
    ) -> Result<IncidentView, Refusal> {
        check_release(request)?;
        let nodes = self.close_incident(id, request).await?;
        tracing::warn!(incident = %id, why = request.why, "an incident was released");
        let mut released = 0;
        for (node, reason) in nodes {
            match self.release_node(node, &reason, id, &request.why).await {
                Ok(true) => released += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(incident = %id, %node, %error, "a node stays held; release the incident once more");
                }
            }
        }
        let mut transaction = self.store.write().await?;
        let view = store::incidents::add_released(&mut transaction, id, released).await?;
        store::commit(transaction).await?;
        view.ok_or_else(|| no_incident(&id.to_string()))
    }

    /// Writes down what a person said of an incident, and gives the nodes that go on by that.
    async fn close_incident(
        &self,
        id: IncidentId,
        request: &ReleaseRequest,
    ) -> Result<Vec<(NodeId, String)>, Refusal> {
        let now = crate::clock::now();
        let mut transaction = self.store.write().await?;
        let view = store::incidents::by_id(&mut transaction, id).await?;
        let mut view = view.ok_or_else(|| no_incident(&id.to_string()))?;
        let mut nodes = store::incidents::held(&mut transaction, id).await?;
        if view.release.is_some() && (request.keep_held || nodes.is_empty()) {
            return Err(Refusal::conflict(format!("incident {id} was released already"), "nothing to do"));
        }
        if request.keep_held {
            nodes.clear();
        }
        let before = view.release.as_ref().map(|before| (before.released, before.allowed_until));
        let (released, allowed_before) = before.unwrap_or((0, now));
        let allowed_until = allowed_before.max(now.plus_millis(request.allow_minutes.saturating_mul(60_000)));
        view.release = Some(Release { at: now, why: request.why.clone(), allowed_until, released });
        store::incidents::close(&mut transaction, &view).await?;
        store::commit(transaction).await?;
        Ok(nodes)
    }

    /// Lets one node go on; `false` if it is held for something else meanwhile. Its counters and links are not
    /// taken for right by that: nobody has looked at this very node.
    async fn release_node(
        &self,
        node: NodeId,
        reason: &str,
        incident: IncidentId,
        why: &str,
    ) -> Result<bool, Refusal> {
        let mut change = self.change(node).await?;
        if change.node.hold_reason.as_deref() != Some(reason) {
            return Ok(false);
        }
        change.node.hold_reason = None;
        if let Some(job) = change.job.as_mut() {
            (job.attempts, job.coming_up_boots, job.disagreements) = (0, 0, 0);
            if matches!(job.state, JobState::Held { .. }) {
                change.take(state::release)?;
            }
            change.note(format!("incident {incident} was released: {why}"));
        }
        change.commit().await?;
        Ok(true)
    }
}

async fn count(
    change: &mut Change<'_>,
    group: Group,
    alike: &Alike,
    policy: &Policy,
) -> Result<Count, Refusal> {
    let window = blast_radius::window_minutes(policy, alike).saturating_mul(60_000);
    let since = UnixMillis(change.now.0.saturating_sub(window));
    let wanting = store::wishes::wanting(&mut change.transaction, &group, alike, since).await?;
    let nodes = store::wishes::nodes_of(&mut change.transaction, &group).await?;
    Ok(Count { group, alike: alike.clone(), wanting, nodes })
}

/// There is no such incident.
#[must_use]
pub fn no_incident(text: &str) -> Refusal {
    let text: String = text.chars().take(80).collect();
    Refusal::not_found(format!("there is no incident {text:?}"), "list them (`reprieve blast-radius list`)")
}

fn with_what_to_do(what: &str, incident: IncidentId) -> String {
    format!("{what}; somebody must look: `reprieve blast-radius release {incident} --why …`")
}

fn check_release(request: &ReleaseRequest) -> Result<(), Refusal> {
    let why = &request.why;
    if why.trim().is_empty() || why.chars().count() > WHY_CHARACTERS_MAX || why.chars().any(char::is_control)
    {
        return Err(Refusal::bad_request(
            format!(
                "the reason is empty, longer than {WHY_CHARACTERS_MAX} characters or has control characters"
            ),
            "say why in one line (`--why`)",
        ));
    }
    if request.allow_minutes > ALLOWED_MINUTES_MAX || (request.keep_held && request.allow_minutes > 0) {
        return Err(Refusal::bad_request(
            format!("{} minutes cannot be allowed", request.allow_minutes),
            format!("allow at most {ALLOWED_MINUTES_MAX} minutes, and none where the nodes stay held"),
        ));
    }
    Ok(())
}
