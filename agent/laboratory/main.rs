//! The agent's own commands to an ATA or SCSI disk, one at a time, as somebody outside asks for them: for
//! the laboratory alone. Only in builds with the feature `laboratory`; in no package and no ramdisk.
//!
//! The agent sends ATA commands only to disks that the kernel shows behind libata, where no fake disk can
//! stand. Here the same code sends them through the same `SG_IO` to the disk that it is given, below that
//! choice and below every permit. It takes a line (`ata facts`, `ata security-erase normal`) and answers
//! with one: `ok …` or `error …`. Told `format-unit`, it does one thing and says on the console what came
//! of it ([`format_unit`]).

#[allow(dead_code, reason = "the agent's files hold more than is driven here")]
mod act;
mod format_unit;
#[allow(dead_code, reason = "the agent uses all of it")]
mod probe;
#[path = "../src/rehearsal.rs"]
mod rehearsal;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use erasure::command::SanitizeAction;
use erasure::sample::Span;

use crate::act::{ata, scsi};
use crate::probe::ata_port::AtaPort;
use crate::probe::{ata_facts, ata_security, scsi_facts};

/// The sectors of the fake disk, in bytes.
const SECTOR_BYTES: u32 = 512;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, address] = &arguments[..] else {
        eprintln!("ata-laboratory DEVICE ADDRESS, or DEVICE format-unit");
        return ExitCode::FAILURE;
    };
    if address == "format-unit" {
        return format_unit_once(device);
    }
    match serve(device, address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("laboratory: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says on the console what came of it, and goes on for ever: it may be the first process.
fn format_unit_once(device: &str) -> ExitCode {
    match format_unit::run(device) {
        Ok(proof) => println!("laboratory: {proof}"),
        Err(error) => println!("laboratory: NOT ERASED: {error:#}"),
    }
    loop {
        std::thread::park();
    }
}

fn serve(device: &str, address: &str) -> Result<()> {
    let stream = TcpStream::connect(address).with_context(|| format!("could not reach {address}"))?;
    for line in BufReader::new(&stream).lines() {
        let line = line.context("could not read what to do")?;
        let answer = match carry_out(device, &line) {
            Ok(answer) => format!("ok {answer}"),
            Err(error) => format!("error {error:#}"),
        };
        println!("laboratory: {line}: {answer}");
        writeln!(&stream, "{}", answer.replace('\n', " ")).context("could not answer")?;
    }
    Ok(())
}

fn carry_out(device: &str, line: &str) -> Result<String> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(device)
        .with_context(|| format!("could not open {device}"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["ata", ref rest @ ..] => ata_command(&file, rest),
        ["scsi", ref rest @ ..] => scsi_command(&file, rest),
        _ => bail!("{line:?} is nothing that can be done"),
    }
}

fn ata_command(file: &File, words: &[&str]) -> Result<String> {
    let disk = AtaPort::new(file);
    Ok(match *words {
        ["facts"] => serde_json::to_string(&ata_facts::read(&disk))?,
        ["open"] => format!("{:?}", ata_security::open(&disk)?),
        ["estimate", kind] => format!("{:?}", ata::estimate_seconds(&disk, kind == "enhanced")),
        ["security-erase", kind] => ata::security_erase(&disk, kind == "enhanced")?,
        ["sanitize", name] => ata::start_sanitize(&disk, action(name)?)?,
        ["sanitize-progress"] => format!("{:?}", ata::sanitize_progress(&disk)?),
        _ => bail!("{words:?} is no ATA command"),
    })
}

fn scsi_command(file: &File, words: &[&str]) -> Result<String> {
    Ok(match *words {
        ["facts"] => serde_json::to_string(&scsi_facts::read(file))?,
        ["write-same-facts"] => serde_json::to_string(&scsi_facts::write_same(file))?,
        ["write-same", offset, bytes] => {
            let span = Span { offset: offset.parse()?, bytes: bytes.parse()? };
            let limits = scsi_facts::write_same_limits(file)?;
            format!("{:?}", scsi::write_same(file, SECTOR_BYTES, limits, span)?)
        }
        ["sanitize", name] => scsi::start_sanitize(file, action(name)?)?,
        ["sanitize-progress"] => format!("{:?}", scsi::sanitize_progress(file, true)?),
        _ => bail!("{words:?} is no SCSI command"),
    })
}

fn action(name: &str) -> Result<SanitizeAction> {
    Ok(match name {
        "block" => SanitizeAction::Block,
        "crypto" => SanitizeAction::Crypto,
        "overwrite" => SanitizeAction::Overwrite,
        _ => bail!("{name} is no sanitize"),
    })
}
