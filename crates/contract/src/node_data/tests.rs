use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5zZ5X0Yk1GmJQw4ZQ1c4xD3oC9eV0y1b2c3d4e5f6g anna@example";
const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc";

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
            password_hash: Some(Secret::new(HASH.to_owned())),
        }],
        interfaces: vec![NodeInterface {
            mac: MacAddress([0x52, 0x54, 0, 0, 0, 1]),
            name: Some("lan0".to_owned()),
            dhcp4: false,
            dhcp6: false,
            addresses: vec!["192.0.2.5/24".to_owned(), "2001:db8::5/64".to_owned()],
            gateways: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            name_servers: vec!["192.0.2.53".parse().unwrap()],
            search_domains: vec!["example.com".to_owned()],
            mtu_bytes: Some(9000),
        }],
        user_data: Some(Secret::new("#cloud-config\n{}\n".to_owned())),
    }
}

fn wrong(change: impl FnOnce(&mut NodeData)) -> String {
    let mut data = data();
    change(&mut data);
    data.check().unwrap_err().field
}

#[test]
fn what_is_right_is_taken_and_reads_back() {
    assert_eq!(data().check(), Ok(()));
    assert_eq!(NodeData::default().check(), Ok(()));
    let text = serde_json::to_string(&data()).unwrap();
    assert_eq!(serde_json::from_str::<NodeData>(&text).unwrap(), data());
    assert_eq!(serde_json::to_string(&NodeData::default()).unwrap(), "{}");
}

#[test]
fn each_wrong_field_is_named() {
    let table: [(&str, String); 21] = [
        ("host_name", wrong(|data| data.host_name = Some("a b".into()))),
        ("host_name", wrong(|data| data.host_name = Some(String::new()))),
        ("host_name", wrong(|data| data.host_name = Some("-a".into()))),
        ("host_name", wrong(|data| data.host_name = Some("a\nb".into()))),
        ("host_name", wrong(|data| data.host_name = Some("a".repeat(64)))),
        ("authorized_keys[0]", wrong(|data| data.authorized_keys[0] = format!("command=\"x\" {KEY}"))),
        ("authorized_keys[0]", wrong(|data| data.authorized_keys[0] = format!("{KEY}\nssh-rsa AAAA"))),
        ("authorized_keys[0]", wrong(|data| data.authorized_keys[0] = "-----BEGIN".into())),
        ("authorized_keys", wrong(|data| data.authorized_keys = vec![KEY.into(); 65])),
        ("users[0].name", wrong(|data| data.users[0].name = "Anna".into())),
        ("users[1].name", wrong(|data| data.users.push(data.users[0].clone()))),
        ("users[0].groups[0]", wrong(|data| data.users[0].groups[0] = "a,b".into())),
        ("users[0].shell", wrong(|data| data.users[0].shell = Some("bash".into()))),
        (
            "users[0].password_hash",
            wrong(|data| data.users[0].password_hash = Some(Secret::new("hunter2".into()))),
        ),
        ("interfaces[0].addresses[0]", wrong(|data| data.interfaces[0].addresses[0] = "192.0.2.5".into())),
        (
            "interfaces[0].gateways",
            wrong(|data| data.interfaces[0].gateways.push("192.0.2.2".parse().unwrap())),
        ),
        ("interfaces[0].gateways", wrong(|data| data.interfaces[0].addresses.truncate(1))),
        ("interfaces[1].mac", wrong(|data| data.interfaces.push(data.interfaces[0].clone()))),
        ("interfaces[0].name", wrong(|data| data.interfaces[0].name = Some("a b".into()))),
        ("interfaces[0]", wrong(|data| data.interfaces[0].addresses.clear())),
        ("user_data", wrong(|data| data.user_data = Some(Secret::new("hello".into())))),
    ];
    for (expected, found) in table {
        assert_eq!(expected, found);
    }
}

#[test]
fn no_secret_is_shown() {
    let shown = data().without_secrets();
    let text = format!("{} {:?} {:?}", serde_json::to_string(&shown).unwrap(), shown, data());
    assert!(!text.contains("saltsalt") && !text.contains("#cloud-config"), "{text}");
    assert_eq!(data().users_with_password(), ["anna"]);
    let mut wrong = data();
    wrong.users[0].password_hash = Some(Secret::new("hunter2".to_owned()));
    assert!(!wrong.check().unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn unknown_keys_are_refused() {
    for text in [r#"{"hostname":"x"}"#, r#"{"users":[{"name":"a","password":"x"}]}"#] {
        assert!(serde_json::from_str::<NodeData>(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn only_letters_digits_dots_and_hyphens_pass_as_a_host_name(name in "(?s)[a-z.-]{0,3}.{0,3}") {
        let host = NodeData { host_name: Some(name.clone()), ..NodeData::default() };
        if host.check().is_ok() {
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)));
        }
    }

    #[test]
    fn nothing_that_breaks_a_line_or_yaml_passes_as_a_comment(comment in "(?s)[a-z\u{fffe}\u{ffff}\n]{0,3}.{0,8}") {
        let line = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 {comment}");
        let key = NodeData { authorized_keys: vec![line], ..NodeData::default() };
        let breaks = comment.contains(['\u{fffe}', '\u{ffff}']) || comment.chars().any(char::is_control);
        prop_assert_eq!(key.check().is_ok(), !breaks);
    }
}
