//! A technician asks for a state. Evidence decides the least action that reaches it.

use std::time::Duration;

use contract::assignment::{Assignment, DataOwner, Floor};
use contract::decision::{Action, Decision};
use contract::id::{JobId, NodeId};
use contract::operator_api::{ErrorKind, ImageView, ReimageReply, ReimageRequest};
use verdict::policy::written;

use crate::bearer;
use crate::jobs::windows;
use crate::judging;
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::store::jobs::JobRecord;
use crate::store::nodes::NodeRecord;

/// How long a technician waits for a resident agent's look before the ramdisk is asked.
const LOOK_WAIT: Duration = Duration::from_secs(15);

/// How long the reason of a request may be, in characters; it stands on certificates.
const WHY_CHARACTERS_MAX: usize = 200;

impl Service {
    /// Asks for a state of a node.
    ///
    /// # Errors
    /// If the node's state does not allow it, or it could destroy data and was not confirmed.
    pub async fn reimage(
        &self,
        id: NodeId,
        request: &ReimageRequest,
        requested_by: &str,
    ) -> Result<ReimageReply, Refusal> {
        check_why(request)?;
        let mut reading = self.store.read().await?;
        let node = node_by_id(&mut reading, id).await?;
        let target = self.target(&mut reading, &node, request).await?;
        drop(reading);
        self.ask(&node, target, request, requested_by).await
    }

    /// Asks for a node with this assignment, after all checks; nothing may have changed since `node` was
    /// read.
    pub(crate) async fn ask(
        &self,
        node: &NodeRecord,
        target: Assignment,
        request: &ReimageRequest,
        requested_by: &str,
    ) -> Result<ReimageReply, Refusal> {
        let id = node.id;
        let mut reading = self.store.read().await?;
        let open = store::jobs::open_of(&mut reading, id).await?;
        drop(reading);
        check_allowed(node, open.as_ref())?;
        let mut expectation = expect(node, &target, request);
        if expectation.destructive
            && let Some(opens_at) = self.queued_until(node, request, crate::clock::now())
        {
            expectation
                .words
                .push_str(&format!("; it waits for a window of the policy until {}", written(opens_at)));
        }
        if expectation.destructive && node.protected {
            return Err(Refusal::new(
                ErrorKind::Protected,
                format!(
                    "node {id} is protected, and this could destroy what is on it: {}",
                    expectation.words
                ),
                "take the protection off first (`reprieve protect NODE --off`)",
            ));
        }
        let online = self.live.resident_online(id);
        if online
            && expectation.resident_may_answer
            && let Some(decision) = self.resident_answer(id).await?
        {
            if !request.dry_run {
                self.enter_nothing_to_do(&decision).await?;
            }
            return Ok(ReimageReply::NothingToDo { decision: Box::new(decision) });
        }
        let reply = |job: Option<JobId>| ReimageReply::Job {
            job,
            expectation: expectation.words.clone(),
            destructive: expectation.destructive,
            entry: self.entry(id),
        };
        if request.dry_run {
            return Ok(reply(None));
        }
        if expectation.destructive {
            check_confirmed(node, request)?;
        }
        let job = self.open_job(node, target, request, expectation.destructive, requested_by).await?;
        Ok(reply(Some(job)))
    }

    /// What the node should have once the request is fulfilled.
    async fn target(
        &self,
        connection: &mut sqlx::AnyConnection,
        node: &NodeRecord,
        request: &ReimageRequest,
    ) -> Result<Assignment, Refusal> {
        let mut target = node.assignment.clone();
        if request.at_least == Some(Floor::Empty) {
            // What is assigned now stays so until the disks are proven empty.
            return match (&request.image, &request.tenant) {
                (None, None) => Ok(target),
                _ => Err(Refusal::bad_request(
                    "a node that is left empty gets neither an image nor a tenant",
                    "leave them out, or ask for a wipe that installs something",
                )),
            };
        }
        if let Some(reference) = &request.image {
            let image = self.image_by_reference(connection, reference).await?;
            target.image_disk_bytes = store::images::minimum_disk_bytes(connection, image.id).await?;
            target.image = Some(image.id);
        }
        if let Some(tenant) = &request.tenant {
            target.tenant = Some(tenant.clone());
        }
        for (there, what) in [(target.image.is_some(), "image"), (target.tenant.is_some(), "tenant")] {
            if !there {
                return Err(Refusal::conflict(
                    format!("node {} has no {what}", node.id),
                    format!("name one (`--{what}`) or assign one (`reprieve assign NODE --{what} …`)"),
                ));
            }
        }
        Ok(target)
    }

