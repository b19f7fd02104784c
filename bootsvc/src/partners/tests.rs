//! The table of partners against its rules, and against any order of asking.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use uuid::Uuid;

use super::*;

fn node(number: u8) -> NodeId {
    NodeId(Uuid::from_u128(u128::from(number) + 1))
}

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

fn pool(number: u8) -> PoolName {
    format!("pool-{number}").parse().unwrap()
}

/// One node as it asks: which, in which boot of it, of which pool, whom it has tried.
struct Ask<'a> {
    number: u8,
    boot: u8,
    pool: &'a PoolName,
    link_megabits: Option<u64>,
    tried: Vec<NodeId>,
}

impl<'a> Ask<'a> {
    fn of(number: u8, pool: &'a PoolName) -> Self {
        Self { number, boot: 0, pool, link_megabits: None, tried: Vec::new() }
    }

    fn of_link(number: u8, pool: &'a PoolName, megabits: u64) -> Self {
        Self { link_megabits: Some(megabits), ..Self::of(number, pool) }
    }

    fn having_tried(mut self, tried: &[u8]) -> Self {
        self.tried = tried.iter().map(|number| node(*number)).collect();
        self
    }

    fn ask(&self, partners: &Partners, now: Instant) -> Option<Partnership> {
        let asking = Asking {
            node: node(self.number),
            session: Digest::of(&[self.number, self.boot]),
            pool: self.pool,
            address: address(self.number),
            link_megabits: self.link_megabits,
            tried: &self.tried,
        };
        partners.ask(&asking, &[self.number; 32], now)
    }
}

fn partner(found: Option<Partnership>) -> Option<NodeId> {
    found.map(|one| one.node)
}

/// N1, N3: both hear of each other, of one secret and of two roles, as often as they ask; a third waits.
#[test]
fn two_who_ask_are_told_of_each_other() {
    let (partners, pool, now) = (Partners::default(), pool(0), Instant::now());
    let [one, two, three] = [0, 1, 2].map(|number| Ask::of(number, &pool));
    assert_eq!(one.ask(&partners, now), None);
    assert_eq!(one.ask(&partners, now), None, "oneself is nobody to test with");
    let told = two.ask(&partners, now).unwrap();
    assert_eq!((told.node, told.role, told.address), (node(0), PartnerRole::Connect, address(0)));
    assert_eq!(three.ask(&partners, now), None);
    let later = now + Duration::from_secs(30);
    let other = one.ask(&partners, later).unwrap();
    assert_eq!((other.node, other.role, other.address), (node(1), PartnerRole::Listen, address(1)));
    assert_eq!((other.own_address, told.own_address), (address(0), address(1)));
    assert_eq!(other.secret, told.secret);
    assert_eq!((told.ends_in_millis, other.ends_in_millis), (90_000, 60_000));
    assert_eq!(partner(two.ask(&partners, later)), Some(node(0)), "the answer may have been lost");
}

#[test]
fn nobody_is_paired_across_pools_or_with_one_that_was_tried() {
    let (partners, pools, now) = (Partners::default(), [pool(0), pool(1)], Instant::now());
    assert_eq!(Ask::of(0, &pools[0]).ask(&partners, now), None);
    assert_eq!(Ask::of(1, &pools[1]).ask(&partners, now), None);
    assert_eq!(Ask::of(2, &pools[0]).having_tried(&[0]).ask(&partners, now), None);
    // It is enough that one of them says so.
    assert_eq!(partner(Ask::of(3, &pools[0]).having_tried(&[0]).ask(&partners, now)), Some(node(2)));
    let partners = Partners::default();
    assert_eq!(Ask::of(0, &pools[0]).having_tried(&[1]).ask(&partners, now), None);
    assert_eq!(Ask::of(1, &pools[0]).ask(&partners, now), None);
}

/// N2, N3: who has tried its partner gets another, and the one that it had does so too.
#[test]
fn who_has_tried_one_gets_another() {
    let (partners, pool, now) = (Partners::default(), pool(0), Instant::now());
    assert_eq!(Ask::of(0, &pool).ask(&partners, now), None);
    assert_eq!(partner(Ask::of(1, &pool).ask(&partners, now)), Some(node(0)));
    assert_eq!(Ask::of(2, &pool).ask(&partners, now), None);
    assert_eq!(partner(Ask::of(0, &pool).having_tried(&[1]).ask(&partners, now)), Some(node(2)));
    assert_eq!(Ask::of(1, &pool).having_tried(&[0]).ask(&partners, now), None);
    assert_eq!(partner(Ask::of(2, &pool).having_tried(&[0]).ask(&partners, now)), Some(node(1)));
}

