//! What this machine shows of its boot: registers, event log, and the TPM's signature under both.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use attest::command::{self, ANSWER_BYTES_MAX};
use contract::boot_proof::{BootProof, ShownBoot};
use contract::id::Digest;
use contract::reading::Outcome;
use contract::secret::Secret;

use crate::probe::source::{self, Source};
use crate::probe::tpm;

/// The kernel's resource manager: what is made through it is gone when it is closed.
const DEVICE: &str = "dev/tpmrm0";
/// Making a key takes slow TPMs some seconds.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Asks the TPM. What cannot be shown is said; a TPM that does not answer holds nothing up for long.
pub async fn show(source: Source, challenge: Digest) -> BootProof {
    let asking = tokio::task::spawn_blocking(move || look(&source, &challenge));
    let shown = match tokio::time::timeout(ANSWER_MAX, asking).await {
        Ok(Ok(shown)) => shown,
        Ok(Err(_)) => Outcome::Unreadable("asking the TPM broke off".to_owned()),
        Err(_) => Outcome::Unreadable(format!("the TPM did not answer within {} s", ANSWER_MAX.as_secs())),
    };
    BootProof { shown }
}

fn look(source: &Source, challenge: &Digest) -> Outcome<ShownBoot> {
    let registers = match tpm::registers(source) {
        Outcome::Value(registers) => registers,
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why),
    };
    let path = source.path(DEVICE);
    let mut device = match open(&path) {
        Ok(device) => device,
        Err(why) => return Outcome::Unreadable(why),
    };
    Outcome::from(shown(source, registers, challenge, &mut |command| transmit(&mut device, command)))
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
type Transmit<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Vec<u8>, String>;

fn shown(
    source: &Source,
    registers: Vec<(u8, Digest)>,
    challenge: &Digest,
    transmit: Transmit<'_>,
) -> Result<ShownBoot, String> {
    let event_log = tpm::event_log(source)?;
    let created = command::created(&transmit(&command::create_key())?);
    let key = created.map_err(|error| format!("cannot make the attestation key: {error}"))?;
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
        let shown = shown(&machine().source(), Vec::new(), &challenge, &mut tpm).unwrap();
        assert_eq!(sent, [command::create_key(), command::quote(0x80ff_ffff, &challenge.0)]);
        assert_eq!(shown.event_log, "010203");
        assert_eq!(shown.command_line.reveal(), "quiet reprieve.token=a ", "as it was measured");
        assert!(shown.attested.starts_with("ff544347"));
    }

    #[test]
    fn a_tpm_that_refuses_or_fails_is_unreadable_and_says_why() {
        let challenge = Digest([7; 32]);
        let refused = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0xa2];
        let why =
            shown(&machine().source(), Vec::new(), &challenge, &mut |_| Ok(refused.to_vec())).unwrap_err();
        assert!(why.contains("attestation key") && why.contains("0x9a2"), "{why}");
        let why =
            shown(&Tree::new().source(), Vec::new(), &challenge, &mut |_| Ok(KEY.to_vec())).unwrap_err();
        assert!(why.contains("event log"), "{why}");
        assert_eq!(look(&Tree::new().source(), &challenge), Outcome::Absent);
    }
}
