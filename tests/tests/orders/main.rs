//! Orders that are not the service's word for this boot, given to a real machine by somebody between it
//! and the service: it refuses them, writes nothing, and the operator is told why.

mod intruder;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::id::{DiskId, JobId, UnixMillis};
use contract::operator_api::JobState;
use contract::order::{Order, SignedOrder};
use ed25519_dalek::SigningKey;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::Told;
use reprieve_tests::disk::digest;
use reprieve_tests::lab::Lab;
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::cutting::Cutting;
use reprieve_tests::scenario::site::{Site, console_end};
use reprieve_tests::scenario::small::site;
use reprieve_tests::service::{Configuration, Service};

use self::intruder::Intruder;

const REFUSAL_LIMIT: Duration = Duration::from_secs(200);

/// Makes another order of one: from the order as it was signed, as it can be read, and the service's key.
type Forge = fn(&SignedOrder, Order, &SigningKey) -> Result<SignedOrder>;

/// What is done to an order, how, and what the operator is told.
type Case = (&'static str, Forge, &'static str);

const CASES: [Case; 5] = [
    ("signed by somebody else", by_another_key, "signature is not the service's"),
    ("altered after it was signed", altered, "signature is not the service's"),
    ("of an earlier boot", unchanged, "did not give to it in this boot"),
    ("lapsed", lapsed, "the order lapsed"),
    ("for another disk too", for_another_disk, "other disks than the plan writes"),
];

fn by_another_key(_: &SignedOrder, order: Order, _: &SigningKey) -> Result<SignedOrder> {
    Ok(SignedOrder::sign(&order, &SigningKey::from_bytes(&[9; 32]))?)
}

/// The time until which it is good, in the signed text itself.
fn altered(signed: &SignedOrder, order: Order, _: &SigningKey) -> Result<SignedOrder> {
    let (old, new) = (order.expires_at.0.to_string(), (order.expires_at.0 + 1).to_string());
    let payload = signed.payload.replace(&old, &new);
    ensure!(payload != signed.payload, "there was nothing to alter in {payload}");
    Ok(SignedOrder { payload, signature: signed.signature.clone() })
}

fn unchanged(signed: &SignedOrder, _: Order, _: &SigningKey) -> Result<SignedOrder> {
    Ok(signed.clone())
}

fn lapsed(_: &SignedOrder, order: Order, key: &SigningKey) -> Result<SignedOrder> {
    let hour_ago = |at: UnixMillis| UnixMillis(at.0.saturating_sub(3 * 3_600_000));
    let order =
        Order { issued_at: hour_ago(order.issued_at), expires_at: hour_ago(order.expires_at), ..order };
    Ok(SignedOrder::sign(&order, key)?)
}

fn for_another_disk(_: &SignedOrder, order: Order, key: &SigningKey) -> Result<SignedOrder> {
    let other: DiskId = "virtio-OTHER".parse().context("a name of a disk")?;
    let order = Order { disks: [order.disks, vec![other]].concat(), ..order };
    Ok(SignedOrder::sign(&order, key)?)
}

/// What the intruder does, and what it has seen.
#[derive(Default)]
struct Desk {
    forge: Option<Forge>,
    /// Instead of the order that is on its way.
    replay: Option<SignedOrder>,
    seen: Option<SignedOrder>,
}

/// Puts another order in the place of one, in an answer that has one.
fn exchange(desk: &Mutex<Desk>, key: &SigningKey, answer: &serde_json::Value) -> Option<serde_json::Value> {
    let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
    let signed: SignedOrder = serde_json::from_value(answer.get("order")?.clone()).ok()?;
    let given = desk.replay.clone().unwrap_or_else(|| signed.clone());
    desk.seen = Some(signed);
    let order: Order = serde_json::from_str(&given.payload).ok()?;
    let forged = desk.forge?(&given, order, key).ok()?;
    let mut changed = answer.clone();
    changed["order"] = serde_json::to_value(forged).ok()?;
    Some(changed)
}

fn order_key(service: &Service<'_>) -> Result<SigningKey> {
    let text = std::fs::read_to_string(service.state().join("order.key")).context("no key of orders")?;
    let text = text.trim();
    let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).context("no key of 32 bytes")?;
    Ok(SigningKey::from_bytes(&bytes))
}

#[test]
fn an_order_that_is_forged_altered_replayed_or_lapsed_is_refused_and_nothing_is_written() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let configuration = Configuration { attempts_max: Some(20), ..Configuration::default() };
    let site = site(&lab, &artefacts, &configuration)?;
    let mut cutting = Cutting::start(&site, &artefacts, 1 << 30)?;
    std::fs::copy(&site.image_file, cutting.disk()).context("could not fill the disk")?;
    let file = std::fs::File::options().write(true).open(cutting.disk())?;
    file.set_len(reprieve_tests::scenario::small::DISK_BYTES).context("could not size the disk")?;
    let before = digest(cutting.disk())?;

    let desk = Arc::new(Mutex::new(Desk::default()));
    let (key, at_work) = (order_key(&site.service)?, Arc::clone(&desk));
    let alter = Box::new(move |_: &str, answer: &serde_json::Value| exchange(&at_work, &key, answer));
    let _intruder = Intruder::start(lab.network(), &site.service, alter)?;
    let job = site.operator.wipe(&cutting.reference(), "clear", "laboratory")?;
    for (name, forge, told) in CASES {
        let mut at_work = desk.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.replay = if name == "of an earlier boot" { at_work.seen.take() } else { None };
        at_work.forge = Some(forge);
        drop(at_work);
        expect_refused(&site, &mut cutting, job, told).with_context(|| name.to_owned())?;
        ensure!(digest(cutting.disk())? == before, "{name}: the disk's bytes have changed");
    }
    // Left alone, the intruder's connection is as good as any: it was the orders that were refused.
    desk.lock().unwrap_or_else(PoisonError::into_inner).forge = None;
    ensure!(boot(&mut cutting)? == Told::Ramdisk, "a node that was let go on is not booted");
    site.operator
        .wait_job(job, "the end of the work", REFUSAL_LIMIT, |state| *state == JobState::ComingUp)?;
    ensure!(site.operator.certificate_count(&cutting.reference())? == 1, "there is no certificate");
    Ok(())
}

fn boot(cutting: &mut Cutting<'_, '_>) -> Result<Told> {
    cutting.boot.power_on_with(&mut cutting.machine, |arguments| Intruder::redirect(&arguments))
}

fn expect_refused(site: &Site<'_>, cutting: &mut Cutting<'_, '_>, job: JobId, told: &str) -> Result<()> {
    ensure!(boot(cutting)? == Told::Ramdisk, "a node that was let go on is not booted");
    let held = |state: &JobState| matches!(state, JobState::Held { .. });
    let view = site
        .operator
        .wait_job(job, "a refused order", REFUSAL_LIMIT, held)
        .with_context(|| format!("the console ends:\n{}", console_end(&cutting.machine)))?;
    let JobState::Held { reason } = &view.state else { bail!("{}", describe(&view)) };
    println!("{reason}");
    ensure!(reason.contains("refused") && reason.contains(told), "held for another reason: {reason}");
    let counters = cutting.machine.counters()?;
    ensure!((counters.written_bytes, counters.dataless_writes) == (0, 0), "it wrote: {counters:?}");
    cutting.machine.cut_power();
    site.operator.release_hold(&cutting.reference())?;
    Ok(())
}
