//! What a TPM signs when it is asked for its registers (TPM 2.0 part 2, 10.12: `TPMS_ATTEST`).

use thiserror::Error;

use crate::bytes::{Bytes, CutOff};
use crate::register::asked_bitmap;

/// `TPM_GENERATED_VALUE`: what a restricted key signs begins with it only if the TPM made it.
const GENERATED: u32 = 0xFF54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const QUOTE: u16 = 0x8018;
/// `TPM_ALG_SHA256`.
const SHA256: u16 = 0x000B;

/// Why it is no quote of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuoteError {
    /// Cut off, or something follows.
    #[error("the TPM's quote is cut off or longer than it says")]
    Length,
    /// Q1.
    #[error("what the TPM signed is no quote")]
    Kind,
    /// Q2.
    #[error("the TPM's quote is about other registers than were asked for")]
    Selection,
}

impl From<CutOff> for QuoteError {
    fn from(_: CutOff) -> Self {
        Self::Length
    }
}

/// A quote about the registers of [`crate::register::ASKED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What the asker wanted to find in it.
    pub challenge: Vec<u8>,
    /// SHA-256 over the registers.
    pub registers_digest: Vec<u8>,
}

impl Quote {
    /// Reads `TPMS_ATTEST`.
    ///
    /// # Errors
    /// If it is no quote, or one about something else.
    pub fn parse(attested: &[u8]) -> Result<Self, QuoteError> {
        let mut bytes = Bytes::new(attested);
        if bytes.u32()? != GENERATED || bytes.u16()? != QUOTE {
            return Err(QuoteError::Kind);
        }
        let _signer = bytes.sized()?;
        let challenge = bytes.sized()?.to_vec();
        // Clock, counts of resets and restarts, and whether the clock is safe. A machine that was not reset is told
        // by the token on its command line.
        let _clock_info = bytes.take(17)?;
        let _tpm_firmware_version = bytes.take(8)?;
        if bytes.u32()? != 1 || bytes.u16()? != SHA256 {
            return Err(QuoteError::Selection);
        }
        let length = bytes.u8()?;
        if !is_asked(bytes.take(usize::from(length))?) {
            return Err(QuoteError::Selection);
        }
        let registers_digest = bytes.sized()?.to_vec();
        if !bytes.is_empty() {
            return Err(QuoteError::Length);
        }
        Ok(Self { challenge, registers_digest })
    }
}

/// A TPM with more registers may answer with a longer bitmap.
fn is_asked(bitmap: &[u8]) -> bool {
    match bitmap.split_at_checked(3) {
        Some((asked, more)) => asked == asked_bitmap() && more.iter().all(|byte| *byte == 0),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::quoted;
    use crate::recorded::UEFI;
    use proptest::prelude::{any, proptest};

    #[test]
    fn only_a_whole_quote_of_what_was_asked_for_is_one() {
        let whole = quoted(UEFI.quote_answer).unwrap().attested;
        let quote = Quote::parse(&whole).unwrap();
        assert_eq!(quote.challenge, crate::recorded::CHALLENGE);
        assert_eq!(quote.registers_digest.len(), 32);
        for length in 0..whole.len() {
            assert!(Quote::parse(&whole[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(Quote::parse(&[&whole[..], &[0]].concat()), Err(QuoteError::Length));
        let changed = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            Quote::parse(&bytes)
        };
        assert_eq!(changed(0), Err(QuoteError::Kind));
        assert_eq!(changed(5), Err(QuoteError::Kind), "a certification is signed by the same key");
        let bitmap = whole.len() - 2 - 32 - 3;
        for at in bitmap..bitmap + 3 {
            assert_eq!(changed(at), Err(QuoteError::Selection));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Quote::parse(&bytes);
            let mut begun = vec![0xFF, b'T', b'C', b'G', 0x80, 0x18];
            begun.extend(bytes);
            let _ = Quote::parse(&begun);
        }
    }
}
