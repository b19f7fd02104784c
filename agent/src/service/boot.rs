//! The calls about how this machine booted.

use contract::agent_api::ContextReply;
use contract::boot_key::{BootKeyReply, BootKeyRequest};
use contract::boot_proof::BootProof;

use super::answer::CallError;
use super::client::{CALL_TIMEOUT, Client};

impl Client {
    /// Has the service make a credential for these keys.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn boot_key(&self, keys: &BootKeyRequest) -> Result<BootKeyReply, CallError> {
        self.post("take the TPM's keys", "/v1/agent/boot-key", keys, CALL_TIMEOUT).await
    }

    /// Shows how this machine booted, and hears what to judge with.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn boot_proof(&self, proof: &BootProof) -> Result<ContextReply, CallError> {
        self.post("take the proof of this boot", "/v1/agent/boot-proof", proof, CALL_TIMEOUT).await
    }
}
