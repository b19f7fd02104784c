//! How a section of the policy is written down: once, with the ranges of its values.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// A value that would switch a rule off by accident, or on for everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// Which key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl BadValue {
    pub fn new(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into() }
    }
}

/// Refuses a value outside its range.
pub(crate) fn in_range<T: PartialOrd + Display>(
    key: &str,
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), BadValue> {
    if range.contains(value) {
        return Ok(());
    }
    let problem = format!("{value} is not between {} and {}", range.start(), range.end());
    Err(BadValue::new(key, problem))
}

/// One section: the complete form, and the fragment of a file in which every key may be missing. A key may
/// carry the range of its values (`key: u64 => 1..=100`), and a section a function for what spans keys
/// (`also check`). A name that a value had in earlier versions may still stand in files (`formerly`); the value
/// is where it belongs now.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident, $fragment:ident {
        $($field:ident: $type:ty $(=> $range:expr)?),* $(,)?
    } $(also $check:path)? $(, formerly { $($old:ident: $old_type:ty),* $(,)? })?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $(pub $field: $type,)* }

        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $fragment {
            $($field: Option<$type>,)*
            $($(pub(super) $old: Option<$old_type>,)*)?
        }

        impl $fragment {
            pub(super) fn over(self, base: $name) -> $name {
                $name { $($field: self.$field.unwrap_or(base.$field),)* }
            }
        }

        impl $name {
            /// Whether every value can be meant.
            pub(super) fn check(&self) -> Result<(), $crate::policy::section::BadValue> {
                $($($crate::policy::section::in_range(stringify!($field), &self.$field, &($range))?;)?)*
                $($check(self)?;)?
                Ok(())
            }
        }
    };
}
pub(crate) use section;
