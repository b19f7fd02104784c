//! One-time tokens over the wire: used twice, by another node, from another machine, made up.

use anyhow::{Result, ensure};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::lab::Lab;
use reprieve_tests::scripted_agent::{Handed, ScriptedAgent};
use reprieve_tests::service::{Configuration, Service};
use serde_json::json;

const ONE: &str = "52:54:00:99:00:01";
const TWO: &str = "52:54:00:99:00:02";

#[test]
fn a_token_is_good_once_for_one_node_on_one_machine() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let mut service = Service::start(&lab, &artefacts, &Configuration::default())?;
    let agent = ScriptedAgent::new(lab.network(), &service);
    let (one, two) = (agent.boot(ONE)?, agent.boot(TWO)?);
    ensure!(one.node != two.node && one.token != two.token, "two machines were handed the same");

    let foreign = Handed { node: two.node.clone(), token: one.token.clone() };
    let made_up = Handed { node: one.node.clone(), token: "00".repeat(32) };
    for (what, handed, mac) in [
        ("by another node", &foreign, TWO),
        ("from another machine", &one, TWO),
        ("that nobody gave out", &made_up, ONE),
    ] {
        let (status, answer) = agent.enroll(handed, mac, 1)?;
        ensure!(status == 401 || status == 409, "a token {what} got {status}: {answer}");
        ensure!(answer["session"].is_null(), "a token {what} got a session");
    }
    let (status, answer) = agent.enroll(&one, ONE, 2)?;
    ensure!(status == 200 && answer["session"].is_string(), "the right token got {status}: {answer}");
    let (status, answer) = agent.enroll(&one, ONE, 3)?;
    ensure!(status == 401 && answer["kind"] == "unauthorized", "a token used twice got {status}: {answer}");
    let (status, answer) = agent.enroll(&two, TWO, 2)?;
    ensure!(status == 409, "a nonce used twice got {status}: {answer}");
    service.check_running()
}

#[test]
fn malformed_and_oversized_calls_are_refused_and_the_service_goes_on() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let mut service = Service::start(&lab, &artefacts, &Configuration::default())?;
    let agent = ScriptedAgent::new(lab.network(), &service);
    for (what, body) in
        [("nothing", &b""[..]), ("not JSON", b"{"), ("another shape", b"[1]"), ("not text", &[0xff; 64])]
    {
        let (status, answer) = agent.post_bytes("/v1/agent/enroll", None, body)?;
        ensure!((400..500).contains(&status), "{what} got {status}");
        ensure!(
            answer["kind"].is_string() && answer["hint"].is_string(),
            "{what} was refused without a word: {answer}"
        );
    }
    let (status, _) = agent.post_bytes("/v1/agent/enroll", None, &vec![b' '; 64 << 20])?;
    ensure!((400..500).contains(&status), "64 MiB got {status}");
    for path in ["/v1/agent/report", "/v1/agent/begin", "/v1/agent/finish", "/v1/agent/credential"] {
        for bearer in [None, Some("made-up")] {
            let (status, answer) = agent.post(path, bearer, &json!({}))?;
            ensure!(status == 401, "{path} without a session got {status}: {answer}");
        }
    }
    for path in
        ["/boot/../bootsvc.toml", "/boot/%2e%2e/ca.key", "/chunks/..%2f..%2fca.key", "/images/x/manifest"]
    {
        let (status, _) = service.http_get(path)?;
        ensure!((400..500).contains(&status), "{path} got {status}");
    }
    service.check_running()
}
