//! Signature, one spelling, chain.
//!
//! A certificate's file is JSON of three texts: the payload (the [`Certificate`] as JSON, exactly the
//! bytes that were signed), the public key and the signature, with one spelling for each: two spaces
//! of indent, this order, one line feed at the end. So every changed byte is found, also where it
//! would not change the meaning. The signature is Ed25519 (RFC 8032) over a domain text and the
//! payload; the digest that the next certificate of the same disk carries is BLAKE3 of the file.

use contract::id::Digest;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{Certificate, FORM};

/// What is signed before the payload, so that no other signed text of ours can pass for a certificate.
pub const DOMAIN: &[u8] = b"reprieve erase certificate v1\0";

/// The longest certificate file, in bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// A certificate with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCertificate {
    /// The certificate as JSON, exactly the bytes that were signed.
    pub payload: String,
    /// The Ed25519 public key that signed, 32 bytes in hexadecimal. It says which key to ask for; that
    /// it is the site's is for the site's public key to say.
    pub public_key: String,
    /// 64 bytes in hexadecimal.
    pub signature: String,
}

/// Why a certificate is not accepted, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be written as JSON.
    #[error("the certificate could not be encoded")]
    Encode(#[source] serde_json::Error),
    /// It is longer than any certificate.
    #[error("the file is longer than {FILE_BYTES_MAX} bytes; it is no certificate")]
    TooLong,
    /// It is no signed certificate.
    #[error("the file is not a signed certificate, or it was cut off")]
    NotACertificate(#[source] serde_json::Error),
    /// The same could be said in other bytes, so bytes were changed.
    #[error("the file is not written as certificates are; it was altered, even if only in its spelling")]
    Respelled,
    /// Another key signed it.
    #[error("it was signed with the key {theirs}, not with the given key {ours}; get the site's public key")]
    OtherKey {
        /// The key that the certificate names.
        theirs: String,
        /// The key to check with.
        ours: String,
    },
    /// The signature does not fit.
    #[error("the signature does not fit; the certificate was altered and proves nothing")]
    BadSignature,
    /// It is signed, but this version does not know its form.
    #[error("it is signed, but its form is not known here; use a newer version")]
    UnknownForm,
    /// It is signed and of the known form, but cannot be read.
    #[error("it is signed, but cannot be understood")]
    Decode(#[source] serde_json::Error),
    /// The one before does not fit.
    #[error("the chain is broken: {0}")]
    Chain(&'static str),
}

impl SignedCertificate {
    /// Signs a certificate.
    ///
    /// # Errors
    /// [`CertificateError::Encode`] if it cannot be written as JSON.
    pub fn sign(certificate: &Certificate, key: &SigningKey) -> Result<Self, CertificateError> {
        let payload = serde_json::to_string(certificate).map_err(CertificateError::Encode)?;
        let signature = key.sign(&signed_bytes(&payload));
        Ok(Self {
            payload,
            public_key: hex::encode(key.verifying_key().to_bytes()),
            signature: hex::encode(signature.to_bytes()),
        })
    }

    /// The certificate's file.
    ///
    /// # Errors
    /// [`CertificateError::Encode`] if it cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CertificateError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(CertificateError::Encode)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a certificate's file. Says nothing about the signature.
    ///
    /// # Errors
    /// [`CertificateError`] if it is not a certificate or not spelled as one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(CertificateError::TooLong);
        }
        let signed: Self = serde_json::from_slice(bytes).map_err(CertificateError::NotACertificate)?;
        if signed.to_bytes()? != bytes {
            return Err(CertificateError::Respelled);
        }
        Ok(signed)
    }

    /// The digest of the file, as the next certificate of the same disk carries it.
    ///
    /// # Errors
    /// [`CertificateError::Encode`] if it cannot be written as JSON.
    pub fn digest(&self) -> Result<Digest, CertificateError> {
        self.to_bytes().map(|bytes| Digest::of(&bytes))
    }

    /// Checks the signature with the site's public key and reads the certificate.
    ///
    /// # Errors
    /// [`CertificateError`] says what does not fit. Nothing of the payload is looked at before the
    /// signature fits.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Certificate, CertificateError> {
        let ours = hex::encode(key.to_bytes());
        if self.public_key != ours {
            return Err(CertificateError::OtherKey { theirs: self.public_key.clone(), ours });
        }
        let mut signature = [0; 64];
        hex::decode_to_slice(&self.signature, &mut signature).map_err(|_| CertificateError::BadSignature)?;
        // The same bytes in capital letters are another spelling.
        if hex::encode(signature) != self.signature {
            return Err(CertificateError::BadSignature);
        }
        key.verify_strict(&signed_bytes(&self.payload), &Signature::from_bytes(&signature))
            .map_err(|_| CertificateError::BadSignature)?;
        self.read_unchecked()
    }

    /// Reads the certificate without checking who signed it: for showing what the service itself
    /// stores, never for believing it.
    ///
    /// # Errors
    /// [`CertificateError::UnknownForm`] or [`CertificateError::Decode`].
    pub fn read_unchecked(&self) -> Result<Certificate, CertificateError> {
        #[derive(Deserialize)]
        struct Form {
            form: String,
        }
        let form: Form = serde_json::from_str(&self.payload).map_err(CertificateError::Decode)?;
        if form.form != FORM {
            return Err(CertificateError::UnknownForm);
        }
        serde_json::from_str(&self.payload).map_err(CertificateError::Decode)
    }
}

impl Certificate {
    /// Checks that this certificate follows `previous`, which was verified with the same key.
    ///
    /// # Errors
    /// [`CertificateError::Chain`] says what does not fit.
    pub fn check_follows(
        &self,
        previous: &Self,
        previous_signed: &SignedCertificate,
    ) -> Result<(), CertificateError> {
        let Some(named) = &self.chain.previous else {
            return Err(CertificateError::Chain(
                "this is the first certificate of its disk and names none before it",
            ));
        };
        let checks = [
            (
                self.device.id == previous.device.id,
                "the certificate given as the previous one is of another disk",
            ),
            (named.id == previous.id, "this certificate names another one as the previous"),
            (
                previous_signed.digest()? == named.digest,
                "the previous certificate has another digest than this one carries",
            ),
            (
                previous.chain.number.checked_add(1) == Some(self.chain.number),
                "the numbers do not follow each other",
            ),
            (previous.issued_at <= self.issued_at, "the previous certificate is younger than this one"),
        ];
        match checks.into_iter().find(|(fits, _)| !fits) {
            Some((_, why)) => Err(CertificateError::Chain(why)),
            None => Ok(()),
        }
    }
}

fn signed_bytes(payload: &str) -> Vec<u8> {
    [DOMAIN, payload.as_bytes()].concat()
}
