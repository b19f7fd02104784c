//! The two commands that a TPM 2.0 is sent to sign its registers, and what it answers (TPM 2.0 parts 2 and 3):
//! make the attestation key, and quote the registers with it. What shows that the key is the TPM's is in
//! [`crate::enrolment`]; the rest that the agent wants of it stands in sysfs.
//!
//! The key is a primary key of the endorsement hierarchy: the TPM makes the same one from the same template at
//! each boot, so that nothing has to be stored in it. P-256 because every TPM 2.0 of a PC has it (PC Client
//! Platform TPM Profile 1.05, 4.6) and makes it in well under a second, where RSA takes many.

use thiserror::Error;

use crate::bytes::{Bytes, CutOff};
use crate::register::asked_bitmap;

/// No answer of a TPM is longer (`MAX_RESPONSE_SIZE`).
pub const ANSWER_BYTES_MAX: usize = 4096;
/// `TPM_ST_NO_SESSIONS` and `TPM_ST_SESSIONS`: what an answer carries.
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const CREATE_PRIMARY: u32 = 0x131;
const QUOTE: u32 = 0x158;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000B;
pub(crate) const PASSWORD: u32 = 0x4000_0009;
const SHA256: u16 = 0x000B;
const NULL: u16 = 0x0010;
const ECDSA: u16 = 0x0018;
const ELLIPTIC: u16 = 0x0023;
const P256: u16 = 0x0003;
/// `TPM_RC_YIELDED` to `TPM_RC_TESTING`: it is busy and wants to be asked again.
const ASK_AGAIN: [u32; 3] = [0x908, 0x922, 0x90A];

/// `TPMA_OBJECT`: fixed to this TPM, made by it, no lockout, signs nothing but what it made itself.
pub(crate) const KEY_ATTRIBUTES: u32 = 0x0005_0472;

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// It is not what its length says.
    #[error("the TPM's answer is cut off or longer than it says")]
    Length,
    /// `TPM_RC_RETRY` and its like.
    #[error("the TPM is busy (code {code:#x}); ask again")]
    Busy {
        /// Its response code.
        code: u32,
    },
    /// It said no.
    #[error(
        "the TPM refuses (code {code:#x}); see TPM 2.0 part 2, 6.6, and whether the firmware's setup has it switched on"
    )]
    Refused {
        /// Its response code.
        code: u32,
    },
}

impl From<CutOff> for AnswerError {
    fn from(_: CutOff) -> Self {
        Self::Length
    }
}

/// A key that the TPM has made and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Names it in the commands that follow.
    pub handle: u32,
    /// Its public part (`TPMT_PUBLIC`), for [`crate::key::AttestationKey::parse`].
    pub public: Vec<u8>,
}

/// What the TPM signed, and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// `TPMS_ATTEST`, for [`crate::quote::Quote::parse`].
    pub attested: Vec<u8>,
    /// `TPMT_SIGNATURE`, for [`crate::key::signature`].
    pub signature: Vec<u8>,
}

/// `TPM2_CreatePrimary` of the attestation key.
#[must_use]
pub fn create_key() -> Vec<u8> {
    let mut public = Vec::new();
    for word in [ELLIPTIC, SHA256] {
        public.extend(word.to_be_bytes());
    }
    public.extend(KEY_ATTRIBUTES.to_be_bytes());
    // No policy; no cipher, ECDSA over SHA-256, P-256, no derivation; no coordinates of ours.
    for word in [0, NULL, ECDSA, SHA256, P256, NULL, 0, 0] {
        public.extend(u16::to_be_bytes(word));
    }
    create_primary(&public)
}

/// `TPM2_CreatePrimary` of a key with this public part, in the endorsement hierarchy.
pub(crate) fn create_primary(public: &[u8]) -> Vec<u8> {
    let mut body = authorised(ENDORSEMENT);
    // No password for the key and nothing to seal.
    for word in [4_u16, 0, 0] {
        body.extend(word.to_be_bytes());
    }
    body.extend(sized(public));
    // Nothing from outside, and no registers that its making is bound to.
    body.extend([0; 2 + 4]);
    command(CREATE_PRIMARY, &body)
}

/// `TPM2_Quote` over the registers of [`crate::register::ASKED`].
#[must_use]
pub fn quote(handle: u32, challenge: &[u8; 32]) -> Vec<u8> {
    let mut body = authorised(handle);
    body.extend(sized(challenge));
    // The key's own scheme; one bank, three bytes of bitmap.
    body.extend(NULL.to_be_bytes());
    body.extend(1_u32.to_be_bytes());
    body.extend(SHA256.to_be_bytes());
    let bitmap = asked_bitmap();
    body.push(3);
    body.extend(bitmap);
    command(QUOTE, &body)
}

/// The answer to [`create_key`].
///
/// # Errors
/// If the TPM refused, or its answer is not whole.
pub fn created(answer: &[u8]) -> Result<Created, AnswerError> {
    let mut body = body(answer)?;
    let handle = body.u32()?;
    let mut parameters = Bytes::new(parameters(&mut body)?);
    Ok(Created { handle, public: parameters.sized()?.to_vec() })
}

