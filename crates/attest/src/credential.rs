//! A secret that only one TPM can read, and only if it holds a certain key besides (TPM 2.0 part 1, 24:
//! credential protection; `TPM2_MakeCredential` without a TPM).
//!
//! - E5: a credential is encrypted for the endorsement key and bound to the name of the attestation key: a TPM
//!   opens it only where it holds both. The name is a digest over the attributes of K2, so that the key it is
//!   about can sign nothing but what its TPM made.
//!
//! The cipher, the agreement and RSA are the caller's; what they are given is computed here.

use contract::id::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::command::sized;

/// What OAEP and the derivation are told a seed is for, with the zero at its end (part 1, annexes B.10 and C.6).
pub const SEED_LABEL: &[u8] = b"IDENTITY\0";

/// Encrypts in place with AES-128 in feedback mode (CFB) from a vector of zeros; false if it cannot.
pub type Encrypt<'a> = &'a dyn Fn(&[u8; 16], &mut [u8]) -> bool;

/// The seed that follows from an agreement on P-256 (`KDFe`, part 1, 11.4.10 and annex C.6).
///
/// `shared` and `ephemeral` are first coordinates with all 32 bytes; `endorsement` is that of the endorsement
/// key as the TPM writes it.
#[must_use]
pub fn agreed_seed(shared: &[u8; 32], ephemeral: &[u8; 32], endorsement: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [&1_u32.to_be_bytes()[..], shared, SEED_LABEL, ephemeral, endorsement] {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The ephemeral key's point (4, then both coordinates) as the TPM takes it (`TPMS_ECC_POINT`).
#[must_use]
pub fn point(uncompressed: &[u8; 65]) -> Vec<u8> {
    let (_, coordinates) = uncompressed.split_at(1);
    let (first, second) = coordinates.split_at(32);
    [sized(first), sized(second)].concat()
}

/// Seals `secret` under `seed` for the key with this name (`TPMS_ID_OBJECT`); none if the caller's cipher fails.
#[must_use]
pub fn seal(
    secret: &[u8; 32],
    seed: &[u8; 32],
    attestation: Digest,
    encrypt: Encrypt<'_>,
) -> Option<Vec<u8>> {
    // A name is the algorithm of its digest, SHA-256, and the digest.
    let name = [&0x000B_u16.to_be_bytes()[..], &attestation.0].concat();
    let derived = derive(seed, b"STORAGE\0", &name, 128)?;
    let (key, _) = derived.split_first_chunk::<16>()?;
    let mut identity = sized(secret);
    if !encrypt(key, &mut identity) {
        return None;
    }
    let integrity = keyed(&derive(seed, b"INTEGRITY\0", &[], 256)?, &[&identity, &name])?;
    Some([sized(&integrity), identity].concat())
}

/// `KDFa` for one block of SHA-256 (part 1, 11.4.10); `label` ends with a zero.
fn derive(seed: &[u8; 32], label: &[u8], context: &[u8], bits: u32) -> Option<[u8; 32]> {
    keyed(seed, &[&1_u32.to_be_bytes(), label, context, &bits.to_be_bytes()])
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::created;
    use crate::endorsement::{EndorsementKey, Numbers};
    use crate::key::AttestationKey;
    use crate::recorded::enrolment;

    fn encrypt(key: &[u8; 16], bytes: &mut [u8]) -> bool {
        use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
        use aws_lc_rs::iv::FixedLength;
        let key = EncryptingKey::cfb128(UnboundCipherKey::new(&AES_128, key).unwrap()).unwrap();
        let vector = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        key.less_safe_encrypt(bytes, vector).is_ok()
    }

    fn attestation() -> Digest {
        AttestationKey::parse(&created(&enrolment("attestation")).unwrap().public).unwrap().name
    }

    fn secret() -> [u8; 32] {
        enrolment("secret").try_into().unwrap()
    }

    /// A TPM opened the recorded ones and answered with the secret.
    #[test]
    fn e5_a_credential_is_what_a_tpm_opens() {
        let key = EndorsementKey::parse(&created(&enrolment("elliptic")).unwrap().public).unwrap();
        let Numbers::Elliptic { first, .. } = key.numbers else { panic!() };
        let ephemeral: [u8; 65] = enrolment("ephemeral").try_into().unwrap();
        let shared = enrolment("shared").try_into().unwrap();
        let seed = agreed_seed(&shared, ephemeral[1..33].try_into().unwrap(), &first);
        let sealed = seal(&secret(), &seed, attestation(), &encrypt).unwrap();
        assert_eq!(sealed, enrolment("sealed-elliptic"));
        let opens = enrolment("open-elliptic");
        let shown = [sized(&sealed), sized(&point(&ephemeral))].concat();
        assert!(opens.ends_with(&shown), "so it was sent");

        let seed = enrolment("seed-rsa").try_into().unwrap();
        assert_eq!(seal(&secret(), &seed, attestation(), &encrypt).unwrap(), enrolment("sealed-rsa"));
    }

    #[test]
    fn e5_another_key_seed_or_secret_is_another_credential() {
        let sealed = |secret, seed, name| seal(&secret, &seed, name, &encrypt).unwrap();
        let one = sealed([1; 32], [2; 32], Digest([3; 32]));
        for other in [
            sealed([9; 32], [2; 32], Digest([3; 32])),
            sealed([1; 32], [9; 32], Digest([3; 32])),
            sealed([1; 32], [2; 32], Digest([9; 32])),
        ] {
            // Its integrity and what it encrypts, both.
            assert_ne!(one[2..34], other[2..34]);
            assert_ne!(one[34..], other[34..]);
        }
        assert_eq!(seal(&[1; 32], &[2; 32], Digest([3; 32]), &|_, _| false), None);
    }
}
