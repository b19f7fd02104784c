//! Who has which address.
//!
//! ```text
//!            offer              bind               release
//!   (free) ────────► Offered ────────► Bound ─────────────────► Released
//!      ▲   ◄────────    │                │  ▲ bind (renew)          │
//!      │   withdraw     │ decline        │ decline                  │
//!      │   or time up   ▼                ▼                          │
//!      └────────── Quarantined ◄─────────┘     offer to anybody ────┘
//!        time up
//! ```
//!
//! A bound lease whose time is up and a released one are free for everybody, but are kept so that the
//! same machine gets the same address again while nobody else needs it. Changes are made in two
//! steps: [`super::exchange`] says what should change, the caller makes it durable, and only then
//! [`LeaseTable::apply`] makes it true.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use contract::id::{MacAddress, UnixMillis};
use serde::{Deserialize, Serialize};

use super::scope::Scope;

/// How long an offered address waits for its client, in milliseconds.
pub const OFFER_MILLIS: u64 = 30_000;
/// How long a declined address is given to nobody, in milliseconds.
pub const QUARANTINE_MILLIS: u64 = 600_000;

/// The state of one address. Addresses without one are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    Offered(Offered),
    Bound(Bound),
    Released(Released),
    Quarantined(Quarantined),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offered {
    mac: MacAddress,
    until: UnixMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    mac: MacAddress,
    until: UnixMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Released {
    mac: MacAddress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quarantined {
    until: UnixMillis,
}

/// What must be in the store before the reply leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Which address; there is one record per address, the latest counts.
    pub address: Ipv4Addr,
    /// Its state.
    pub state: LeaseRecordState,
}

/// The durable states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "lease")]
pub enum LeaseRecordState {
    /// Somebody has it.
    Bound {
        /// Who.
        mac: MacAddress,
        /// Until when.
        until: UnixMillis,
    },
    /// Its last holder gave it back.
    Released {
        /// Who.
        mac: MacAddress,
    },
    /// Found in use by a machine that we did not give it to.
    Quarantined {
        /// Until when nobody gets it.
        until: UnixMillis,
    },
}

/// One edge of the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    /// Keep the address for this machine for a while. Not durable.
    Offer {
        /// Which.
        address: Ipv4Addr,
        /// For whom.
        mac: MacAddress,
        /// Until when.
        until: UnixMillis,
    },
    /// The machine took another server's offer. Not durable.
    Withdraw {
        /// Which.
        address: Ipv4Addr,
        /// Whose.
        mac: MacAddress,
    },
    /// The machine has it.
    Bind {
        /// Which.
        address: Ipv4Addr,
        /// Who.
        mac: MacAddress,
        /// Until when.
        until: UnixMillis,
    },
    /// The machine gave it back.
    Release {
        /// Which.
        address: Ipv4Addr,
        /// Who.
        mac: MacAddress,
    },
    /// It is in use by somebody else.
    Decline {
        /// Which.
        address: Ipv4Addr,
        /// Until when nobody gets it.
        until: UnixMillis,
    },
}

impl LeaseChange {
    /// What must be durable before the reply leaves; none for offers and their withdrawal, which a
    /// restart may forget.
    #[must_use]
    pub fn record(&self) -> Option<LeaseRecord> {
        match *self {
            Self::Offer { .. } | Self::Withdraw { .. } => None,
            Self::Bind { address, mac, until } => {
                Some(LeaseRecord { address, state: LeaseRecordState::Bound { mac, until } })
            }
            Self::Release { address, mac } => {
                Some(LeaseRecord { address, state: LeaseRecordState::Released { mac } })
            }
            Self::Decline { address, until } => {
                Some(LeaseRecord { address, state: LeaseRecordState::Quarantined { until } })
            }
        }
    }
}

/// Whose an address is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's.
    Nobody,
    /// Offered to or bound by this machine, and its time is not up.
    Machine(MacAddress),
    /// In quarantine.
    Quarantine,
}

/// All leases. Bounded by the pools and reservations of the scopes, because only their addresses enter.
#[derive(Debug, Clone, Default)]
pub struct LeaseTable {
    by_address: BTreeMap<Ipv4Addr, Lease>,
    by_mac: BTreeSet<(MacAddress, Ipv4Addr)>,
}

impl LeaseTable {
    /// The table as the store had it.
    #[must_use]
    pub fn restore(records: impl IntoIterator<Item = LeaseRecord>) -> Self {
        let mut table = Self::default();
        for LeaseRecord { address, state } in records {
            let lease = match state {
                LeaseRecordState::Bound { mac, until } => Lease::Bound(Bound { mac, until }),
                LeaseRecordState::Released { mac } => Lease::Released(Released { mac }),
                LeaseRecordState::Quarantined { until } => Lease::Quarantined(Quarantined { until }),
            };
            table.set(address, Some(lease));
        }
        table
    }

