//! Which kernel modules go into a ramdisk: a list of names and folders, and what those need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths;

/// A line of a module list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Everything that an entry of another list in the same folder names.
    Include(String),
    /// A module by name, and whether it is loaded at start.
    Module { name: String, is_always_loaded: bool },
    /// Every module whose path starts with this.
    Folder(String),
    /// Not the module, or not the modules whose path starts like this.
    Without(String),
}

fn parse_list(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        entries.push(match words.as_slice() {
            ["include", file] => Entry::Include((*file).to_owned()),
            ["always", name] => Entry::Module { name: normal_name(name), is_always_loaded: true },
            [word] => match word.strip_prefix('-') {
                Some(without) => Entry::Without(without.to_owned()),
                None if word.ends_with('/') => Entry::Folder((*word).to_owned()),
                None => Entry::Module { name: normal_name(word), is_always_loaded: false },
            },
            _ => bail!("line {}: cannot read \"{line}\"", index + 1),
        });
    }
    Ok(entries)
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn normal_name(name: &str) -> String {
    name.replace('-', "_")
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal_name(file.split(".ko").next().unwrap_or(file))
}

/// What depmod found out about a kernel's modules.
#[derive(Debug)]
pub struct ModuleTree {
    /// Path by name.
    paths: BTreeMap<String, String>,
    /// What each path needs, in the order of `modules.dep`: the last of them is to be loaded first.
    needs: BTreeMap<String, Vec<String>>,
    built_in: BTreeSet<String>,
    aliases: Vec<(String, String)>,
    /// Modules to be loaded before another one, by its name.
    soft_before: BTreeMap<String, Vec<String>>,
}

impl ModuleTree {
    /// Reads depmod's files in `lib/modules/RELEASE`.
    pub fn read(folder: &Path) -> Result<Self> {
        let text = |name: &str| paths::read_text(&folder.join(name));
        Ok(Self::parse(
            &text("modules.dep")?,
            &text("modules.builtin")?,
            &text("modules.alias")?,
            &text("modules.softdep")?,
        ))
    }

    fn parse(dependencies: &str, built_in: &str, aliases: &str, soft: &str) -> Self {
        let mut tree = Self {
            paths: BTreeMap::new(),
            needs: BTreeMap::new(),
            built_in: built_in.lines().map(name_of).collect(),
            aliases: aliases.lines().filter_map(parse_alias).collect(),
            soft_before: soft.lines().filter_map(parse_soft_dependency).collect(),
        };
        for (path, needs) in dependencies.lines().filter_map(|line| line.split_once(':')) {
            tree.paths.insert(name_of(path), path.to_owned());
            tree.needs.insert(path.to_owned(), needs.split_whitespace().map(str::to_owned).collect());
        }
        tree
    }
}

