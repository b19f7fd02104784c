//! `reprieve node data …`: what belongs to one node and not to its image.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use contract::id::Digest;
use contract::node_data::{NODE_DATA_BYTES_MAX, NodeData, NodeDataView};
use contract::secret::Secret;

use crate::Ending;
use crate::client::{Client, escape};
use crate::output::{clean, print, print_json, properties, time};

/// What to do with a node's data.
#[derive(Debug, Subcommand)]
pub enum NodeDataCommand {
    /// Show a node's data without their secrets, and whether they are on its disk
    Show {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
    /// Set a node's data: host name, keys, users, network. They are written by its next repair or reimage
    Set(Set),
    /// Forget a node's data. What is on its disk stays there until its next repair or reimage
    Clear {
        /// Node: id, start of an id, serial number or MAC address
        node: String,
    },
}

/// `reprieve node data set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Node: id, start of an id, serial number or MAC address
    pub node: String,
    /// File with the data: JSON if its name ends in .json, else TOML (docs/configuration.md)
    pub file: PathBuf,
    /// File that cloud-init gets as user data besides; its first line begins with #
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
}

/// Does what the command says.
pub async fn run(client: &Client, command: NodeDataCommand, json: bool) -> anyhow::Result<Ending> {
    match command {
        NodeDataCommand::Show { node } => show(&client.get(&path(&node)).await?, json),
        NodeDataCommand::Set(set) => {
            let data = load(&set)?;
            show(&client.put(&path(&set.node), &data).await?, json)
        }
        NodeDataCommand::Clear { node } => {
            client.delete(&path(&node)).await?;
            if !json {
                print("the node's data are forgotten; its next reimage leaves the seed partition blank")?;
            }
            Ok(Ending::Good)
        }
    }
}

fn path(node: &str) -> String {
    format!("/v1/nodes/{}/data", escape(node))
}

/// The data as the files say, checked before anything is sent.
fn load(set: &Set) -> anyhow::Result<NodeData> {
    let mut data = parse(&set.file, &read(&set.file)?)?;
    if let Some(file) = &set.user_data {
        anyhow::ensure!(
            data.user_data.is_none(),
            "user data are given twice: by --user-data and in {}",
            set.file.display()
        );
        data.user_data = Some(Secret::new(read(file)?));
    }
    data.check().with_context(|| format!("{}", set.file.display()))?;
    Ok(data)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let metadata = std::fs::metadata(file).with_context(|| format!("could not read {shown}"))?;
    let max = NODE_DATA_BYTES_MAX as u64;
    anyhow::ensure!(metadata.len() <= max, "{shown} has {} bytes; at most {max} are taken", metadata.len());
    std::fs::read_to_string(file).with_context(|| format!("could not read {shown} as text"))
}

/// Names file and line of what is not understood.
fn parse(file: &Path, text: &str) -> anyhow::Result<NodeData> {
    let shown = file.display();
    if file.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(text)
            .map_err(|error| anyhow::anyhow!("{shown}, line {}: {error}", error.line()));
    }
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.bytes().filter(|byte| *byte == b'\n').count() + 1);
        anyhow::anyhow!("{shown}, line {line}: {}", error.message())
    })
}

fn show(view: &NodeDataView, json: bool) -> anyhow::Result<Ending> {
    match json {
        true => print_json(view)?,
        false => print(&describe(view))?,
    }
    Ok(Ending::Good)
}

