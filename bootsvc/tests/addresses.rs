//! A service with several addresses: machines are told all of them, and each of them answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{ContextReply, EnrollRequest};
use contract::id::{BootId, Digest, MacAddress, NodeId};
use contract::reading::Outcome;
use contract::secret::Secret;
use reqwest::Method;
use support::Bench;
use support::machine::parameter;
use uuid::Uuid;

const LISTEN: &str = "[http]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n\
                      [api]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_told_all_addresses_and_each_of_them_answers() {
    let bench = Bench::start_with(LISTEN).await;
    let mac = MacAddress([0x52, 0x54, 0, 0, 0, 9]);
    let script = bench.script(&mac.to_string()).await;
    let services = parameter(&script, "reprieve.service").unwrap();
    let services: Vec<&str> = services.split(',').collect();
    assert_eq!(services[0], format!("https://{}", bench.api), "the one that it has reached first");
    let [_, second] = services[..] else { panic!("{services:?}") };
    assert!(second.starts_with("https://127.0.0.2:"), "{second}");

    let node: NodeId = parameter(&script, "reprieve.node").unwrap().parse().unwrap();
    let request = EnrollRequest {
        node,
        token: Secret::new(parameter(&script, "reprieve.token").unwrap()),
        boot_id: BootId(Uuid::from_u128(1)),
        nonce: Digest::of(b"nonce"),
        system_uuid: Outcome::Value(Uuid::from_u128(2)),
        macs: vec![mac],
        agent_version: "test".to_owned(),
        since_kernel_start_millis: 1,
    };
    // Enrolled at the second address, with a certificate that is good there.
    let enrolled =
        bench.client.post(format!("{second}/v1/agent/enroll")).json(&request).send().await.unwrap();
    assert!(enrolled.status().is_success());
    let enrolled: contract::agent_api::EnrollReply = enrolled.json().await.unwrap();
    assert_eq!(enrolled.context.service_urls[0], second, "again the one that it has reached first");
    assert_eq!(enrolled.context.service_urls.len(), 2);
    assert!(enrolled.context.image_base_url.starts_with("http://127.0.0.2:"));
    let images = &enrolled.context.image_base_urls;
    assert_eq!((images.len(), &images[0]), (2, &enrolled.context.image_base_url));
    // The session is as good at the first address, and so are the images.
    let session = enrolled.session.reveal().to_owned();
    let context: ContextReply = bench.call(Method::GET, "/v1/agent/context", &session, &()).await.unwrap();
    assert_eq!(context.service_urls[0], services[0]);
    for base in images {
        let answer = bench.client.get(format!("{base}/healthz")).send().await.unwrap();
        assert!(answer.status().is_success(), "{base}");
    }
}
