//! The policies in force: the site's, and over it the one of each pool that has a file of its own.
//!
//! They are read as a whole or not at all. At the start a broken file is a refusal to start; while the
//! service runs, it is said, and everything stays as it was. So nobody is ever judged by half a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use contract::id::{PoolName, UnixMillis};
use contract::policy_api::{PolicyLayer, PolicyStatus};
use verdict::policy::Policy;

/// How large a policy file may be, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How many pools may have a policy of their own.
const POOLS_MAX: usize = 1000;

/// A policy with the files that it was made of.
#[derive(Debug)]
pub struct InForce {
    /// What is judged with.
    pub policy: Policy,
    /// The files, the site's first; empty where the built-in policy is in force.
    pub layers: Vec<PolicyLayer>,
}

/// Everything that was read at one time.
#[derive(Debug)]
struct Set {
    site: Arc<InForce>,
    pools: BTreeMap<PoolName, Arc<InForce>>,
    read_at: UnixMillis,
}

/// The policies in force, and where they are read from.
#[derive(Debug)]
pub struct Policies {
    site_file: Option<PathBuf>,
    pools: PoolsFolder,
    state: Mutex<State>,
}

/// Where the pools' files are.
#[derive(Debug, Clone)]
enum PoolsFolder {
    /// There, and an error if it is not.
    Named(PathBuf),
    /// Beside the site's file, if there is such a folder.
    Beside(PathBuf),
    Nowhere,
}

#[derive(Debug)]
struct State {
    set: Arc<Set>,
    /// Why the last reading changed nothing.
    problem: Option<String>,
}

impl Policies {
    /// Reads the site's file and the pools' files: in the folder that is named, else in the folder `pools`
    /// beside the site's file, if there is one.
    ///
    /// # Errors
    /// Names file, line and key of what cannot be used.
    pub fn open(
        site_file: Option<PathBuf>,
        pools_directory: Option<PathBuf>,
        now: UnixMillis,
    ) -> anyhow::Result<Self> {
        let beside = || site_file.as_ref().and_then(|file| Some(file.parent()?.join("pools")));
        let pools = match pools_directory {
            Some(folder) => PoolsFolder::Named(folder),
            None => beside().map_or(PoolsFolder::Nowhere, PoolsFolder::Beside),
        };
        let set = read(site_file.as_deref(), &pools, now)?;
        let state = Mutex::new(State { set: Arc::new(set), problem: None });
        Ok(Self { site_file, pools, state })
    }

    /// The policy that a pool's nodes are judged with.
    #[must_use]
    pub fn of(&self, pool: &PoolName) -> Arc<InForce> {
        let set = self.set();
        Arc::clone(set.pools.get(pool).unwrap_or(&set.site))
    }

    /// The policy of pools without one of their own.
    #[must_use]
    pub fn site(&self) -> Arc<InForce> {
        Arc::clone(&self.set().site)
    }

    /// Every policy in force, the site's first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<InForce>> {
        let set = self.set();
        std::iter::once(&set.site).chain(set.pools.values()).map(Arc::clone).collect()
    }

    /// Reads everything again. If anything is wrong, all stays as it was, and [`Self::status`] says so.
    ///
    /// # Errors
    /// Names file, line and key of what cannot be used.
    pub fn reload(&self, now: UnixMillis) -> anyhow::Result<()> {
        let read = read(self.site_file.as_deref(), &self.pools, now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(set) => {
                (state.set, state.problem) = (Arc::new(set), None);
                Ok(())
            }
            Err(error) => {
                state.problem = Some(format!("{error:#}"));
                Err(error)
            }
        }
    }

    /// What is in force and since when, and why the last reading was not taken.
    #[must_use]
    pub fn status(&self) -> PolicyStatus {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let digests = state.set.pools.iter().map(|(pool, one)| (pool.clone(), one.policy.digest()));
        PolicyStatus {
            site: state.set.site.policy.digest(),
            pools: digests.collect(),
            read_at: state.set.read_at,
            problem: state.problem.clone(),
        }
    }

    /// What the layers of a pool would be with another text in the place of the pool's own file, or of the
    /// site's if no pool is named.
    #[must_use]
    pub fn with(&self, pool: &PoolName, replaced: &PolicyLayer, of_pool: bool) -> Vec<PolicyLayer> {
        let set = self.set();
        let site = if of_pool { set.site.layers.clone() } else { vec![replaced.clone()] };
        let own = set.pools.get(pool).and_then(|one| one.layers.last().cloned());
        let own = if of_pool { Some(replaced.clone()) } else { own };
        site.into_iter().chain(own).collect()
    }

    fn set(&self) -> Arc<Set> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).set)
    }
}

fn read(site: Option<&Path>, pools: &PoolsFolder, now: UnixMillis) -> anyhow::Result<Set> {
    let site_layers = match site {
        Some(path) => vec![layer(path)?],
        None => Vec::new(),
    };
    let mut of_pools = BTreeMap::new();
    for path in pool_files(pools)? {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let pool: PoolName = name.parse().with_context(|| {
            format!("the policy {} is named after no pool; name it POOL.toml", path.display())
        })?;
        let layers: Vec<_> = site_layers.iter().cloned().chain([layer(&path)?]).collect();
        of_pools.insert(pool, Arc::new(in_force(layers)?));
    }
    Ok(Set { site: Arc::new(in_force(site_layers)?), pools: of_pools, read_at: now })
}

/// Makes a policy of its files.
///
/// # Errors
/// Names file, line and key of what cannot be used.
pub fn in_force(layers: Vec<PolicyLayer>) -> anyhow::Result<InForce> {
    let named: Vec<_> = layers.iter().map(|layer| (layer.name.as_str(), layer.text.as_str())).collect();
    let policy = Policy::layered(&named).context("could not read the policy")?;
    Ok(InForce { policy, layers })
}

fn layer(path: &Path) -> anyhow::Result<PolicyLayer> {
    let size = std::fs::metadata(path).with_context(|| unreadable(path))?.len();
    if size > FILE_BYTES_MAX {
        bail!("the policy {} is larger than {FILE_BYTES_MAX} bytes; that is no policy", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(|| unreadable(path))?;
    Ok(PolicyLayer { name: path.display().to_string(), text })
}

fn unreadable(path: &Path) -> String {
    format!("could not read the policy {}; correct the path or its rights", path.display())
}

/// The files of pools, in the order of their names.
fn pool_files(pools: &PoolsFolder) -> anyhow::Result<Vec<PathBuf>> {
    let folder = match pools {
        PoolsFolder::Named(folder) | PoolsFolder::Beside(folder) => folder,
        PoolsFolder::Nowhere => return Ok(Vec::new()),
    };
    let failed = || format!("could not list the pools' policies in {}", folder.display());
    let entries = match (std::fs::read_dir(folder), pools) {
        (Err(error), PoolsFolder::Beside(_)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        (entries, _) => entries.with_context(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
        if files.len() > POOLS_MAX {
            bail!("{} holds more than {POOLS_MAX} policies", folder.display());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
