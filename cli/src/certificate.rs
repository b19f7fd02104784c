//! `reprieve certificate …`: lists, shows and exports certificates, and checks them without the
//! service.

mod check;
mod pdf;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use contract::certificate_api::{CertificateKey, CertificateView};
use contract::id::{CertificateId, Digest, DiskId, JobId};
use contract::reading::Outcome;
use ed25519_dalek::VerifyingKey;
use erasure::certificate::Certificate;
use erasure::certificate::fields::sections;
use erasure::certificate::signed::SignedCertificate;
use erasure::certificate::{html, wording};

use crate::Ending;
use crate::client::{Client, escape};
use crate::output::{clean, print, print_json, properties, table, time, trimmed};

pub use check::{export_file, verify};

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// List certificates, newest first
    List {
        /// Only those of disks in this node: id, start of an id, serial number or MAC address
        #[arg(long)]
        node: Option<String>,
        /// Only those of this disk: its id as `node show` prints it
        #[arg(long)]
        disk: Option<DiskId>,
    },
    /// Show one certificate
    Show {
        /// Certificate id
        certificate: CertificateId,
    },
    /// Check a certificate's file without the service; exit status 1 if anything was altered
    Verify(Verify),
    /// Write a certificate into a file: JSON to keep and check, HTML or PDF to read and print
    Export(Export),
    /// Print the site's public key that certificates are checked with
    Key {
        /// Write it into this file instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// `reprieve certificate verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The certificate's file (JSON)
    pub file: PathBuf,
    /// The site's public key (PEM); certificate-key.pem beside the configuration file if it is left out
    #[arg(long, env = "REPRIEVE_CERTIFICATE_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The certificate before of the same disk; checks that this one follows it
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
}

/// What an exported certificate looks like.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// The signed file
    Json,
    /// One page that needs nothing else
    Html,
    /// A4
    Pdf,
}

/// `reprieve certificate export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Certificate id, or a certificate's file (JSON), which needs no service
    pub certificate: String,
    /// What to write
    #[arg(long, value_enum, default_value = "json")]
    pub format: Format,
    /// Where to; certificate-ID and the format's ending if it is left out. A file is never replaced
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The site's public key (PEM), to check a certificate's file with
    #[arg(long, env = "REPRIEVE_CERTIFICATE_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
}

impl Export {
    /// The file to export from, if what was named is not an id.
    pub fn file(&self) -> Option<PathBuf> {
        let id = self.certificate.parse::<CertificateId>();
        id.is_err().then(|| PathBuf::from(&self.certificate))
    }
}

/// The commands that ask the service.
pub async fn run(client: &Client, command: CertificateCommand, json: bool) -> anyhow::Result<Ending> {
    match command {
        CertificateCommand::List { node, disk } => {
            list(client, node.as_deref(), disk.as_ref(), None, json).await
        }
        CertificateCommand::Show { certificate } => show(client, certificate, json).await,
        CertificateCommand::Key { output } => key(client, output.as_deref(), json).await,
        CertificateCommand::Export(export) => export_by_id(client, &export).await,
        // It needs no service and was done before one was asked for.
        CertificateCommand::Verify(request) => verify(&request, json),
    }
}

/// `reprieve certificate list`, and what `wipe` shows at its end.
pub async fn list(
    client: &Client,
    node: Option<&str>,
    disk: Option<&DiskId>,
    job: Option<JobId>,
    json: bool,
) -> anyhow::Result<Ending> {
    let views = fetch_list(client, node, disk, job).await?;
    if json {
        print_json(&views)?;
    } else {
        print(&list_in_words(&views))?;
    }
    Ok(Ending::Good)
}

/// Certificates that fit, newest first.
pub async fn fetch_list(
    client: &Client,
    node: Option<&str>,
    disk: Option<&DiskId>,
    job: Option<JobId>,
) -> anyhow::Result<Vec<CertificateView>> {
    let wanted = [
        node.map(|node| format!("node={}", escape(node))),
        disk.map(|disk| format!("disk={}", escape(disk.as_str()))),
        job.map(|job| format!("job={job}")),
    ];
    let wanted: Vec<String> = wanted.into_iter().flatten().collect();
    client.get(&format!("/v1/certificates?{}", wanted.join("&"))).await
}

