//! The model in force, and the file that it is read from: at the start, and again at each SIGHUP. A file that
//! cannot be used is a refusal to start; while the service runs it is said, and the model stays as it was.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use contract::id::UnixMillis;
use contract::model_api::ModelStatus;
use verdict::model::Model;

/// How large a model file may be, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A model with the text that it was made of.
#[derive(Debug)]
pub struct InForce {
    /// What is judged with.
    pub model: Model,
    /// What agents are given.
    pub text: String,
}

/// The model in force, and where it is read from.
#[derive(Debug)]
pub struct Models {
    /// None for the built-in model.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_force: Arc<InForce>,
    read_at: UnixMillis,
    /// Why the last reading changed nothing.
    problem: Option<String>,
}

impl Models {
    /// Reads the file, or takes the built-in model.
    ///
    /// # Errors
    /// Names file, line and key of what cannot be used.
    pub fn open(file: Option<PathBuf>, now: UnixMillis) -> anyhow::Result<Self> {
        let in_force = Arc::new(read(file.as_deref())?);
        Ok(Self { file, state: Mutex::new(State { in_force, read_at: now, problem: None }) })
    }

    /// The model in force. Who judges several times with one model takes it once.
    #[must_use]
    pub fn current(&self) -> Arc<InForce> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).in_force)
    }

    /// Reads the file again. If it cannot be used, all stays as it was, and [`Self::status`] says so.
    ///
    /// # Errors
    /// Names file, line and key of what cannot be used.
    pub fn reload(&self, now: UnixMillis) -> anyhow::Result<()> {
        let read = read(self.file.as_deref());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(in_force) => {
                *state = State { in_force: Arc::new(in_force), read_at: now, problem: None };
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
    pub fn status(&self) -> ModelStatus {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        ModelStatus {
            digest: state.in_force.model.digest(),
            read_at: state.read_at,
            problem: state.problem.clone(),
        }
    }
}

fn read(file: Option<&Path>) -> anyhow::Result<InForce> {
    let Some(path) = file else {
        let text = Model::default_text().to_owned();
        let model = Model::parse(&text).context("the built-in model")?;
        return Ok(InForce { model, text });
    };
    let unreadable =
        || format!("could not read the model {}; correct the path or its rights", path.display());
    let size = std::fs::metadata(path).with_context(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        bail!("the model {} is larger than {FILE_BYTES_MAX} bytes; that is no model", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(unreadable)?;
    let model = Model::parse(&text).with_context(|| path.display().to_string())?;
    Ok(InForce { model, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_never_replaces_the_model_in_force_and_a_mended_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let error = format!("{:#}", Models::open(Some(path.clone()), UnixMillis(1)).unwrap_err());
        assert!(error.contains("model.toml"), "{error}");
        write("");
        let models = Models::open(Some(path.clone()), UnixMillis(1)).unwrap();
        let before = models.status();
        assert_eq!(before.digest, Models::open(None, UnixMillis(1)).unwrap().current().model.digest());
        write("[horizn]\n");
        let error = format!("{:#}", models.reload(UnixMillis(2)).unwrap_err());
        assert!(error.contains("model.toml") && error.contains("line 1"), "{error}");
        let after = models.status();
        assert_eq!((after.digest, after.read_at), (before.digest, UnixMillis(1)));
        assert!(after.problem.unwrap().contains("horizn"));
        std::fs::remove_file(&path).unwrap();
        assert!(models.reload(UnixMillis(3)).is_err());
        assert_eq!(models.current().text, "");
        write(Model::default_text());
        models.reload(UnixMillis(4)).unwrap();
        let mended = models.status();
        assert_eq!((mended.problem, mended.read_at), (None, UnixMillis(4)));
        assert_eq!(models.current().text, Model::default_text());
    }
}
