//! Whether a controller speaks of the machine that is meant. A controller that was moved, or entered for the wrong
//! node, would let one machine be judged by the sensors of another.

use serde_json::Value;
use uuid::Uuid;

use crate::document::{clean, text};

/// What is known of the machine that is meant, from what it showed itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// SMBIOS system UUID.
    pub system_uuid: Option<Uuid>,
    /// SMBIOS system serial number.
    pub serial: Option<String>,
}

/// What a controller says of a system that it controls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    uuid: Option<Uuid>,
    /// Serial number and stock-keeping unit: at Dell's the latter is what SMBIOS calls the serial number.
    serials: Vec<String>,
}

/// How the two compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// At least one of them agrees.
    Same,
    /// There is nothing that both say.
    NothingToCompare,
    /// All that both say differs.
    Other,
}

impl Identity {
    /// Of a ComputerSystem.
    pub fn of(system: &Value) -> Self {
        let uuid = text(system, "UUID").and_then(|uuid| Uuid::parse_str(uuid).ok());
        let serials = ["SerialNumber", "SKU"].into_iter().filter_map(|name| text(system, name));
        Self { uuid: uuid.filter(|uuid| says_something(*uuid)), serials: serials.map(clean).collect() }
    }

    pub fn compare(&self, expected: &Expected) -> Sameness {
        let uuids = self.uuid.zip(expected.system_uuid.filter(|uuid| says_something(*uuid)));
        let uuid = uuids.map(|(one, other)| one == other || swapped(one) == other);
        let expected = expected.serial.as_deref().map(str::trim).filter(|serial| !serial.is_empty());
        let same = |serial: &String, expected: &str| serial.eq_ignore_ascii_case(expected);
        let serial = expected
            .filter(|_| !self.serials.is_empty())
            .map(|expected| self.serials.iter().any(|serial| same(serial, expected)));
        match (uuid, serial) {
            (Some(true), _) | (_, Some(true)) => Sameness::Same,
            (None, None) => Sameness::NothingToCompare,
            _ => Sameness::Other,
        }
    }

    /// In words.
    pub fn shown(&self) -> String {
        let uuid = self.uuid.map(|uuid| format!("UUID {uuid}"));
        let serials = self.serials.iter().map(|serial| format!("serial number {serial}"));
        let shown: Vec<String> = serials.chain(uuid).collect();
        if shown.is_empty() { "a machine without a name".to_owned() } else { shown.join(", ") }
    }
}

/// SMBIOS writes the first three fields in little-endian order; some controllers pass them on as they stand
/// (SMBIOS Reference Specification 7.2.1).
fn swapped(uuid: Uuid) -> Uuid {
    Uuid::from_bytes_le(uuid.into_bytes())
}

/// All zeros and all ones stand for "not set" (SMBIOS Reference Specification 7.2.1).
fn says_something(uuid: Uuid) -> bool {
    !uuid.is_nil() && !uuid.is_max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const UUID: &str = "4c4c4544-0035-4b10-8059-b4c04f583733";

    #[test]
    fn a_machine_is_known_by_any_name_that_agrees_and_another_by_all_that_differ() {
        let expected = |uuid: Option<&str>, serial: Option<&str>| Expected {
            system_uuid: uuid.map(|uuid| uuid.parse().unwrap()),
            serial: serial.map(str::to_owned),
        };
        let both = expected(Some(UUID), Some("5K9X73"));
        let cases = [
            (json!({"UUID": UUID, "SerialNumber": "CN001"}), &both, Sameness::Same),
            (json!({"UUID": "44454c4c-3500-104b-8059-b4c04f583733"}), &both, Sameness::Same),
            (json!({"SerialNumber": "CN001", "SKU": "5k9x73 "}), &both, Sameness::Same),
            (json!({"UUID": null, "SerialNumber": "CN001"}), &both, Sameness::Other),
            (json!({"UUID": "4c4c4544-0035-4b10-8059-b4c04f583734"}), &both, Sameness::Other),
            (json!({"UUID": "00000000-0000-0000-0000-000000000000"}), &both, Sameness::NothingToCompare),
            (json!({"SerialNumber": "To be filled by O.E.M."}), &both, Sameness::NothingToCompare),
            (json!({"SerialNumber": 5}), &both, Sameness::NothingToCompare),
            (json!({"UUID": UUID}), &expected(None, Some("5K9X73")), Sameness::NothingToCompare),
            (json!({"SerialNumber": "X"}), &expected(Some(UUID), None), Sameness::NothingToCompare),
        ];
        for (system, expected, sameness) in cases {
            assert_eq!(Identity::of(&system).compare(expected), sameness, "{system}");
        }
    }
}