/// Certificates as a table.
pub fn list_in_words(views: &[CertificateView]) -> String {
    if views.is_empty() {
        return "no certificates; each erase of a disk that is proven makes one".to_owned();
    }
    let mut rows = table(&["certificate", "issued", "disk", "serial", "level", "technique", "number"]);
    for view in views {
        let serial = match &view.serial {
            Outcome::Value(serial) => clean(serial),
            Outcome::Absent => "none".to_owned(),
            Outcome::Unreadable(_) => "unreadable".to_owned(),
        };
        rows.add_row([
            view.id.to_string(),
            time(view.issued_at),
            view.disk.to_string(),
            serial,
            wording::level(view.level).to_owned(),
            wording::technique(view.method).to_owned(),
            view.number.to_string(),
        ]);
    }
    trimmed(&rows)
}

/// A certificate from the service, checked with the service's key before anybody sees it.
async fn fetch(client: &Client, id: CertificateId) -> anyhow::Result<(SignedCertificate, Certificate)> {
    let signed: SignedCertificate = client.get(&format!("/v1/certificates/{id}")).await?;
    let key: CertificateKey = client.get("/v1/certificate-key").await?;
    let key = check::key_from_pem(&key.pem).context("the service's public key cannot be read")?;
    let certificate = signed.verify(&key).with_context(|| {
        format!("the service's certificate {id} is not valid; look for another copy of it")
    })?;
    Ok((signed, certificate))
}

async fn show(client: &Client, id: CertificateId, json: bool) -> anyhow::Result<Ending> {
    let (signed, certificate) = fetch(client, id).await?;
    if json {
        print_json(&certificate)?;
    } else {
        print(&in_words(&certificate, signed.digest().ok()))?;
    }
    Ok(Ending::Good)
}

/// Every field of a certificate, under its headings.
fn in_words(certificate: &Certificate, digest: Option<Digest>) -> String {
    let mut text = clean(&certificate.statement);
    for section in sections(certificate, digest) {
        let rows: Vec<(String, String)> =
            section.rows.iter().map(|(name, value)| (clean(name), clean(value))).collect();
        let rows = rows.iter().map(|(name, value)| (name.as_str(), Some(value.clone()))).collect();
        text.push_str(&format!("\n\n{}\n{}", section.heading, properties(rows)));
    }
    text
}

async fn key(client: &Client, output: Option<&Path>, json: bool) -> anyhow::Result<Ending> {
    let key: CertificateKey = client.get("/v1/certificate-key").await?;
    match output {
        Some(path) => {
            write_new(path, key.pem.as_bytes())?;
            print(&format!("the public key is in {}", path.display()))?;
        }
        None if json => print_json(&key)?,
        None => print(key.pem.trim_end())?,
    }
    Ok(Ending::Good)
}

async fn export_by_id(client: &Client, export: &Export) -> anyhow::Result<Ending> {
    let id: CertificateId = export.certificate.parse().context("name a certificate or its file")?;
    let (signed, certificate) = fetch(client, id).await?;
    write_export(&signed, &certificate, export)
}

/// Writes a certificate that was checked.
fn write_export(
    signed: &SignedCertificate,
    certificate: &Certificate,
    export: &Export,
) -> anyhow::Result<Ending> {
    let digest = signed.digest().ok();
    let (bytes, extension) = match export.format {
        Format::Json => (signed.to_bytes()?, "json"),
        Format::Html => (html::page(certificate, digest).into_bytes(), "html"),
        Format::Pdf => (pdf::document(certificate, digest), "pdf"),
    };
    let path = match &export.output {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("certificate-{}.{extension}", certificate.id)),
    };
    write_new(&path, &bytes)?;
    print(&format!("{} holds certificate {}", path.display(), certificate.id))?;
    Ok(Ending::Good)
}

/// Writes a file that was not there: a certificate or a key is never replaced by accident.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write()
        .with_context(|| format!("could not write {}; a file that is there is not replaced", path.display()))
}

/// The key's text as people compare it.
fn key_name(key: &VerifyingKey) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
