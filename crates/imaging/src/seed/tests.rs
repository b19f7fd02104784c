use std::path::Path;
use std::process::Command;

use contract::id::{Digest, ImageId, MacAddress, NodeId};
use contract::node_data::{NodeData, NodeInterface, NodeUser, SeedFiles, Sudo};
use contract::secret::Secret;
use proptest::prelude::{prop_assert_eq, proptest};
use uuid::Uuid;

use super::{VOLUME_BYTES, VolumeError, digest, render, volume};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5zZ5X0Yk1GmJQw4ZQ1c4xD3oC9eV0y1b2c3d4e5f6g anna \"x\": y";

fn node() -> NodeId {
    NodeId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_1234_abcd))
}

fn image(name: &str) -> ImageId {
    ImageId(Digest::of(name.as_bytes()))
}

fn data() -> NodeData {
    NodeData {
        host_name: Some("node-7.example.com".to_owned()),
        authorized_keys: vec![KEY.to_owned()],
        users: vec![NodeUser {
            name: "anna".to_owned(),
            groups: vec!["adm".to_owned()],
            sudo: Some(Sudo::NoPassword),
            shell: Some("/bin/bash".to_owned()),
            authorized_keys: vec![KEY.to_owned()],
            password_hash: Some(Secret::new("$6$saltsalt$hash.hash/hash".to_owned())),
        }],
        interfaces: vec![NodeInterface {
            mac: MacAddress([0x52, 0x54, 0, 0, 0, 1]),
            name: None,
            dhcp4: false,
            dhcp6: true,
            addresses: vec!["192.0.2.5/24".to_owned(), "2001:db8::5/64".to_owned()],
            gateways: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            name_servers: vec!["192.0.2.53".parse().unwrap()],
            search_domains: vec!["example.com".to_owned()],
            mtu_bytes: Some(9000),
        }],
        user_data: None,
    }
}

fn files(data: &NodeData) -> SeedFiles {
    render(data, node(), image("image"), Digest::of(b"instance")).unwrap()
}

#[test]
fn the_files_are_as_recorded() {
    let files = files(&data());
    assert_eq!(files.meta_data, include_str!("golden/meta-data"));
    assert_eq!(files.user_data.reveal(), include_str!("golden/user-data"));
    assert_eq!(files.network_config.as_deref(), Some(include_str!("golden/network-config")));
    assert_eq!(digest(&volume(&files).unwrap()).to_string(), include_str!("golden/digest").trim());
}

#[test]
fn another_image_or_instance_is_told_from_the_id_and_the_data_are_not() {
    let id = |data: &NodeData, image_name: &str, instance: &[u8]| {
        render(data, node(), image(image_name), Digest::of(instance)).unwrap().meta_data
    };
    let same = id(&data(), "image", b"1");
    assert_ne!(same, id(&data(), "another", b"1"));
    assert_ne!(same, id(&data(), "image", b"2"));
    let mut other = data();
    other.users[0].password_hash = None;
    other.user_data = Some(Secret::new("#!/bin/sh".to_owned()));
    assert_eq!(same, id(&other, "image", b"1"));
}

#[test]
fn what_is_left_out_is_left_to_the_image() {
    let files = files(&NodeData::default());
    assert_eq!(files.user_data.reveal(), "#cloud-config\n{}\n");
    assert_eq!(files.network_config, None);
    assert!(!files.meta_data.contains("local-hostname"));
}

#[test]
fn user_data_stand_alone_or_beside_ours() {
    let text = "#!/bin/sh\necho \u{fc}ber\n";
    let with = |data: NodeData| NodeData { user_data: Some(Secret::new(text.to_owned())), ..data };
    assert_eq!(files(&with(NodeData::default())).user_data.reveal(), text);
    let both = files(&with(data()));
    let message = both.user_data.reveal();
    assert!(message.starts_with("Content-Type: multipart/mixed; boundary=\"reprieve-"), "{message}");
    assert_eq!(message.matches("Content-Transfer-Encoding: base64").count(), 2);
    assert!(message.lines().all(|line| line.len() <= 110 && line.is_ascii()));
    assert!(message.contains("IyEvYmluL3NoCmVjaG8gw7xiZXIK"), "{message}");
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let mut files = files(&data());
    files.user_data = Secret::new("#".repeat(VOLUME_BYTES - 8 * 4096));
    assert_eq!(volume(&files).unwrap().len(), VOLUME_BYTES);
    files.user_data = Secret::new("#".repeat(VOLUME_BYTES));
    assert!(matches!(volume(&files), Err(VolumeError::TooLarge { .. })));
}

/// A tool of dosfstools or mtools, which `cargo xtask test` installs.
fn tool(name: &str) -> std::path::PathBuf {
    let mut places = ["/usr/bin", "/usr/sbin"].iter().map(|folder| Path::new(folder).join(name));
    places.find(|path| path.exists()).unwrap_or_else(|| panic!("install {name} (dosfstools, mtools)"))
}

#[test]
fn real_tools_find_the_files_and_no_fault() {
    let (fsck, mtype, mlabel) = (tool("fsck.fat"), tool("mtype"), tool("mlabel"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let mut files = files(&data());
    // Longer than a cluster, so that there is a chain.
    files.user_data = Secret::new(format!("#cloud-config\n{}\n", "# line\n".repeat(3000)));
    std::fs::write(&path, volume(&files).unwrap()).unwrap();
    let checked = Command::new(fsck).args(["-n", "-v"]).arg(&path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let read = |name: &str| {
        let read = Command::new(&mtype).arg("-i").arg(&path).arg(format!("::{name}")).output().unwrap();
        assert!(read.status.success(), "{name}: {}", String::from_utf8_lossy(&read.stderr));
        String::from_utf8(read.stdout).unwrap()
    };
    assert_eq!(read("meta-data"), files.meta_data);
    assert_eq!(read("user-data"), files.user_data.reveal());
    assert_eq!(read("network-config"), files.network_config.unwrap());
    let label = Command::new(mlabel).args(["-s", "-i"]).arg(&path).arg("::").output().unwrap();
    assert!(String::from_utf8_lossy(&label.stdout).contains("CIDATA"), "{label:?}");
}

proptest! {
    #[test]
    fn every_value_reads_back_as_itself(name in "(?s).{0,40}", hash in "(?s).{0,40}") {
        // Even what the check would refuse cannot become structure.
        let mut data = data();
        data.users[0].name.clone_from(&name);
        data.users[0].password_hash = Some(Secret::new(hash.clone()));
        data.host_name = Some(name.clone());
        let files = files(&data);
        let text = files.user_data.reveal().strip_prefix("#cloud-config\n").unwrap().to_owned();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read["users"][1]["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(read["users"][1]["hashed_passwd"].as_str(), Some(hash.as_str()));
        let read: serde_json::Value = serde_json::from_str(&files.meta_data).unwrap();
        prop_assert_eq!(read["local-hostname"].as_str(), Some(name.as_str()));
    }
}