/// N3: a machine that booted again knows nothing of the secret that it was told before.
#[test]
fn a_machine_that_booted_again_begins_anew() {
    let (partners, pool, now) = (Partners::default(), pool(0), Instant::now());
    let [one, two] = [0, 1].map(|number| Ask::of(number, &pool));
    assert_eq!(one.ask(&partners, now), None);
    assert_eq!(partner(two.ask(&partners, now)), Some(node(0)));
    assert_eq!(Ask { boot: 1, ..Ask::of(0, &pool) }.ask(&partners, now), None);
    assert_eq!(partner(two.ask(&partners, now)), Some(node(0)));
}

/// N4.
#[test]
fn who_went_away_is_nobodys_partner_and_pairs_end() {
    let (partners, pool, now) = (Partners::default(), pool(0), Instant::now());
    let [one, two, three] = [0, 1, 2].map(|number| Ask::of(number, &pool));
    assert_eq!(one.ask(&partners, now), None);
    assert_eq!(two.ask(&partners, now + ASKED_MAX), None);
    assert_eq!(partner(three.ask(&partners, now + ASKED_MAX)), Some(node(1)));
    let over = now + ASKED_MAX + PAIR_MAX;
    assert_eq!(three.ask(&partners, over), None, "their time is over");
    assert_eq!(one.ask(&partners, over).map(|told| told.node), Some(node(2)));
    let left = Ask::of(3, &pool);
    assert_eq!(left.ask(&partners, over), None);
    partners.leave(node(3));
    assert_eq!(Ask::of(4, &pool).ask(&partners, over), None);
}

/// N5.
#[test]
fn a_link_of_the_same_rate_goes_before_who_waits_longest() {
    let (partners, pool, now) = (Partners::default(), pool(0), Instant::now());
    // All three have tried each other, so that they wait side by side.
    let table = [(0, 1_000), (1, 10_000), (2, 10_000)];
    for (number, megabits) in table {
        let at = now + Duration::from_secs(u64::from(number));
        let ask = Ask::of_link(number, &pool, megabits).having_tried(&[0, 1, 2]);
        assert_eq!(ask.ask(&partners, at), None);
    }
    let now = now + Duration::from_secs(3);
    assert_eq!(partner(Ask::of_link(3, &pool, 10_000).ask(&partners, now)), Some(node(1)));
    assert_eq!(partner(Ask::of_link(4, &pool, 25_000).ask(&partners, now)), Some(node(0)));
}

proptest! {
    /// Whatever is asked in whatever order: who is told of a partner is that one's partner too, nobody has two, and
    /// the rules N1 and N2 hold for each pair.
    #[test]
    fn any_asking_leaves_pairs_and_nothing_else(
        asks in proptest::collection::vec((0..6_u8, 0..2_u8, any::<u8>(), 0..20_u64), 1..60)
    ) {
        let (partners, pools) = (Partners::default(), [pool(0), pool(1)]);
        let mut now = Instant::now();
        for (number, boot, tried, seconds) in asks {
            now += Duration::from_secs(seconds);
            let tried: Vec<u8> = (0..6).filter(|bit| tried & (1 << bit) != 0 && *bit != number).collect();
            let ask = Ask { boot, ..Ask::of(number, &pools[usize::from(number % 2)]) }.having_tried(&tried);
            let told = ask.ask(&partners, now);
            if let Some(told) = &told {
                prop_assert!(told.node != node(number) && !ask.tried.contains(&told.node));
                prop_assert!(told.ends_in_millis > 0 && told.ends_in_millis <= 90_000);
            }
            let table = partners.0.lock().unwrap();
            prop_assert_eq!(told.is_some(), table.paired.contains_key(&node(number)));
            prop_assert_eq!(told.is_none(), table.waiting.contains_key(&node(number)));
            for (one, pair) in &table.paired {
                let other = table.paired.get(&pair.partnership.node).unwrap();
                prop_assert_eq!(&other.partnership.node, one);
                prop_assert!(other.partnership.role != pair.partnership.role);
                prop_assert_eq!(&other.partnership.secret, &pair.partnership.secret);
                prop_assert!(!table.waiting.contains_key(one));
            }
            let numbers = |parity: u8| (0..6).filter(move |n| n % 2 == parity).map(node);
            let even: BTreeSet<NodeId> = numbers(0).collect();
            for (one, pair) in &table.paired {
                prop_assert_eq!(even.contains(one), even.contains(&pair.partnership.node), "across pools");
            }
        }
    }
}
