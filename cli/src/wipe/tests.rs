//! What people are told before a wipe, and what is asked of the service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use contract::certificate_api::{DiskArea, DiskPreview, ErasePreview, UncoveredArea};
use contract::decision::SanitizeLevel;
use contract::id::{NodeId, UnixMillis};
use contract::operator_api::ReimageRequest;
use contract::plan::EraseMethod;
use contract::reading::{Outcome, Trust};
use contract::secret::Secret;
use serde_json::{Value, json};

use super::{check_deliverable, in_words, wipe};
use crate::Ending;
use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::settings::Settings;

const JOB: &str = "00000000-0000-0000-0000-000000000007";

fn disk(name: &str, method: Option<EraseMethod>, estimate_seconds: Option<u64>) -> DiskPreview {
    DiskPreview {
        disk: name.parse().unwrap(),
        kernel_name: "nvme0n1\x1b[2J".to_owned(),
        model: Outcome::Absent,
        serial: Outcome::Value("S1".to_owned()),
        size_bytes: 1 << 30,
        method,
        technique: method.map(|_| "NVMe Sanitize, block erase".to_owned()),
        refusal: method.is_none().then(|| format!("disk {name} cannot be sanitized")),
        estimate_seconds,
        exclusions: vec!["retired blocks".to_owned()],
        not_covered: vec![
            UncoveredArea { area: DiskArea::ReplayProtectedMemory, presence: Outcome::Absent },
            UncoveredArea {
                area: DiskArea::BootPartitions,
                presence: Outcome::Unreadable("no\x1b page".to_owned()),
            },
        ],
    }
}

fn preview(trust: Trust, disks: Vec<DiskPreview>) -> ErasePreview {
    let node = NodeId(uuid::Uuid::nil());
    ErasePreview { node, level: SanitizeLevel::Purge, seen_at: UnixMillis(0), trust, disks }
}

#[test]
fn what_would_be_done_is_said_for_each_disk() {
    let block = Some(EraseMethod::NvmeSanitizeBlock);
    let disks = vec![disk("a", block, Some(90)), disk("b", block, Some(601)), disk("c", block, None)];
    let text = in_words(&preview(Trust::Ramdisk, disks));
    for shown in [
        "level: purge",
        "90 s",
        "11 min",
        "no estimate",
        "- retired blocks (a, b, c)",
        "- replay-protected memory (RPMB): not present (a, b, c)",
        "- boot partitions: could not be read: no",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_level_that_cannot_be_delivered_is_not_asked_for() {
    let disks = || vec![disk("a", None, None)];
    assert!(check_deliverable(&preview(Trust::Ramdisk, disks())).is_err());
    assert!(check_deliverable(&preview(Trust::Resident, disks())).is_ok(), "the ramdisk sees more");
    assert!(in_words(&preview(Trust::Resident, disks())).contains("cannot be sanitized"));
}

type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// A service on loopback that answers a wipe and keeps what was asked; it ends with the test's process.
fn service(preview: &ErasePreview) -> (Client, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let calls = Calls::default();
    let (shared, preview) = (Arc::clone(&calls), serde_json::to_value(preview).unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            answer(connection.unwrap(), &preview, &shared);
        }
    });
    let token = Secret::new("token".to_owned());
    (Client::new(&Settings { service: address, ca: None, token }).unwrap(), calls)
}

fn answer(mut connection: TcpStream, preview: &Value, calls: &Calls) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let lower = header.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        length = lower.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let call = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
    let reply = reply(&call, &body, preview).to_string();
    calls.lock().unwrap().push((call, body));
    let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", reply.len());
    connection.write_all(&[head.as_bytes(), reply.as_bytes()].concat()).unwrap();
}

fn reply(call: &str, body: &Value, preview: &Value) -> Value {
    if call.starts_with("GET /v1/nodes/n1/erase-preview") {
        return preview.clone();
    }
    if call == "POST /v1/nodes/n1/reimage" {
        let job = if body["dry_run"] == true { Value::Null } else { json!(JOB) };
        return json!({"reply": "job", "job": job, "expectation": "its disks are sanitized, then imaged",
            "destructive": true, "entry": "by itself"});
    }
    if call == "GET /v1/nodes/n1" {
        return json!({"id": "00000000-0000-0000-0000-000000000001", "state": "idle", "hold_reason": null,
            "system_uuid": null, "serial": "SN-1", "macs": [], "data_owner": {"owner": "nobody"},
            "assignment": {"pool": "p", "image": null, "image_disk_bytes": null, "tenant": null,
                "os_disk": {"rule": "smallest"}},
            "expected_hardware": null, "protected": false, "first_seen": 1, "last_seen": 2,
            "agent_online": false, "last_action": null, "last_decided_at": null, "job": null,
            "inventory": null});
    }
    if call == format!("GET /v1/jobs/{JOB}") {
        return json!({"id": JOB, "node": "00000000-0000-0000-0000-000000000001", "state": "done",
            "action": "wipe", "requested_by": "operator", "created_at": 1, "changed_at": 2,
            "at_least": "wipe", "progress": null, "steps": [], "events": []});
    }
    assert!(call.starts_with("GET /v1/certificates?job="), "{call}");
    json!([])
}

