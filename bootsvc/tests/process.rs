//! The real binary: starts, is killed without a word, and knows everything it has answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_reprieve-bootsvc");

/// A running service; killed at the end whatever happens.
struct Running {
    child: Child,
    http: String,
    api: String,
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(config).stderr(Stdio::piped());
        let mut running = Self { child: command.spawn().unwrap(), http: String::new(), api: String::new() };
        let mut seen = String::new();
        for line in BufReader::new(running.child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            let address = |name: &str| {
                let rest = line.split_once(&format!("{name}=["))?.1;
                Some(rest.split(']').next()?.to_owned())
            };
            if let (Some(http), Some(api)) = (address("http"), address("api")) {
                // Nobody reads the log from here on; the service must not mind.
                (running.http, running.api) = (http, api);
                return running;
            }
            seen.push_str(&line);
        }
        panic!("the service did not start: {seen}");
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(folder: &Path, more: &str) -> std::path::PathBuf {
    let path = folder.join("c.toml");
    let text = format!(
        "state_directory = {:?}\n[http]\nlisten = [\"127.0.0.1:0\"]\n[api]\nlisten = [\"127.0.0.1:0\"]\n{more}",
        folder.join("state")
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn check(path: &Path) -> Output {
    Command::new(BINARY).args(["config", "check"]).arg(path).output().unwrap()
}

#[test]
fn config_check_prints_how_it_was_understood_and_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = check(&config(folder.path(), ""));
    assert!(good.status.success());
    assert!(String::from_utf8_lossy(&good.stdout).contains("attempts          3 for a job"));
    let bad = check(&config(folder.path(), "[boot]\nkernal = \"x\"\n"));
    let words = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(!bad.status.success());
    assert!(words.contains("c.toml") && words.contains("line 7") && words.contains("kernal"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_sigkill() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let running = Running::start(&config);
    let script = |http: &str| reqwest::get(format!("http://{http}/boot/script?mac=52:54:00:00:00:01"));
    let text = script(&running.http).await.unwrap().text().await.unwrap();
    running.kill();

    // The token that was answered before the kill is good after it, and so is the CA that was pinned.
    let running = Running::start(&config);
    let value = |name: &str| {
        let rest = text.split_once(&format!(" reprieve.{name}=")).unwrap().1;
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let pem = std::fs::read(folder.path().join("state/ca.pem")).unwrap();
    let ca = reqwest::Certificate::from_pem(&pem).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let enroll = serde_json::json!({
        "node": value("node"), "token": value("token"), "boot_id": "00000000-0000-4000-8000-000000000001",
        "nonce": "11".repeat(32), "system_uuid": {"outcome": "absent"}, "macs": ["52:54:00:00:00:01"],
        "agent_version": "t", "since_kernel_start_millis": 1,
    });
    let url = format!("https://{}/v1/agent/enroll", running.api);
    let body = serde_json::to_vec(&enroll).unwrap();
    let first = client.post(&url).body(body.clone()).send().await.unwrap();
    assert_eq!(first.status(), reqwest::StatusCode::OK, "{}", first.text().await.unwrap());
    running.kill();

    // It was used up before the kill and stays so; and attempts were counted through both.
    let running = Running::start(&config);
    let url = format!("https://{}/v1/agent/enroll", running.api);
    let again = client.post(&url).body(body).send().await.unwrap();
    assert_eq!(again.status(), reqwest::StatusCode::UNAUTHORIZED);
    let mut handed_out = 1;
    while script(&running.http).await.unwrap().text().await.unwrap().contains("reprieve.token") {
        handed_out += 1;
        assert!(handed_out <= 3, "attempts were forgotten");
    }
    assert_eq!(handed_out, 3);
}
