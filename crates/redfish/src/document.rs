//! One answer of a controller, and what can be taken out of it. Nothing in it is required; what is of another kind
//! than the schema says counts as not said.

use contract::bmc::TEXT_CHARACTERS_MAX;
use serde_json::Value;

/// Texts that stand where a maker left something out; they name nothing.
const PLACEHOLDERS: [&str; 8] = [
    "to be filled by o.e.m.",
    "default string",
    "not specified",
    "unknown",
    "none",
    "n/a",
    "0",
    "0123456789",
];

/// Reads an answer. What is no object is no answer.
///
/// serde_json reads at most 128 levels; how long an answer may be is the caller's affair.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("JSON, but no object".to_owned()) }
}

/// A text of the object that says something: no placeholder, and not empty.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let text = object.get(name)?.as_str()?.trim();
    let said = !text.is_empty() && !PLACEHOLDERS.contains(&text.to_lowercase().as_str());
    said.then_some(text)
}

/// A number of the object that a sensor can have.
pub(crate) fn number(object: &Value, name: &str) -> Option<f64> {
    const MAGNITUDE_MAX: f64 = 1e7;
    object.get(name)?.as_f64().filter(|number| number.is_finite() && number.abs() <= MAGNITUDE_MAX)
}

/// The entries of an array of the object; empty if there is none.
pub(crate) fn array<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Where a property of the object links to, as the controller wrote it.
pub(crate) fn linked<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name).and_then(address)
}

/// The address of an object.
pub(crate) fn address(object: &Value) -> Option<&str> {
    object.get("@odata.id")?.as_str()
}

/// A text for people: without control characters, and short.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARACTERS_MAX).collect()
}
