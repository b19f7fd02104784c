//! What this machine shows of its boot: registers, event log, and the TPM's signature under both.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use attest::command::{self, ANSWER_BYTES_MAX, Created};
use contract::boot_key::{BootKeyReply, BootKeyRequest};
use contract::boot_proof::{BootProof, EVENT_LOG_BYTES_MAX, ShownBoot};
use contract::id::Digest;
use contract::reading::Outcome;
use contract::secret::Secret;

use super::boot_key::{self, Keys};
use crate::probe::source::{self, Source};
use crate::probe::tpm;

/// The kernel's resource manager: what is made through it is gone when it is closed.
const DEVICE: &str = "dev/tpmrm0";
/// Making a key takes slow TPMs some seconds.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A TPM that has made its keys; they are gone when it is closed.
#[derive(Debug)]
pub struct Tpm {
    device: File,
    keys: Keys,
}

impl Tpm {
    /// What the service is shown of its keys.
    #[must_use]
    pub fn request(&self) -> BootKeyRequest {
        self.keys.request()
    }
}

/// Has the TPM make its keys; none where it does not, which is said: then the boot is shown without them.
pub async fn keys(source: Source) -> Option<Tpm> {
    let asking = tokio::task::spawn_blocking(move || {
        let path = source.path(DEVICE);
        if !path.exists() {
            return Ok(None);
        }
        let mut device = open(&path)?;
        let keys = boot_key::make(&mut |command| transmit(&mut device, command))?;
        Ok(Some(Tpm { device, keys }))
    });
    let made = match tokio::time::timeout(ANSWER_MAX, asking).await {
        Ok(Ok(made)) => made,
        Ok(Err(_)) => Err("asking the TPM broke off".to_owned()),
        Err(_) => Err(late()),
    };
    made.unwrap_or_else(|why| {
        tracing::warn!(why, "the TPM's endorsement key cannot be shown");
        None
    })
}

/// Asks the TPM. What cannot be shown is said; a TPM that does not answer holds nothing up for long.
pub async fn show(
    source: Source,
    challenge: Digest,
    tpm: Option<Tpm>,
    credential: Option<BootKeyReply>,
) -> BootProof {
    let asking = tokio::task::spawn_blocking(move || prove(&source, &challenge, tpm, credential));
    let unreadable = |why: String| BootProof { shown: Outcome::Unreadable(why), opened: None };
    match tokio::time::timeout(ANSWER_MAX, asking).await {
        Ok(Ok(proof)) => proof,
        Ok(Err(_)) => unreadable("asking the TPM broke off".to_owned()),
        Err(_) => unreadable(late()),
    }
}

fn late() -> String {
    format!("the TPM did not answer within {} s", ANSWER_MAX.as_secs())
}

fn prove(
    source: &Source,
    challenge: &Digest,
    mut tpm: Option<Tpm>,
    credential: Option<BootKeyReply>,
) -> BootProof {
    let shown = look(source, challenge, tpm.as_mut());
    let opened = tpm.zip(credential).and_then(|(Tpm { mut device, keys }, credential)| {
        let opened = keys.open(&credential, &mut |command| transmit(&mut device, command));
        opened.map_err(|why| tracing::warn!(why, "the TPM does not show that the key is its own")).ok()
    });
    BootProof { shown, opened }
}

fn look(source: &Source, challenge: &Digest, tpm: Option<&mut Tpm>) -> Outcome<ShownBoot> {
    let registers = match tpm::registers(source) {
        Outcome::Value(registers) => registers,
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    };
    let event_log = match tpm::event_log(source) {
        Ok(event_log) => event_log,
        Err(why) => return Outcome::Unreadable(why),
    };
    if let Some(Tpm { device, keys }) = tpm {
        let transmit = &mut |command: &[u8]| transmit(device, command);
        let asked = Asked { challenge, event_log, made: Some(&keys.attestation) };
        return Outcome::from(shown(source, registers, asked, transmit));
    }
    asked_anew(source, registers, challenge, event_log)
}

/// What a running system shows of its boot: an event log only where the kernel was given one by its loader. It may
/// wait for the TPM for ever.
#[must_use]
pub fn look_at_system(source: &Source, challenge: &Digest) -> Outcome<ShownBoot> {
    let registers = match tpm::registers(source) {
        Outcome::Value(registers) => registers,
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    };
    match tpm::event_log_if_there(source) {
        Ok(event_log) => asked_anew(source, registers, challenge, event_log.unwrap_or_default()),
        Err(why) => Outcome::Unreadable(why),
    }
}

/// Asks a TPM that has made no key yet.
fn asked_anew(
    source: &Source,
    registers: Vec<(u8, Digest)>,
    challenge: &Digest,
    event_log: Vec<u8>,
) -> Outcome<ShownBoot> {
    let path = source.path(DEVICE);
    let mut device = match open(&path) {
        Ok(device) => device,
        Err(why) => return Outcome::Unreadable(why),
    };
    let asked = Asked { challenge, event_log, made: None };
    Outcome::from(shown(source, registers, asked, &mut |command| transmit(&mut device, command)))
}

fn open(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|error| format!("cannot open the TPM {}: {error}", path.display()))
}

