//! The service's signed word that a plan may run on a node.
//!
//! The signature covers the exact bytes of the payload, so nothing has to be re-encoded to check it.
//! What an order permits is decided in `verdict`, which turns a valid one into a permit.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::{Digest, DiskId, JobId, NodeId, OrderId, PlanDigest, UnixMillis};

/// What the service orders. Every field binds: an order for another node, boot, plan or time is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its name.
    pub id: OrderId,
    /// In which job.
    pub job: JobId,
    /// For which node.
    pub node: NodeId,
    /// For which plan, exactly.
    pub plan: PlanDigest,
    /// The disks that may be written, ordered.
    pub disks: Vec<DiskId>,
    /// The nonce that the agent drew in this boot; an order from another boot does not have it.
    pub nonce: Digest,
    /// When it was signed.
    pub issued_at: UnixMillis,
    /// When it lapses.
    pub expires_at: UnixMillis,
}

/// An order with the service's Ed25519 signature (RFC 8032) over `payload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    /// The order as JSON, exactly the bytes that were signed.
    pub payload: String,
    /// 64 bytes in hexadecimal.
    pub signature: String,
}

/// Why a signed order could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The payload could not be written as JSON.
    #[error("could not encode the order")]
    Encode(#[source] serde_json::Error),
    /// The signature is not 64 hexadecimal bytes or does not fit the payload and the key.
    #[error("the order's signature is not the service's; nothing was done")]
    BadSignature,
    /// The signature fits but the payload is not an order that this version knows.
    #[error("the order is signed but cannot be understood")]
    Decode(#[source] serde_json::Error),
}

/// What is signed, so that no other signed text of ours can pass for an order.
const DOMAIN: &[u8] = b"reprieve order v1\0";

fn signed_bytes(payload: &str) -> Vec<u8> {
    [DOMAIN, payload.as_bytes()].concat()
}

impl SignedOrder {
    /// Signs an order.
    ///
    /// # Errors
    /// [`OrderError::Encode`] if the order cannot be written as JSON.
    pub fn sign(order: &Order, key: &SigningKey) -> Result<Self, OrderError> {
        let payload = serde_json::to_string(order).map_err(OrderError::Encode)?;
        let signature = key.sign(&signed_bytes(&payload));
        Ok(Self { payload, signature: hex::encode(signature.to_bytes()) })
    }

    /// Checks the signature and reads the order. Says nothing about node, plan, nonce or time.
    ///
    /// # Errors
    /// [`OrderError::BadSignature`] before anything of the payload is looked at;
    /// [`OrderError::Decode`] if the payload is not an order.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Order, OrderError> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(&self.signature, &mut bytes).map_err(|_| OrderError::BadSignature)?;
        key.verify(&signed_bytes(&self.payload), &Signature::from_bytes(&bytes))
            .map_err(|_| OrderError::BadSignature)?;
        serde_json::from_str(&self.payload).map_err(OrderError::Decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn order() -> Order {
        Order {
            id: OrderId(Uuid::from_u128(1)),
            job: JobId(Uuid::from_u128(2)),
            node: NodeId(Uuid::from_u128(3)),
            plan: PlanDigest(Digest::of(b"plan")),
            disks: vec!["nvme-eui.1".parse().unwrap()],
            nonce: Digest::of(b"nonce"),
            issued_at: UnixMillis(1),
            expires_at: UnixMillis(2),
        }
    }

    #[test]
    fn a_signed_order_reads_back() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = SignedOrder::sign(&order(), &key).unwrap();
        assert_eq!(signed.verify(&key.verifying_key()).unwrap(), order());
    }

    #[test]
    fn any_changed_byte_of_payload_or_signature_is_refused() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signed = SignedOrder::sign(&order(), &key).unwrap();
        for at in 0..signed.payload.len() {
            let mut bytes = signed.payload.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(payload) = String::from_utf8(bytes) {
                let changed = SignedOrder { payload, ..signed.clone() };
                assert!(matches!(changed.verify(&key.verifying_key()), Err(OrderError::BadSignature)));
            }
        }
        let cut = SignedOrder { signature: signed.signature[..126].to_owned(), ..signed.clone() };
        assert!(matches!(cut.verify(&key.verifying_key()), Err(OrderError::BadSignature)));
        let other = SigningKey::from_bytes(&[8; 32]);
        assert!(matches!(signed.verify(&other.verifying_key()), Err(OrderError::BadSignature)));
    }
}
