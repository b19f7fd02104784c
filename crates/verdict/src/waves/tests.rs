use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3_600_000;

/// Read once: a policy is long, and the properties ask for it often.
static POLICY: std::sync::LazyLock<Policy> =
    std::sync::LazyLock::new(|| Policy::parse("[waves]\nbake_minutes = 60\nat_once_max = 50\n").unwrap());

fn facts(nodes: u64, waiting: u64, working: u64, good: u64, failed: u64) -> Facts {
    let skipped = nodes - waiting - working - good - failed;
    Facts { counts: WaveCounts { nodes, waiting, working, good, skipped, failed }, score_drop: 0 }
}

fn rolling(stage: Stage) -> WaveState {
    WaveState::Rolling(Rolling { stage, forgiven: Forgiven::default() })
}

fn baking(stage: Stage, since: u64) -> WaveState {
    WaveState::Baking(Baking { stage, since: UnixMillis(since), forgiven: Forgiven::default() })
}

fn show(state: &WaveState) -> String {
    match state {
        WaveState::Rolling(rolling) => format!("rolling {:?}", rolling.stage),
        WaveState::Baking(baking) => format!("baking {:?}", baking.stage),
        WaveState::Halted(halted) => format!("halted {:?}", halted.stage),
        WaveState::Ended(Ended { given_up: None, .. }) => "ended".to_owned(),
        WaveState::Ended(_) => "given up".to_owned(),
    }
}

#[test]
fn stages_reach_one_a_hundredth_a_tenth_and_all() {
    let reached = |nodes| stages(nodes).into_iter().map(|(_, reach)| reach).collect::<Vec<_>>();
    assert_eq!(reached(10_000), [1, 100, 1_000, 10_000]);
    assert_eq!(reached(150), [1, 2, 15, 150]);
    assert_eq!(reached(5), [1, 1, 1, 5]);
    assert_eq!(reached(1), [1, 1, 1, 1]);
    assert_eq!(reached(0), [0, 0, 0, 0]);
    assert_eq!(after(Stage::Canary, 5), Some(Stage::All), "stages that reach no more are passed over");
    assert_eq!(after(Stage::Canary, 1), None);
}

/// State, facts, time → state and how many begin.
#[test]
fn table_of_ticks() {
    let table = [
        (rolling(Stage::Canary), facts(200, 200, 0, 0, 0), 0, "rolling Canary", 1),
        (rolling(Stage::Canary), facts(200, 199, 1, 0, 0), 0, "rolling Canary", 0),
        (rolling(Stage::Canary), facts(200, 199, 0, 1, 0), 0, "baking Canary", 0),
        (rolling(Stage::Canary), facts(200, 199, 0, 0, 1), 0, "halted Canary", 0),
        // A node that was passed over says nothing: the next one is the canary, and shares are of those left.
        (rolling(Stage::Canary), facts(200, 199, 0, 0, 0), 0, "rolling Canary", 1),
        (rolling(Stage::Canary), facts(2_000, 1_000, 0, 0, 0), 0, "rolling Canary", 1),
        (rolling(Stage::TenPercent), facts(2_000, 990, 0, 10, 0), 0, "rolling TenPercent", 50),
        (rolling(Stage::TenPercent), facts(2_000, 900, 0, 100, 0), 0, "baking TenPercent", 0),
        (baking(Stage::Canary, 0), facts(200, 8, 0, 2, 0), HOUR, "rolling All", 0),
        // There was nobody to ask.
        (rolling(Stage::Canary), facts(200, 0, 0, 0, 0), 0, "baking Canary", 0),
        (baking(Stage::Canary, 0), facts(200, 0, 0, 0, 0), HOUR, "ended", 0),
        (baking(Stage::Canary, 0), facts(200, 199, 0, 1, 0), HOUR - 1, "baking Canary", 0),
        (baking(Stage::Canary, 0), facts(200, 199, 0, 1, 0), HOUR, "rolling OnePercent", 0),
        (baking(Stage::Canary, 0), facts(200, 199, 0, 0, 1), HOUR, "halted Canary", 0),
        (baking(Stage::Canary, 2 * HOUR), facts(200, 199, 0, 1, 0), HOUR, "baking Canary", 0),
        (rolling(Stage::All), facts(200, 180, 0, 20, 0), 0, "rolling All", 50),
        (rolling(Stage::All), facts(200, 130, 40, 30, 0), 0, "rolling All", 10),
        (rolling(Stage::All), facts(200, 0, 0, 190, 10), 0, "baking All", 0),
        (rolling(Stage::All), facts(200, 0, 0, 189, 11), 0, "halted All", 0),
        (baking(Stage::All, 0), facts(200, 0, 0, 200, 0), HOUR, "ended", 0),
        (rolling(Stage::Canary), facts(0, 0, 0, 0, 0), 0, "baking Canary", 0),
    ];
    for (state, facts, now, expected, begin) in table {
        let name = format!("{state:?} {facts:?}");
        let tick = tick(state, &facts, &POLICY, UnixMillis(now));
        assert_eq!((show(&tick.state).as_str(), tick.begin), (expected, begin), "{name}");
    }
}

