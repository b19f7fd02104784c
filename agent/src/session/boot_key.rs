//! What shows that the attestation key is a TPM's: the endorsement key with its maker's certificate, and a
//! credential that only the TPM with both keys opens. What is sent and what comes back is in `attest`.

use attest::certificate::in_memory;
use attest::command::{self, Created};
use attest::endorsement::EndorsementKind;
use attest::enrolment::{self, CERTIFICATE_BYTES_MAX};
use contract::boot_key::{BootKeyReply, BootKeyRequest};
use contract::reading::Outcome;
use contract::secret::Secret;

use super::boot_proof::Transmit;

/// The keys that the TPM made in this boot.
#[derive(Debug)]
pub struct Keys {
    /// It signs quotes.
    pub attestation: Created,
    endorsement: Created,
    certificate: Outcome<String>,
}

/// Has the TPM make both keys: the endorsement key that it holds a certificate for, else that on P-256, which is
/// made fastest.
///
/// # Errors
/// In words, if it makes one of them not.
pub fn make(transmit: Transmit<'_>) -> Result<Keys, String> {
    let (kind, certificate) = certificate(transmit);
    let attestation = command::created(&transmit(&command::create_key())?)
        .map_err(|error| format!("cannot make the attestation key: {error}"))?;
    let endorsement = command::created(&transmit(&enrolment::create_endorsement(kind))?)
        .map_err(|error| format!("cannot make the endorsement key: {error}"))?;
    Ok(Keys { attestation, endorsement, certificate })
}

impl Keys {
    /// What the service is shown of them.
    #[must_use]
    pub fn request(&self) -> BootKeyRequest {
        BootKeyRequest {
            attestation: hex::encode(&self.attestation.public),
            endorsement: hex::encode(&self.endorsement.public),
            certificate: self.certificate.clone(),
        }
    }

    /// Has the TPM open the service's credential with both keys.
    ///
    /// # Errors
    /// In words, if it does not.
    pub fn open(&self, credential: &BootKeyReply, transmit: Transmit<'_>) -> Result<Secret, String> {
        let bytes = |text: &str| hex::decode(text).map_err(|_| "the credential is no hexadecimal".to_owned());
        let (sealed, seed) = (bytes(&credential.credential)?, bytes(&credential.encrypted_seed)?);
        if sealed.len() + seed.len() > 1024 {
            return Err("the credential is larger than one can be".to_owned());
        }
        let session = enrolment::session(&transmit(&enrolment::begin_session())?)
            .map_err(|error| format!("cannot begin a session: {error}"))?;
        enrolment::password_known(&transmit(&enrolment::know_password(session))?)
            .map_err(|error| format!("cannot use the endorsement hierarchy: {error}"))?;
        let (attestation, endorsement) = (self.attestation.handle, self.endorsement.handle);
        let open = enrolment::open_credential(attestation, endorsement, session, &sealed, &seed);
        let secret = enrolment::opened(&transmit(&open)?)
            .map_err(|error| format!("cannot open the service's credential: {error}"))?;
        Ok(Secret::new(hex::encode(secret)))
    }
}

/// The first certificate that the TPM holds, with the kind of key that it is for.
fn certificate(transmit: Transmit<'_>) -> (EndorsementKind, Outcome<String>) {
    let mut unreadable = None;
    for kind in EndorsementKind::ALL {
        match read(kind, transmit) {
            Ok(Some(certificate)) => return (kind, Outcome::Value(hex::encode(certificate))),
            Ok(None) => {}
            Err(why) => unreadable = unreadable.or(Some(why)),
        }
    }
    (EndorsementKind::Elliptic, unreadable.map_or(Outcome::Absent, Outcome::Unreadable))
}

