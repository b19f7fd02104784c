//! `reprieve node trust-boot` and `forget-boot`: what a person says of how a node boots.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use contract::assignment::BootTrust;
use contract::boot_proof::{ForgetBootRequest, GoldenBootView, GoldenPart, SystemBootView, TrustBootRequest};
use contract::id::NodeId;
use contract::operator_api::NodeView;

use crate::Ending;
use crate::client::{Client, escape};
use crate::node::{boot_in_words, print_node};
use crate::output::{clean, time};

/// `reprieve node trust-boot NODE --why TEXT`. Records the boot that is shown to the person here, and no later one.
pub async fn trust(
    client: &Client,
    node: &str,
    (why, for_model, system): (String, bool, bool),
    yes: bool,
    json: bool,
) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}", escape(node));
    let node: NodeView = client.get(&path).await?;
    let boot = node.boot.as_ref();
    let (shown, words) = if system {
        let boot = boot.and_then(|boot| boot.system.as_ref());
        (boot.and_then(|boot| boot.shown_at), boot.map(system_in_words))
    } else {
        (boot.and_then(|boot| boot.shown_at), boot.map(boot_in_words))
    };
    let shown_at = shown.with_context(|| {
        let how = if system { "wait until its agent reports" } else { "boot the node from the network" };
        format!("no TPM of node {} has shown such a boot; {how} first", node.id)
    })?;
    if !yes {
        ask(node.id, &words.unwrap_or_default(), for_model)?;
    }
    let request = TrustBootRequest { why, shown_at, for_model, system };
    print_node(&client.post(&format!("{path}/trust-boot"), &request).await?, json)
}

/// How far the running system's last boot is proven, and what it was compared with.
pub fn system_in_words(boot: &SystemBootView) -> String {
    let mut found = match &boot.trust {
        Some(trust) => trust_in_words(trust),
        None => "not shown yet".to_owned(),
    };
    if let Some(at) = boot.shown_at {
        found.push_str(&format!("; shown {}", time(at)));
    }
    match (boot.recorded_at, boot.image, &boot.why) {
        (Some(at), Some(image), Some(why)) => {
            let image: String = image.to_string().chars().take(12).collect();
            format!("{found} (recorded {} for image {image}: {})", time(at), clean(why))
        }
        _ => found,
    }
}

/// How far a boot is proven.
pub fn trust_in_words(trust: &BootTrust) -> String {
    match trust {
        BootTrust::Verified => "verified".to_owned(),
        BootTrust::Mismatch { registers } => format!("NOT AS RECORDED: {}", clean(&registers.join(", "))),
        BootTrust::Changed { what } => format!("CHANGED: {}", clean(&what.join(", "))),
        BootTrust::Lost { why } => format!("NOT PROVEN ANY MORE: {}", clean(why)),
        BootTrust::Unproven { why } => format!("not proven: {}", clean(why)),
    }
}

fn ask(node: NodeId, boot: &str, for_model: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "nobody is there to look at the boot of node {node}; look at it (reprieve node show) and say --yes"
    );
    let mut terminal = std::io::stderr();
    writeln!(terminal, "Node {node} booted last: {boot}")?;
    let whose = if for_model { "Later boots of every node of this hardware model" } else { "Later boots" };
    write!(terminal, "{whose} will be compared with this one. Type yes to go on: ")?;
    terminal.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).context("could not read the answer")?;
    anyhow::ensure!(typed.trim() == "yes", "that is not yes; nothing was recorded");
    Ok(())
}

/// `reprieve node forget-boot NODE --why TEXT`.
pub async fn forget(
    client: &Client,
    node: &str,
    (why, for_model): (String, bool),
    json: bool,
) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}/forget-boot", escape(node));
    print_node(&client.post(&path, &ForgetBootRequest { why, for_model }).await?, json)
}

fn short(digest: &str) -> String {
    clean(digest).chars().take(12).collect()
}

/// Boots that are right for every node of its hardware model, newest first.
pub fn golden_in_words(boots: &[GoldenBootView]) -> Option<String> {
    let part = |boot: &GoldenBootView| match boot.part {
        GoldenPart::Firmware => format!("firmware {}", clean(&boot.label)),
        GoldenPart::Booted => format!("ramdisk {}", short(&boot.label)),
        GoldenPart::System => format!("system of image {}", short(&boot.label)),
    };
    let said: Vec<String> = boots
        .iter()
        .take(4)
        .map(|boot| format!("{} (recorded {}: {})", part(boot), time(boot.recorded_at), clean(&boot.why)))
        .collect();
    let more = boots.len().checked_sub(said.len()).filter(|more| *more > 0);
    let more = more.map(|more| format!("and {more} more"));
    (!boots.is_empty()).then(|| said.into_iter().chain(more).collect::<Vec<_>>().join("; "))
}
