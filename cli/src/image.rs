//! `reprieve image list` and `show`.

use clap::Subcommand;
use contract::operator_api::ImageView;

use crate::Ending;
use crate::client::{Client, escape};
use crate::import::Import;
use crate::output::{bytes, clean, print, print_json, properties, short, table, time, trimmed};

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List all images
    List,
    /// Show one image
    Show {
        /// Image: id, start of an id, or name
        image: String,
    },
    /// Import a disk image: raw or qcow2, plain or compressed with gzip, xz or zstd
    Import(Import),
}

/// `reprieve image list`.
pub async fn list(client: &Client, json: bool) -> anyhow::Result<Ending> {
    let images: Vec<ImageView> = client.get("/v1/images").await?;
    if json {
        print_json(&images)?;
        return Ok(Ending::Good);
    }
    if images.is_empty() {
        print("no images yet; import one with: reprieve image import FILE --name NAME")?;
        return Ok(Ending::Good);
    }
    let mut rows = table(&["image", "name", "disk", "stored", "shared", "files", "imported"]);
    for image in &images {
        rows.add_row([
            short(&image.id),
            clean(&image.name),
            bytes(image.disk_bytes),
            bytes(image.stored_bytes),
            bytes(image.shared_bytes),
            image.immutable_files.to_string(),
            time(image.imported_at),
        ]);
    }
    print(&trimmed(&rows))?;
    Ok(Ending::Good)
}

/// `reprieve image show IMAGE`.
pub async fn show(client: &Client, image: &str, json: bool) -> anyhow::Result<Ending> {
    let image: ImageView = client.get(&format!("/v1/images/{}", escape(image))).await?;
    print_image(&image, json)
}

/// Prints one image.
pub fn print_image(image: &ImageView, json: bool) -> anyhow::Result<Ending> {
    if json {
        print_json(image)?;
        return Ok(Ending::Good);
    }
    let partitions: Vec<String> = image.partitions.iter().map(|partition| clean(partition)).collect();
    print(&properties(vec![
        ("image", Some(image.id.to_string())),
        ("name", Some(clean(&image.name))),
        ("imported", Some(time(image.imported_at))),
        ("disk", Some(bytes(image.disk_bytes))),
        ("stored", Some(format!("{} in {} chunks", bytes(image.stored_bytes), image.chunks))),
        ("shared with others", Some(bytes(image.shared_bytes))),
        ("partitions", Some(partitions.join("\n"))),
        ("immutable files", Some(image.immutable_files.to_string())),
        ("agent", image.without_agent.then(|| "none: no running system reports from it".to_owned())),
    ]))?;
    Ok(Ending::Good)
}
