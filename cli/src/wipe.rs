//! `reprieve wipe NODE`: says what would be done to each disk, asks, watches, and ends with where the
//! certificates are.

use clap::{Args, ValueEnum};
use contract::assignment::Floor;
use contract::certificate_api::{DiskPreview, ErasePreview};
use contract::decision::SanitizeLevel;
use contract::operator_api::{ReimageReply, ReimageRequest};
use contract::reading::{Outcome, Trust};
use erasure::certificate::wording;
use erasure::coverage::{area_in_words, presence_in_words};
use serde_json::json;

use crate::Ending;
use crate::certificate;
use crate::client::{Client, escape};
use crate::output::{bytes, clean, print, print_json, table, time, trimmed};
use crate::{job, reimage};

/// How thoroughly data are made unreadable.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Level {
    /// Against simple recovery through the disk's own interface
    Clear,
    /// Against recovery in a laboratory
    Purge,
}

impl From<Level> for SanitizeLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Clear => Self::Clear,
            Level::Purge => Self::Purge,
        }
    }
}

/// What `reprieve wipe` takes.
#[derive(Debug, Args)]
pub struct Wipe {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// The least that is delivered; the policy may demand more. The policy's level if it is left out
    #[arg(long, value_enum)]
    pub level: Option<Level>,
    /// Why, in one line; it stands on the certificates
    #[arg(long, value_name = "REASON")]
    pub why: String,
    /// Install nothing afterwards: the node is held with empty disks, and needs no image and no tenant
    #[arg(long)]
    pub leave_empty: bool,
    /// Begin outside the policy's windows too; it is recorded with the job
    #[arg(long)]
    pub outside_windows: bool,
    /// Say what would be done to each disk and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for the serial number before data are destroyed
    #[arg(long)]
    pub yes: bool,
    /// Do not watch the job until it ends
    #[arg(long, conflicts_with = "dry_run")]
    pub no_watch: bool,
}

/// `reprieve wipe NODE`.
pub async fn wipe(client: &Client, arguments: Wipe, json: bool) -> anyhow::Result<Ending> {
    let path = format!("/v1/nodes/{}", escape(&arguments.node));
    let asked = arguments.level.map(SanitizeLevel::from);
    let query = asked.map(|level| format!("?level={}", wording::level(level))).unwrap_or_default();
    let preview: ErasePreview = client.get(&format!("{path}/erase-preview{query}")).await?;
    let mut request = ReimageRequest {
        image: None,
        tenant: None,
        at_least: Some(if arguments.leave_empty { Floor::Empty } else { Floor::Wipe }),
        sanitize_level: asked,
        why: Some(arguments.why),
        outside_windows: arguments.outside_windows,
        dry_run: true,
        from_ramdisk: true,
        confirm_serial: None,
        confirmed: arguments.yes,
    };
    let foreseen: ReimageReply = client.post(&format!("{path}/reimage"), &request).await?;
    if arguments.dry_run && json {
        print_json(&json!({ "preview": preview, "request": foreseen }))?;
        return Ok(Ending::Good);
    }
    if !json {
        print(&in_words(&preview))?;
    }
    if arguments.dry_run {
        return reimage::show(&foreseen, json, true);
    }
    check_deliverable(&preview)?;
    if !arguments.yes {
        request.confirm_serial = reimage::confirm(client, &path, &foreseen).await?;
    }
    request.dry_run = false;
    let reply: ReimageReply = client.post(&format!("{path}/reimage"), &request).await?;
    let ReimageReply::Job { job: Some(id), .. } = &reply else {
        return reimage::show(&reply, json, false);
    };
    if arguments.no_watch {
        return reimage::show(&reply, json, false);
    }
    if !json {
        reimage::show(&reply, json, false)?;
    }
    let (view, ending) = job::follow(client, *id, json).await?;
    let certificates = certificate::fetch_list(client, None, None, Some(*id)).await?;
    if json {
        print_json(&json!({ "job": view, "certificates": certificates }))?;
    } else {
        print(&job::describe(&view))?;
        print(&format!("\n{}", certificate::list_in_words(&certificates)))?;
        if !certificates.is_empty() {
            print("to keep one: reprieve certificate export CERTIFICATE --format json, html or pdf")?;
        }
    }
    Ok(ending)
}

/// A level that the disks are known not to reach is not asked for. A look from the running system sees
/// less than the ramdisk will, so only a look from the ramdisk can say that.
fn check_deliverable(preview: &ErasePreview) -> anyhow::Result<()> {
    let refused = preview.disks.iter().find_map(|disk| disk.refusal.as_ref());
    match refused {
        Some(why) if preview.trust >= Trust::Ramdisk => {
            Err(anyhow::anyhow!("nothing was done; {}", clean(why)))
        }
        _ => Ok(()),
    }
}

/// What would be done to each disk.
fn in_words(preview: &ErasePreview) -> String {
    let from = if preview.trust >= Trust::Ramdisk { "the ramdisk" } else { "the running system" };
    let mut text = format!(
        "level: {}\nlast looked at: {}, from {from}; what is done is decided by the look in the ramdisk\n\n",
        wording::level(preview.level),
        time(preview.seen_at)
    );
    let mut rows = table(&["disk", "name", "serial", "size", "level", "technique", "the device says"]);
    for disk in &preview.disks {
        rows.add_row([
            disk.disk.to_string(),
            clean(&disk.kernel_name),
            serial(disk),
            bytes(disk.size_bytes),
            disk.method.map_or("-", |_| wording::level(preview.level)).to_owned(),
            disk.technique.as_deref().map_or_else(|| "none".to_owned(), clean),
            estimate(disk),
        ]);
    }
    text.push_str(&trimmed(&rows));
    for disk in &preview.disks {
        if let Some(refusal) = &disk.refusal {
            text.push_str(&format!("\n{}", clean(refusal)));
        }
    }
    let exclusions = exclusions(&preview.disks);
    if !exclusions.is_empty() {
        text.push_str("\n\nnot covered:");
    }
    for (exclusion, disks) in exclusions {
        text.push_str(&format!("\n- {} ({})", clean(&exclusion), disks.join(", ")));
    }
    text
}

fn serial(disk: &DiskPreview) -> String {
    match &disk.serial {
        Outcome::Value(serial) => clean(serial),
        Outcome::Absent => "none".to_owned(),
        Outcome::Unreadable(_) => "unreadable".to_owned(),
    }
}

/// How long it takes, as far as the device says.
fn estimate(disk: &DiskPreview) -> String {
    match (disk.method, disk.estimate_seconds) {
        (None, _) => "-".to_owned(),
        (Some(_), None) => "no estimate".to_owned(),
        (Some(_), Some(seconds)) if seconds < 120 => format!("{seconds} s"),
        (Some(_), Some(seconds)) => format!("{} min", seconds.div_ceil(60)),
    }
}

/// Each exclusion once, with the disks that it holds for: what each disk has beside its blocks, and what
/// its method does not reach.
fn exclusions(disks: &[DiskPreview]) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for disk in disks {
        let areas = disk.not_covered.iter();
        let areas =
            areas.map(|area| format!("{}: {}", area_in_words(area.area), presence_in_words(&area.presence)));
        for exclusion in areas.chain(disk.exclusions.iter().cloned()) {
            match all.iter_mut().find(|(text, _)| *text == exclusion) {
                Some((_, disks)) => disks.push(disk.disk.to_string()),
                None => all.push((exclusion, vec![disk.disk.to_string()])),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
