//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use contract::assignment::{Floor, OsDiskRule, RootSize};
use contract::data_image::DataImageRequest;
use contract::decision::SanitizeLevel;
use contract::id::{CertificateId, DiskId, JobId, PoolName, RackName, TenantId};

use crate::blast_radius::BlastRadiusCommand;
use crate::burn_in::BurnIn;
use crate::model::ModelCommand;
use crate::node_data::NodeDataCommand;
use crate::policy::{Explain, PolicyCommand, Replay};
use crate::report::{Outcome, ReportCommand};
use crate::wave::WaveCommand;

/// Decide from evidence whether machines must be wiped, and bring them back.
#[derive(Debug, Parser)]
#[command(name = "reprieve", version, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON for programs instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the service. Each can also stand in ~/.config/reprieve/config.toml.
#[derive(Debug, Clone, Default, Args)]
pub struct Connection {
    /// Address of the service, such as `https://192.0.2.1:8443`
    #[arg(long, global = true, env = "REPRIEVE_SERVICE", value_name = "URL")]
    pub service: Option<String>,
    /// The service's CA certificate (PEM)
    #[arg(long, global = true, env = "REPRIEVE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with the operator token
    #[arg(long, global = true, env = "REPRIEVE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at nodes and take them in
    Node {
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Ask for a node in the state it should have; evidence decides what has to be done for it
    Reimage(Reimage),
    /// Sanitize all disks of a node with proof, then image it, or leave it empty
    Wipe(Wipe),
    /// Look at the certificates of erased disks, keep them, and check them without the service
    Certificate {
        #[command(subcommand)]
        command: CertificateCommand,
    },
    /// Go back to the image that a node had before its last change
    Rollback(Rollback),
    /// Let a node work under load in the ramdisk and compare it with its like; writes nothing
    BurnIn(BurnIn),
    /// Look at jobs
    Job {
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Import images and look at them
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Say what a node should have; starts nothing
    Assign(Assign),
    /// Forbid everything destructive on a node
    Protect {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
        /// Allow it again
        #[arg(long)]
        off: bool,
    },
    /// Let a held node go on, after a person has looked
    ReleaseHold {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
    /// Give a pool another image in stages
    Wave {
        #[command(subcommand)]
        command: WaveCommand,
    },
    /// Look at what too many nodes wanted at once, and let it go on
    BlastRadius {
        #[command(subcommand)]
        command: BlastRadiusCommand,
    },
    /// Say what you found about a node's last verdict: it was wrong, or what had failed
    Outcome(Outcome),
    /// Report what verdicts saved and what became of them
    Report {
        #[command(subcommand)]
        command: ReportCommand,
    },
    /// Explain a node's last verdict: why, on what evidence, and what would change it
    Explain(Explain),
    /// Make a verdict again from its record, as it was or under another policy or model; exit status 3 if
    /// it is another
    Replay(Replay),
    /// Check, show, try and compare policies; nothing here changes one
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Show and check the model of failures and costs, say how well it foretold, and teach a better one
    Model {
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Show how the service is
    Status,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages
    Man {
        /// Where to
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List all nodes
    List,
    /// Show one node
    Show {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
    /// Show the images that a node had and what became of each
    History {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
    /// Take a discovered node in
    Approve(Approve),
    /// Record how a node booted last: later boots are compared with it (TPM)
    TrustBoot {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
        /// Why it is right, such as `firmware 2.4 was installed`; it is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// What belongs to a node and not to its image: host name, keys, users, network
    Data {
        #[command(subcommand)]
        command: NodeDataCommand,
    },
    /// Explain the last verdict: why, on what evidence, and what would change it
    Explain(Explain),
}

#[derive(Debug, Args)]
pub struct Approve {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Pool it belongs to
    #[arg(long)]
    pub pool: Option<PoolName>,
    /// Your word that it never held anybody's data (disks that show data are sanitized all the same)
    #[arg(long, conflicts_with = "data_of")]
    pub factory_new: bool,
    /// Your word that the data on it belong to this tenant
    #[arg(long, value_name = "TENANT")]
    pub data_of: Option<TenantId>,
}

#[derive(Debug, Args)]
pub struct Assign {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Image: id, start of an id, or name
    #[arg(long)]
    pub image: Option<String>,
    /// Tenant
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// Pool
    #[arg(long)]
    pub pool: Option<PoolName>,
    /// Rack, or another name for what shares a switch and power: too many of one at once are held
    #[arg(long)]
    pub rack: Option<RackName>,
    /// Disk of the operating system: a disk id as `node show` prints it, or what it is like, words with
    /// commas between: nvme, ata, scsi, virtio, usb, rotating, not-rotating, serial=TEXT, at-least=480G,
    /// at-most=1Ti, smallest, largest. Example: nvme,smallest
    #[arg(long, value_name = "DISK")]
    pub os_disk: Option<OsDiskRule>,
    /// Size of the root partition from the next writing of an image on: grow (over the free space behind
    /// it), image (as in the image), or a size such as 20Gi. What is left over is for partitions of the
    /// tenant, which a reimage keeps
    #[arg(long, value_name = "SIZE")]
    pub root: Option<RootSize>,
    /// Image for a data disk: what the disk is like as for --os-disk, an equals sign, and the image; repeat
    /// for more disks. Replaces those that were assigned before. It is written when the disk is erased, or
    /// blank and nobody's, together with an image for the operating system, and never over data.
    /// Example: nvme,largest=scratch
    #[arg(long = "data-image", value_name = "DISK=IMAGE")]
    pub data_images: Vec<DataImageRequest>,
    /// Size of the last partition of these images: grow (over the rest of the disk), image (as in the
    /// image), or a size such as 20Gi
    #[arg(long, value_name = "SIZE", requires = "data_images")]
    pub data_size: Option<RootSize>,
    /// Take the images for data disks off; what is on the disks stays
    #[arg(long, conflicts_with = "data_images")]
    pub no_data_images: bool,
}

/// The least that must be done.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AtLeast {
    /// Put immutable files back even if they are only suspected
    Repair,
    /// Make the disk of the operating system bit-identical to the image
    Reimage,
    /// Sanitize, then image
    Wipe,
}

impl From<AtLeast> for Floor {
    fn from(at_least: AtLeast) -> Self {
        match at_least {
            AtLeast::Repair => Self::Repair,
            AtLeast::Reimage => Self::Reimage,
            AtLeast::Wipe => Self::Wipe,
        }
    }
}

#[derive(Debug, Args)]
pub struct Reimage {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Another image than the assigned one: id, start of an id, or name
    #[arg(long)]
    pub image: Option<String>,
    /// Another tenant than the assigned one
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// The least that must be done; rules may demand more
    #[arg(long, value_enum)]
    pub at_least: Option<AtLeast>,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Look from the ramdisk even if the agent in the running system could answer
    #[arg(long)]
    pub from_ramdisk: bool,
    /// Do not ask for the serial number before data may be destroyed
    #[arg(long)]
    pub yes: bool,
    /// Watch the job until it ends
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// Say which image that is and what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for the serial number before data may be destroyed
    #[arg(long)]
    pub yes: bool,
    /// Watch the job until it ends
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

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

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs
    List,
    /// Show one job
    Show {
        /// Job id
        job: JobId,
    },
    /// Watch a job until it ends; exit status 3 if it does not reach what was asked for
    Watch {
        /// Job id
        job: JobId,
    },
    /// Give a job up before anything irreversible
    Cancel {
        /// Job id
        job: JobId,
    },
}

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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Arguments, Command, ImageCommand};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_ids_and_contradictions_are_refused() {
        for line in [
            "reprieve job show 17",
            "reprieve node approve n1 --factory-new --data-of acme",
            "reprieve reimage n1 --tenant a/b",
            "reprieve reimage n1 --at-least keep",
            "reprieve reimage n1 --dry-run --watch",
            "reprieve rollback n1 --dry-run --watch",
            "reprieve image import x.raw",
            "reprieve wipe n1 --level clear",
            "reprieve wipe n1 --why RMA --level destroy",
            "reprieve certificate show 17",
            "reprieve certificate export x.json --format docx",
            "reprieve assign n1 --os-disk /dev/sda",
            "reprieve assign n1 --os-disk nvme0n1",
            "reprieve assign n1 --os-disk nvme,smalest",
            "reprieve assign n1 --data-image nvme,largest",
            "reprieve assign n1 --data-image sdb=scratch",
            "reprieve assign n1 --data-size grow",
            "reprieve assign n1 --data-image nvme=scratch --no-data-images",
            "reprieve image import x.raw --name x --no-root --root-partition 1",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn options_of_an_import_repeat() {
        let line =
            "reprieve image import x.qcow2 --name d --immutable-path /usr --immutable-path /opt --json";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(arguments.json);
        let Command::Image { command: ImageCommand::Import(import) } = arguments.command else { panic!() };
        assert_eq!(import.immutable_paths, ["/usr", "/opt"]);
    }
}