    /// How many addresses have a state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// No address has a state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Whose an address is now.
    #[must_use]
    pub fn holder(&self, address: Ipv4Addr, now: UnixMillis) -> Holder {
        match self.by_address.get(&address) {
            Some(Lease::Offered(Offered { mac, until }) | Lease::Bound(Bound { mac, until }))
                if *until > now =>
            {
                Holder::Machine(*mac)
            }
            Some(Lease::Quarantined(Quarantined { until })) if *until > now => Holder::Quarantine,
            _ => Holder::Nobody,
        }
    }

    /// Whether a machine may have an address as far as others are concerned.
    #[must_use]
    pub fn is_free_for(&self, address: Ipv4Addr, mac: MacAddress, now: UnixMillis) -> bool {
        match self.holder(address, now) {
            Holder::Nobody => true,
            Holder::Machine(holder) => holder == mac,
            Holder::Quarantine => false,
        }
    }

    /// The machine has or had this address, and nobody else has got it since.
    #[must_use]
    pub fn remembers(&self, address: Ipv4Addr, mac: MacAddress) -> bool {
        self.by_mac.contains(&(mac, address))
    }

    /// The address to offer to a machine: its reservation; what it has or had; what it asks for; one
    /// that nobody ever had; one whose time is up. None: there is none.
    #[must_use]
    pub fn choose(
        &self,
        mac: MacAddress,
        requested: Option<Ipv4Addr>,
        scope: &Scope,
        now: UnixMillis,
    ) -> Option<Ipv4Addr> {
        let usable =
            |address: &Ipv4Addr| scope.may_give(*address, mac) && self.is_free_for(*address, mac, now);
        if let Some(reserved) = scope.reservation(mac) {
            return Some(reserved).filter(usable);
        }
        let all_of_mac = (mac, Ipv4Addr::UNSPECIFIED)..=(mac, Ipv4Addr::BROADCAST);
        let mine = self.by_mac.range(all_of_mac).map(|(_, address)| *address);
        let known = mine.clone().filter(|address| self.holder(*address, now) == Holder::Machine(mac));
        if let Some(address) = known.chain(mine).chain(requested).find(usable) {
            return Some(address);
        }
        // A start that depends on the machine keeps addresses apart and stable without a record.
        let start = spread(mac) % u32::try_from(scope.pool().count().max(1)).unwrap_or(1);
        let skipped = usize::try_from(start).unwrap_or(0);
        let around = || scope.pool().skip(skipped).chain(scope.pool().take(skipped));
        let untouched = |address: &Ipv4Addr| !self.by_address.contains_key(address) && usable(address);
        around().find(untouched).or_else(|| around().find(usable))
    }

    /// Makes a change true. The caller has made its record durable.
    pub fn apply(&mut self, change: &LeaseChange, now: UnixMillis) {
        match *change {
            LeaseChange::Offer { address, mac, until } => {
                // An offer never shortens what the machine has.
                let bound = matches!(self.by_address.get(&address),
                    Some(Lease::Bound(bound)) if bound.mac == mac && bound.until > now);
                if !bound {
                    self.set(address, Some(Lease::Offered(Offered { mac, until })));
                }
            }
            LeaseChange::Withdraw { address, mac } => {
                if matches!(self.by_address.get(&address), Some(Lease::Offered(offer)) if offer.mac == mac) {
                    self.set(address, None);
                }
            }
            LeaseChange::Bind { address, mac, until } => {
                self.set(address, Some(Lease::Bound(Bound { mac, until })));
            }
            LeaseChange::Release { address, mac } => {
                self.set(address, Some(Lease::Released(Released { mac })));
            }
            LeaseChange::Decline { address, until } => {
                self.set(address, Some(Lease::Quarantined(Quarantined { until })));
            }
        }
    }

    fn set(&mut self, address: Ipv4Addr, lease: Option<Lease>) {
        let old = match lease {
            Some(lease) => self.by_address.insert(address, lease),
            None => self.by_address.remove(&address),
        };
        if let Some(mac) = old.and_then(mac_of) {
            self.by_mac.remove(&(mac, address));
        }
        if let Some(mac) = lease.and_then(mac_of) {
            self.by_mac.insert((mac, address));
        }
    }
}

