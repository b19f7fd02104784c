//! `reprieve burn-in NODE`: lets a node work under load and compares it with its like.

use contract::burn_in::{BURN_IN_MINUTES_MAX, BurnInRequest};
use contract::operator_api::ReimageReply;

use crate::Ending;
use crate::client::{Client, escape};
use crate::reimage;

/// What `burn-in` takes.
#[derive(Debug, clap::Args)]
pub struct BurnIn {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// How long processors, memory and disks work; then the node is looked at as always
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(BURN_IN_MINUTES_MAX)))]
    pub minutes: u32,
    /// Watch the job until it ends
    #[arg(long)]
    pub watch: bool,
}

/// `reprieve burn-in NODE`.
pub async fn burn_in(client: &Client, arguments: BurnIn, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}/burn-in", escape(&arguments.node));
    let request = BurnInRequest { minutes: arguments.minutes };
    let reply: ReimageReply = client.post(&path, &request).await?;
    reimage::show_or_watch(client, &reply, arguments.watch, json).await
}
