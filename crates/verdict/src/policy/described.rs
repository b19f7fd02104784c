//! A policy as one file, each value with the file that it comes from.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{Policy, PolicyError};

/// The merged policy as TOML, with `# FILE` behind each value that a file set; what is not marked is the
/// default. Reading it again gives the same policy.
///
/// # Errors
/// As [`Policy::layered`].
pub fn described(layers: &[(&str, &str)]) -> Result<String, PolicyError> {
    let policy = Policy::layered(layers)?;
    let whole: Table = toml::from_str(policy.canonical_text())
        .map_err(|error| PolicyError::in_text("the merged policy", policy.canonical_text(), &error))?;
    let mut files = Vec::new();
    for (name, text) in layers {
        let table: Table = toml::from_str(text).map_err(|error| PolicyError::in_text(name, text, &error))?;
        files.push((*name, table));
    }
    let mut told = format!("# policy {}\n", policy.digest());
    for (section, value) in &whole {
        match value {
            Value::Table(keys) => {
                line(&mut told, &format!("\n[{section}]"), None);
                for (key, value) in keys {
                    let from = files.iter().rev().find(|(_, file)| sets(file, section, key));
                    line(&mut told, &format!("{key} = {value}"), from.map(|(name, _)| *name));
                }
            }
            Value::Array(entries) => {
                for entry in entries.iter().filter_map(Value::as_table) {
                    let from = files.iter().rev().find(|(_, file)| has(file, section, entry));
                    line(&mut told, &format!("\n[[{section}]]"), from.map(|(name, _)| *name));
                    for (key, value) in entry {
                        line(&mut told, &format!("{key} = {value}"), None);
                    }
                }
            }
            other => line(&mut told, &format!("{section} = {other}"), None),
        }
    }
    Ok(told)
}

fn sets(file: &Table, section: &str, key: &str) -> bool {
    let stands = |section: &str, key: &str| {
        file.get(section).and_then(Value::as_table).is_some_and(|keys| keys.contains_key(key))
    };
    stands(section, key) || ((section, key) == ("trust", "keep") && stands("integrity", "keep_trust_min"))
}

fn has(file: &Table, list: &str, entry: &Table) -> bool {
    let entries = file.get(list).and_then(Value::as_array);
    let name = |table: &Table| table.get("name").cloned();
    entries.is_some_and(|entries| {
        entries.iter().filter_map(Value::as_table).any(|other| name(other) == name(entry))
    })
}

fn line(told: &mut String, text: &str, from: Option<&str>) {
    let from = from.map_or_else(String::new, |name| {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        format!("  # {name}")
    });
    // Writing into a String cannot fail.
    let _ = writeln!(told, "{text}{from}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_names_its_file_and_the_whole_is_the_same_policy() {
        let site = "[erase]\nverify_samples = 5000\n[fitness]\nnvme_media_errors = { watch_above = 3 }\n\
            [[rule]]\nname = \"a\"\nwhen = \"node.pool == 'x \\\"y\\\"'\"\naction = \"watch\"\nwhy = \"w\"\n";
        let pool = "[erase]\nverify_samples = 6000\n[tenancy]\nclasses = { \"a.b\" = \"regulated\" }\n";
        let layers = [("site.toml", site), ("pools/gpu.toml", pool)];
        let told = described(&layers).unwrap();
        for expected in [
            "verify_samples = 6000  # pools/gpu.toml\n",
            "nvme_media_errors = { watch_above = 3 }  # site.toml\n",
            "[[rule]]  # site.toml\n",
            "memory_percent_min = 90\n",
        ] {
            assert!(told.contains(expected), "{expected}\n{told}");
        }
        assert_eq!(Policy::parse(&told).unwrap().digest(), Policy::layered(&layers).unwrap().digest());
    }
}
