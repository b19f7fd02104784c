//! Links of a controller (DSP0266, "Universal Resource Identifiers"; `@odata.id` of the data model).
//!
//! A link is followed only if it is a path below `/redfish/v1/` of the controller itself: whoever took a controller
//! over must not be able to send the service, and a password, elsewhere.

use std::fmt;

/// Longest link that is followed, in bytes.
const LINK_BYTES_MAX: usize = 300;

/// A path below `/redfish/v1/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link(String);

/// Why a link is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the link {shown:?} is not followed: it is no plain path below /redfish/v1/")]
pub struct LinkError {
    /// The link, cut to 80 characters.
    shown: String,
}

impl LinkError {
    fn of(text: &str) -> Self {
        Self { shown: text.chars().take(80).collect() }
    }
}

impl Link {
    /// Where every look begins. With the slash at its end, because some controllers redirect without it.
    #[must_use]
    pub fn root() -> Self {
        Self("/redfish/v1/".to_owned())
    }

    /// Reads a link. What stands behind a `#` names a place within the answer, and is left out.
    ///
    /// # Errors
    /// If it leads elsewhere, or has anything in it that a plain path has not.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let path = text.split('#').next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
        let below = path.strip_prefix("/redfish/v1/");
        let rest = below.filter(|_| path.len() <= LINK_BYTES_MAX && path.bytes().all(plain));
        let segments_stay = |rest: &&str| {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            !rest.is_empty() && rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        };
        match rest.filter(segments_stay) {
            Some(_) => Ok(Self(path.to_owned())),
            None => Err(LinkError::of(text)),
        }
    }

    /// Reads the link to the next page of a collection, which alone may have a query
    /// (DSP0266, "Resource collections").
    ///
    /// # Errors
    /// As [`Link::parse`].
    pub fn parse_page(text: &str) -> Result<Self, LinkError> {
        let Some((path, query)) = text.split_once('?') else { return Self::parse(text) };
        let link = Self::parse(path)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$'()*,;=:@%/&".contains(&byte);
        let fits = text.len() <= LINK_BYTES_MAX && query.bytes().all(plain);
        if fits { Ok(Self(format!("{link}?{query}"))) } else { Err(LinkError::of(text)) }
    }

    /// The path as it is asked for.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn only_plain_paths_of_the_controller_itself_are_followed() {
        for (text, path) in [
            ("/redfish/v1/Chassis/1", "/redfish/v1/Chassis/1"),
            ("/redfish/v1/Systems/", "/redfish/v1/Systems/"),
            ("/redfish/v1/Chassis/Self/Power#/PowerSupplies/1", "/redfish/v1/Chassis/Self/Power"),
            ("/redfish/v1/Chassis/A%20B/Sensors/CPU(1)", "/redfish/v1/Chassis/A%20B/Sensors/CPU(1)"),
        ] {
            assert_eq!(Link::parse(text).unwrap().as_str(), path);
        }
        for bad in [
            "",
            "/redfish/v1",
            "/redfish/v1/",
            "https://192.0.2.9/redfish/v1/Chassis/1",
            "//192.0.2.9/redfish/v1/Chassis/1",
            "/redfish/v1/../../admin",
            "/redfish/v1/Chassis//1",
            "/redfish/v1/./Chassis",
            "/redfish/v1/Chassis?$top=1",
            "/redfish/v1/Chassis/1\r\nHost: elsewhere",
            "/redfish/v1/Chassis/ä",
            "/redfish/v2/Chassis",
            &format!("/redfish/v1/{}", "a".repeat(300)),
        ] {
            assert!(Link::parse(bad).is_err(), "{bad:?}");
        }
        let page = "/redfish/v1/Chassis/1/Sensors?$skip=50";
        assert_eq!(Link::parse_page(page).unwrap().as_str(), page);
        for bad in
            ["https://192.0.2.9/redfish/v1/Chassis?$skip=50", "/redfish/v1/Chassis?a\r\nb", "/admin?$skip=1"]
        {
            assert!(Link::parse_page(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_followed_stays_below_the_root(text in any::<String>(), tail in "[ -~]{0,40}") {
            for text in [text, format!("/redfish/v1/{tail}")] {
                for link in [Link::parse(&text), Link::parse_page(&text)].into_iter().flatten() {
                    let path = link.as_str().split('?').next().unwrap();
                    prop_assert!(path.starts_with("/redfish/v1/"));
                    prop_assert!(link.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                    prop_assert!(path.split('/').all(|segment| segment != ".."));
                }
            }
        }
    }
}
