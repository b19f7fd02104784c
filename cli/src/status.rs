//! `reprieve status`.

use contract::operator_api::StatusView;

use crate::Ending;
use crate::client::Client;
use crate::output::{clean, print, print_json, properties, time};

/// `reprieve status`.
pub async fn status(client: &Client, json: bool) -> anyhow::Result<Ending> {
    let status: StatusView = client.get("/v1/status").await?;
    if json {
        print_json(&status)?;
        return Ok(Ending::Good);
    }
    let mut rows = vec![
        ("version", Some(clean(&status.version))),
        ("nodes", Some(status.nodes.to_string())),
        ("open jobs", Some(status.jobs_open.to_string())),
        ("images", Some(status.images.to_string())),
    ];
    let incidents: Vec<String> = status
        .incidents
        .iter()
        .map(|incident| {
            format!(
                "{} of {} nodes of {}: {}; look, then reprieve blast-radius release {}",
                incident.wanting,
                incident.nodes,
                clean(&incident.group.to_string()),
                clean(&incident.alike.to_string()),
                incident.id
            )
        })
        .collect();
    rows.extend(incidents.iter().map(|incident| ("HELD", Some(incident.clone()))));
    if let Some(policy) = &status.policy {
        let pools = match policy.pools.len() {
            0 => String::new(),
            count => format!(", {count} pools with their own"),
        };
        rows.push(("policy", Some(format!("{}, read {}{pools}", policy.site, time(policy.read_at)))));
        let problem = policy.problem.as_ref().map(|problem| clean(problem));
        rows.push(("POLICY NOT READ", problem));
    }
    if let Some(model) = &status.model {
        rows.push(("model", Some(format!("{}, read {}", model.digest, time(model.read_at)))));
        rows.push(("MODEL NOT READ", model.problem.as_ref().map(|problem| clean(problem))));
    }
    let controllers = status.bmc.map(|bmc| format!("{} of {} answer", bmc.answering, bmc.configured));
    rows.push(("controllers", controllers));
    let counters: Vec<(String, u64)> =
        status.counters.iter().map(|(name, count)| (clean(name), *count)).collect();
    rows.extend(counters.iter().map(|(name, count)| (name.as_str(), Some(count.to_string()))));
    print(&properties(rows))?;
    Ok(Ending::Good)
}