fn run(client: &Client, line: &str) -> anyhow::Result<Ending> {
    let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
    let Command::Wipe(request) = arguments.command else { panic!("{line}") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(wipe(client, request, arguments.json))
}

/// What was asked for, and whether it was only to be said.
fn requests(calls: &Calls) -> Vec<ReimageRequest> {
    let calls = calls.lock().unwrap();
    let posted = calls.iter().filter(|(call, _)| call.starts_with("POST"));
    posted.map(|(_, body)| serde_json::from_value(body.clone()).unwrap()).collect()
}

#[test]
fn a_wipe_is_asked_for_followed_and_ends_with_its_certificates() {
    let block = Some(EraseMethod::NvmeSanitizeBlock);
    let (client, calls) = service(&preview(Trust::Ramdisk, vec![disk("a", block, None)]));
    let ending = run(&client, "reprieve wipe n1 --level purge --why RMA-17 --yes --json").unwrap();
    assert_eq!(ending, Ending::Good);
    let asked = requests(&calls);
    let real: Vec<_> = asked.iter().filter(|request| !request.dry_run).collect();
    let [real] = real.as_slice() else { panic!("{asked:?}") };
    assert_eq!(real.at_least, Some(contract::assignment::Floor::Wipe));
    assert_eq!(real.sanitize_level, Some(SanitizeLevel::Purge));
    assert_eq!(real.why.as_deref(), Some("RMA-17"));
    assert!(real.confirmed && real.confirm_serial.is_none());
    let calls = calls.lock().unwrap();
    assert_eq!(calls.first().unwrap().0, "GET /v1/nodes/n1/erase-preview?level=purge");
    assert_eq!(calls.last().unwrap().0, format!("GET /v1/certificates?job={JOB}"));
}

#[test]
fn a_dry_run_and_a_level_that_cannot_be_had_ask_for_nothing() {
    let block = Some(EraseMethod::NvmeSanitizeBlock);
    let (client, calls) = service(&preview(Trust::Ramdisk, vec![disk("a", block, None)]));
    run(&client, "reprieve wipe n1 --why RMA --dry-run").unwrap();
    assert!(requests(&calls).iter().all(|request| request.dry_run));
    let (client, calls) =
        service(&preview(Trust::Ramdisk, vec![disk("a", block, None), disk("b", None, None)]));
    let refusal = format!("{:#}", run(&client, "reprieve wipe n1 --why RMA --yes").unwrap_err());
    assert!(refusal.contains("nothing was done") && refusal.contains("disk b"), "{refusal}");
    assert!(requests(&calls).iter().all(|request| request.dry_run));
}

/// The same way, but nothing is asked to be installed; the policy's and the request's level count alike.
#[test]
fn a_node_to_be_left_empty_is_asked_for_as_such() {
    let block = Some(EraseMethod::NvmeSanitizeBlock);
    let (client, calls) = service(&preview(Trust::Ramdisk, vec![disk("a", block, None)]));
    run(&client, "reprieve wipe n1 --level purge --leave-empty --why RMA --yes --json").unwrap();
    for asked in requests(&calls) {
        assert_eq!(asked.at_least, Some(contract::assignment::Floor::Empty));
        assert_eq!((asked.image, asked.tenant), (None, None));
        assert_eq!(asked.sanitize_level, Some(SanitizeLevel::Purge));
    }
}

/// Nobody at the terminal and no word that it is confirmed: nothing is destroyed.
#[test]
fn without_a_person_and_without_a_word_nothing_is_asked_for() {
    let block = Some(EraseMethod::NvmeSanitizeBlock);
    let (client, calls) = service(&preview(Trust::Ramdisk, vec![disk("a", block, None)]));
    let refusal = run(&client, "reprieve wipe n1 --why RMA").unwrap_err().to_string();
    assert!(refusal.contains("nobody is there to confirm it"), "{refusal}");
    assert!(requests(&calls).iter().all(|request| request.dry_run));
}
