//! `reprieve burn-in NODE…`: lets nodes work under load and compares them with their like.

use contract::burn_in::{BURN_IN_MINUTES_MAX, BurnInRequest};
use contract::operator_api::ReimageReply;

use crate::Ending;
use crate::client::{Client, escape};
use crate::reimage;

/// What `burn-in` takes.
#[derive(Debug, clap::Args)]
pub struct BurnIn {
    /// Nodes: id, start of an id, serial number or MAC address. Nodes of one pool that are burned in at the same time test the network between them too; with three or more it is told which one is slow
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
    /// How long processors, memory and disks work; then the network, and the node is looked at as always
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(BURN_IN_MINUTES_MAX)))]
    pub minutes: u32,
    /// Watch the jobs until they end, one after the other
    #[arg(long)]
    pub watch: bool,
}

/// `reprieve burn-in NODE…`. All are asked for before one is watched, because they have to meet. JSON is a document
/// for each node.
pub async fn burn_in(client: &Client, arguments: BurnIn, json: bool) -> anyhow::Result<Ending> {
    let request = BurnInRequest { minutes: arguments.minutes };
    let mut replies = Vec::new();
    let mut refused = None;
    for node in &arguments.nodes {
        let path = format!("/v1/nodes/{}/burn-in", escape(node));
        match client.post::<ReimageReply>(&path, &request).await {
            Ok(reply) => replies.push(reply),
            // Those that were asked for before are under way, and are shown.
            Err(error) => {
                refused = Some(error.context(format!("the burn-in of {node} was not begun")));
                break;
            }
        }
    }
    let mut worst = Ending::Good;
    for reply in &replies {
        let ending =
            reimage::show_or_watch(client, reply, arguments.watch && refused.is_none(), json).await?;
        if !matches!(ending, Ending::Good) {
            worst = ending;
        }
    }
    refused.map_or(Ok(worst), Err)
}
