//! The attestation key's public part and what it signs (TPM 2.0 part 2, 12.2.4 and 11.3.4).
//!
//! - K1: it is a key on an elliptic curve whose name is a SHA-256 digest.
//! - K2: its attributes are exactly those of our template: it never leaves its TPM, was made in it, and signs
//!   nothing but what the TPM itself made, so that nobody can have it sign a quote that is none.
//! - K3: it signs with ECDSA over SHA-256 on P-256, and has no policy.
//! - K4: both coordinates are there, with at most 32 bytes each, and nothing follows them.

use contract::id::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::bytes::{Bytes, CutOff};
use crate::command::KEY_ATTRIBUTES;

/// Why a key is not one that we would have asked for, or a signature not one of such a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// K1 to K3.
    #[error("the attestation key is not of the kind that was asked for")]
    Kind,
    /// K4.
    #[error("the attestation key has no coordinates on P-256")]
    Coordinates,
    /// The signature is not ECDSA over SHA-256.
    #[error("the quote's signature is not one of ECDSA over SHA-256")]
    Signature,
}

/// The public part of an attestation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationKey {
    /// The point, uncompressed: 4, then both coordinates. Whoever checks a signature with it finds out whether
    /// it is on the curve.
    pub point: [u8; 65],
    /// SHA-256 of its public area: what it is known by.
    pub name: Digest,
}

impl AttestationKey {
    /// Reads `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// If it is no key that [`crate::command::create_key`] makes.
    pub fn parse(public: &[u8]) -> Result<Self, KeyError> {
        let mut bytes = Bytes::new(public);
        // K1 to K3, all of it fixed: kind, name, attributes, policy, cipher, scheme, curve, derivation.
        let fixed = bytes.take(20).map_err(|_| KeyError::Kind)?;
        let mut expected = vec![0x00, 0x23, 0x00, 0x0B];
        expected.extend(KEY_ATTRIBUTES.to_be_bytes());
        expected.extend([0, 0, 0, 0x10, 0, 0x18, 0, 0x0B, 0, 3, 0, 0x10]);
        if fixed != expected {
            return Err(KeyError::Kind);
        }
        let mut point = [4; 65];
        for place in [1..33, 33..65] {
            let coordinate = bytes.sized().map_err(|_| KeyError::Coordinates)?;
            let coordinate =
                number(coordinate).filter(|_| !coordinate.is_empty()).ok_or(KeyError::Coordinates)?;
            if let Some(place) = point.get_mut(place) {
                place.copy_from_slice(&coordinate);
            }
        }
        if !bytes.is_empty() {
            return Err(KeyError::Coordinates);
        }
        Ok(Self { point, name: Digest(Sha256::digest(public).into()) })
    }
}

/// Reads `TPMT_SIGNATURE`: both numbers, 32 bytes each.
///
/// # Errors
/// If it is no such signature, or more than one.
pub fn signature(bytes: &[u8]) -> Result<[u8; 64], KeyError> {
    read_signature(bytes).ok().flatten().ok_or(KeyError::Signature)
}

fn read_signature(bytes: &[u8]) -> Result<Option<[u8; 64]>, CutOff> {
    let mut bytes = Bytes::new(bytes);
    let kind = [bytes.u16()?, bytes.u16()?];
    let (first, second) = (number(bytes.sized()?), number(bytes.sized()?));
    if kind != [0x0018, 0x000B] || !bytes.is_empty() {
        return Ok(None);
    }
    let (Some(first), Some(second)) = (first, second) else { return Ok(None) };
    let mut signature = [0; 64];
    let (left, right) = signature.split_at_mut(32);
    left.copy_from_slice(&first);
    right.copy_from_slice(&second);
    Ok(Some(signature))
}

/// A number of at most 32 bytes, with the zeros before it that a TPM may leave out.
pub(crate) fn number(bytes: &[u8]) -> Option<[u8; 32]> {
    let mut number = [0; 32];
    number.get_mut(32_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{created, quoted};
    use crate::recorded::{BIOS, UEFI};
    use proptest::prelude::{any, proptest};

    #[test]
    fn only_a_key_exactly_as_asked_for_is_one() {
        let public = created(BIOS.key_answer).unwrap().public;
        let key = AttestationKey::parse(&public).unwrap();
        assert_eq!(key.point[0], 4);
        let other = AttestationKey::parse(&created(UEFI.key_answer).unwrap().public).unwrap();
        assert_ne!(key.name, other.name, "each TPM makes its own");
        for at in 0..22 {
            let mut changed = public.clone();
            changed[at] ^= 1;
            assert!(AttestationKey::parse(&changed).is_err(), "byte {at}");
        }
        for length in 0..public.len() {
            assert!(AttestationKey::parse(&public[..length]).is_err(), "{length} bytes");
        }
        assert!(AttestationKey::parse(&[&public[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_short_number_is_the_same_number() {
        let signature_of = |first: &[u8]| {
            let length = u16::try_from(first.len()).unwrap().to_be_bytes();
            signature(&[&[0, 0x18, 0, 0x0B][..], &length, first, &[0, 1, 9]].concat())
        };
        assert_eq!(signature_of(&[7]), signature_of(&[0, 7]));
        assert_eq!(signature_of(&[7]).unwrap()[31], 7);
        assert_eq!(signature_of(&[7; 33]), Err(KeyError::Signature));
    }

    #[test]
    fn a_cut_signature_is_none() {
        let whole = quoted(UEFI.quote_answer).unwrap().signature;
        assert!(signature(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(signature(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = (AttestationKey::parse(&bytes), signature(&bytes));
        }
    }
}
