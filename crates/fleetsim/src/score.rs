//! What is counted of a fleet's year.

use std::collections::BTreeMap;

/// A disk that was named as failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// How likely it was said to fail, the most before it failed or was replaced.
    pub failure_parts_per_million: u64,
    /// It fails within a year.
    pub right: bool,
}

/// Sums over nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Score {
    /// Releases of nodes.
    pub releases: f64,
    /// Releases to the same tenant of a node that was intact and sound.
    pub same_owner_sound: f64,
    /// Of those, reimaged or wiped.
    pub unneeded_reimages: f64,
    /// Releases to another tenant.
    pub tenant_changes: f64,
    /// Of those, handed on without a wipe. Must be none.
    pub leaks: f64,
    /// Minutes spent on looking and writing at releases.
    pub release_minutes: f64,
    /// All minutes lost: releases, nodes taken out, interruptions.
    pub lost_minutes: f64,
    /// Interruptions that nobody saw coming.
    pub failures: f64,
    /// Nodes taken out while they were in use, for a reason or without.
    pub drains: f64,
    /// Nodes handed on broken, slow or altered.
    pub escapes: f64,
    /// Looks at nodes that were sound.
    pub sound_looks: f64,
    /// Of those, taken out.
    pub false_quarantines: f64,
    /// Nodes that were delivered slow.
    pub grey: f64,
    /// Of those, taken out before anybody used them.
    pub grey_caught: f64,
    /// Nodes that were delivered right.
    pub delivered_right: f64,
    /// Of those, taken out before anybody used them.
    pub delivered_right_refused: f64,
    /// Hard disks that failed, or were replaced and would have failed within a year.
    pub disks_failing: f64,
    /// Of those, named before they failed.
    pub disks_failing_named: f64,
    /// Hard disks named.
    pub disks_named: f64,
    /// Of those, such that fail within a year.
    pub disks_named_failing: f64,
    /// All hard disks that were named.
    pub forecasts: Vec<Named>,
    /// Bytes written to flash by images.
    pub flash_bytes: f64,
    /// Energy of nodes that waited, in kilowatt hours.
    pub kilowatt_hours: f64,
    /// Verdicts made.
    pub verdicts: f64,
}

impl Score {
    /// Adds another node's.
    pub fn add(&mut self, other: &Self) {
        let pairs: [(&mut f64, f64); 23] = [
            (&mut self.releases, other.releases),
            (&mut self.same_owner_sound, other.same_owner_sound),
            (&mut self.unneeded_reimages, other.unneeded_reimages),
            (&mut self.tenant_changes, other.tenant_changes),
            (&mut self.leaks, other.leaks),
            (&mut self.release_minutes, other.release_minutes),
            (&mut self.lost_minutes, other.lost_minutes),
            (&mut self.failures, other.failures),
            (&mut self.drains, other.drains),
            (&mut self.escapes, other.escapes),
            (&mut self.sound_looks, other.sound_looks),
            (&mut self.false_quarantines, other.false_quarantines),
            (&mut self.grey, other.grey),
            (&mut self.grey_caught, other.grey_caught),
            (&mut self.delivered_right, other.delivered_right),
            (&mut self.delivered_right_refused, other.delivered_right_refused),
            (&mut self.disks_failing, other.disks_failing),
            (&mut self.disks_failing_named, other.disks_failing_named),
            (&mut self.disks_named_failing, other.disks_named_failing),
            (&mut self.disks_named, other.disks_named),
            (&mut self.flash_bytes, other.flash_bytes),
            (&mut self.kilowatt_hours, other.kilowatt_hours),
            (&mut self.verdicts, other.verdicts),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        self.forecasts.extend(&other.forecasts);
    }

    /// Interruptions of whoever uses a node: failures, and nodes taken out under them.
    #[must_use]
    pub fn interruptions(&self) -> f64 {
        self.failures + self.drains
    }

    /// Of sound nodes that were looked at, how many were taken out.
    #[must_use]
    pub fn false_quarantine_share(&self) -> f64 {
        self.false_quarantines / self.sound_looks
    }

    /// Of same-owner releases of sound nodes, how many were written needlessly.
    #[must_use]
    pub fn unneeded_share(&self) -> f64 {
        self.unneeded_reimages / self.same_owner_sound
    }

    /// Of hard disks named, how many failed or would have within a year.
    #[must_use]
    pub fn disk_precision(&self) -> f64 {
        self.disks_named_failing / self.disks_named
    }

    /// Of hard disks that failed, how many had been named.
    #[must_use]
    pub fn disk_recall(&self) -> f64 {
        self.disks_failing_named / self.disks_failing
    }

    /// Precision of the forecast where just this share of the failing hard disks is named: the likeliest
    /// ones first, those alike by their share. Not a number where fewer were named.
    #[must_use]
    pub fn disk_precision_at_recall(&self, recall: f64) -> f64 {
        let mut groups: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for named in &self.forecasts {
            let (all, right) = groups.entry(named.failure_parts_per_million).or_default();
            *all += 1.0;
            *right += f64::from(u8::from(named.right));
        }
        let (mut named, mut wanted) = (0.0, recall * self.disks_failing);
        let aim = wanted;
        for (all, right) in groups.into_values().rev() {
            if right >= wanted {
                return aim / (named + all * wanted / right);
            }
            named += all;
            wanted -= right;
        }
        f64::NAN
    }

    /// Of slow nodes, how many were taken out at delivery.
    #[must_use]
    pub fn grey_share_caught(&self) -> f64 {
        self.grey_caught / self.grey
    }

    /// Of nodes that were delivered right, how many were refused.
    #[must_use]
    pub fn refused_share(&self) -> f64 {
        self.delivered_right_refused / self.delivered_right
    }

    /// Minutes of a release.
    #[must_use]
    pub fn minutes_per_release(&self) -> f64 {
        self.release_minutes / self.releases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_named_first_and_those_alike_by_their_share() {
        let named = |failure_parts_per_million, right| Named { failure_parts_per_million, right };
        let forecasts = vec![
            named(9, true),
            named(9, true),
            named(5, true),
            named(5, false),
            named(5, true),
            named(5, false),
            named(1, false),
        ];
        let score = Score { forecasts, disks_failing: 8.0, ..Score::default() };
        let at = |recall| (score.disk_precision_at_recall(recall) * 1000.0).round();
        assert_eq!([at(0.125), at(0.25), at(0.375), at(0.5)], [1000.0, 1000.0, 750.0, 667.0]);
        assert!(score.disk_precision_at_recall(0.6).is_nan(), "so many were never named");
    }
}
