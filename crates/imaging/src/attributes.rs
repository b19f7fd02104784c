//! Extended attributes of immutable files: capabilities, access lists, security labels.
//!
//! Some of them grant rights, and a file that has one the image does not have is as altered as one
//! with another mode. Others (labels, marks of programs) may be added by a running system; of those
//! only what the image has is compared.

use contract::id::Digest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest value in bytes (`XATTR_SIZE_MAX` of `linux/limits.h`).
pub const VALUE_BYTES_MAX: usize = 65_536;

/// The longest name in bytes (`XATTR_NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// The most attributes that one file may have; file systems store far fewer.
pub const ATTRIBUTES_MAX: usize = 256;

/// Capabilities of a program file.
pub const CAPABILITY: &str = "security.capability";

/// The access control list.
pub const ACCESS_LIST: &str = "system.posix_acl_access";

/// The access control list that new files in a folder get.
pub const DEFAULT_LIST: &str = "system.posix_acl_default";

/// The attributes that grant rights: a file must have exactly the image's.
pub const GRANTING: [&str; 3] = [CAPABILITY, ACCESS_LIST, DEFAULT_LIST];

/// Bound to one machine's key and one file's place, so no image can carry it.
const MACHINE_BOUND: &str = "security.evm";

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendedAttribute {
    /// Its whole name, such as `security.capability`.
    pub name: String,
    /// Its value as `getxattr(2)` gives it.
    pub value: AttributeValue,
}

/// The bytes of an attribute; in JSON hexadecimal in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributeValue(pub Vec<u8>);

impl Serialize for AttributeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > 2 * VALUE_BYTES_MAX {
            return Err(D::Error::custom(format!("an attribute longer than {VALUE_BYTES_MAX} bytes")));
        }
        hex::decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// Whether an attribute with this name belongs to the image rather than to the machine.
#[must_use]
pub fn is_of_image(name: &str) -> bool {
    name != MACHINE_BOUND && is_name(name)
}

/// Whether the attributes are ordered by name, each once, and within the bounds of the kernel.
#[must_use]
pub fn are_sound(attributes: &[ExtendedAttribute]) -> bool {
    attributes.len() <= ATTRIBUTES_MAX
        && attributes.windows(2).all(|pair| pair[0].name < pair[1].name)
        && attributes
            .iter()
            .all(|attribute| is_of_image(&attribute.name) && attribute.value.0.len() <= VALUE_BYTES_MAX)
}

fn is_name(name: &str) -> bool {
    let in_namespace = ["security.", "trusted.", "user."]
        .iter()
        .any(|space| name.len() > space.len() && name.starts_with(space));
    (in_namespace || name == ACCESS_LIST || name == DEFAULT_LIST)
        && name.len() <= NAME_BYTES_MAX
        && !name.contains('\0')
}

/// Whether an attribute that a file has is compared with the image's: the image has it, or it grants
/// rights.
#[must_use]
pub fn is_compared(expected: &[ExtendedAttribute], name: &str) -> bool {
    GRANTING.contains(&name) || expected.iter().any(|attribute| attribute.name == name)
}

/// Whether what a file has, ordered or not, is what the image says.
#[must_use]
pub fn same(expected: &[ExtendedAttribute], mut found: Vec<ExtendedAttribute>) -> bool {
    found.retain(|attribute| is_compared(expected, &attribute.name));
    found.sort();
    found == expected
}

