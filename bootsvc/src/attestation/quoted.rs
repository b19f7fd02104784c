//! What a certificate says of the boot of the ramdisk that erased.

use contract::assignment::BootTrust;
use contract::boot_key::KnownBy;
use contract::id::Digest;
use erasure::certificate::fields::utc;

use super::BootKnowledge;

impl BootKnowledge {
    /// The TPM quote of this session, in words; none where there was none, or none that holds. What it was
    /// compared with is said too: a quote of a boot that nobody knows proves which ramdisk ran, not that it
    /// was ours.
    #[must_use]
    pub fn quoted_in(&self, session: Digest, demanded: KnownBy) -> Option<String> {
        let shown = self.shown.as_ref().filter(|shown| shown.session == session)?;
        let measured = shown.measured.as_ref().ok()?;
        let registers: Vec<String> =
            measured.registers.iter().map(|(number, value)| format!("{number}={value}")).collect();
        let ramdisk = match measured.ramdisk {
            Some(digest) => format!("ramdisk {digest}"),
            None => "ramdisk not measured".to_owned(),
        };
        let compared = match self.judge(shown, demanded) {
            BootTrust::Verified => "as recorded for this machine".to_owned(),
            BootTrust::Mismatch { registers } => format!("not as recorded: {}", registers.join(", ")),
            BootTrust::Lost { why } => format!("not that of the machine that is recorded: {why}"),
            BootTrust::Changed { what } => format!("changed: {}", what.join(", ")),
            BootTrust::Unproven { why } => format!("not compared: {why}"),
        };
        Some(format!(
            "quote of this boot checked at {}, signed by attestation key {}; {compared}; {ramdisk}; registers (SHA-256) {}",
            utc(shown.at),
            measured.key,
            registers.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::{Measured, Shown};
    use contract::id::UnixMillis;

    fn shown(session: &str, measured: Result<Measured, String>) -> BootKnowledge {
        let shown = Shown {
            session: Digest::of(session.as_bytes()),
            at: UnixMillis(0),
            measured,
            key: None,
            golden_firmware: false,
            golden_booted: false,
        };
        BootKnowledge { shown: Some(shown), ..BootKnowledge::default() }
    }

    /// What another session showed, and what does not hold, is no quote of the erase.
    #[test]
    fn only_a_quote_of_this_session_that_holds_is_one() {
        let measured = Measured {
            key: Digest::of(b"key"),
            registers: vec![(4, Digest::of(b"four"))],
            ramdisk: Some(Digest::of(b"ramdisk")),
            command_line: "quiet".to_owned(),
            secure_boot: None,
            programs: Vec::new(),
        };
        let quoted = |known: &BootKnowledge| known.quoted_in(Digest::of(b"this"), KnownBy::FirstUse);
        let mut known = shown("this", Ok(measured.clone()));
        let words = quoted(&known).unwrap();
        for part in [Digest::of(b"key"), Digest::of(b"four"), Digest::of(b"ramdisk")] {
            assert!(words.contains(&part.to_string()), "{words}");
        }
        assert!(words.contains("1970-01-01T00:00:00Z") && words.contains("not compared: nobody"), "{words}");
        known.record_last("new", UnixMillis(1)).unwrap();
        assert!(quoted(&known).unwrap().contains("as recorded for this machine"));
        assert_eq!(quoted(&shown("another", Ok(measured))), None);
        assert_eq!(quoted(&shown("this", Err("bad signature".to_owned()))), None);
        assert_eq!(quoted(&BootKnowledge::default()), None);
    }
}