#[test]
fn nodes_that_are_less_ready_than_before_halt_it() {
    let good = |before, after| NodeResult::Good { score_before: Some(before), score_after: Some(after) };
    let silent = NodeResult::Good { score_before: None, score_after: Some(3) };
    let seen = super::facts([good(90, 84), good(90, 84), silent, NodeResult::Waiting].iter());
    assert_eq!(seen.score_drop, 6);
    assert_eq!(
        show(&tick(rolling(Stage::OnePercent), &seen, &POLICY, UnixMillis(0)).state),
        "halted OnePercent"
    );
    let seen = super::facts([good(90, 85), good(90, 85)].iter());
    assert_eq!(show(&tick(rolling(Stage::All), &seen, &POLICY, UnixMillis(0)).state), "baking All");
}

#[test]
fn what_a_person_saw_does_not_halt_it_again_and_more_does() {
    let seen = facts(200, 190, 0, 8, 2);
    let halted = tick(rolling(Stage::TenPercent), &seen, &POLICY, UnixMillis(0)).state;
    assert_eq!(show(&halted), "halted TenPercent");
    assert_eq!(tick(halted.clone(), &seen, &POLICY, UnixMillis(HOUR)).state, halted, "it waits for a person");
    let resumed = resume(halted.clone(), &seen).unwrap();
    let again = tick(resumed, &seen, &POLICY, UnixMillis(0));
    assert_eq!((show(&again.state).as_str(), again.begin), ("rolling TenPercent", 10));
    let worse = facts(200, 180, 0, 17, 3);
    assert_eq!(show(&tick(again.state, &worse, &POLICY, UnixMillis(0)).state), "halted TenPercent");
    assert_eq!(halt(halted.clone(), "x", UnixMillis(0)), Err(WaveRefused::Halted));
    assert_eq!(resume(rolling(Stage::All), &seen), Err(WaveRefused::NotHalted));
    let ended = cancel(halted, "another image", UnixMillis(5)).unwrap();
    assert_eq!(show(&ended), "given up");
    assert_eq!(halt(ended.clone(), "x", UnixMillis(0)), Err(WaveRefused::Ended));
    assert_eq!(resume(ended.clone(), &seen), Err(WaveRefused::Ended));
    assert_eq!(cancel(ended.clone(), "x", UnixMillis(0)), Err(WaveRefused::Ended));
    assert_eq!(tick(ended.clone(), &seen, &POLICY, UnixMillis(0)).state, ended);
}

proptest! {
    /// Whatever becomes of the nodes, a wave never reaches more than its stage, goes no further before a node
    /// took the image, and stands still once halted.
    #[test]
    fn a_wave_never_reaches_further_than_its_stage(
        nodes in 1_u64..500, outcomes in proptest::collection::vec(0_u8..20, 1..60),
    ) {
        let (mut state, mut now) = (start(), 0);
        let (mut waiting, mut working, mut good, mut failed) = (nodes, 0_u64, 0_u64, 0_u64);
        for outcome in outcomes {
            let stage = match &state {
                WaveState::Rolling(rolling) => Some(rolling.stage),
                _ => None,
            };
            let seen = facts(nodes, waiting, working, good, failed);
            let ticked = tick(state, &seen, &POLICY, UnixMillis(now));
            prop_assert!(ticked.begin <= waiting);
            if ticked.begin > 0 {
                let left = nodes - seen.counts.skipped;
                prop_assert!(left - waiting + ticked.begin <= reach(stage.unwrap(), left));
                prop_assert!(stage == Some(Stage::Canary) || good > 0);
            }
            waiting -= ticked.begin;
            working += ticked.begin;
            match outcome {
                0 => failed += working,
                // Passed over.
                1..5 => {}
                _ => good += working,
            }
            working = 0;
            state = ticked.state;
            now += HOUR;
        }
    }
}
