//! Bytes that do not change under their name: ranges, entity tags and caching (RFC 9110 §8.8, §13, §14).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// What may be kept for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Named by digest: for ever.
    Immutable,
    /// May be replaced: ask each time whether it has changed.
    Revalidate,
}

/// A range of a body, in bytes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// All of it.
    Whole,
    /// This part.
    Part(usize, usize),
    /// A part that there is not.
    Nothing,
}

/// Answers with bytes, or the part of them that is asked for.
#[must_use]
pub fn respond(
    headers: &HeaderMap,
    bytes: &Bytes,
    content_type: &'static str,
    tag: &str,
    caching: Caching,
) -> Response {
    let quoted = format!("\"{tag}\"");
    let length = bytes.len();
    let (status, part) = if matches_tag(headers, &quoted) {
        (StatusCode::NOT_MODIFIED, None)
    } else {
        match wanted(headers, length, &quoted) {
            Wanted::Whole => (StatusCode::OK, Some((0, length))),
            Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, Some((first, last + 1))),
            Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, None),
        }
    };
    let body = part.map_or_else(Bytes::new, |(from, until)| bytes.slice(from..until));
    let mut response = (status, Body::from(body)).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(match caching {
            Caching::Immutable => "public, max-age=31536000, immutable",
            Caching::Revalidate => "no-cache",
        }),
    );
    let range = match (status, part) {
        (StatusCode::PARTIAL_CONTENT, Some((from, until))) => {
            Some(format!("bytes {from}-{}/{length}", until - 1))
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => Some(format!("bytes */{length}")),
        _ => None,
    };
    for (name, value) in [(header::ETAG, Some(quoted)), (header::CONTENT_RANGE, range)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            out.insert(name, value);
        }
    }
    response
}

fn matches_tag(headers: &HeaderMap, quoted: &str) -> bool {
    let given = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    given.is_some_and(|given| given.split(',').any(|tag| tag.trim() == quoted || tag.trim() == "*"))
}

/// Which part is asked for. With an `If-Range` that does not fit, and for several ranges at once, it is
/// the whole (RFC 9110 §13.1.5, §14.2).
fn wanted(headers: &HeaderMap, length: usize, quoted: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::Whole };
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(quoted) {
        return Wanted::Whole;
    }
    parse_range(range, length)
}

fn parse_range(range: &str, length: usize) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    let number = |text: &str| -> Option<Option<usize>> {
        if text.is_empty() {
            return Some(None);
        }
        // A number too large for us is beyond the end, not malformed.
        text.bytes().all(|b| b.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(usize::MAX)))
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            let last = last.unwrap_or(usize::MAX);
            if last < first {
                return Wanted::Whole;
            }
            if first >= length { Wanted::Nothing } else { Wanted::Part(first, last.min(length - 1)) }
        }
        (Some(None), Some(Some(suffix))) => {
            if suffix == 0 || length == 0 {
                Wanted::Nothing
            } else {
                Wanted::Part(length - suffix.min(length), length - 1)
            }
        }
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{prop_assert, proptest};

    use super::*;

    #[test]
    fn ranges() {
        let table = [
            ("bytes=0-0", Wanted::Part(0, 0)),
            ("bytes=2-", Wanted::Part(2, 9)),
            ("bytes=2-99", Wanted::Part(2, 9)),
            ("bytes=-3", Wanted::Part(7, 9)),
            ("bytes=-30", Wanted::Part(0, 9)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999-", Wanted::Nothing),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(parse_range(range, 10), expected, "{range}");
        }
    }

    fn status(pairs: &[(header::HeaderName, &str)]) -> (StatusCode, Option<String>) {
        let headers =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        let response =
            respond(&headers, &Bytes::from_static(b"0123456789"), "text/plain", "tag", Caching::Immutable);
        let range =
            response.headers().get(header::CONTENT_RANGE).map(|value| value.to_str().unwrap().to_owned());
        (response.status(), range)
    }

    #[test]
    fn conditions() {
        assert_eq!(status(&[]).0, StatusCode::OK);
        assert_eq!(status(&[(header::IF_NONE_MATCH, "\"tag\"")]).0, StatusCode::NOT_MODIFIED);
        assert_eq!(
            status(&[(header::RANGE, "bytes=1-2")]),
            (StatusCode::PARTIAL_CONTENT, Some("bytes 1-2/10".into()))
        );
        let fits = [(header::RANGE, "bytes=1-2"), (header::IF_RANGE, "\"tag\"")];
        assert_eq!(status(&fits).0, StatusCode::PARTIAL_CONTENT);
        let replaced = [(header::RANGE, "bytes=1-2"), (header::IF_RANGE, "\"older\"")];
        assert_eq!(status(&replaced), (StatusCode::OK, None));
        let beyond = status(&[(header::RANGE, "bytes=10-")]);
        assert_eq!(beyond, (StatusCode::RANGE_NOT_SATISFIABLE, Some("bytes */10".into())));
    }

    proptest! {
        #[test]
        fn any_range_is_inside(range in "(bytes=)?[0-9,-]{0,12}", length in 0..50_usize, junk in any::<String>()) {
            for text in [range.as_str(), junk.as_str()] {
                if let Wanted::Part(first, last) = parse_range(text, length) {
                    prop_assert!(first <= last && last < length);
                }
            }
        }
    }
}
