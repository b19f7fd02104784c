//! `[trust]`: how far evidence has to be believed before an action may follow from it.

use contract::decision::Action;
use contract::reading::Trust;

use super::section::section;

section!(
    /// The least trust of evidence for each action.
    TrustPolicy, TrustFragment {
        keep: Trust,
        repair: Trust,
        reimage: Trust,
        wipe: Trust,
    }
);

impl TrustPolicy {
    /// The least for an action that writes; none for one that does not. What is more severe needs no less than
    /// what is milder, or worse evidence would be believed sooner.
    pub fn to_write(&self, action: Action) -> Option<Trust> {
        match action {
            Action::Repair => Some(self.repair),
            Action::Reimage => Some(self.repair.max(self.reimage)),
            Action::Wipe => Some(self.repair.max(self.reimage).max(self.wipe)),
            Action::Keep | Action::LookDeeper | Action::Quarantine => None,
        }
    }
}

impl TrustFragment {
    /// Takes what stood under another name in earlier versions; false if this file has both.
    pub(super) fn take_keep(&mut self, formerly: Trust) -> bool {
        self.keep.replace(formerly).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, described};

    #[test]
    fn the_earlier_name_is_the_same_value_and_both_at_once_are_refused() {
        let (new, old) = ("[trust]\nkeep = \"ramdisk\"\n", "[integrity]\nkeep_trust_min = \"ramdisk\"\n");
        assert_eq!(Policy::parse(old).unwrap(), Policy::parse(new).unwrap());
        assert_ne!(Policy::parse(old).unwrap(), Policy::parse("").unwrap());
        // Each file counts for itself, whichever name it uses.
        let layered = Policy::layered(&[("site", old), ("pool", "[trust]\nkeep = \"resident\"\n")]).unwrap();
        assert_eq!(layered, Policy::parse("").unwrap());
        assert!(described(&[("site.toml", old)]).unwrap().contains("keep = \"ramdisk\"  # site.toml\n"));
        let error = Policy::parse(&format!("{new}{old}")).unwrap_err();
        assert_eq!((error.line, error.key.as_str()), (4, "keep_trust_min"), "{error}");
        assert!(error.to_string().contains("trust.keep"), "{error}");
    }

    #[test]
    fn what_is_more_severe_needs_no_less_than_what_is_milder() {
        let policy =
            Policy::parse("[trust]\nrepair = \"ramdisk-attested\"\nreimage = \"ramdisk\"\n").unwrap();
        let trust = &policy.sections().trust;
        for action in [Action::Repair, Action::Reimage, Action::Wipe] {
            assert_eq!(trust.to_write(action), Some(Trust::RamdiskAttested), "{action:?}");
        }
        for action in [Action::Keep, Action::LookDeeper, Action::Quarantine] {
            assert_eq!(trust.to_write(action), None, "{action:?}");
        }
    }
}