    /// The image that a technician means: an id, a start of one, or a name (the newest of that name).
    ///
    /// # Errors
    /// If there is none or the start fits several.
    pub async fn image_by_reference(
        &self,
        connection: &mut sqlx::AnyConnection,
        reference: &str,
    ) -> Result<ImageView, Refusal> {
        let images = store::images::all(connection).await?;
        if let Some(image) = images.iter().find(|image| image.name == reference) {
            return Ok(image.clone());
        }
        let start = reference.to_ascii_lowercase();
        let mut fits =
            images.iter().filter(|image| start.len() >= 4 && image.id.to_string().starts_with(&start));
        let shown: String = reference.chars().take(80).collect();
        match (fits.next(), fits.next()) {
            (Some(image), None) => Ok(image.clone()),
            (Some(_), Some(_)) => {
                Err(Refusal::not_found(format!("{shown:?} fits several images"), "give more of the id"))
            }
            (None, _) => Err(Refusal::not_found(
                format!("there is no image {shown:?}"),
                "list the images (`reprieve image list`)",
            )),
        }
    }

    /// Lets the resident agent look and judges what it saw. A decision only if it is to keep.
    async fn resident_answer(&self, id: NodeId) -> Result<Option<Decision>, Refusal> {
        let mut changes = self.live.follow(id);
        self.live.want_look(id, "a technician asks whether anything has to be done");
        let deadline = tokio::time::Instant::now() + LOOK_WAIT;
        let evidence = loop {
            changes.borrow_and_update();
            if let Some(evidence) = self.live.resident_evidence(id) {
                break evidence;
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                self.live.stop_wanting_look(id);
                return Ok(None);
            }
        };
        let mut reading = self.store.read().await?;
        let node = node_by_id(&mut reading, id).await?;
        let job = store::jobs::open_of(&mut reading, id).await?;
        let (context, _) = self.facts_for(&mut reading, &node, job.as_ref(), evidence.id).await?;
        let (in_force, now) = (self.policies.of(&context.assignment.pool), crate::clock::now());
        let decision =
            judging::judge(&evidence, &context, &in_force.policy, &self.models.current().model, now);
        Ok((decision.action == Action::Keep && job.is_none()).then_some(decision))
    }

    async fn open_job(
        &self,
        seen: &NodeRecord,
        target: Assignment,
        request: &ReimageRequest,
        destructive: bool,
        requested_by: &str,
    ) -> Result<JobId, Refusal> {
        let id = seen.id;
        let mut change = self.change(id).await?;
        check_allowed(&change.node, change.job.as_ref())?;
        if change.node.assignment != seen.assignment
            || change.node.protected != seen.protected
            || change.node.data_owner != seen.data_owner
        {
            return Err(Refusal::conflict(
                format!("node {id} was changed meanwhile"),
                "look at it and ask again",
            ));
        }
        let job = JobRecord {
            at_least: request.at_least,
            sanitize_level: request.sanitize_level,
            why: request.why.clone(),
            outside_windows: request.outside_windows,
            ..JobRecord::waiting(JobId(bearer::new_uuid()), id, requested_by, change.now)
        };
        store::jobs::insert(&mut change.transaction, &job).await?;
        change.node.assignment = target;
        let job_id = job.id;
        change.job = Some(job);
        let floor =
            request.at_least.map_or(String::new(), |floor| format!(", at least {floor:?}").to_lowercase());
        let level = request
            .sanitize_level
            .map_or(String::new(), |level| format!(", sanitized to at least {level:?}").to_lowercase());
        let why = request.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let anytime = if request.outside_windows { ", outside the policy's windows too" } else { "" };
        change.note(format!("asked for by {requested_by}{floor}{level}{anytime}{why}"));
        // Until it may begin, the node goes on as it is.
        if destructive && let Some(opens_at) = self.queued_until(&change.node, request, change.now) {
            windows::wait_for_window(&mut change, opens_at)?;
        }
        change.commit().await?;
        Ok(job_id)
    }

    /// How the node gets into the ramdisk, in words.
    pub(super) fn entry(&self, id: NodeId) -> String {
        if self.live.resident_online(id) {
            "its agent takes it into the ramdisk".to_owned()
        } else {
            "its agent is not online: it goes on by itself if it waits in the ramdisk, else reset it so that it boots from the network".to_owned()
        }
    }
}

/// What may happen.
struct Expectation {
    words: String,
    destructive: bool,
    resident_may_answer: bool,
}

