//! Whether the key that signs for a boot is a TPM's: a secret that only a TPM with that key and its endorsement
//! key can read is handed out, and comes back with the proof of the boot. The formats are in `attest`.
//!
//! E6: a secret counts once, in the session that it was made for, and only for the attestation key that it was
//! made for. What is kept of it is a hash.

use attest::certificate::{self, Roots};
use attest::credential::{SEED_LABEL, agreed_seed, point, seal};
use attest::endorsement::{EndorsementKey, Numbers};
use attest::key::AttestationKey;
use aws_lc_rs::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use contract::boot_key::{BootKey, BootKeyReply, BootKeyRequest, KnownBy};
use contract::id::{Digest, UnixMillis};
use contract::reading::Outcome;
use contract::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::bearer;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store::sessions::SessionRow;

/// How often an ephemeral key is drawn: one in 85 has a leading zero somewhere, which some TPMs leave out.
const DRAWS_MAX: u32 = 16;

/// A credential that was handed out and not yet answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HandedOut {
    session: Digest,
    /// Name of the attestation key that it is bound to.
    attestation: Digest,
    /// Hash of the secret.
    secret: Digest,
    /// By what the key is known if the secret comes back.
    known: BootKey,
}

impl HandedOut {
    /// E6: by what the key that signed is known, after the secret came back or did not.
    pub(super) fn answered(
        self,
        session: Digest,
        signed: Option<Digest>,
        opened: Option<&Secret>,
    ) -> BootKey {
        let why = match (signed, opened) {
            _ if self.session != session => "the machine showed no endorsement key in this session",
            (None, _) => "no key signed for this boot",
            (Some(signed), _) if signed != self.attestation => {
                "another key signed for this boot than the one that was shown with the endorsement key"
            }
            (_, None) => "the TPM did not open the credential for its keys",
            (_, Some(opened)) => {
                if verify_slices_are_equal(&bearer::hash(opened.reveal()).0, &self.secret.0).is_ok() {
                    return self.known;
                }
                "the machine answered the credential with another secret"
            }
        };
        let refused_certificate = self.known.refused_certificate.filter(|_| self.session == session);
        BootKey { refused_certificate, ..first_use(why) }
    }
}

/// Nothing is known of the key but that it signs.
pub(super) fn first_use(why: &str) -> BootKey {
    BootKey { known_by: KnownBy::FirstUse, why: why.to_owned(), refused_certificate: None }
}

impl Service {
    /// Makes a secret that only a TPM with both keys can read, for this session, in place of one made before.
    ///
    /// # Errors
    /// If a key is not of the kind that it should be, or the database fails.
    pub async fn hand_out_credential(
        &self,
        session: &SessionRow,
        request: &BootKeyRequest,
    ) -> Result<BootKeyReply, Refusal> {
        let hint = "show the TPM's keys as this service's agent makes them";
        let refused = |error: String| Refusal::bad_request(error, hint);
        let public =
            |text: &str| hex::decode(text).map_err(|_| refused("a key is no hexadecimal".to_owned()));
        let attestation = AttestationKey::parse(&public(&request.attestation)?)
            .map_err(|error| refused(error.to_string()))?;
        let endorsement = EndorsementKey::parse(&public(&request.endorsement)?)
            .map_err(|error| refused(error.to_string()))?;
        let secret = bearer::random_bytes().map_err(Refusal::internal)?;
        let reply = sealed(&endorsement, attestation.name, &secret)
            .map_err(|_| refused("the endorsement key is not on its curve or no RSA key".to_owned()))?;
        let mut change = self.change(session.node).await?;
        let known = known(&self.endorsement_roots, &endorsement, &request.certificate, change.now);
        if let Some(why) = &known.refused_certificate {
            tracing::warn!(node = %session.node, why, "a TPM's certificate is not believed");
        }
        change.node.boot.handed_out = Some(HandedOut {
            session: session.hash,
            attestation: attestation.name,
            secret: bearer::hash(&hex::encode(secret)),
            known,
        });
        change.commit().await?;
        Ok(reply)
    }
}

/// What is known once the secret has come back.
fn known(roots: &Roots, key: &EndorsementKey, shown: &Outcome<String>, now: UnixMillis) -> BootKey {
    let endorsement =
        |why: String| BootKey { known_by: KnownBy::Endorsement, why, refused_certificate: None };
    match shown {
        _ if roots.is_empty() => {
            endorsement("no roots of TPM makers are configured (boot_trust.endorsement_roots)".to_owned())
        }
        Outcome::Absent => endorsement("its maker left no certificate in the TPM".to_owned()),
        Outcome::Unreadable(why) => {
            let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
            endorsement(format!("the TPM's certificate could not be read: {why}"))
        }
        Outcome::Value(text) => {
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            let algorithms = provider.signature_verification_algorithms.all;
            let checked = hex::decode(text).map_err(|_| certificate::CertificateError::Encoding);
            let checked = checked.and_then(|der| certificate::check(&der, key, roots, algorithms, now));
            match checked {
                Ok(maker) => BootKey {
                    known_by: KnownBy::CertifiedTpm,
                    why: format!("the TPM's maker certifies it: {maker}"),
                    refused_certificate: None,
                },
                Err(error) => BootKey {
                    refused_certificate: Some(error.to_string()),
                    ..endorsement("its certificate is not believed".to_owned())
                },
            }
        }
    }
}