fn describe(view: &NodeDataView) -> String {
    let data = &view.data;
    let keys = |count: usize| match count {
        0 => None,
        1 => Some("1 key".to_owned()),
        _ => Some(format!("{count} keys")),
    };
    let users: Vec<String> = data
        .users
        .iter()
        .map(|user| {
            let password = view.users_with_password.contains(&user.name).then(|| "password".to_owned());
            let sudo = user.sudo.map(|_| "sudo".to_owned());
            let notes: Vec<String> =
                [keys(user.authorized_keys.len()), password, sudo].into_iter().flatten().collect();
            match notes.is_empty() {
                true => clean(&user.name),
                false => format!("{} ({})", clean(&user.name), notes.join(", ")),
            }
        })
        .collect();
    let interfaces: Vec<String> = data
        .interfaces
        .iter()
        .enumerate()
        .map(|(at, interface)| {
            let dhcp = [(interface.dhcp4, "DHCP"), (interface.dhcp6, "DHCPv6")];
            let dhcp = dhcp.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word.to_owned());
            let how: Vec<String> = dhcp.chain(interface.addresses.iter().map(|text| clean(text))).collect();
            format!("{} {}: {}", interface.mac, clean(&interface.name_at(at)), how.join(", "))
        })
        .collect();
    let list = |items: Vec<String>| Some(items.join("\n")).filter(|text| !text.is_empty());
    properties(vec![
        ("node", Some(view.node.to_string())),
        ("belongs to", Some(view.tenant.to_string())),
        ("set", Some(time(view.changed_at))),
        ("on its disk", Some(on_disk(view.wanted, view.written).to_owned())),
        ("host name", data.host_name.as_deref().map(clean)),
        ("keys", keys(data.authorized_keys.len())),
        ("users", list(users)),
        ("interfaces", list(interfaces)),
        ("user data", view.user_data_bytes.map(|bytes| format!("{bytes} bytes, not shown"))),
    ])
}

fn on_disk(wanted: Option<Digest>, written: Option<Digest>) -> &'static str {
    match (wanted, written) {
        (None, _) => "no: the node has no image, or another tenant than these data belong to",
        (Some(wanted), Some(written)) if wanted == written => "yes, written and read back",
        (Some(_), _) => "not yet: its next reimage writes them (reprieve reimage NODE --at-least reimage)",
    }
}

#[cfg(test)]
mod tests {
    use super::{load, on_disk, parse};
    use contract::id::Digest;
    use std::path::Path;

    const TOML: &str = "host_name = \"node-7\"\n\n[[users]]\nname = \"anna\"\nsudo = \"no-password\"\n\n[[interfaces]]\nmac = \"52:54:00:00:00:01\"\ndhcp4 = true\n";

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = parse(Path::new("node.toml"), TOML).unwrap();
        let json = serde_json::to_string(&toml).unwrap();
        assert_eq!(parse(Path::new("node.json"), &json).unwrap(), toml);
        assert_eq!(toml.host_name.as_deref(), Some("node-7"));
        assert!(toml.check().is_ok());
    }

    #[test]
    fn file_and_line_of_a_mistake_are_named() {
        let error = parse(Path::new("node.toml"), &TOML.replace("sudo", "soduko")).unwrap_err().to_string();
        assert!(error.starts_with("node.toml, line 5: ") && error.contains("soduko"), "{error}");
        let error = parse(Path::new("node.json"), "{\n\"hostname\": 1}").unwrap_err().to_string();
        assert!(error.starts_with("node.json, line 2: "), "{error}");
    }

    #[test]
    fn what_is_wrong_is_refused_before_it_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let (file, more) = (folder.path().join("node.toml"), folder.path().join("more"));
        std::fs::write(&file, "host_name = \"a b\"\n").unwrap();
        let set = |user_data| super::Set { node: "n".to_owned(), file: file.clone(), user_data };
        let error = format!("{:#}", load(&set(None)).unwrap_err());
        assert!(error.contains("node.toml") && error.contains("host_name"), "{error}");
        std::fs::write(&file, TOML).unwrap();
        std::fs::write(&more, "#!/bin/sh\n").unwrap();
        assert_eq!(load(&set(Some(more))).unwrap().user_data.unwrap().reveal(), "#!/bin/sh\n");
    }

    #[test]
    fn only_what_was_read_back_is_on_the_disk() {
        let (one, two) = (Some(Digest::of(b"1")), Some(Digest::of(b"2")));
        assert!(on_disk(one, one).starts_with("yes"));
        for (wanted, written) in [(one, two), (one, None)] {
            assert!(on_disk(wanted, written).starts_with("not yet"));
        }
        assert!(on_disk(None, one).starts_with("no:"));
    }
}
