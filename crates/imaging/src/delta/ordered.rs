//! The order in which a disk's own content is moved about.

use std::collections::{HashMap, VecDeque};

use super::{Copy, Placement};

/// Orders copies so that each source is read before anything is written over it. Where copies wait
/// for each other in a circle one of them is given up: its content comes second, to be fetched.
pub(super) fn sources_read_in_time(copies: Vec<Copy>) -> (Vec<Copy>, Vec<Placement>) {
    let writer: HashMap<u64, usize> = copies
        .iter()
        .enumerate()
        .flat_map(|(number, copy)| copy.placement.to.iter().map(move |index| (*index, number)))
        .collect();
    // The copy that overwrites this one's source, and so must come after it. At most one.
    let follower: Vec<Option<usize>> = copies.iter().map(|copy| writer.get(&copy.from).copied()).collect();
    let mut waits_for = vec![0_usize; copies.len()];
    for next in follower.iter().flatten() {
        if let Some(count) = waits_for.get_mut(*next) {
            *count += 1;
        }
    }
    let mut ready: VecDeque<usize> = (0..copies.len()).filter(|number| waits_for[*number] == 0).collect();
    let mut order = Vec::with_capacity(copies.len());
    let mut given_up = vec![false; copies.len()];
    let mut done = vec![false; copies.len()];
    let mut oldest = 0;
    while order.len() < copies.len() {
        let Some(number) = ready.pop_front() else {
            // Only circles are left: one content of one of them is fetched, so nobody waits for it.
            while done[oldest] || given_up[oldest] {
                oldest += 1;
            }
            given_up[oldest] = true;
            release(follower[oldest], &mut waits_for, &mut ready);
            continue;
        };
        done[number] = true;
        order.push(number);
        if !given_up[number] {
            release(follower[number], &mut waits_for, &mut ready);
        }
    }
    let mut copies: Vec<Option<Copy>> = copies.into_iter().map(Some).collect();
    let mut in_order = Vec::new();
    let mut fetched = Vec::new();
    for number in order {
        match copies[number].take() {
            Some(copy) if given_up[number] => fetched.push(copy.placement),
            Some(copy) => in_order.push(copy),
            None => {}
        }
    }
    (in_order, fetched)
}

fn release(next: Option<usize>, waits_for: &mut [usize], ready: &mut VecDeque<usize>) {
    let Some(next) = next else { return };
    waits_for[next] -= 1;
    if waits_for[next] == 0 {
        ready.push_back(next);
    }
}
