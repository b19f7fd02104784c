//! How often things happened since the start. Names are `area.event`, such as `dhcp.discover`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Counters by name. Names are constants of the program, so there is no way to fill the table.
#[derive(Debug, Default)]
pub struct Counters {
    by_name: RwLock<BTreeMap<&'static str, AtomicU64>>,
}

impl Counters {
    /// One more.
    pub fn add(&self, name: &'static str) {
        // A panic elsewhere leaves plain numbers behind, all of them still good.
        if let Some(counter) = self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.entry(name).or_default().fetch_add(1, Ordering::Relaxed);
    }

    /// How often; 0 for what never happened.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// All that happened at least once, by name.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.iter().map(|(name, counter)| (*name, counter.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_name_and_sorts() {
        let counters = Counters::default();
        for name in ["dhcp.offered", "dhcp.discover", "dhcp.offered"] {
            counters.add(name);
        }
        assert_eq!(counters.snapshot(), [("dhcp.discover", 1), ("dhcp.offered", 2)]);
        assert_eq!((counters.get("dhcp.offered"), counters.get("tftp.started")), (2, 0));
    }
}
