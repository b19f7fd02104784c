//! The addresses at which the service can be reached, and which of them works.

use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many addresses are kept; what a service names beyond that is not tried.
pub const ADDRESSES_MAX: usize = 8;

/// Several ways to the same service. The one that worked last is tried first; when it does not work any
/// more the next one is, and is kept if it does.
#[derive(Debug, Default)]
pub struct Addresses {
    urls: RwLock<Vec<String>>,
    current: AtomicUsize,
}

impl Addresses {
    /// These addresses, in this order. Those that are no address of `scheme` (`https://`) are left out.
    #[must_use]
    pub fn new(urls: &[String], schemes: &[&str]) -> Self {
        let addresses = Self::default();
        addresses.learn(urls, schemes);
        addresses
    }

    /// Adds what is not known yet. What works stays what is tried first.
    pub fn learn(&self, urls: &[String], schemes: &[&str]) {
        let Ok(mut known) = self.urls.write() else { return };
        for url in urls {
            let url = url.trim_end_matches('/');
            let usable = schemes.iter().any(|scheme| url.starts_with(scheme) && url.len() > scheme.len());
            if usable && known.len() < ADDRESSES_MAX && !known.iter().any(|one| one == url) {
                known.push(url.to_owned());
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.urls.read().map_or(0, |urls| urls.len())
    }

    /// The address to try, with the mark to hand to [`Addresses::failed`]; none if none is known.
    #[must_use]
    pub fn current(&self) -> Option<(usize, String)> {
        let mark = self.current.load(Ordering::Relaxed);
        let urls = self.urls.read().ok()?;
        let at = mark.checked_rem(urls.len())?;
        urls.get(at).map(|url| (mark, url.clone()))
    }

    /// The address of this mark did not work. Of several calls that failed at the same one only the first
    /// goes on to the next, so that calls side by side do not skip any.
    pub fn failed(&self, mark: usize) {
        let next = mark.wrapping_add(1);
        let _ = self.current.compare_exchange(mark, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_works_is_kept_and_what_does_not_is_left_once() {
        let addresses = Addresses::new(&urls(&["https://a", "https://b/"]), &["https://"]);
        let (mark, url) = addresses.current().unwrap();
        assert_eq!((url.as_str(), addresses.current().unwrap().0), ("https://a", mark));
        // Two calls fail at the same address: one step.
        addresses.failed(mark);
        addresses.failed(mark);
        assert_eq!(addresses.current().unwrap().1, "https://b");
        addresses.failed(addresses.current().unwrap().0);
        assert_eq!(addresses.current().unwrap().1, "https://a");
    }

    #[test]
    fn only_addresses_of_the_scheme_are_taken_each_once_and_not_without_end() {
        let addresses =
            Addresses::new(&urls(&["http://a", "https://", "file:///etc", "https://a"]), &["https://"]);
        assert_eq!(addresses.count(), 1);
        addresses.learn(&urls(&["https://a/", "https://b"]), &["https://"]);
        assert_eq!((addresses.count(), addresses.current().unwrap().1.as_str()), (2, "https://a"));
        let many: Vec<String> = (0..100).map(|number| format!("https://{number}")).collect();
        addresses.learn(&many, &["https://"]);
        assert_eq!(addresses.count(), ADDRESSES_MAX);
        assert!(Addresses::default().current().is_none());
    }
}
