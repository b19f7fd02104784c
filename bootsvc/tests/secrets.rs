//! Nothing secret is logged, whatever happens. A process of its own, because it listens to all logs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use contract::operator_api::ErrorKind;
use reqwest::Method;
use support::machine::Machine;
use support::{Bench, kind_of};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_or_readable_by_others() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    let request = machine.boot(&bench).await.unwrap();
    machine.enroll(&bench, &request).await.unwrap();
    assert_eq!(kind_of(machine.enroll(&bench, &request).await), ErrorKind::Unauthorized);
    machine.report(&bench).await;
    bench.node(&machine.node.to_string()).await;
    let hash = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc";
    let data = serde_json::json!({"users": [{"name": "anna", "password_hash": hash}],
        "user_data": "#cloud-config\nkept-to-ourselves: yes\n"});
    let path = format!("/v1/nodes/{}", machine.node);
    let tenant = serde_json::json!({"image": null, "tenant": "a", "pool": null, "os_disk": null});
    let assign = format!("{path}/assign");
    bench.operator::<serde_json::Value>(Method::POST, &assign, &tenant).await.unwrap();
    let set = format!("{path}/data");
    bench.operator::<serde_json::Value>(Method::PUT, &set, &data).await.unwrap();
    let refused = serde_json::json!({"users": [{"name": "anna", "password_hash": "hunter2"}]});
    assert_eq!(kind_of(bench.operator::<()>(Method::PUT, &set, &refused).await), ErrorKind::BadRequest);
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("an unknown machine was recorded"), "nothing was logged at all");
    for secret in [request.token.reveal(), machine.session.as_str(), bench.token.as_str()] {
        assert!(!text.contains(secret), "a secret is in the log");
    }
    for secret in ["saltsalt", "kept-to-ourselves", "hunter2"] {
        assert!(!text.contains(secret), "a secret of a node's data is in the log");
    }
    // Only hashes are stored.
    let database = std::fs::read(bench.folder.path().join("reprieve.sqlite-wal")).unwrap();
    for secret in [request.token.reveal(), machine.session.as_str()] {
        assert!(
            !database.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "a secret is stored"
        );
    }
    for (name, mode) in [
        ("operator.token", 0o600),
        ("order.key", 0o600),
        ("image.key", 0o600),
        ("certificate.key", 0o600),
        ("certificate-key.pem", 0o644),
        ("ca.key", 0o600),
        ("ca.pem", 0o644),
        ("reprieve.sqlite", 0o600),
        ("reprieve.sqlite-wal", 0o600),
    ] {
        let metadata = std::fs::metadata(bench.folder.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }
}
