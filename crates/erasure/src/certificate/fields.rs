//! A certificate as rows for people: every field, also those that are absent.

use contract::certificate_api::UncoveredArea;
use contract::id::{Digest, UnixMillis};
use contract::plan::EraseMethod;
use contract::reading::Outcome;

use super::{Certificate, Person, wording};
use crate::coverage::{area_in_words, presence_in_words};

/// What a field shows that nobody knows.
pub const ABSENT: &str = "absent";

/// How many items of one list are shown; the JSON has all of them.
const ITEMS_SHOWN_MAX: usize = 16;

/// Rows under one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub heading: &'static str,
    /// Name and value of each field.
    pub rows: Vec<(String, String)>,
}

/// A time in UTC, as RFC 3339 has it.
#[must_use]
pub fn utc(at: UnixMillis) -> String {
    let timestamp =
        i64::try_from(at.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    timestamp.map_or_else(|| format!("{} ms since 1970", at.0), |timestamp| timestamp.to_string())
}

/// All fields of a certificate. `digest` is that of its file, where it is known.
#[must_use]
pub fn sections(certificate: &Certificate, digest: Option<Digest>) -> Vec<Section> {
    vec![
        Section { heading: "Certificate", rows: about(certificate, digest) },
        Section { heading: "Disk", rows: disk(certificate) },
        Section { heading: "Machine and medium", rows: machine(certificate) },
        Section { heading: "Sanitization", rows: sanitization(certificate) },
        Section { heading: "Verification", rows: verification(certificate) },
        Section { heading: "Not covered", rows: exclusions(certificate) },
        Section { heading: "Authority", rows: authority(certificate) },
        Section { heading: "People", rows: people(certificate) },
        Section { heading: "Erase record, as the agent reported it", rows: value(&certificate.erase_record) },
        Section { heading: "Disk as seen before the erase", rows: value(&certificate.device_evidence) },
    ]
}

fn row(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn known(name: &str, value: Option<&impl ToString>) -> (String, String) {
    (name.to_owned(), value.map_or_else(|| ABSENT.to_owned(), ToString::to_string))
}

fn seen<T: ToString>(name: &str, outcome: &Outcome<T>) -> (String, String) {
    let text = match outcome {
        Outcome::Value(value) => value.to_string(),
        Outcome::Absent => ABSENT.to_owned(),
        Outcome::Unreadable(why) => format!("could not be read: {why}"),
    };
    (name.to_owned(), text)
}

fn about(certificate: &Certificate, digest: Option<Digest>) -> Vec<(String, String)> {
    let chain = &certificate.chain;
    vec![
        row("certificate", certificate.id),
        row("form", &certificate.form),
        row("issued at", utc(certificate.issued_at)),
        row("issued by", format!("{} {}", certificate.issuer.account, certificate.issuer.version)),
        known("site", certificate.issuer.site.as_ref()),
        row("number for this disk", chain.number),
        known("previous certificate", chain.previous.as_ref().map(|previous| previous.id).as_ref()),
        known("digest of the previous", chain.previous.as_ref().map(|previous| previous.digest).as_ref()),
        known("digest of this file (BLAKE3)", digest.as_ref()),
    ]
}

fn disk(certificate: &Certificate) -> Vec<(String, String)> {
    let device = &certificate.device;
    vec![
        row("disk", &device.id),
        known("manufacturer", device.manufacturer.as_ref()),
        seen("model", &device.model),
        seen("serial number", &device.serial),
        seen("firmware revision", &device.firmware_revision),
        row("media type", wording::medium(device.transport, &device.rotational)),
        row("size in bytes", device.size_bytes),
        row("logical sector in bytes", device.logical_sector_bytes),
        seen("hidden bytes", &device.hidden_bytes),
    ]
}

fn machine(certificate: &Certificate) -> Vec<(String, String)> {
    let (machine, media) = (&certificate.machine, &certificate.media);
    vec![
        row("node", machine.node),
        seen("system UUID", &machine.system_uuid),
        seen("vendor", &machine.vendor),
        seen("product", &machine.product),
        seen("machine serial number", &machine.serial),
        known("organization property number", media.property_number.as_ref()),
        known("media source", media.source.as_ref()),
        known("media destination", media.destination.as_ref()),
        row("held data of", &media.held_data_of),
        known("confidentiality category before", media.category_before.as_ref()),
        known("confidentiality category after", media.category_after.as_ref()),
    ]
}

fn sanitization(certificate: &Certificate) -> Vec<(String, String)> {
    let done = &certificate.sanitization;
    let before: Vec<String> = done.begun_before.iter().map(|at| utc(*at)).collect();
    let before = if before.is_empty() { "never".to_owned() } else { before.join(", ") };
    vec![
        row("method", wording::level(done.method)),
        row("technique", &done.technique_name),
        row("technique standard", &done.technique_standard),
        row("technique source", &done.technique_source),
        row("tool", format!("{} {}", done.tool, done.tool_version)),
        known("device status", done.device_status.as_ref()),
        seen(
            "said to be clean before",
            &done.said_clean_before.clone().map(|clean| clean_in_words(clean, done.technique)),
        ),
        row("started at", utc(done.started_at)),
        row("ended at", utc(done.ended_at)),
        row("begun before and not finished", before),
    ]
}

fn clean_in_words(clean: bool, technique: EraseMethod) -> &'static str {
    match (clean, technique) {
        (true, EraseMethod::NvmeFoundClean) => {
            "yes, by the device; the disk was not erased now for that reason, and was read back"
        }
        (true, _) => "yes, by the device; recorded only, nothing was skipped for it",
        (false, _) => "no",
    }
}

fn verification(certificate: &Certificate) -> Vec<(String, String)> {
    let proof = &certificate.verification;
    vec![
        row("verification method", &proof.method),
        row("depth", wording::depth(proof.depth)),
        row("seed", proof.seed),
        known("digest of the positions", proof.positions.as_ref()),
        row("blocks read back", proof.samples),
        known("markers gone", proof.markers_gone.as_ref()),
        known("bytes read back", proof.bytes_read_back.as_ref()),
        known("found with 95 %, parts per million", proof.found_with_95_percent_ppm.as_ref()),
    ]
}

fn exclusions(certificate: &Certificate) -> Vec<(String, String)> {
    let area = |area: &UncoveredArea| row(area_in_words(area.area), presence_in_words(&area.presence));
    let numbered = |(at, text): (usize, &String)| (format!("exclusion {}", at + 1), text.clone());
    let areas = certificate.not_covered.iter().map(area);
    areas.chain(certificate.exclusions.iter().enumerate().map(numbered)).collect()
}

fn authority(certificate: &Certificate) -> Vec<(String, String)> {
    let authority = &certificate.authority;
    let mut rows = vec![
        row("requested by", &authority.requested_by),
        known("why", authority.why.as_ref()),
        row("job", authority.job),
        row("order", authority.order),
        row("step of the plan", u64::from(authority.step) + 1),
        row("plan", authority.plan),
        row("evidence and decision", authority.decision),
        row("policy", authority.policy),
        row("rules", &authority.engine),
        known("approver", authority.approver.as_ref()),
        row("intent recorded at", utc(authority.begun_at)),
        row("reported proven at", utc(authority.finished_at)),
        known("TPM quote", authority.tpm_quote.as_ref()),
    ];
    if let Some(step) = authority.order_failed_at_step {
        rows.push(row("the order failed, at step", u64::from(step) + 1));
    }
    rows
}

fn people(certificate: &Certificate) -> Vec<(String, String)> {
    let people = &certificate.people;
    let mut rows = vec![row("verified automatically by", &people.verified_automatically_by)];
    for (who, person) in
        [("verified by a person", &people.verified_by), ("validated by a person", &people.validated_by)]
    {
        rows.push((who.to_owned(), person_in_words(person)));
    }
    rows
}

fn person_in_words(person: &Person) -> String {
    let parts = [
        ("name", &person.name),
        ("title", &person.title),
        ("date", &person.date),
        ("location", &person.location),
        ("contact", &person.contact),
        ("signature", &person.signature),
    ];
    let parts = parts.map(|(name, part)| format!("{name} {}", part.as_deref().unwrap_or(ABSENT)));
    parts.join(", ")
}

/// A value that came as it is, flattened: `found.zeros`.
fn value(value: &serde_json::Value) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    flatten(String::new(), value, &mut rows);
    rows
}