fn expect(node: &NodeRecord, target: &Assignment, request: &ReimageRequest) -> Expectation {
    let same_tenant = matches!((&node.data_owner, &target.tenant), (DataOwner::Tenant(a), Some(b)) if a == b);
    let same_image = node.assignment.image == target.image;
    let (words, destructive) = match (&node.data_owner, request.at_least) {
        (_, Some(Floor::Empty)) => (
            "its disks are sanitized and left empty; nothing is installed, and the node is held afterwards",
            true,
        ),
        _ if node.unfinished.is_some() => {
            ("work that was begun and never finished is done again: the disks are written", true)
        }
        (DataOwner::Unknown, _) => {
            ("nobody knows whose data are on it: its disks are sanitized, then imaged", true)
        }
        (DataOwner::Tenant(_), _) if !same_tenant => {
            ("it changes tenants: its disks are sanitized, then imaged", true)
        }
        (_, Some(Floor::Wipe)) => ("its disks are sanitized, then imaged", true),
        (DataOwner::Nobody, _) => {
            ("it is nobody's: at least imaged; sanitized first if its disks show any data", true)
        }
        (_, Some(Floor::Reimage)) => (
            "its OS disk is made identical to the image, and partitions of its own behind the image stay; at most sanitized and imaged if the evidence demands it",
            true,
        ),
        _ if !same_image => (
            "its OS disk is made identical to the new image; partitions of its own behind the image stay",
            true,
        ),
        (_, Some(Floor::Repair)) => {
            ("at least suspected files are put back; at most what the evidence demands", false)
        }
        _ => ("at least nothing; at most what the evidence demands", false),
    };
    let nothing_installed = request.at_least == Some(Floor::Empty);
    let data = match target.data_images.len() {
        _ if nothing_installed || !destructive => "",
        0 => "",
        _ if same_tenant && node.unfinished.is_none() && request.at_least != Some(Floor::Wipe) => {
            "; data disks stay as they are"
        }
        _ => "; each data disk with an image of its own gets it if it holds nobody's data then",
    };
    Expectation {
        words: format!("{words}{data}"),
        destructive,
        resident_may_answer: same_tenant
            && same_image
            && !destructive
            && request.at_least.is_none()
            && !request.from_ramdisk,
    }
}

fn check_why(request: &ReimageRequest) -> Result<(), Refusal> {
    let Some(why) = &request.why else { return Ok(()) };
    if why.trim().is_empty() || why.chars().count() > WHY_CHARACTERS_MAX || why.chars().any(char::is_control)
    {
        return Err(Refusal::bad_request(
            format!(
                "the reason is empty, longer than {WHY_CHARACTERS_MAX} characters or has control characters"
            ),
            "say why in one line (`--why`)",
        ));
    }
    Ok(())
}

/// Whether anything may be asked of a node now.
pub(crate) fn check_allowed(node: &NodeRecord, open: Option<&JobRecord>) -> Result<(), Refusal> {
    let id: NodeId = node.id;
    if !node.approved {
        return Err(Refusal::conflict(
            format!("node {id} is not approved"),
            "approve it first (`reprieve node approve NODE`)",
        ));
    }
    if let Some(reason) = &node.hold_reason {
        return Err(Refusal::conflict(
            format!("node {id} is held: {reason}"),
            "look at it, then release the hold",
        ));
    }
    if let Some(job) = open {
        return Err(Refusal::conflict(
            format!("node {id} has an open job {}", job.id),
            "watch or cancel that job",
        ));
    }
    Ok(())
}

fn check_confirmed(node: &NodeRecord, request: &ReimageRequest) -> Result<(), Refusal> {
    let unconfirmed =
        |message: String, hint: String| Err(Refusal::new(ErrorKind::Unconfirmed, message, hint));
    match (&request.confirm_serial, &node.serial) {
        (Some(given), Some(serial)) if given.trim() == serial.trim() => Ok(()),
        (Some(_), Some(_)) => unconfirmed(
            format!("the serial number is not that of node {}", node.id),
            "look at the machine's label; this may be the wrong machine".to_owned(),
        ),
        (None | Some(_), _) if request.confirmed && request.confirm_serial.is_none() => Ok(()),
        (Some(_), None) => unconfirmed(
            format!("node {} has no known serial number to compare with", node.id),
            "confirm by other means (`--yes`)".to_owned(),
        ),
        (None, _) => unconfirmed(
            "this can destroy data".to_owned(),
            "give the node's serial number (`confirm_serial`) or confirm by other means (`--yes`)".to_owned(),
        ),
    }
}