/// `TPM2_MakeCredential` without a TPM.
fn sealed(key: &EndorsementKey, attestation: Digest, secret: &[u8; 32]) -> Result<BootKeyReply, Unspecified> {
    let (seed, encrypted_seed) = match &key.numbers {
        Numbers::Elliptic { point, first } => agreed(point, first)?,
        Numbers::Rsa(_) => transported(&key.rsa_public_key_info().ok_or(Unspecified)?)?,
    };
    let credential = seal(secret, &seed, attestation, &encrypt).ok_or(Unspecified)?;
    Ok(BootKeyReply { credential: hex::encode(credential), encrypted_seed: hex::encode(encrypted_seed) })
}

/// A seed that follows from an agreement with the key, and the ephemeral point that the TPM needs for it.
fn agreed(theirs: &[u8; 65], first: &[u8]) -> Result<([u8; 32], Vec<u8>), Unspecified> {
    for _ in 0..DRAWS_MAX {
        let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())?;
        let ours = ephemeral.compute_public_key()?;
        let ours: [u8; 65] = ours.as_ref().try_into().map_err(|_| Unspecified)?;
        let theirs = UnparsedPublicKey::new(&ECDH_P256, theirs);
        let shared: [u8; 32] = agree_ephemeral(ephemeral, theirs, Unspecified, |shared| {
            shared.try_into().map_err(|_| Unspecified)
        })?;
        let [_, coordinates @ ..] = &ours;
        let (x, y) = coordinates.split_first_chunk::<32>().ok_or(Unspecified)?;
        if x.first() != Some(&0) && y.first() != Some(&0) && shared.first() != Some(&0) {
            return Ok((agreed_seed(&shared, x, first), point(&ours)));
        }
    }
    Err(Unspecified)
}

/// A seed that is drawn, and the same encrypted for an RSA key.
fn transported(public: &[u8]) -> Result<([u8; 32], Vec<u8>), Unspecified> {
    let seed = bearer::random_bytes().map_err(|_| Unspecified)?;
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(public)?)?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let encrypted = key.encrypt(&OAEP_SHA256_MGF1SHA256, &seed, &mut encrypted, Some(SEED_LABEL))?;
    Ok((seed, encrypted.to_vec()))
}

fn encrypt(key: &[u8; 16], bytes: &mut [u8]) -> bool {
    let mut encrypted = || -> Result<(), Unspecified> {
        let key = EncryptingKey::cfb128(UnboundCipherKey::new(&AES_128, key)?)?;
        let from_zeros = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        key.less_safe_encrypt(bytes, from_zeros).map(|_| ())
    };
    encrypted().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed_out() -> HandedOut {
        let known = BootKey {
            known_by: KnownBy::CertifiedTpm,
            why: "the TPM's maker certifies it: IFX".to_owned(),
            refused_certificate: None,
        };
        let secret = bearer::hash("secret");
        HandedOut { session: Digest([1; 32]), attestation: Digest([2; 32]), secret, known }
    }

    #[test]
    fn e6_a_secret_counts_in_its_session_for_its_key_alone() {
        let (session, key, other) = (Digest([1; 32]), Digest([2; 32]), Digest([9; 32]));
        let secret = Secret::new("secret".to_owned());
        let known = |session, signed, opened| handed_out().answered(session, signed, opened);
        assert_eq!(known(session, Some(key), Some(&secret)), handed_out().known);
        let wrong = Secret::new("Secret".to_owned());
        for (answer, part) in [
            (known(other, Some(key), Some(&secret)), "in this session"),
            (known(session, None, Some(&secret)), "no key signed"),
            (known(session, Some(other), Some(&secret)), "another key signed"),
            (known(session, Some(key), None), "did not open"),
            (known(session, Some(key), Some(&wrong)), "another secret"),
        ] {
            assert_eq!(answer.known_by, KnownBy::FirstUse);
            assert!(answer.why.contains(part), "{answer:?}");
        }
    }

    #[test]
    fn a_refused_certificate_is_not_forgotten_by_not_answering() {
        let mut handed = handed_out();
        handed.known.refused_certificate = Some("no root".to_owned());
        let key = handed.clone().answered(handed.session, None, None);
        assert_eq!(key.refused_certificate.as_deref(), Some("no root"));
        assert_eq!(handed.answered(Digest([9; 32]), None, None).refused_certificate, None);
    }
}