/// One command, one answer; the kernel takes and gives each whole.
fn transmit(device: &mut File, command: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("the TPM does not answer: {error}");
    device.write_all(command).map_err(failed)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let length = device.read(&mut answer).map_err(failed)?;
    answer.truncate(length);
    Ok(answer)
}

/// How a command is sent.
pub(super) type Transmit<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Vec<u8>, String>;

/// What the TPM's answer is made with.
struct Asked<'a> {
    challenge: &'a Digest,
    event_log: Vec<u8>,
    /// The attestation key, if it was made already.
    made: Option<&'a Created>,
}

fn shown(
    source: &Source,
    registers: Vec<(u8, Digest)>,
    Asked { challenge, event_log, made }: Asked<'_>,
    transmit: Transmit<'_>,
) -> Result<ShownBoot, String> {
    if event_log.len() > EVENT_LOG_BYTES_MAX {
        let length = event_log.len();
        return Err(format!(
            "the firmware's event log has {length} bytes, and the service takes {EVENT_LOG_BYTES_MAX}"
        ));
    }
    let key = match made {
        Some(key) => key.clone(),
        None => command::created(&transmit(&command::create_key())?)
            .map_err(|error| format!("cannot make the attestation key: {error}"))?,
    };
    let quoted = command::quoted(&transmit(&command::quote(key.handle, &challenge.0))?);
    let quoted = quoted.map_err(|error| format!("cannot quote the registers: {error}"))?;
    let command_line = source::read_bytes(&source.path("proc/cmdline"))
        .map_err(|error| format!("cannot read the kernel command line: {error}"))?;
    let command_line = String::from_utf8_lossy(&command_line).trim_end_matches('\n').to_owned();
    Ok(ShownBoot {
        registers,
        event_log: hex::encode(event_log),
        attested: hex::encode(quoted.attested),
        signature: hex::encode(quoted.signature),
        public: hex::encode(key.public),
        command_line: Secret::new(command_line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;

    const KEY: &[u8] = include_bytes!("../../../crates/attest/recorded/uefi.key");
    const QUOTE: &[u8] = include_bytes!("../../../crates/attest/recorded/uefi.quote");

    fn machine() -> Tree {
        let tree = Tree::new();
        tree.write("sys/kernel/security/tpm0/binary_bios_measurements", [1, 2, 3]);
        tree.write("proc/cmdline", "quiet reprieve.token=a \n");
        tree
    }

    #[test]
    fn the_key_is_made_and_the_quote_made_with_it() {
        let (challenge, mut sent) = (Digest([7; 32]), Vec::new());
        let mut tpm = |command: &[u8]| {
            sent.push(command.to_vec());
            Ok(if sent.len() == 1 { KEY } else { QUOTE }.to_vec())
        };
        let shown =
            shown(&machine().source(), Vec::new(), asked(&challenge, vec![1, 2, 3]), &mut tpm).unwrap();
        assert_eq!(sent, [command::create_key(), command::quote(0x80ff_ffff, &challenge.0)]);
        assert_eq!(shown.event_log, "010203");
        assert_eq!(shown.command_line.reveal(), "quiet reprieve.token=a ", "as it was measured");
        assert!(shown.attested.starts_with("ff544347"));
    }

    #[test]
    fn a_tpm_that_refuses_or_fails_is_unreadable_and_says_why() {
        let challenge = Digest([7; 32]);
        let refused = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0xa2];
        let refuse = &mut |_: &[u8]| Ok(refused.to_vec());
        let why = shown(&machine().source(), Vec::new(), asked(&challenge, vec![1]), refuse).unwrap_err();
        assert!(why.contains("attestation key") && why.contains("0x9a2"), "{why}");
        assert_eq!(look(&Tree::new().source(), &challenge, None), Outcome::Absent);
        assert_eq!(look_at_system(&Tree::new().source(), &challenge), Outcome::Absent);

        let long = asked(&challenge, vec![0; EVENT_LOG_BYTES_MAX + 1]);
        let why = shown(&machine().source(), Vec::new(), long, &mut |_| Ok(KEY.to_vec())).unwrap_err();
        assert!(why.contains("3145729 bytes"), "{why}");
    }

    /// A ramdisk's kernel was given the log by the firmware; a system's loader may have kept it.
    #[test]
    fn a_log_that_is_not_there_is_missed_of_a_ramdisk_alone() {
        let tree = Tree::new();
        tree.write("sys/class/tpm/tpm0/tpm_version_major", "2\n");
        for index in attest::register::ASKED {
            tree.write(&format!("sys/class/tpm/tpm0/pcr-sha256/{index}"), "AB".repeat(32));
        }
        let why = |outcome: Outcome<ShownBoot>| match outcome {
            Outcome::Unreadable(why) => why,
            other => panic!("{other:?}"),
        };
        let challenge = Digest([7; 32]);
        assert!(why(look(&tree.source(), &challenge, None)).contains("event log"));
        assert!(why(look_at_system(&tree.source(), &challenge)).contains("cannot open the TPM"));
        tree.write("sys/kernel/security/tpm0/binary_bios_measurements/a", "a folder is no log");
        assert!(why(look_at_system(&tree.source(), &challenge)).contains("event log"));
    }

    fn asked(challenge: &Digest, event_log: Vec<u8>) -> Asked<'_> {
        Asked { challenge, event_log, made: None }
    }
}
