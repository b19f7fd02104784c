//! The commands that show that the attestation key and an endorsement key are in one TPM (TPM 2.0 part 3): make
//! the endorsement key, read its certificate, and open a credential with both keys.

use crate::bytes::Bytes;
use crate::command::{
    AnswerError, ENDORSEMENT, PASSWORD, authorised, body, command, create_primary, open_body, open_command,
    parameters, sized,
};
use crate::endorsement::EndorsementKind;

/// A certificate is no longer; the longest known have under 2,048 bytes.
pub const CERTIFICATE_BYTES_MAX: u16 = 4096;
/// What is read of an index at once: no TPM of a PC gives less.
const INDEX_PART_BYTES: u16 = 512;
const START_SESSION: u32 = 0x176;
const POLICY_SECRET: u32 = 0x151;
const ACTIVATE: u32 = 0x147;
const INDEX_PUBLIC: u32 = 0x169;
const INDEX_READ: u32 = 0x14E;
const NULL_HANDLE: u32 = 0x4000_0007;
const OWNER: u32 = 0x4000_0001;
const NULL: u16 = 0x0010;
const SHA256: u16 = 0x000B;
/// `TPM_SE_POLICY`.
const POLICY_SESSION: u8 = 1;
/// `TPM_RC_HANDLE` without the number of the handle.
const NO_SUCH_HANDLE: u32 = 0x8B;
/// `TPMA_NV_AUTHREAD`: the index's own password, an empty one, reads it.
const READ_BY_ITSELF: u32 = 1 << 18;

/// What a TPM says of a place in its memory (`TPMS_NV_PUBLIC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    handle: u32,
    read_as: u32,
    /// How many bytes it holds.
    pub length: u16,
}

/// `TPM2_CreatePrimary` of the endorsement key.
#[must_use]
pub fn create_endorsement(kind: EndorsementKind) -> Vec<u8> {
    create_primary(&kind.template())
}

/// `TPM2_NV_ReadPublic`.
#[must_use]
pub fn ask_index(handle: u32) -> Vec<u8> {
    open_command(INDEX_PUBLIC, &handle.to_be_bytes())
}

/// The answer to [`ask_index`]; none where there is no such index.
///
/// # Errors
/// If the TPM refused otherwise, or its answer is not whole.
pub fn index(answer: &[u8]) -> Result<Option<Index>, AnswerError> {
    let mut body = match open_body(answer) {
        Err(AnswerError::Refused { code }) if code & 0xFF == NO_SUCH_HANDLE => return Ok(None),
        other => other?,
    };
    let mut public = Bytes::new(body.sized()?);
    let handle = public.u32()?;
    let _name_algorithm = public.u16()?;
    let attributes = public.u32()?;
    let _policy = public.sized()?;
    let length = public.u16()?;
    let read_as = if attributes & READ_BY_ITSELF == 0 { OWNER } else { handle };
    Ok(Some(Index { handle, read_as, length }))
}

/// `TPM2_NV_Read` of what comes next after `offset` bytes; none at the end.
#[must_use]
pub fn read_index(index: Index, offset: u16) -> Option<Vec<u8>> {
    let length = index.length.checked_sub(offset)?.min(INDEX_PART_BYTES);
    if length == 0 {
        return None;
    }
    let mut body = index.read_as.to_be_bytes().to_vec();
    body.extend(index.handle.to_be_bytes());
    body.extend(empty_password());
    body.extend(length.to_be_bytes());
    body.extend(offset.to_be_bytes());
    Some(command(INDEX_READ, &body))
}

/// The answer to [`read_index`].
///
/// # Errors
/// If the TPM refused, or its answer is not whole.
pub fn index_part(answer: &[u8]) -> Result<Vec<u8>, AnswerError> {
    first_parameter(answer)
}

/// `TPM2_StartAuthSession` of a policy session. Nothing is encrypted or signed with it, so that our number need
/// not be random.
#[must_use]
pub fn begin_session() -> Vec<u8> {
    let mut body = [NULL_HANDLE.to_be_bytes(), NULL_HANDLE.to_be_bytes()].concat();
    body.extend(sized(&[0; 16]));
    // No salt.
    body.extend([0; 2]);
    body.push(POLICY_SESSION);
    body.extend(NULL.to_be_bytes());
    body.extend(SHA256.to_be_bytes());
    open_command(START_SESSION, &body)
}

/// The answer to [`begin_session`]: the session's handle.
///
/// # Errors
/// If the TPM refused, or its answer is not whole.
pub fn session(answer: &[u8]) -> Result<u32, AnswerError> {
    let mut body = open_body(answer)?;
    let handle = body.u32()?;
    let _theirs = body.sized()?;
    Ok(handle)
}

/// `TPM2_PolicySecret`: shows the session the empty password of the endorsement hierarchy.
#[must_use]
pub fn know_password(session: u32) -> Vec<u8> {
    let mut body = ENDORSEMENT.to_be_bytes().to_vec();
    body.extend(session.to_be_bytes());
    body.extend(empty_password());
    // Not bound to a number, a command or a name, and good until the session ends.
    body.extend([0; 2 + 2 + 2 + 4]);
    command(POLICY_SECRET, &body)
}

