//! The technician's command, driven as a program would: `reprieve --json …`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::evidence::Evidence;
use contract::id::JobId;
use contract::operator_api::{
    DecisionView, ImageView, JobState, JobView, NodeState, NodeView, ReimageReply, StatusView,
};
use serde::de::DeserializeOwned;

use crate::artefacts::Artefacts;
use crate::namespace::Namespace;
use crate::process::capture;
use crate::service::Service;
use crate::wait::until_every;

/// How often the command is asked: each time is a process and a TLS handshake.
const ASK_INTERVAL: Duration = Duration::from_millis(700);

/// Somebody at the command line.
#[derive(Debug, Clone)]
pub struct Operator<'lab> {
    network: &'lab Namespace,
    program: PathBuf,
    server: String,
    state: PathBuf,
}

impl<'lab> Operator<'lab> {
    /// Somebody who may speak to this service.
    #[must_use]
    pub fn new(network: &'lab Namespace, artefacts: &Artefacts, service: &Service<'_>) -> Self {
        Self {
            network,
            program: artefacts.operator.clone(),
            server: service.api_url(),
            state: service.state(),
        }
    }

    /// The command's file.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The command with its credentials, before its own arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = self.network.command(&self.program);
        command.env("REPRIEVE_SERVICE", &self.server);
        command.env("REPRIEVE_TOKEN_FILE", self.state.join("operator.token"));
        command.env("REPRIEVE_CA", self.state.join("ca.pem"));
        command
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = capture(self.command().arg("--json").args(arguments))?;
        serde_json::from_slice(&output).with_context(|| {
            format!("reprieve {} said {}", arguments.join(" "), String::from_utf8_lossy(&output))
        })
    }

    /// `reprieve status`.
    ///
    /// # Errors
    /// What the command says.
    pub fn status(&self) -> Result<StatusView> {
        self.json(&["status"])
    }

    /// `reprieve node list`.
    ///
    /// # Errors
    /// What the command says.
    pub fn nodes(&self) -> Result<Vec<NodeView>> {
        self.json(&["node", "list"])
    }

    /// `reprieve node show`.
    ///
    /// # Errors
    /// What the command says.
    pub fn node(&self, node: &str) -> Result<NodeView> {
        self.json(&["node", "show", node])
    }

    /// `reprieve node explain`.
    ///
    /// # Errors
    /// What the command says.
    pub fn decision(&self, node: &str) -> Result<DecisionView> {
        self.json(&["node", "explain", node])
    }

    /// `reprieve node explain` in words.
    ///
    /// # Errors
    /// What the command says.
    pub fn explanation(&self, node: &str) -> Result<String> {
        let output = capture(self.command().args(["node", "explain", node]))?;
        String::from_utf8(output).context("the explanation is not text")
    }

    /// Approves a machine that comes from the factory.
    ///
    /// # Errors
    /// What the command says.
    pub fn approve_factory_new(&self, node: &str) -> Result<NodeView> {
        self.json(&["node", "approve", node, "--factory-new"])
    }

    /// Says what a node should have, with the root as large as in the image, so that every byte of it can
    /// be compared; a root that is grown is changed by its own driver in the end.
    ///
    /// # Errors
    /// What the command says.
    pub fn assign(&self, node: &str, image: &str, tenant: &str) -> Result<NodeView> {
        self.json(&["assign", node, "--image", image, "--tenant", tenant, "--root", "image"])
    }

    /// Lets a held node go on.
    ///
    /// # Errors
    /// What the command says.
    pub fn release_hold(&self, node: &str) -> Result<NodeView> {
        self.json(&["release-hold", node])
    }

    /// Asks for a state, with the confirmation already given.
    ///
    /// # Errors
    /// What the command says, or that there was nothing to do.
    pub fn reimage(&self, node: &str, arguments: &[&str]) -> Result<JobId> {
        let mut all = vec!["reimage", node, "--yes"];
        all.extend_from_slice(arguments);
        match self.json(&all)? {
            ReimageReply::Job { job: Some(job), .. } => Ok(job),
            other => bail!("reprieve reimage {node} made no job: {other:?}"),
        }
    }

    /// `reprieve wipe`, with the confirmation already given.
    ///
    /// # Errors
    /// What the command says, or that there was nothing to do.
    pub fn wipe(&self, node: &str, level: &str, why: &str) -> Result<JobId> {
        match self.json(&["wipe", node, "--level", level, "--why", why, "--yes", "--no-watch"])? {
            ReimageReply::Job { job: Some(job), .. } => Ok(job),
            other => bail!("reprieve wipe {node} made no job: {other:?}"),
        }
    }

    /// `reprieve certificate list` for the disks of a node: how many there are.
    ///
    /// # Errors
    /// What the command says.
    pub fn certificate_count(&self, node: &str) -> Result<usize> {
        let list: Vec<serde_json::Value> = self.json(&["certificate", "list", "--node", node])?;
        Ok(list.len())
    }

    /// The newest certificate of a node's disks, as it was signed.
    ///
    /// # Errors
    /// What the command says, or that there is none.
    pub fn certificate(&self, node: &str) -> Result<serde_json::Value> {
        let list: Vec<serde_json::Value> = self.json(&["certificate", "list", "--node", node])?;
        let id = list.first().and_then(|one| one["id"].as_str()).context("the node has no certificate")?;
        self.json(&["certificate", "show", id])
    }

    /// `reprieve job cancel`.
    ///
    /// # Errors
    /// What the command says.
    pub fn cancel(&self, job: JobId) -> Result<()> {
        self.json::<serde_json::Value>(&["job", "cancel", &job.to_string()]).map(drop)
    }

    /// `reprieve protect`, or with `--off`.
    ///
    /// # Errors
    /// What the command says.
    pub fn protect(&self, node: &str, protected: bool) -> Result<NodeView> {
        if protected { self.json(&["protect", node]) } else { self.json(&["protect", node, "--off"]) }
    }

    /// `reprieve rollback`, with the confirmation already given.
    ///
    /// # Errors
    /// What the command says, or that there was nothing to do.
    pub fn rollback(&self, node: &str) -> Result<JobId> {
        match self.json(&["rollback", node, "--yes"])? {
            ReimageReply::Job { job: Some(job), .. } => Ok(job),
            other => bail!("reprieve rollback {node} made no job: {other:?}"),
        }
    }

    /// `reprieve reimage`, whatever comes of it.
    ///
    /// # Errors
    /// What the command says.
    pub fn request(&self, node: &str, arguments: &[&str]) -> Result<ReimageReply> {
        let mut all = vec!["reimage", node, "--yes"];
        all.extend_from_slice(arguments);
        self.json(&all)
    }

    /// `reprieve job show`.
    ///
    /// # Errors
    /// What the command says.
    pub fn job(&self, job: JobId) -> Result<JobView> {
        self.json(&["job", "show", &job.to_string()])
    }

    /// Imports an image under a name.
    ///
    /// # Errors
    /// What the command says.
    pub fn import(&self, file: &Path, name: &str, words: &[&str]) -> Result<ImageView> {
        let file = file.to_str().context("the image's path is not text")?;
        self.json(&[&["image", "import", file, "--name", name], words].concat())
    }

    /// Waits until a machine with this serial number is known and has told what it is made of.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn wait_discovered(&self, serial: &str, limit: Duration) -> Result<NodeView> {
        until_every(ASK_INTERVAL, &format!("the discovery of {serial}"), limit, || {
            Ok(self
                .nodes()?
                .into_iter()
                .find(|node| node.serial.as_deref() == Some(serial) && node.inventory.is_some()))
        })
    }

    /// Waits until a job is in a state that `is_there` accepts.
    ///
    /// # Errors
    /// If the job ends otherwise or does not come there in time; with its last events.
    pub fn wait_job(
        &self,
        job: JobId,
        what: &str,
        limit: Duration,
        mut is_there: impl FnMut(&JobState) -> bool,
    ) -> Result<JobView> {
        let mut last = None;
        let found = until_every(ASK_INTERVAL, &format!("job {job}: {what}"), limit, || {
            let view = self.job(job)?;
            if is_there(&view.state) {
                return Ok(Some(view));
            }
            if matches!(
                view.state,
                JobState::Done { .. }
                    | JobState::Held { .. }
                    | JobState::Cancelled
                    | JobState::RolledBack { .. }
            ) {
                bail!("job {job} ended without coming to {what}: {}", describe(&view));
            }
            last = Some(view);
            Ok(None)
        });
        found.with_context(|| last.as_ref().map_or_else(|| "the job was never seen".to_owned(), describe))
    }

    /// Waits until a node was judged on evidence that `is_it` accepts.
    ///
    /// # Errors
    /// If that does not come in time.
    pub fn wait_decision(
        &self,
        node: &str,
        limit: Duration,
        is_it: impl Fn(&Evidence) -> bool,
    ) -> Result<DecisionView> {
        until_every(ASK_INTERVAL, &format!("a look at node {node}"), limit, || {
            let view = self.decision(node)?;
            Ok(is_it(&view.evidence).then_some(view))
        })
    }

    /// Waits until the agent of a node has reported from its running system and nothing is left to do.
    ///
    /// # Errors
    /// If it does not come there in time.
    pub fn wait_idle(&self, node: &str, limit: Duration) -> Result<NodeView> {
        until_every(ASK_INTERVAL, &format!("node {node}, idle with its agent"), limit, || {
            let view = self.node(node)?;
            Ok((view.state == NodeState::Idle && view.agent_online).then_some(view))
        })
    }
}

/// A job's state and events, for messages.
#[must_use]
pub fn describe(view: &JobView) -> String {
    let events: Vec<&str> = view.events.iter().map(|event| event.text.as_str()).collect();
    format!("{:?}; what happened:\n  {}", view.state, events.join("\n  "))
}
