//! A technician asks for the image that a node had before its last change.

use contract::assignment::Floor;
use contract::history::RollbackRequest;
use contract::id::NodeId;
use contract::operator_api::{ReimageReply, ReimageRequest};

use crate::jobs::history;
use crate::jobs::request::check_allowed;
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;

impl Service {
    /// Asks for the image before: an assignment of it and a request for at least a reimage, with all the
    /// checks of one.
    ///
    /// # Errors
    /// If there is no image to go back to, it is not stored any more, or the request is refused.
    pub async fn rollback(
        &self,
        id: NodeId,
        request: &RollbackRequest,
        requested_by: &str,
    ) -> Result<ReimageReply, Refusal> {
        let mut reading = self.store.read().await?;
        let node = node_by_id(&mut reading, id).await?;
        let open = store::jobs::open_of(&mut reading, id).await?;
        check_allowed(&node, open.as_ref())?;
        let assignment = &node.assignment;
        let to = history::previous(&node.images, assignment.image, assignment.tenant.as_ref())
            .map(|past| past.image)
            .map_err(|none| {
                Refusal::conflict(
                    format!("node {id} cannot go back: {none}"),
                    "look at its images (`reprieve node history NODE`); name one (`reprieve reimage NODE --image …`)",
                )
            })?;
        let image = store::images::by_id(&mut reading, to).await?.ok_or_else(|| {
            Refusal::conflict(
                format!("node {id} cannot go back: image {to}, which it had before, is not stored any more"),
                "import it again, or name another one (`reprieve reimage NODE --image …`)",
            )
        })?;
        let mut target = assignment.clone();
        target.image = Some(to);
        target.image_disk_bytes = store::images::minimum_disk_bytes(&mut reading, to).await?;
        drop(reading);
        let reimage = ReimageRequest {
            image: None,
            tenant: None,
            at_least: Some(Floor::Reimage),
            sanitize_level: None,
            why: None,
            outside_windows: request.outside_windows,
            dry_run: request.dry_run,
            from_ramdisk: true,
            confirm_serial: request.confirm_serial.clone(),
            confirmed: request.confirmed,
        };
        let way = format!("back to image {to} ({})", image.name);
        let reply = self.ask(&node, target, &reimage, &format!("{requested_by}, {way}")).await?;
        Ok(match reply {
            ReimageReply::Job { job, expectation, destructive, entry } => {
                ReimageReply::Job { job, expectation: format!("{way}: {expectation}"), destructive, entry }
            }
            other @ ReimageReply::NothingToDo { .. } => other,
        })
    }
}