fn flatten(name: String, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    use serde_json::Value;
    let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                flatten(inner(key), value, rows);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in items.iter().enumerate().take(ITEMS_SHOWN_MAX) {
                rows.push((inner(&(at + 1).to_string()), in_one_line(item)));
            }
            if items.len() > ITEMS_SHOWN_MAX {
                rows.push((inner("more"), more(items.len())));
            }
        }
        Value::Array(items) => {
            let mut texts: Vec<String> = items.iter().take(ITEMS_SHOWN_MAX).map(plain).collect();
            if items.len() > ITEMS_SHOWN_MAX {
                texts.push(more(items.len()));
            }
            rows.push((name, texts.join("; ")));
        }
        other => rows.push((name, plain(other))),
    }
}

/// One thing of a list: `media errors: 0`, or all that it has.
fn in_one_line(item: &serde_json::Value) -> String {
    let serde_json::Value::Object(map) = item else { return plain(item) };
    if let (2, Some(name), Some(value)) = (map.len(), map.get("name"), map.get("value")) {
        return format!("{}: {}", plain(name), plain(value));
    }
    let parts: Vec<String> = map.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect();
    parts.join(", ")
}

fn more(count: usize) -> String {
    format!("{} more, in the JSON", count - ITEMS_SHOWN_MAX)
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => ABSENT.to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