fn mac_of(lease: Lease) -> Option<MacAddress> {
    match lease {
        Lease::Offered(Offered { mac, .. })
        | Lease::Bound(Bound { mac, .. })
        | Lease::Released(Released { mac }) => Some(mac),
        Lease::Quarantined(Quarantined { .. }) => None,
    }
}

/// FNV-1a over the address, for spreading only.
fn spread(mac: MacAddress) -> u32 {
    mac.0.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::scope::tests::settings;

    const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const B: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
    const RESERVED: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn host(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    fn bind(address: Ipv4Addr, mac: MacAddress) -> LeaseChange {
        LeaseChange::Bind { address, mac, until: NOW.plus_millis(1000) }
    }

    #[test]
    fn choice_in_order_of_preference() {
        let scope = Scope::new(settings()).unwrap();
        let mut table = LeaseTable::default();
        assert_eq!(table.choose(RESERVED, Some(host(100)), &scope, NOW), Some(host(50)), "reservation");
        assert_eq!(table.choose(A, Some(host(102)), &scope, NOW), Some(host(102)), "what it asks for");
        let first = table.choose(A, None, &scope, NOW).unwrap();
        assert_eq!(table.choose(A, Some(host(99)), &scope, NOW), Some(first), "asks for what is not ours");
        table.apply(&bind(host(101), A), NOW);
        assert_eq!(table.choose(A, Some(host(102)), &scope, NOW), Some(host(101)), "what it has");
        assert_ne!(table.choose(B, Some(host(101)), &scope, NOW), Some(host(101)), "what another has");
        let later = NOW.plus_millis(1000);
        assert_eq!(table.choose(A, None, &scope, later), Some(host(101)), "what it had");
        assert_eq!(table.choose(B, Some(host(101)), &scope, later), Some(host(101)), "time is up");
        table.apply(&bind(host(101), B), later);
        assert!(!table.remembers(host(101), A), "another got it since");
    }

    #[test]
    fn an_exhausted_pool_says_so_and_recovers() {
        let scope = Scope::new(settings()).unwrap();
        let mut table = LeaseTable::default();
        for last in 100..=103 {
            table.apply(&bind(host(last), MacAddress([2, 0, 0, 0, 1, last])), NOW);
        }
        assert_eq!(table.choose(A, None, &scope, NOW), None);
        let (address, mac) = (host(102), MacAddress([2, 0, 0, 0, 1, 102]));
        table.apply(&LeaseChange::Release { address, mac }, NOW);
        assert_eq!(table.choose(A, None, &scope, NOW), Some(address));
        assert!(table.choose(B, None, &scope, NOW.plus_millis(1000)).is_some(), "expired ones come back");
    }

    #[test]
    fn offers_lapse_and_never_shorten_a_lease() {
        let mut table = LeaseTable::default();
        let offer = LeaseChange::Offer { address: host(100), mac: A, until: NOW.plus_millis(10) };
        table.apply(&offer, NOW);
        assert_eq!(table.holder(host(100), NOW), Holder::Machine(A));
        assert_eq!(table.holder(host(100), NOW.plus_millis(10)), Holder::Nobody);
        table.apply(&bind(host(100), A), NOW);
        table.apply(&offer, NOW);
        table.apply(&LeaseChange::Withdraw { address: host(100), mac: A }, NOW);
        assert_eq!(table.holder(host(100), NOW.plus_millis(500)), Holder::Machine(A));
    }

    #[test]
    fn quarantine_is_for_everybody_and_ends() {
        let scope = Scope::new(settings()).unwrap();
        let mut table = LeaseTable::default();
        table.apply(&LeaseChange::Decline { address: host(50), until: NOW.plus_millis(5) }, NOW);
        assert_eq!(table.choose(RESERVED, None, &scope, NOW), None, "even for its reservation");
        assert_eq!(table.choose(RESERVED, None, &scope, NOW.plus_millis(5)), Some(host(50)));
    }

    #[test]
    fn a_restored_table_knows_what_was_durable() {
        let changes = [
            bind(host(100), A),
            LeaseChange::Release { address: host(101), mac: B },
            LeaseChange::Decline { address: host(102), until: NOW.plus_millis(9) },
            LeaseChange::Offer { address: host(103), mac: B, until: NOW.plus_millis(9) },
        ];
        let table = LeaseTable::restore(changes.iter().filter_map(LeaseChange::record));
        assert_eq!(table.len(), 3, "offers are forgotten");
        assert_eq!(table.holder(host(100), NOW), Holder::Machine(A));
        assert!(table.remembers(host(101), B));
        assert_eq!(table.holder(host(102), NOW), Holder::Quarantine);
    }
}
