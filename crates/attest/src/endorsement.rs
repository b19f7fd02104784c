//! The endorsement key: the key that a TPM is born with, and whose certificate its maker gives it (TCG EK
//! Credential Profile for TPM 2.0, annex B: the templates L-1 and L-2 that every PC's TPM has).
//!
//! - E1: the shown key is exactly one of the two templates: it never leaves its TPM, was made in it, signs
//!   nothing, and opens a credential only under the policy of the endorsement hierarchy.
//! - E2: RSA has a modulus of exactly 2,048 bits and the exponent 65,537, P-256 both coordinates, and nothing
//!   follows.

use contract::id::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::bytes::{Bytes, CutOff};
use crate::key::number;

/// `PolicyA`: who knows the password of the endorsement hierarchy may use the key (annex B.6.2).
const POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24, 0xFD,
    0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
];
/// `TPMA_OBJECT`: fixed to this TPM, made by it, used under its policy alone, opens what it made itself.
const ATTRIBUTES: u32 = 0x0003_00B2;
const RSA: u16 = 0x0001;
const SHA256: u16 = 0x000B;
const AES: u16 = 0x0006;
const FEEDBACK: u16 = 0x0043;
const NULL: u16 = 0x0010;
const ELLIPTIC: u16 = 0x0023;
const P256: u16 = 0x0003;
const RSA_BITS: u16 = 2048;
const RSA_BYTES: usize = 256;

/// Which of the two templates a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndorsementKind {
    /// P-256 (L-2): asked for first, because a TPM makes it in well under a second.
    Elliptic,
    /// RSA with 2,048 bits (L-1).
    Rsa,
}

impl EndorsementKind {
    /// In the order in which the agent looks for a certificate.
    pub const ALL: [Self; 2] = [Self::Elliptic, Self::Rsa];

    /// Where the maker's certificate stands in the TPM (EK Credential Profile, 2.2.1.4).
    #[must_use]
    pub fn certificate_index(self) -> u32 {
        match self {
            Self::Elliptic => 0x01C0_000A,
            Self::Rsa => 0x01C0_0002,
        }
    }

    /// The public part before what is the key's own.
    fn beginning(self) -> Vec<u8> {
        let mut public = Vec::new();
        let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let (kind, scheme) = match self {
            Self::Elliptic => (ELLIPTIC, words(&[NULL, P256, NULL])),
            // No scheme; the exponent 0 stands for 65,537.
            Self::Rsa => (RSA, words(&[NULL, RSA_BITS, 0, 0])),
        };
        public.extend(words(&[kind, SHA256]));
        public.extend(ATTRIBUTES.to_be_bytes());
        public.extend(words(&[32]));
        public.extend(POLICY);
        public.extend(words(&[AES, 128, FEEDBACK]));
        public.extend(scheme);
        public
    }

    /// The template that a TPM makes its key from: the key's own bytes are zeros of the same length.
    #[must_use]
    pub(crate) fn template(self) -> Vec<u8> {
        let mut public = self.beginning();
        let own: &[usize] = match self {
            Self::Elliptic => &[32, 32],
            Self::Rsa => &[RSA_BYTES],
        };
        for length in own {
            public.extend(crate::command::sized(&vec![0; *length]));
        }
        public
    }
}

/// Why a key is no endorsement key of these templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EndorsementError {
    /// E1.
    #[error("the endorsement key is not of one of the templates L-1 and L-2")]
    Template,
    /// E2.
    #[error("the endorsement key's own numbers are cut off, too long or too small")]
    Numbers,
}

impl From<CutOff> for EndorsementError {
    fn from(_: CutOff) -> Self {
        Self::Numbers
    }
}

/// What is a key's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbers {
    /// A point on P-256.
    Elliptic {
        /// Uncompressed: 4, then both coordinates. Whoever uses it finds out whether it is on the curve.
        point: [u8; 65],
        /// The first coordinate as the TPM wrote it, perhaps without its leading zeros: it goes into the
        /// derivation of a seed as it stands.
        first: Vec<u8>,
    },
    /// The modulus, 256 bytes; the exponent is 65,537.
    Rsa(Vec<u8>),
}

/// The public part of an endorsement key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementKey {
    /// What is its own.
    pub numbers: Numbers,
    /// SHA-256 of its public area: what it is known by.
    pub name: Digest,
}