/// Whether the TPM took [`know_password`].
///
/// # Errors
/// If it did not, or its answer is not whole.
pub fn password_known(answer: &[u8]) -> Result<(), AnswerError> {
    let mut body = body(answer)?;
    parameters(&mut body).map(|_| ())
}

/// `TPM2_ActivateCredential`: opens what [`crate::credential::seal`] made.
#[must_use]
pub fn open_credential(
    attestation: u32,
    endorsement: u32,
    session: u32,
    credential: &[u8],
    encrypted_seed: &[u8],
) -> Vec<u8> {
    let mut body = [attestation.to_be_bytes(), endorsement.to_be_bytes()].concat();
    // An empty password for the attestation key, and the session, which ends with this, for the other.
    body.extend(18_u32.to_be_bytes());
    for authorisation in [PASSWORD, session] {
        body.extend(authorisation.to_be_bytes());
        body.extend([0; 5]);
    }
    body.extend(sized(credential));
    body.extend(sized(encrypted_seed));
    command(ACTIVATE, &body)
}

/// The answer to [`open_credential`]: the secret.
///
/// # Errors
/// If the TPM refused, or its answer is not whole.
pub fn opened(answer: &[u8]) -> Result<Vec<u8>, AnswerError> {
    first_parameter(answer)
}

fn first_parameter(answer: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let mut body = body(answer)?;
    let mut parameters = Bytes::new(parameters(&mut body)?);
    Ok(parameters.sized()?.to_vec())
}

/// The session area of a command whose handles come before it.
fn empty_password() -> Vec<u8> {
    let of_no_handle = authorised(0);
    of_no_handle.into_iter().skip(4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::in_memory;
    use crate::command::created;
    use crate::recorded::enrolment;
    use proptest::prelude::{any, proptest};

    /// The recorded bytes were sent to a TPM (swtpm 0.7.1), and the recorded answers are its answers to them.
    #[test]
    fn the_commands_are_those_that_were_tried() {
        assert_eq!(create_endorsement(EndorsementKind::Elliptic), enrolment("create-elliptic"));
        assert_eq!(create_endorsement(EndorsementKind::Rsa), enrolment("create-rsa"));
        assert_eq!(begin_session(), enrolment("begin-session"));
        let session = session(&enrolment("session")).unwrap();
        assert_eq!(know_password(session), enrolment("know-password"));
        password_known(&enrolment("password-known")).unwrap();
        let handle = |name: &str| created(&enrolment(name)).unwrap().handle;
        let (attestation, endorsement) = (handle("attestation"), handle("rsa"));
        let (sealed, seed) = (enrolment("sealed-rsa"), enrolment("encrypted-seed-rsa"));
        let open = open_credential(attestation, endorsement, session, &sealed, &seed);
        assert_eq!(open, enrolment("open-rsa"));
        for name in ["opened-elliptic", "opened-rsa"] {
            assert_eq!(opened(&enrolment(name)).unwrap(), enrolment("secret"));
        }
    }

    #[test]
    fn a_credential_for_another_key_is_refused() {
        assert_eq!(opened(&enrolment("not-opened")), Err(AnswerError::Refused { code: 0x1DF }));
    }

    #[test]
    fn a_certificate_is_read_in_parts() {
        let index = index(&enrolment("index")).unwrap().unwrap();
        assert_eq!(index.length, 700);
        assert_eq!(read_index(index, 0).unwrap(), enrolment("read-part-0"));
        assert_eq!(read_index(index, 512).unwrap(), enrolment("read-part-1"));
        assert_eq!(read_index(index, 700), None);
        assert_eq!(read_index(index, 701), None);
        let parts = ["part-0", "part-1"].map(|name| index_part(&enrolment(name)).unwrap());
        assert_eq!(in_memory(&parts.concat()), Some(&enrolment("certificate-elliptic")[..]));
        let by_owner = Index { read_as: OWNER, ..index };
        assert_ne!(read_index(by_owner, 0), read_index(index, 0));
    }

    #[test]
    fn no_index_and_one_that_cannot_be_read_are_two_things() {
        assert_eq!(index(&enrolment("no-index")), Ok(None));
        let refused = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x4A];
        assert_eq!(index(&refused), Err(AnswerError::Refused { code: 0x14A }));
        assert!(index(&[]).is_err());
    }

    #[test]
    fn a_cut_answer_is_none() {
        for name in ["index", "session", "part-0", "opened-rsa", "password-known"] {
            let whole = enrolment(name);
            for length in 0..whole.len() {
                let cut = &whole[..length];
                assert!(
                    index(cut).is_err() && session(cut).is_err() && password_known(cut).is_err(),
                    "{name}"
                );
                assert!(index_part(cut).is_err() && opened(cut).is_err(), "{name}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(tag in 1_u8..3, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let length = u8::try_from(10 + bytes.len()).unwrap();
            let good = [&[0x80, tag, 0, 0, 0, length, 0, 0, 0, 0][..], &bytes].concat();
            for bytes in [bytes, good] {
                let _ = (index(&bytes), index_part(&bytes), session(&bytes), opened(&bytes), password_known(&bytes));
            }
        }
    }
}