/// The answer to [`quote`].
///
/// # Errors
/// If the TPM refused, or its answer is not whole.
pub fn quoted(answer: &[u8]) -> Result<Quoted, AnswerError> {
    let mut body = body(answer)?;
    let mut parameters = Bytes::new(parameters(&mut body)?);
    let attested = parameters.sized()?.to_vec();
    Ok(Quoted { attested, signature: parameters.rest().to_vec() })
}

/// An empty password for `handle`, as all of the endorsement hierarchy has unless its owner set one.
pub(crate) fn authorised(handle: u32) -> Vec<u8> {
    let mut body = handle.to_be_bytes().to_vec();
    body.extend(9_u32.to_be_bytes());
    body.extend(PASSWORD.to_be_bytes());
    body.extend([0; 5]);
    body
}

/// What is sized here is far below 65,536 bytes.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

pub(crate) fn command(code: u32, body: &[u8]) -> Vec<u8> {
    tagged(SESSIONS, code, body)
}

/// A command that needs no password.
pub(crate) fn open_command(code: u32, body: &[u8]) -> Vec<u8> {
    tagged(NO_SESSIONS, code, body)
}

fn tagged(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(10 + body.len()).unwrap_or(u32::MAX);
    [&tag.to_be_bytes()[..], &length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// What follows the code of an answer that is good, to a command that took a password.
pub(crate) fn body(answer: &[u8]) -> Result<Bytes<'_>, AnswerError> {
    body_of(SESSIONS, answer)
}

/// What follows the code of a good answer to [`open_command`].
pub(crate) fn open_body(answer: &[u8]) -> Result<Bytes<'_>, AnswerError> {
    body_of(NO_SESSIONS, answer)
}

fn body_of(good: u16, answer: &[u8]) -> Result<Bytes<'_>, AnswerError> {
    let mut bytes = Bytes::new(answer);
    let tag = bytes.u16()?;
    if bytes.u32()? as usize != answer.len() || answer.len() > ANSWER_BYTES_MAX {
        return Err(AnswerError::Length);
    }
    match bytes.u32()? {
        0 if tag == good => Ok(bytes),
        0 => Err(AnswerError::Length),
        code if ASK_AGAIN.contains(&code) && tag == NO_SESSIONS => Err(AnswerError::Busy { code }),
        code => Err(AnswerError::Refused { code }),
    }
}

/// The parameters of an answer, without the acknowledgement of the password behind them.
pub(crate) fn parameters<'a>(body: &mut Bytes<'a>) -> Result<&'a [u8], AnswerError> {
    let length = body.u32()?;
    Ok(body.take(length as usize)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{BIOS, UEFI};
    use proptest::prelude::{any, proptest};

    /// These bytes were sent to a TPM (swtpm 0.7.1), and the recorded answers are its answers to them.
    #[test]
    fn the_commands_are_those_that_were_tried() {
        let create = "800200000041000001314000000b0000000940000009000000000000040000000000180023000b\
                      00050472000000100018000b0003001000000000000000000000";
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let create: String = create.split_whitespace().collect();
        assert_eq!(hexadecimal(&create_key()), create);
        let challenge: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let quote = quote(0x80ff_ffff, &challenge);
        let challenge = hexadecimal(&challenge);
        let expected = format!(
            "80020000004900000158\
             80ffffff000000094000000900000000000020{challenge}001000000001000b03ff4300"
        );
        assert_eq!(hexadecimal(&quote), expected);
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        for machine in [&BIOS, &UEFI] {
            let made = created(machine.key_answer).unwrap();
            assert_eq!(made.handle, 0x80ff_ffff);
            let quoted_once = quoted(machine.quote_answer).unwrap();
            assert!(quoted_once.attested.starts_with(b"\xffTCG"));
            for length in 0..machine.key_answer.len() {
                assert_eq!(created(&machine.key_answer[..length]), Err(AnswerError::Length));
            }
            for length in 0..machine.quote_answer.len() {
                assert_eq!(quoted(&machine.quote_answer[..length]), Err(AnswerError::Length));
            }
        }
    }

    #[test]
    fn a_tpm_that_is_busy_and_one_that_refuses_are_two_things() {
        let answer = |code: u32| [&[0x80, 0x01, 0, 0, 0, 10][..], &code.to_be_bytes()].concat();
        assert_eq!(created(&answer(0x922)), Err(AnswerError::Busy { code: 0x922 }));
        assert_eq!(quoted(&answer(0x9a2)), Err(AnswerError::Refused { code: 0x9a2 }));
        assert_eq!(quoted(&answer(0)), Err(AnswerError::Length));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut sized = bytes.clone();
            if let Some(length) = sized.get_mut(2..6) {
                length.copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
            }
            for bytes in [bytes, sized] {
                let _ = (created(&bytes), quoted(&bytes));
            }
        }
    }
}