impl EndorsementKey {
    /// Reads `TPMT_PUBLIC` (E1, E2).
    ///
    /// # Errors
    /// If it is no key of these templates.
    pub fn parse(public: &[u8]) -> Result<Self, EndorsementError> {
        let begins = |kind: &EndorsementKind| public.starts_with(&kind.beginning());
        let kind = EndorsementKind::ALL.into_iter().find(begins).ok_or(EndorsementError::Template)?;
        let mut bytes = Bytes::new(public);
        bytes.take(kind.beginning().len())?;
        let numbers = match kind {
            EndorsementKind::Elliptic => elliptic(bytes.sized()?, bytes.sized()?)?,
            EndorsementKind::Rsa => {
                let modulus = bytes.sized()?;
                // A number of 2,048 bits has its first bit set.
                if modulus.len() != RSA_BYTES || modulus.first().is_none_or(|first| *first < 0x80) {
                    return Err(EndorsementError::Numbers);
                }
                Numbers::Rsa(modulus.to_vec())
            }
        };
        if !bytes.is_empty() {
            return Err(EndorsementError::Numbers);
        }
        Ok(Self { numbers, name: Digest(Sha256::digest(public).into()) })
    }

    /// What the bit string of a certificate for this key holds: the point, or `RSAPublicKey` (RFC 3279, 2.3).
    #[must_use]
    pub fn subject_public_key(&self) -> Vec<u8> {
        match &self.numbers {
            Numbers::Elliptic { point, .. } => point.to_vec(),
            Numbers::Rsa(modulus) => {
                let head: &[u8] = &[0x30, 0x82, 0x01, 0x0A, 0x02, 0x82, 0x01, 0x01, 0x00];
                [head, modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat()
            }
        }
    }

    /// `SubjectPublicKeyInfo` of an RSA key, for whoever encrypts with it; none for P-256.
    #[must_use]
    pub fn rsa_public_key_info(&self) -> Option<Vec<u8>> {
        let Numbers::Rsa(_) = &self.numbers else { return None };
        let head: &[u8] = &[
            0x30, 0x82, 0x01, 0x22, 0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01,
            0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0F, 0x00,
        ];
        Some([head, &self.subject_public_key()].concat())
    }
}

fn elliptic(first: &[u8], second: &[u8]) -> Result<Numbers, EndorsementError> {
    let mut point = [4; 65];
    for (place, coordinate) in [(1..33, first), (33..65, second)] {
        let coordinate =
            number(coordinate).filter(|_| !coordinate.is_empty()).ok_or(EndorsementError::Numbers)?;
        if let Some(place) = point.get_mut(place) {
            place.copy_from_slice(&coordinate);
        }
    }
    Ok(Numbers::Elliptic { point, first: first.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::created;
    use crate::recorded::enrolment;
    use proptest::prelude::{any, proptest};

    #[test]
    fn e1_e2_only_a_key_exactly_of_a_template_is_one() {
        for (name, own) in [("elliptic", 68), ("rsa", 258)] {
            let public = created(&enrolment(name)).unwrap().public;
            assert!(EndorsementKey::parse(&public).is_ok());
            for at in 0..public.len() - own {
                let mut changed = public.clone();
                changed[at] ^= 1;
                assert_eq!(EndorsementKey::parse(&changed), Err(EndorsementError::Template), "byte {at}");
            }
            for length in 0..public.len() {
                assert!(EndorsementKey::parse(&public[..length]).is_err(), "{length} bytes");
            }
            let longer = [&public[..], &[0]].concat();
            assert_eq!(EndorsementKey::parse(&longer), Err(EndorsementError::Numbers));
        }
        let attestation = created(&enrolment("attestation")).unwrap().public;
        assert_eq!(EndorsementKey::parse(&attestation), Err(EndorsementError::Template));
    }

    #[test]
    fn e2_small_numbers_are_refused_and_left_out_zeros_are_kept_out() {
        let mut small = created(&enrolment("rsa")).unwrap().public;
        let first = small.len() - 256;
        small[first] = 0x7F;
        assert_eq!(EndorsementKey::parse(&small), Err(EndorsementError::Numbers));
        let beginning = EndorsementKind::Elliptic.beginning();
        let short = [&beginning[..], &[0, 1, 7], &[0, 32], &[9; 32]].concat();
        let Numbers::Elliptic { point, first } = EndorsementKey::parse(&short).unwrap().numbers else {
            panic!()
        };
        assert_eq!((point[32], point[33], first), (7, 9, vec![7]), "as the TPM wrote it");
        for coordinate in [&[0, 0][..], &[0, 33, 1]] {
            let public = [&beginning[..], coordinate, &[1; 40]].concat();
            assert_eq!(EndorsementKey::parse(&public), Err(EndorsementError::Numbers));
        }
    }

    #[test]
    fn the_keys_are_those_of_their_certificates() {
        for name in ["elliptic", "rsa"] {
            let key = EndorsementKey::parse(&created(&enrolment(name)).unwrap().public).unwrap();
            let certificate = enrolment(&format!("certificate-{name}"));
            let has = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
            assert!(has(&key.subject_public_key()));
            assert!(key.rsa_public_key_info().is_none_or(|info| has(&info)), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = EndorsementKey::parse(&bytes);
            for kind in EndorsementKind::ALL {
                let _ = EndorsementKey::parse(&[kind.beginning(), bytes.clone()].concat());
            }
        }
    }
}
