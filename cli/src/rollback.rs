//! `reprieve rollback NODE`: back to the image before, confirmed like a reimage.

use clap::Args;
use contract::history::RollbackRequest;
use contract::operator_api::ReimageReply;

use crate::Ending;
use crate::client::{Client, escape};
use crate::reimage;

/// What `reprieve rollback` takes.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Say which image that is and what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Begin outside the policy's windows too; it is recorded with the job
    #[arg(long)]
    pub outside_windows: bool,
    /// Do not ask for the serial number before data may be destroyed
    #[arg(long)]
    pub yes: bool,
    /// Watch the job until it ends
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

/// `reprieve rollback NODE`.
pub async fn rollback(client: &Client, arguments: Rollback, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}", escape(&arguments.node));
    let mut request = RollbackRequest {
        dry_run: true,
        confirm_serial: None,
        confirmed: arguments.yes,
        outside_windows: arguments.outside_windows,
    };
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