/// One digest for content and attributes together, for a memory of what was compared. It differs from
/// the digest of the content alone.
#[must_use]
pub fn digest_with(content: &Digest, attributes: &[ExtendedAttribute]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("reprieve 2026 file content with its attributes");
    hasher.update(&content.0);
    for attribute in attributes {
        for part in [attribute.name.as_bytes(), &attribute.value.0] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Capabilities for the first user namespace are given without the namespace's root (revision 2 of
/// `linux/capability.h`), however they are stored.
pub(crate) fn capability_as_given(mut stored: Vec<u8>) -> Vec<u8> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    const REVISION_3_BYTES: usize = 24;
    if stored.len() == REVISION_3_BYTES && stored[3] == REVISION_3 && stored.ends_with(&[0; 4]) {
        stored.truncate(20);
        stored[3] = REVISION_2;
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, value: &[u8]) -> ExtendedAttribute {
        ExtendedAttribute { name: name.to_owned(), value: AttributeValue(value.to_vec()) }
    }

    #[test]
    fn what_grants_rights_must_be_exactly_the_images_and_labels_may_be_added() {
        let label = attribute("security.selinux", b"bin_t");
        let capability = attribute(CAPABILITY, b"net");
        let none: &[ExtendedAttribute] = &[];
        assert!(same(none, vec![]));
        assert!(same(none, vec![label.clone(), attribute("user.mark", b"x")]));
        for name in GRANTING {
            assert!(!same(none, vec![attribute(name, b"x")]), "{name}");
        }
        let both = [capability.clone(), label.clone()];
        assert!(same(&both, vec![label.clone(), capability.clone(), attribute("user.mark", b"x")]));
        assert!(!same(&both, vec![capability.clone()]));
        assert!(!same(&both, vec![label, attribute(CAPABILITY, b"admin")]));
    }

    #[test]
    fn values_are_hexadecimal_and_bounded() {
        let text = serde_json::to_string(&attribute("user.a", &[0, 255])).unwrap();
        assert_eq!(text, r#"{"name":"user.a","value":"00ff"}"#);
        assert_eq!(serde_json::from_str::<ExtendedAttribute>(&text).unwrap(), attribute("user.a", &[0, 255]));
        let long = text.replace("00ff", &"00".repeat(VALUE_BYTES_MAX + 1));
        for bad in [&text.replace("00ff", "0"), &text.replace("00ff", "xy"), &long] {
            assert!(serde_json::from_str::<ExtendedAttribute>(bad).is_err());
        }
    }

    #[test]
    fn names_outside_of_the_images_reach_are_no_attributes_of_it() {
        for name in ["user.a", "trusted.overlay.opaque", "security.selinux", ACCESS_LIST, DEFAULT_LIST] {
            assert!(is_of_image(name), "{name}");
        }
        for name in ["user.", "a", "", "security.evm", "system.data", "user.a\0b"] {
            assert!(!is_of_image(name), "{name:?}");
        }
        let twice = [attribute("user.a", b""), attribute("user.a", b"")];
        assert!(!are_sound(&twice) && are_sound(&twice[..1]));
        let many: Vec<_> = (0..=ATTRIBUTES_MAX).map(|n| attribute(&format!("user.{n:04}"), b"")).collect();
        assert!(!are_sound(&many) && are_sound(&many[1..]));
    }

    #[test]
    fn the_digest_tells_content_names_and_values_apart() {
        let content = Digest::of(b"content");
        let mut seen = vec![content, digest_with(&content, &[])];
        for (name, value) in [("user.a", &b"b"[..]), ("user.ab", b""), ("user.a", b"")] {
            seen.push(digest_with(&content, &[attribute(name, value)]));
        }
        seen.push(digest_with(&Digest::of(b"other"), &[]));
        for (at, one) in seen.iter().enumerate() {
            assert!(!seen[at + 1..].contains(one));
        }
    }

    #[test]
    fn capabilities_of_the_first_namespace_lose_its_root() {
        let mut stored = vec![1, 0, 0, 3];
        stored.extend([7; 16]);
        let given = [vec![1, 0, 0, 2], vec![7; 16]].concat();
        assert_eq!(capability_as_given([stored.clone(), vec![0; 4]].concat()), given);
        let other = [stored, vec![0, 0, 1, 0]].concat();
        assert_eq!(capability_as_given(other.clone()), other);
        assert_eq!(capability_as_given(given.clone()), given);
    }
}
