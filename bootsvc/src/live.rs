//! What is known only while it lasts: which resident agents are there, who waits for an instruction,
//! and how far work is. Lost at a restart without harm. One entry for each node that has proven who it
//! is, so it is bounded by the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract::agent_api::Progress;
use contract::evidence::Evidence;
use contract::id::{Digest, JobId, NodeId};
use tokio::sync::watch;

/// A resident agent counts as online for this long after it has spoken.
const ONLINE_FOR: Duration = Duration::from_secs(90);

#[derive(Debug)]
struct LiveNode {
    /// Counts everything that may change an instruction.
    changes: watch::Sender<u64>,
    resident_spoke: Option<Instant>,
    look_wanted: Option<String>,
    resident_evidence: Option<Arc<Evidence>>,
    progress: Option<(JobId, Progress)>,
    /// Whose credential asked, what its TPM is to sign, and since when.
    challenge: Option<(JobId, Digest, Instant)>,
}

/// What is known only while it lasts.
#[derive(Debug, Default)]
pub struct Live {
    nodes: Mutex<HashMap<NodeId, LiveNode>>,
}

impl Live {
    fn nodes(&self) -> MutexGuard<'_, HashMap<NodeId, LiveNode>> {
        // A panic elsewhere leaves plain values behind, all of them still good.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, node: NodeId, change: impl FnOnce(&mut LiveNode) -> T) -> T {
        let mut nodes = self.nodes();
        let entry = nodes.entry(node).or_insert_with(|| LiveNode {
            changes: watch::Sender::new(0),
            resident_spoke: None,
            look_wanted: None,
            resident_evidence: None,
            progress: None,
            challenge: None,
        });
        change(entry)
    }

    /// Follows a node's changes. Look at the node after this call, then wait.
    #[must_use]
    pub fn follow(&self, node: NodeId) -> watch::Receiver<u64> {
        self.with(node, |live| live.changes.subscribe())
    }

    /// Lets everybody who follows the node look again.
    pub fn changed(&self, node: NodeId) {
        self.with(node, |live| live.changes.send_modify(|count| *count = count.wrapping_add(1)));
    }

    /// The resident agent has spoken.
    pub fn resident_spoke(&self, node: NodeId) {
        self.with(node, |live| live.resident_spoke = Some(Instant::now()));
    }

    /// A ramdisk has spoken, so the installed system is not running.
    pub fn ramdisk_spoke(&self, node: NodeId) {
        self.with(node, |live| live.resident_spoke = None);
    }

    /// Whether the resident agent has spoken lately.
    #[must_use]
    pub fn resident_online(&self, node: NodeId) -> bool {
        let nodes = self.nodes();
        let spoke = nodes.get(&node).and_then(|live| live.resident_spoke);
        spoke.is_some_and(|at| at.elapsed() < ONLINE_FOR)
    }

    /// Wants the resident agent to look now; forgets what it saw before.
    pub fn want_look(&self, node: NodeId, reason: &str) {
        self.with(node, |live| {
            live.look_wanted = Some(reason.to_owned());
            live.resident_evidence = None;
        });
        self.changed(node);
    }

    /// Nobody waits for the look any more.
    pub fn stop_wanting_look(&self, node: NodeId) {
        self.with(node, |live| live.look_wanted = None);
    }

    /// The reason to look now; it is given out once.
    #[must_use]
    pub fn take_look(&self, node: NodeId) -> Option<String> {
        self.with(node, |live| live.look_wanted.take())
    }

    /// The resident agent has looked.
    pub fn resident_looked(&self, node: NodeId, evidence: Evidence) {
        self.with(node, |live| live.resident_evidence = Some(Arc::new(evidence)));
        self.changed(node);
    }

    /// What the resident agent saw since somebody last wanted it to look.
    #[must_use]
    pub fn resident_evidence(&self, node: NodeId) -> Option<Arc<Evidence>> {
        self.nodes().get(&node).and_then(|live| live.resident_evidence.clone())
    }

    /// What the TPM of a running system is to sign, in place of what it was to sign before.
    pub fn set_challenge(&self, node: NodeId, job: JobId, challenge: Digest) {
        self.with(node, |live| live.challenge = Some((job, challenge, Instant::now())));
    }

    /// What the TPM of a running system was to sign; it is given out once, and not later than this.
    #[must_use]
    pub fn take_challenge(&self, node: NodeId, job: JobId, lasts: Duration) -> Option<Digest> {
        let (of, challenge, since) = self.with(node, |live| live.challenge.take())?;
        (of == job && since.elapsed() <= lasts).then_some(challenge)
    }

    /// How far a job is.
    pub fn set_progress(&self, node: NodeId, job: JobId, progress: Progress) {
        self.with(node, |live| live.progress = Some((job, progress)));
    }

    /// How far a job is.
    #[must_use]
    pub fn progress(&self, node: NodeId, job: JobId) -> Option<Progress> {
        let nodes = self.nodes();
        let (of, progress) = nodes.get(&node)?.progress.as_ref()?;
        (*of == job).then(|| progress.clone())
    }
}

/// How many locks all nodes share.
const LOCKS: usize = 256;

/// Lets one change to a node happen after the other. Nodes share locks, so there is a fixed number.
#[derive(Debug)]
pub struct NodeLocks(Vec<Arc<tokio::sync::Mutex<()>>>);

impl Default for NodeLocks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| Arc::default()).collect())
    }
}

impl NodeLocks {
    /// Waits until nobody else changes the node. Never hold two.
    pub async fn lock(&self, node: NodeId) -> tokio::sync::OwnedMutexGuard<()> {
        let [.., last] = node.0.into_bytes();
        let at = usize::from(last) % self.0.len().max(1);
        match self.0.get(at) {
            Some(lock) => Arc::clone(lock).lock_owned().await,
            None => Arc::new(tokio::sync::Mutex::new(())).lock_owned().await,
        }
    }
}
