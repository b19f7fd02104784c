//! `reprieve rollback NODE`: back to the image before, confirmed like a reimage.

use contract::history::RollbackRequest;
use contract::operator_api::ReimageReply;

use crate::Ending;
use crate::arguments::Rollback;
use crate::client::{Client, escape};
use crate::reimage;

/// `reprieve rollback NODE`.
pub async fn rollback(client: &Client, arguments: Rollback, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}", escape(&arguments.node));
    let mut request = RollbackRequest { dry_run: true, confirm_serial: None, confirmed: arguments.yes };
    if arguments.dry_run || !arguments.yes {
        let foreseen: ReimageReply = client.post(&format!("{path}/rollback"), &request).await?;
        if arguments.dry_run {
            return reimage::show(&foreseen, json, true);
        }
        request.confirm_serial = reimage::confirm(client, &path, &foreseen).await?;
    }
    request.dry_run = false;
    let reply: ReimageReply = client.post(&format!("{path}/rollback"), &request).await?;
    reimage::show_or_watch(client, &reply, arguments.watch, json).await
}
