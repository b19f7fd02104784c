//! Checking policies and trying them on situations, without the service.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use verdict::model::Model;
use verdict::situation::Situation;

use super::{Test, named, policy_of, read, read_all};
use crate::Ending;
use crate::output::{clean, print, print_json};

/// How many situations a folder may hold.
const SITUATIONS_MAX: usize = 10_000;

/// `reprieve policy check FILE…`.
pub fn check(files: &[PathBuf], json: bool) -> anyhow::Result<Ending> {
    let policy = policy_of(files)?;
    if json {
        print_json(&serde_json::json!({ "digest": policy.digest() }))?;
    } else {
        print(&format!("these files are a policy: {}", policy.digest()))?;
    }
    Ok(Ending::Good)
}

/// One situation and how what followed differs from what must follow.
#[derive(Debug, Serialize)]
struct Tried {
    file: String,
    about: String,
    differences: Vec<String>,
}

/// `reprieve policy test DIR`.
pub fn test(request: &Test, json: bool) -> anyhow::Result<Ending> {
    let texts = read_all(&request.policies)?;
    let layers = named(&texts);
    // A broken policy is said as itself, not as a difference of every situation.
    policy_of(&request.policies)?;
    let model = Model::parse("").context("the built-in model")?;
    let mut tried = Vec::new();
    for path in situations(&request.directory)? {
        let of = || path.display().to_string();
        let situation = Situation::parse(&read(&path)?).with_context(of)?;
        let decision = situation.judge(&layers, &model).with_context(of)?;
        let differences = situation.differences(&decision);
        tried.push(Tried { file: of(), about: situation.about.clone(), differences });
    }
    let failed = tried.iter().filter(|one| !one.differences.is_empty()).count();
    if json {
        print_json(&tried)?;
    } else {
        print(clean(&in_words(&tried, failed)).trim_end())?;
    }
    Ok(if failed == 0 { Ending::Good } else { Ending::NotReached })
}

fn in_words(tried: &[Tried], failed: usize) -> String {
    let mut words = String::new();
    for one in tried.iter().filter(|one| !one.differences.is_empty()) {
        words.push_str(&format!("{}: {}\n", one.file, one.about));
        for difference in &one.differences {
            words.push_str(&format!("  - {difference}\n"));
        }
    }
    words + &format!("{} situations, {failed} of them differ", tried.len())
}

/// The TOML files of a folder, in the order of their names. A folder without any is a mistake.
fn situations(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("could not list the situations in {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
        anyhow::ensure!(files.len() <= SITUATIONS_MAX, "{} holds too many situations", folder.display());
    }
    anyhow::ensure!(!files.is_empty(), "{} holds no situations; they are TOML files", folder.display());
    files.sort();
    Ok(files)
}
