//! `reprieve image import FILE`: reads a disk image, works out what it is, and sends the service what
//! it does not have yet.
//!
//! Nothing is sent before the whole image has been read and understood. An import that fails is taken
//! back at the service; one that is interrupted, or loses the service, is left there, and the same
//! command goes on with it.

mod content;
mod decompress;
mod describe;
mod options;
mod source;
mod upload;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::Args;
use contract::operator_api::ImageView;
use imaging::source::ReadAt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Ending;
use crate::client::{Client, Unreachable};
use crate::image::print_image;
use content::WithContent;
use describe::{Description, describe_image};
use options::Options;
use source::{Source, folder_of};
use upload::Upload;

/// `reprieve image import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The disk image
    pub file: PathBuf,
    /// Name of the image
    #[arg(long)]
    pub name: String,
    /// Path that must never change on a node, with everything under it; repeat for more. Replaces the
    /// default: /usr, /boot and the links into /usr
    #[arg(long = "immutable-path", value_name = "PATH")]
    pub immutable_paths: Vec<String>,
    /// Path that may change all the same; repeat for more. Replaces the default: /boot/grub/grubenv
    #[arg(long = "exclude-path", value_name = "PATH")]
    pub excluded_paths: Vec<String>,
    /// Number of the root partition, if it cannot be told from the types
    #[arg(long, value_name = "NUMBER")]
    pub root_partition: Option<u32>,
    /// Call no partition the root and list no files: an image for a data disk, without a system
    #[arg(long, conflicts_with_all = ["root_partition", "immutable_paths", "excluded_paths"])]
    pub no_root: bool,
    /// The image has no agent of ours, such as a stock cloud image: a job is done when it is written and
    /// proven, and no report of the installed system is waited for
    #[arg(long)]
    pub no_agent: bool,
    /// Number of a boot partition that the running system may change; repeat for more
    #[arg(long = "mutable-partition", value_name = "NUMBER")]
    pub mutable_partitions: Vec<u32>,
    /// File with these options (TOML: `immutable_paths`, `excluded_paths`, `root_partition`, `no_agent`,
    /// `mutable_partitions`), such as the image's own reprieve-image.toml
    #[arg(long, value_name = "FILE")]
    pub options: Option<PathBuf>,
}

/// `reprieve image import FILE --name NAME`.
pub async fn import(client: &Client, arguments: Import, json: bool) -> anyhow::Result<Ending> {
    let options = Options::load(&arguments)?;
    let stop = Arc::new(AtomicBool::new(false));
    let work = read_image(arguments.clone_paths(), options, Arc::clone(&stop), json);
    let (source, description) = tokio::select! {
        read = work => read?,
        _ = tokio::signal::ctrl_c() => {
            stop.store(true, Ordering::Relaxed);
            anyhow::bail!("interrupted; nothing was sent");
        }
    };
    for warning in &description.warnings {
        eprintln!("warning: {warning}");
    }
    let upload = Upload::begin(client, &arguments.name).await?;
    let image = tokio::select! {
        sent = send(&upload, &source, &description, json) => sent,
        _ = tokio::signal::ctrl_c() => {
            anyhow::bail!("interrupted; the same command goes on with this import");
        }
    };
    match image {
        Ok(image) => print_image(&image, json),
        Err(error) => Err(take_back(&upload, error).await),
    }
}

/// What reading an image needs of the command line.
struct ImagePlace {
    file: std::path::PathBuf,
    name: String,
}

impl Import {
    fn clone_paths(&self) -> ImagePlace {
        ImagePlace { file: self.file.clone(), name: self.name.clone() }
    }
}

/// Opens and describes the image, away from the threads that answer to the person.
async fn read_image(
    place: ImagePlace,
    options: Options,
    stop: Arc<AtomicBool>,
    json: bool,
) -> anyhow::Result<(Arc<Source>, Description)> {
    let read = move || -> anyhow::Result<(Arc<Source>, Description)> {
        let packed_bytes = std::fs::metadata(&place.file).map_or(0, |metadata| metadata.len());
        let bar = progress_bar(json, "opening", packed_bytes, BYTES);
        let source = Source::open(&place.file, &mut |count| bar.inc(count))?;
        bar.finish_and_clear();
        let bar = progress_bar(json, "reading", source.size_bytes(), BYTES);
        let folder = folder_of(&place.file).to_owned();
        let count = |count| bar.inc(count);
        let description = describe_image(&source, &place.name, folder, &options, &stop, &count)
            .with_context(|| format!("could not import {}", place.file.display()))?;
        bar.finish_and_clear();
        // Everything that could be wrong with it is said before anything is sent.
        description.manifest.to_bytes().context("the image cannot be described")?;
        Ok((Arc::new(source), description))
    };
    tokio::task::spawn_blocking(read).await.context("reading the image failed")?
}

async fn send(
    upload: &Upload<'_>,
    source: &Arc<Source>,
    description: &Description,
    json: bool,
) -> anyhow::Result<ImageView> {
    if upload.resumed && !json {
        eprintln!("going on with an import that was broken off");
    }
    let bar = progress_bar(json, "sending", 0, CHUNKS);
    let content = Arc::clone(&description.content);
    let source = WithContent { image: Arc::clone(source), content };
    let sent = upload.send(&source, &description.manifest, &bar).await?;
    bar.finish_and_clear();
    if !json {
        let manifest = &description.manifest;
        let stored = manifest.chunks.stored().chain(manifest.content.stored()).count();
        eprintln!("sent {sent} chunks of {stored}; the service had the others");
    }
    upload.commit(&description.manifest).await
}

/// After a failure: nothing stays behind, unless the service cannot be reached; then it can be gone on
/// with.
async fn take_back(upload: &Upload<'_>, error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Unreachable>().is_some() {
        eprintln!("the import is not finished; the same command goes on with it");
        return error;
    }
    if let Err(second) = upload.abandon().await {
        eprintln!("warning: the import could not be taken back: {second:#}");
    }
    error
}

const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
const CHUNKS: &str = "{msg} {wide_bar} {pos}/{len} chunks {eta}";

/// A bar on standard error, if a person is there to see it.
fn progress_bar(json: bool, what: &'static str, length: u64, template: &str) -> ProgressBar {
    let visible = !json && std::io::stderr().is_terminal();
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style).with_message(what)
}

#[cfg(test)]
mod tests;