/// The certificate for a kind of key; none if the TPM holds none.
fn read(kind: EndorsementKind, transmit: Transmit<'_>) -> Result<Option<Vec<u8>>, String> {
    let handle = kind.certificate_index();
    let failed = |error: command::AnswerError| format!("cannot read index {handle:#x} of the TPM: {error}");
    let Some(index) = enrolment::index(&transmit(&enrolment::ask_index(handle))?).map_err(failed)? else {
        return Ok(None);
    };
    if index.length > CERTIFICATE_BYTES_MAX {
        return Err(format!("index {handle:#x} of the TPM has {} bytes, no certificate has", index.length));
    }
    let mut memory: Vec<u8> = Vec::new();
    while let Some(ask) = u16::try_from(memory.len()).ok().and_then(|at| enrolment::read_index(index, at)) {
        let part = enrolment::index_part(&transmit(&ask)?).map_err(failed)?;
        if part.is_empty() {
            return Err(format!("index {handle:#x} of the TPM ends before it says"));
        }
        memory.extend(part);
    }
    match in_memory(&memory) {
        Some(certificate) => Ok(Some(certificate.to_vec())),
        None => Err(format!("index {handle:#x} of the TPM holds no certificate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn recorded(name: &str) -> Vec<u8> {
        let all = include_str!("../../../crates/attest/recorded/enrolment.txt");
        let digits = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        hex::decode(digits).unwrap()
    }

    /// A TPM that answers as one did; everything else it refuses.
    struct Tpm(HashMap<Vec<u8>, Vec<u8>>);

    impl Tpm {
        fn new() -> Self {
            let [elliptic, rsa] = EndorsementKind::ALL;
            let index = |kind: EndorsementKind| enrolment::ask_index(kind.certificate_index());
            let mut answers = HashMap::from([
                (command::create_key(), recorded("attestation")),
                (index(elliptic), recorded("index")),
                (index(rsa), recorded("no-index")),
            ]);
            for (command, answer) in [
                ("create-elliptic", "elliptic"),
                ("create-rsa", "rsa"),
                ("read-part-0", "part-0"),
                ("read-part-1", "part-1"),
                ("begin-session", "session"),
                ("know-password", "password-known"),
                ("open-elliptic", "opened-elliptic"),
            ] {
                answers.insert(recorded(command), recorded(answer));
            }
            Self(answers)
        }

        fn transmit(&self) -> impl FnMut(&[u8]) -> Result<Vec<u8>, String> {
            let answers = self.0.clone();
            let refused = || [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x4A].to_vec();
            move |command| Ok(answers.get(command).cloned().unwrap_or_else(refused))
        }

        fn keys(&self) -> Result<Keys, String> {
            make(&mut self.transmit())
        }
    }

    fn credential() -> BootKeyReply {
        let ephemeral = recorded("ephemeral");
        let sized = |part: &[u8]| [&[0, 32], part].concat();
        let seed = [sized(&ephemeral[1..33]), sized(&ephemeral[33..])].concat();
        BootKeyReply {
            credential: hex::encode(recorded("sealed-elliptic")),
            encrypted_seed: hex::encode(seed),
        }
    }

    #[test]
    fn both_keys_and_the_certificate_are_shown_and_the_credential_is_opened() {
        let tpm = Tpm::new();
        let keys = tpm.keys().unwrap();
        let request = keys.request();
        assert_eq!(request.certificate, Outcome::Value(hex::encode(recorded("certificate-elliptic"))));
        let shown = hex::decode(&request.endorsement).unwrap();
        assert!(recorded("elliptic").windows(shown.len()).any(|part| part == shown));
        let secret = keys.open(&credential(), &mut tpm.transmit()).unwrap();
        assert_eq!(secret.reveal(), hex::encode(recorded("secret")));
    }

    #[test]
    fn without_a_certificate_the_key_is_shown_all_the_same() {
        let mut tpm = Tpm::new();
        let elliptic = enrolment::ask_index(EndorsementKind::Elliptic.certificate_index());
        tpm.0.insert(elliptic.clone(), recorded("no-index"));
        assert_eq!(tpm.keys().unwrap().certificate, Outcome::Absent);
        tpm.0.remove(&elliptic);
        let found = tpm.keys().unwrap().certificate;
        assert!(matches!(&found, Outcome::Unreadable(why) if why.contains("0x1c0000a")), "{found:?}");
        for part in ["read-part-1", "read-part-0"] {
            let mut tpm = Tpm::new();
            tpm.0.remove(&recorded(part));
            assert!(matches!(tpm.keys().unwrap().certificate, Outcome::Unreadable(_)), "{part}");
        }
    }

    #[test]
    fn what_a_tpm_refuses_is_said() {
        for (command, part) in [
            ("create-elliptic", "endorsement key"),
            ("begin-session", "session"),
            ("know-password", "hierarchy"),
            ("open-elliptic", "credential"),
        ] {
            let mut tpm = Tpm::new();
            tpm.0.remove(&recorded(command));
            let opened = tpm.keys().and_then(|keys| keys.open(&credential(), &mut tpm.transmit()));
            assert!(opened.as_ref().is_err_and(|why| why.contains(part)), "{command}: {opened:?}");
        }
        let (tpm, long) = (Tpm::new(), "00".repeat(2000));
        let long = BootKeyReply { credential: long.clone(), encrypted_seed: long };
        assert!(tpm.keys().unwrap().open(&long, &mut tpm.transmit()).is_err());
    }
}