fn parse_alias(line: &str) -> Option<(String, String)> {
    let (pattern, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
    Some((pattern.to_owned(), normal_name(module)))
}

fn parse_soft_dependency(line: &str) -> Option<(String, Vec<String>)> {
    let mut words = line.strip_prefix("softdep ")?.split_whitespace();
    let name = normal_name(words.next()?);
    let before = words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
    Some((name, before.map(normal_name).collect()))
}

/// The modules of one ramdisk.
#[derive(Debug, Default)]
pub struct Selection {
    /// Paths below `lib/modules/RELEASE`.
    pub paths: BTreeSet<String>,
    /// Names of modules loaded at start, in the list's order.
    pub always: Vec<String>,
    /// Names that the list asks for and that the kernel has built in.
    pub built_in: Vec<String>,
}

/// What a list names, before dependencies.
#[derive(Debug, Default)]
struct Wanted {
    paths: BTreeSet<String>,
    always: Vec<String>,
    built_in: Vec<String>,
}

/// Reads a list, with those that it includes, and selects its modules and all that they need.
pub fn select(list: &Path, tree: &ModuleTree) -> Result<Selection> {
    let mut wanted = Wanted::default();
    collect(list, tree, &mut wanted, 0)?;
    let mut selection =
        Selection { paths: BTreeSet::new(), always: wanted.always, built_in: wanted.built_in };
    let mut waiting: Vec<String> = wanted.paths.into_iter().collect();
    while let Some(path) = waiting.pop() {
        if !selection.paths.insert(path.clone()) {
            continue;
        }
        waiting.extend(tree.needs.get(&path).into_iter().flatten().cloned());
        let soft = tree.soft_before.get(&name_of(&path)).into_iter().flatten();
        // A soft dependency may name an algorithm instead of a module; whoever wants that lists the module.
        waiting.extend(soft.filter_map(|name| tree.paths.get(name)).cloned());
    }
    Ok(selection)
}

const INCLUDE_DEPTH_MAX: u32 = 4;

fn collect(list: &Path, tree: &ModuleTree, wanted: &mut Wanted, depth: u32) -> Result<()> {
    if depth > INCLUDE_DEPTH_MAX {
        bail!("module list {} is included in a circle", list.display());
    }
    let text = paths::read_text(list)?;
    for entry in parse_list(&text).with_context(|| format!("module list {}", list.display()))? {
        match entry {
            Entry::Include(file) => collect(&list.with_file_name(file), tree, wanted, depth + 1)?,
            Entry::Module { name, is_always_loaded } => {
                if tree.built_in.contains(&name) {
                    wanted.built_in.push(name);
                    continue;
                }
                let path = tree.paths.get(&name).with_context(|| {
                    format!("module list {}: this kernel has no module {name}", list.display())
                })?;
                wanted.paths.insert(path.clone());
                if is_always_loaded {
                    wanted.always.push(name);
                }
            }
            Entry::Folder(prefix) => {
                let below: Vec<&String> =
                    tree.needs.keys().filter(|path| path.starts_with(&prefix)).collect();
                if below.is_empty() {
                    bail!("module list {}: this kernel has no modules below {prefix}", list.display());
                }
                wanted.paths.extend(below.into_iter().cloned());
            }
            Entry::Without(what) => {
                let prefix = what.strip_suffix('*');
                let name = normal_name(&what);
                wanted.paths.retain(|path| match prefix {
                    Some(prefix) => !path.starts_with(prefix),
                    None => name_of(path) != name,
                });
            }
        }
    }
    Ok(())
}

/// depmod's files, cut down to the modules of a ramdisk.
#[derive(Debug, PartialEq, Eq)]
pub struct IndexFiles {
    /// `modules.dep`.
    pub dependencies: String,
    /// `modules.alias`.
    pub aliases: String,
    /// `modules.softdep`.
    pub soft: String,
}

/// Writes depmod's files anew for a selection.
pub fn index(tree: &ModuleTree, selection: &Selection) -> IndexFiles {
    let names: BTreeSet<String> = selection.paths.iter().map(|path| name_of(path)).collect();
    let mut files = IndexFiles { dependencies: String::new(), aliases: String::new(), soft: String::new() };
    for path in &selection.paths {
        let needs = tree.needs.get(path).map(|needs| needs.join(" ")).unwrap_or_default();
        files.dependencies.push_str(format!("{path}: {needs}").trim_end());
        files.dependencies.push('\n');
    }
    for (pattern, module) in tree.aliases.iter().filter(|(_, module)| names.contains(module)) {
        files.aliases.push_str(&format!("alias {pattern} {module}\n"));
    }
    for (name, before) in tree.soft_before.iter().filter(|(name, _)| names.contains(*name)) {
        let before: Vec<&str> =
            before.iter().filter(|name| names.contains(*name)).map(String::as_str).collect();
        if !before.is_empty() {
            files.soft.push_str(&format!("softdep {name} pre: {}\n", before.join(" ")));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> ModuleTree {
        ModuleTree::parse(
            "kernel/block/t10-pi.ko: kernel/lib/crc64.ko\n\
             kernel/lib/crc64.ko:\n\
             kernel/drivers/nvme/host/nvme-core.ko: kernel/block/t10-pi.ko kernel/lib/crc64.ko\n\
             kernel/drivers/nvme/host/nvme.ko: kernel/drivers/nvme/host/nvme-core.ko kernel/block/t10-pi.ko\n\
             kernel/net/a/one.ko:\nkernel/net/a/two.ko:\nkernel/crypto/early.ko:\n",
            "kernel/drivers/char/random.ko\n",
            "alias pci:v1d* nvme\nalias pci:v2 bc one\nalias pci:v3 two\n",
            "softdep one pre: early crypto-name post: two\n",
        )
    }

    fn selected(list: &str) -> Result<Selection> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.list");
        std::fs::write(&path, list).unwrap();
        select(&path, &tree())
    }

    #[test]
    fn a_module_brings_all_that_it_needs_and_nothing_else() {
        let selection = selected("nvme\nrandom # built in\n").unwrap();
        let names: Vec<String> = selection.paths.iter().map(|path| name_of(path)).collect();
        assert_eq!(names, ["t10_pi", "nvme_core", "nvme", "crc64"]);
        assert_eq!(selection.built_in, ["random"]);
        let files = index(&tree(), &selection);
        assert_eq!(files.aliases, "alias pci:v1d* nvme\n");
        assert!(files.dependencies.contains("kernel/lib/crc64.ko:\n"));
    }

    #[test]
    fn folders_exceptions_and_soft_dependencies_are_understood() {
        let selection = selected("kernel/net/a/\n-two\nalways one\n").unwrap();
        let names: Vec<String> = selection.paths.iter().map(|path| name_of(path)).collect();
        assert_eq!(names, ["early", "one"]);
        assert_eq!(selection.always, ["one"]);
        assert_eq!(index(&tree(), &selection).soft, "softdep one pre: early\n");
        assert!(selected("kernel/net/a/\n-kernel/net/a/t*\n").unwrap().paths.len() == 2);
    }

    #[test]
    fn what_the_kernel_does_not_have_stops_the_build() {
        assert!(selected("no_such\n").unwrap_err().to_string().contains("no_such"));
        assert!(selected("kernel/none/\n").unwrap_err().to_string().contains("no modules below"));
        assert!(selected("three words here\n").is_err());
        assert!(format!("{:#}", selected("include some.list\n").unwrap_err()).contains("circle"));
    }
}
