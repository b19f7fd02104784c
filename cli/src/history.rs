//! `reprieve node history NODE`: the images that a node had and what became of each.

use contract::history::{ImageOutcome, PastImage};
use contract::operator_api::{ImageView, NodeView};

use crate::Ending;
use crate::client::{Client, escape};
use crate::output::{clean, print, print_json, short, table, time, trimmed};

/// How many images the line in `node show` names.
const SHOWN_SHORT: usize = 4;

/// `reprieve node history NODE`.
pub async fn history(client: &Client, node: &str, json: bool) -> anyhow::Result<Ending> {
    let node: NodeView = client.get(&format!("/v1/nodes/{}", escape(node))).await?;
    if json {
        print_json(&node.images)?;
        return Ok(Ending::Good);
    }
    if node.images.is_empty() {
        print("no image was written to this node and none was found on it")?;
        return Ok(Ending::Good);
    }
    let images: Vec<ImageView> = client.get("/v1/images").await?;
    print(&rows(&node.images, &images))?;
    for line in failures(&node.images) {
        print(&line)?;
    }
    Ok(Ending::Good)
}

fn rows(past: &[PastImage], images: &[ImageView]) -> String {
    let mut rows = table(&["image", "name", "tenant", "since", "outcome", "known", "job"]);
    for past in past {
        let stored = images.iter().find(|image| image.id == past.image);
        rows.add_row([
            short(&past.image),
            stored.map_or_else(|| "(not stored any more)".to_owned(), |image| clean(&image.name)),
            past.tenant.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            time(past.since),
            word(&past.outcome).to_owned(),
            time(past.outcome_at),
            past.job.map_or_else(|| "found on the node".to_owned(), |job| job.to_string()),
        ]);
    }
    trimmed(&rows)
}

/// The newest images in a line; none if there are none.
pub fn in_short(past: &[PastImage]) -> Option<String> {
    let newest = past.iter().take(SHOWN_SHORT);
    let mut words: Vec<String> =
        newest.map(|past| format!("{} {}", short(&past.image), word(&past.outcome))).collect();
    if past.len() > SHOWN_SHORT {
        words.push("…".to_owned());
    }
    (!words.is_empty()).then(|| format!("{} (newest first; reprieve node history NODE)", words.join(", ")))
}

fn word(outcome: &ImageOutcome) -> &'static str {
    match outcome {
        ImageOutcome::Writing => "is being written",
        ImageOutcome::ComingUp => "comes up",
        ImageOutcome::Unreported => "written, no agent",
        ImageOutcome::Good => "worked",
        ImageOutcome::Failed { .. } => "failed",
    }
}

/// Why images failed, which is too long for a table.
fn failures(past: &[PastImage]) -> Vec<String> {
    let failure = |past: &PastImage| match &past.outcome {
        ImageOutcome::Failed { reason } => {
            Some(format!("\n{} failed at {}: {}", short(&past.image), time(past.outcome_at), clean(reason)))
        }
        ImageOutcome::Writing | ImageOutcome::ComingUp | ImageOutcome::Unreported | ImageOutcome::Good => {
            None
        }
    };
    past.iter().filter_map(failure).collect()
}

#[cfg(test)]
mod tests {
    use contract::id::{Digest, ImageId, UnixMillis};

    use super::*;

    fn past(name: &str, outcome: ImageOutcome) -> PastImage {
        PastImage {
            image: ImageId(Digest::of(name.as_bytes())),
            tenant: Some("a".parse().unwrap()),
            job: None,
            since: UnixMillis(1000),
            outcome,
            outcome_at: UnixMillis(2000),
            command_line: None,
            accepted_command_line: None,
        }
    }

    #[test]
    fn the_newest_are_named_and_the_rest_is_hinted_at() {
        assert_eq!(in_short(&[]), None);
        let failed = ImageOutcome::Failed { reason: "no\x1b report".to_owned() };
        let mut all = vec![past("b", failed), past("a", ImageOutcome::Good)];
        let line = in_short(&all).unwrap();
        assert!(line.contains("failed, ") && line.contains("worked (") && !line.contains('…'), "{line}");
        let (text, why) = (rows(&all, &[]), failures(&all));
        assert!(text.contains("failed") && text.contains("not stored"), "{text}");
        assert!(why.len() == 1 && why[0].contains("report") && !why[0].contains('\x1b'), "{why:?}");
        all.extend((0..5).map(|_| past("z", ImageOutcome::Good)));
        assert!(in_short(&all).unwrap().contains('…'));
    }
}
