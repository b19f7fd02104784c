//! The command line: which commands there are. What one of them takes stands beside it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::blast_radius::BlastRadiusCommand;
use crate::burn_in::BurnIn;
use crate::certificate::CertificateCommand;
use crate::image::ImageCommand;
use crate::job::JobCommand;
use crate::model::ModelCommand;
use crate::node::{Assign, NodeCommand};
use crate::policy::{Explain, PolicyCommand, Replay};
use crate::reimage::Reimage;
use crate::report::{Outcome, ReportCommand};
use crate::rollback::Rollback;
use crate::wave::WaveCommand;
use crate::wipe::Wipe;

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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Arguments, Command};
    use crate::image::ImageCommand;

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
