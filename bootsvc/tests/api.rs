//! Who may come in, and what happens to what nobody should send.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::evidence::READINGS_MAX;
use contract::id::MacAddress;
use contract::operator_api::{ErrorBody, ErrorKind, NodeView, StatusView};
use contract::reading::{Outcome, Trust};
use contract::secret::Secret;
use reprieve_bootsvc::bearer;
use reprieve_bootsvc::store;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::flow::{discovered, job_of};
use support::machine::Machine;
use support::{Bench, kind_of};
use uuid::Uuid;

async fn refusal(response: reqwest::Response) -> (StatusCode, ErrorKind) {
    let status = response.status();
    let body: ErrorBody = response.json().await.unwrap_or_else(|error| panic!("{status}: {error}"));
    assert!(!body.message.is_empty() && !body.hint.is_empty());
    (status, body.kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    let mut request = machine.boot(&bench).await.unwrap();
    machine.enroll(&bench, &request).await.unwrap();
    request.nonce = contract::id::Digest::of(b"another boot");
    assert_eq!(kind_of(machine.enroll(&bench, &request).await), ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_show_a_token_at_once_one_gets_in() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    let first = machine.boot(&bench).await.unwrap();
    let mut second = first.clone();
    second.nonce = contract::id::Digest::of(b"second");
    let call = |request| {
        let bench = &bench;
        async move { bench.call::<Value>(Method::POST, "/v1/agent/enroll", "none", &request).await.is_ok() }
    };
    let (a, b) = tokio::join!(call(first), call(second));
    assert!(a != b, "{a} {b}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_node_its_address_and_its_machine_only() {
    let bench = Bench::start().await;
    let (mut machine, mut other) = (Machine::new(1), Machine::new(2));
    let good = machine.boot(&bench).await.unwrap();
    let others = other.boot(&bench).await.unwrap();
    let mut wrong_node = good.clone();
    wrong_node.node = others.node;
    let mut wrong_mac = good.clone();
    wrong_mac.macs = vec![MacAddress([2, 0, 0, 0, 0, 9])];
    let mut unknown = good.clone();
    unknown.token = Secret::new("00".repeat(32));
    for (request, why) in [(wrong_node, "node"), (wrong_mac, "mac"), (unknown, "unknown")] {
        assert_eq!(kind_of(machine.enroll(&bench, &request).await), ErrorKind::Unauthorized, "{why}");
    }
    // Nobody used it up by trying.
    machine.enroll(&bench, &good).await.unwrap();
    // The card has moved to another machine, or that machine cannot say who it is.
    for shown in [Outcome::Value(Uuid::from_u128(7)), Outcome::Absent, Outcome::Unreadable("EIO".into())] {
        let mut moved = machine.boot(&bench).await.map(|request| (request, shown.clone()));
        if moved.is_none() {
            // Attempts are used up, which is what should happen to it.
            break;
        }
        let (request, shown) = moved.as_mut().unwrap();
        request.system_uuid = shown.clone();
        assert_eq!(kind_of(machine.enroll(&bench, request).await), ErrorKind::Conflict, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lapses() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    let request = machine.boot(&bench).await.unwrap();
    let mut transaction = bench.service.store.write().await.unwrap();
    sqlx::query("UPDATE tokens SET expires_at = 1").execute(&mut *transaction).await.unwrap();
    store::commit(transaction).await.unwrap();
    assert_eq!(kind_of(machine.enroll(&bench, &request).await), ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_at_most_four_unused_tokens() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    let oldest = machine.boot(&bench).await.unwrap();
    let now = reprieve_bootsvc::clock::now();
    for name in ["b", "c", "d", "e"] {
        let mut transaction = bench.service.store.write().await.unwrap();
        let (hash, expires_at) = (bearer::hash(name), now.plus_millis(1000));
        store::sessions::insert_token(
            &mut transaction,
            hash,
            machine.node,
            machine.mac,
            now.plus_millis(1),
            expires_at,
        )
        .await
        .unwrap();
        store::commit(transaction).await.unwrap();
    }
    assert_eq!(kind_of(machine.enroll(&bench, &oldest).await), ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_nonce_never_enrolls_twice() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    let first = machine.boot(&bench).await.unwrap();
    machine.enroll(&bench, &first).await.unwrap();
    let mut second = machine.boot(&bench).await.unwrap();
    second.nonce = first.nonce;
    assert_eq!(kind_of(machine.enroll(&bench, &second).await), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_speaks_for_its_sender_only_and_claims_no_more_than_it_can() {
    let bench = Bench::start().await;
    let (mut machine, mut other) = (Machine::new(1), Machine::new(2));
    machine.come(&bench).await;
    other.come(&bench).await;
    let good = machine.report_of(&bench, Trust::Ramdisk).await;
    let mut about_other = good.clone();
    about_other.evidence.node = other.node;
    let mut attested = good.clone();
    attested.evidence.trust = Trust::RamdiskAttested;
    let mut one_reading = good.clone();
    one_reading.evidence.readings[0].trust = Trust::RamdiskAttested;
    let mut other_boot = good.clone();
    other_boot.evidence.boot_id = other.boot_id;
    let mut other_nonce = good.clone();
    other_nonce.nonce = other.nonce;
    let mut too_many = good.clone();
    too_many.evidence.readings = vec![good.evidence.readings[0].clone(); READINGS_MAX + 1];
    for report in [about_other, attested, one_reading, other_boot, other_nonce, too_many] {
        assert_eq!(kind_of(machine.send(&bench, &report).await), ErrorKind::BadRequest);
    }
    machine.send(&bench, &good).await.unwrap();
    // Nobody replaces another node's evidence.
    let mut stolen = other.report_of(&bench, Trust::Ramdisk).await;
    stolen.evidence.id = good.evidence.id;
    assert_eq!(kind_of(other.send(&bench, &stolen).await), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_bearer_nothing_is_told() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let paths = [
        (Method::GET, "/v1/status"),
        (Method::GET, "/v1/nodes"),
        (Method::GET, "/v1/images"),
        (Method::POST, "/v1/imports"),
        (Method::GET, "/v1/jobs"),
        (Method::GET, "/v1/agent/next"),
        (Method::POST, "/v1/agent/report"),
    ];
    for (method, path) in paths {
        for wrong in ["", "x", &bench.token[1..]] {
            let response = bench.raw(method.clone(), path, wrong, Vec::new()).await;
            assert_eq!(
                refusal(response).await,
                (StatusCode::UNAUTHORIZED, ErrorKind::Unauthorized),
                "{path}"
            );
        }
    }
    // A machine's session is not the operator's token, and the other way round.
    let session = machine.session.clone();
    assert_eq!(
        refusal(bench.raw(Method::GET, "/v1/nodes", &session, vec![]).await).await.0,
        StatusCode::UNAUTHORIZED
    );
    let token = bench.token.clone();
    assert_eq!(
        refusal(bench.raw(Method::GET, "/v1/agent/next", &token, vec![]).await).await.0,
        StatusCode::UNAUTHORIZED
    );
    let status: StatusView = bench.operator(Method::GET, "/v1/status", &()).await.unwrap();
    assert_eq!((status.nodes, status.jobs_open, status.images), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_bodies_are_refused_in_words() {
    let bench = Bench::start().await;
    let token = bench.token.clone();
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let approve = format!("/v1/nodes/{}/approve", machine.node);
    let unknown_key = json!({"pool": null, "factory_new": true, "data_of": null, "more": 1}).to_string();
    for body in [&b""[..], b"{", b"[]", b"\xff\xfe", b"{\"factory_new\": \"yes\"}", unknown_key.as_bytes()] {
        let response = bench.raw(Method::POST, &approve, &token, body.to_vec()).await;
        assert_eq!(refusal(response).await, (StatusCode::BAD_REQUEST, ErrorKind::BadRequest), "{body:?}");
    }
    let large = vec![b' '; (64 << 10) + 1];
    for (path, bearer, bytes) in [
        (approve.as_str(), &token, large.clone()),
        ("/v1/agent/enroll", &token, large),
        ("/v1/agent/report", &machine.session, vec![b' '; (8 << 20) + 1]),
    ] {
        let response = bench.raw(Method::POST, path, bearer, bytes).await;
        assert_eq!(refusal(response).await, (StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge), "{path}");
    }
    // Without an announced length it is counted as it comes.
    let stream = futures_util::stream::iter((0..80).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 10])));
    let request = bench
        .client
        .post(bench.api_url(&approve))
        .bearer_auth(&token)
        .body(reqwest::Body::wrap_stream(stream));
    assert_eq!(refusal(request.send().await.unwrap()).await.1, ErrorKind::TooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_there_are_not_lead_nowhere() {
    let bench = Bench::start().await;
    std::fs::write(bench.folder.path().join("secret"), "secret").unwrap();
    let traversals = [
        "/chunks/..%2f..%2foperator.token",
        "/chunks/../operator.token",
        "/images/..%2f..%2foperator.token/manifest",
        "/boot/..%2foperator.token",
        "/boot/loader/..%2f..%2fsecret",
        "/boot//../operator.token",
        "/%2e%2e/operator.token",
        "/chunks/%ff%fe",
        "/chunks/ABCDEF",
        "/boot/script?mac=../../x",
        "/boot/script",
        "/nothing",
    ];
    for path in traversals {
        let (status, _) = refusal(bench.plain(path).await).await;
        assert!(status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST, "{path}: {status}");
    }
    for path in ["/v1/nothing", "/v1/nodes/%ff", "/v1/jobs/..%2f..", "/v1/images/..%2fx"] {
        let (status, _) = refusal(bench.raw(Method::GET, path, &bench.token, vec![]).await).await;
        assert!(status.is_client_error(), "{path}: {status}");
    }
    let wrong_method = refusal(bench.raw(Method::DELETE, "/v1/nodes", &bench.token, vec![]).await).await;
    assert_eq!(wrong_method.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_find_one_node_or_say_why_not() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let id = machine.node.to_string();
    for reference in [id.as_str(), &id[..13], "52:54:00:00:00:01", "52-54-00-00-00-01"] {
        assert_eq!(bench.node(reference).await.id, machine.node, "{reference}");
    }
    for reference in ["%25", "____", "abc", "52:54:00:00:00:02"] {
        let found = bench.operator::<NodeView>(Method::GET, &format!("/v1/nodes/{reference}"), &()).await;
        assert_eq!(kind_of(found), ErrorKind::NotFound, "{reference}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_and_scripts_are_served() {
    let bench = Bench::start().await;
    let kernel = bench.plain("/boot/kernel").await;
    let tag = kernel.headers()["etag"].clone();
    assert_eq!(kernel.bytes().await.unwrap(), "kernel");
    let again = bench.client.get(format!("http://{}/boot/kernel", bench.http)).header("if-none-match", tag);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    // Replaced by the operator: the new one is served at once.
    std::fs::write(bench.folder.path().join("vmlinuz"), b"newer kernel").unwrap();
    assert_eq!(bench.plain("/boot/kernel").await.bytes().await.unwrap(), "newer kernel");
    assert_eq!(bench.plain("/boot/ramdisk").await.status(), StatusCode::NOT_FOUND);
    for path in ["/autoexec.ipxe", "//autoexec.ipxe", "/boot/autoexec.ipxe", "/boot/loader/autoexec.ipxe"] {
        let script = bench.plain(path).await;
        assert_eq!(script.status(), StatusCode::OK, "{path}");
        assert!(script.text().await.unwrap().starts_with("#!ipxe"));
    }
    assert_eq!(bench.plain("/healthz").await.text().await.unwrap(), "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_healthy_only_once_everything_listens() {
    let bench = Bench::start_with("[tftp]\nlisten = [\"127.0.0.1:0\"]\n").await;
    let early = bench.plain("/healthz").await;
    assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(early.text().await.unwrap().contains("TFTP"));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let service = std::sync::Arc::clone(&bench.service);
    let network = tokio::spawn(reprieve_bootsvc::network::serve(service, bench.http.port(), stopped));
    while bench.plain("/healthz").await.status() != StatusCode::OK {
        assert!(!network.is_finished(), "the network ended");
        tokio::task::yield_now().await;
    }
    let over_tls = bench.raw(Method::GET, "/healthz", "none", Vec::new()).await;
    assert_eq!(over_tls.status(), StatusCode::OK);
    stop.send(true).unwrap();
    network.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_os_disk_is_never_chosen_by_a_kernel_name() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let path = format!("/v1/nodes/{}/assign", machine.node);
    let assign = async |rule: Value| {
        let request = json!({"image": null, "tenant": null, "pool": null, "os_disk": rule});
        bench.operator::<NodeView>(Method::POST, &path, &request).await
    };
    for rule in [
        json!({"rule": "disk", "disk": "/dev/sda"}),
        json!({"rule": "disk", "disk": "nvme0n1"}),
        json!({"rule": "match", "disk": {}}),
    ] {
        assert_eq!(kind_of(assign(rule).await), ErrorKind::BadRequest);
    }
    let rule = json!({"rule": "match", "disk": {"transport": "nvme", "pick": "smallest"}});
    assert_eq!(assign(rule).await.unwrap().assignment.os_disk.to_string(), "nvme,smallest");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_the_root_is_assigned_and_stays_until_another_is() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let path = format!("/v1/nodes/{}/assign", machine.node);
    let assign = async |size: Value| {
        let request =
            json!({"image": null, "tenant": null, "pool": null, "os_disk": null, "root_size": size});
        let node = bench.operator::<NodeView>(Method::POST, &path, &request).await;
        node.map(|node| node.assignment.root_size.to_string())
    };
    assert_eq!(assign(json!(null)).await.unwrap(), "grow");
    assert_eq!(assign(json!({"bytes": 20_u64 << 30})).await.unwrap(), "20Gi");
    assert_eq!(assign(json!(null)).await.unwrap(), "20Gi");
    assert_eq!(assign(json!("image")).await.unwrap(), "image");
    assert_eq!(kind_of(assign(json!("shrink")).await), ErrorKind::BadRequest);
    assert_eq!(assign(json!("grow")).await.unwrap(), "grow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_nodes_says_of_each_what_it_says_alone() {
    let bench = Bench::start().await;
    let mut machine = discovered(&bench).await;
    for last in 2..5 {
        Machine::new(last).come(&bench).await;
    }
    job_of(&bench, &machine, json!({"image": "debian", "tenant": "a", "confirmed": true})).await;
    // A second address of the same machine.
    machine.mac = MacAddress([0x52, 0x54, 0, 0, 1, 1]);
    machine.report(&bench).await;
    let nodes: Vec<NodeView> = bench.operator(Method::GET, "/v1/nodes", &()).await.unwrap();
    assert_eq!(nodes.len(), 4);
    for node in &nodes {
        assert_eq!(*node, bench.node(&node.id.to_string()).await);
    }
    let with_job: Vec<_> = nodes.iter().filter(|node| node.job.is_some()).collect();
    assert_eq!((with_job.len(), with_job[0].macs.len()), (1, 2));
}
