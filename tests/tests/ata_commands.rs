//! The agent's own ATA commands through a real kernel's `SG_IO` to a fake disk: every state of its
//! security, its sanitize, its hidden areas, and what it only says. At the end, SCSI WRITE SAME.
//!
//! One machine takes all of them. The agent itself would send none to this disk, which the kernel does
//! not show behind libata; what is driven is the code below that choice.

use anyhow::{Context, Result, bail, ensure};
use contract::inventory::{AtaCapabilities, SanitizeCapabilities, SanitizeObstacle, SanitizeState};
use contract::reading::Outcome;
use reprieve_tests::lab::Lab;
use reprieve_tests::tcmu::ata::{Ata, AtaProfile, number};
use reprieve_tests::tcmu::commands::CommandSite;
use reprieve_tests::tcmu::disk::{Disk, Profile};
use reprieve_tests::tcmu::lies::{AtaLies, Lies, ProgressLie};
use reprieve_tests::wait::until;

const DISK_BYTES: u64 = 8 << 20;
/// What the last tenant left behind.
const LEFTOVER: &[u8; 512] = &[0x5e; 512];
/// Ours; `erasure::ata::security` says why it is no secret.
const OUR_PASSWORD: &[u8] = b"reprieve";

fn profile() -> AtaProfile {
    AtaProfile { protected_sectors: Some(0), ..AtaProfile::whole() }
}

/// What a row does to the disk before it is asked.
type Prepare = fn(&mut Disk);

fn ata(disk: &mut Disk) -> &mut Ata {
    disk.ata().expect("it is an ATA disk")
}

fn locked_by(disk: &mut Disk, password: &[u8]) {
    ata(disk).set_password(password);
    ata(disk).power(true);
}

fn lies(disk: &mut Disk, ata: AtaLies) {
    disk.set_lies(Lies { ata, ..Lies::default() });
}

/// A new, dirty disk with this state.
fn put(site: &CommandSite, profile: AtaProfile, prepare: Prepare) {
    site.disk.with(|disk, now| {
        *disk = Disk::new(Profile::ata(DISK_BYTES, profile));
        disk.power(now, true);
        disk.medium().write(1 << 20, LEFTOVER);
        prepare(disk);
    });
}

/// Whether what the last tenant left is still there, and whether there is a password.
fn left(site: &CommandSite) -> (bool, bool) {
    site.disk.with(|disk, _| (disk.medium().holds(LEFTOVER), ata(disk).has_password()))
}

/// Name, state, what is asked for, what the answer has in it and whether it is a success, and afterwards:
/// whether the data are there and a password is set.
type Row = (&'static str, Prepare, &'static str, Result<&'static str, &'static str>, (bool, bool));

const SECURITY_ROWS: [Row; 14] = [
    ("erased", |_| {}, "ata security-erase normal", Ok("the password is gone"), (false, false)),
    ("erased, enhanced", |_| {}, "ata security-erase enhanced", Ok("enhanced"), (false, false)),
    ("frozen", |disk| ata(disk).freeze(), "ata security-erase normal", Err("are frozen"), (true, false)),
    (
        "locked by somebody",
        |disk| locked_by(disk, b"somebody"),
        "ata security-erase normal",
        Err("does not take ours"),
        (true, true),
    ),
    (
        "opened by nobody else",
        |disk| locked_by(disk, b"somebody"),
        "ata open",
        Err("remove the password with the program that set it"),
        (true, true),
    ),
    (
        "left by us, locked",
        |disk| locked_by(disk, OUR_PASSWORD),
        "ata open",
        Ok("security_enabled: false"),
        (true, false),
    ),
    (
        "left by us, not locked",
        |disk| ata(disk).set_password(OUR_PASSWORD),
        "ata open",
        Ok("security_locked: false"),
        (true, false),
    ),
    (
        "left by us and erased",
        |disk| locked_by(disk, OUR_PASSWORD),
        "ata security-erase normal",
        Ok("completed"),
        (false, false),
    ),
    (
        "left by us and frozen",
        |disk| {
            locked_by(disk, OUR_PASSWORD);
            ata(disk).freeze();
        },
        "ata open",
        Err("are frozen"),
        (true, true),
    ),
    (
        "keeps its password",
        |disk| lies(disk, AtaLies { keeps_password: true, ..AtaLies::default() }),
        "ata security-erase normal",
        Err("still has the password"),
        (false, false),
    ),
    (
        "takes no password",
        |disk| lies(disk, AtaLies { takes_no_password: true, ..AtaLies::default() }),
        "ata security-erase normal",
        Err("nothing was erased"),
        (true, false),
    ),
    (
        "a bridge that passes nothing on",
        |disk| lies(disk, AtaLies { swallows_data: true, ..AtaLies::default() }),
        "ata security-erase normal",
        Err("nothing was erased"),
        (true, false),
    ),
    (
        "refuses to prepare",
        |disk| lies(disk, AtaLies { aborts: vec![number::ERASE_PREPARE], ..AtaLies::default() }),
        "ata security-erase normal",
        Err("SECURITY ERASE PREPARE"),
        (true, false),
    ),
    (
        "has no security",
        |disk| {
            let profile = AtaProfile { security: false, ..profile() };
            *disk = Disk::new(Profile::ata(DISK_BYTES, profile));
            disk.medium().write(1 << 20, LEFTOVER);
        },
        "ata security-erase normal",
        Err("no security feature set"),
        (true, false),
    ),
];

fn check(row: &Row, answer: &Result<String, String>, left: (bool, bool)) -> Result<()> {
    let (name, _, line, expected, expected_left) = row;
    println!("{name}: {line}: {answer:?}; data and password left: {left:?}");
    let fits = match (answer, expected) {
        (Ok(answer), Ok(part)) | (Err(answer), Err(part)) => answer.contains(part),
        _ => false,
    };
    ensure!(fits, "{name}: {line} came to {answer:?}, not {expected:?}");
    ensure!(left == *expected_left, "{name}: data and password left: {left:?}, not {expected_left:?}");
    Ok(())
}

#[test]
fn ata_commands_of_the_agent_through_a_real_kernel() -> Result<()> {
    let lab = Lab::new()?;
    let mut site = CommandSite::start(&lab, Profile::ata(DISK_BYTES, profile()))?;
    for row in &SECURITY_ROWS {
        put(&site, profile(), row.1);
        let answer = site.ask(row.2)?;
        check(row, &answer, left(&site))?;
    }
    tries_run_out(&mut site)?;
    a_power_cut_leaves_our_password(&mut site)?;
    hidden_areas(&mut site)?;
    sanitizes(&mut site)?;
    a_sanitize_that_is_frozen_fails_or_stands_still(&mut site)?;
    a_scsi_disk_writes_zeros_over_itself(&mut site)
}

/// WRITE SAME, which the kernel is not asked for: as much as the disk takes in one command, and no more.
fn a_scsi_disk_writes_zeros_over_itself(site: &mut CommandSite) -> Result<()> {
    site.disk.with(|disk, now| {
        *disk = Disk::new(Profile { write_same_blocks_max: 2048, ..Profile::magnetic(DISK_BYTES, &[]) });
        disk.power(now, true);
        disk.medium().write(1 << 20, LEFTOVER);
    });
    let holds = |site: &CommandSite| site.disk.with(|disk, _| disk.medium().holds(LEFTOVER));
    for (line, part, left) in [
        ("scsi write-same-facts", "2048", true),
        ("scsi write-same 0 8388608", "Written { bytes: 1048576", true),
        ("scsi write-same 1048576 512", "Written { bytes: 512", false),
    ] {
        let answer = site.ask(line)?;
        println!("{line}: {answer:?}");
        ensure!(answer.as_ref().is_ok_and(|answer| answer.contains(part)), "{line}: {answer:?}");
        ensure!(holds(site) == left, "{line}: data left: {}", !left);
    }
    ensure!(site.disk.with(|disk, _| disk.counters().write_sames) == 2, "zeros came in another way");
    Ok(())
}

/// A foreign password is tried once in each look; after five the disk takes none, not even the right one.
fn tries_run_out(site: &mut CommandSite) -> Result<()> {
    put(site, profile(), |disk| locked_by(disk, b"somebody"));
    for _ in 0..5 {
        ensure!(site.ask("ata open")?.is_err_and(|why| why.contains("does not take ours")));
    }
    ensure!(site.ask("ata open")?.is_err_and(|why| why.contains("no more passwords")));
    site.disk.with(|disk, _| ata(disk).set_password(OUR_PASSWORD));
    ensure!(site.ask("ata open")?.is_err_and(|why| why.contains("no more passwords")));
    Ok(())
}

/// The power fails when the disk is to erase itself, with our password set. Every later start opens it.
fn a_power_cut_leaves_our_password(site: &mut CommandSite) -> Result<()> {
    put(site, profile(), |disk| {
        lies(disk, AtaLies { power_fails_at: Some(number::ERASE_UNIT), ..AtaLies::default() });
    });
    let cut = site.ask("ata security-erase normal")?;
    ensure!(cut.as_ref().is_err_and(|why| why.starts_with("the password")), "{cut:?}");
    ensure!(left(site) == (true, true), "{:?}", left(site));
    site.disk.with(|disk, now| {
        disk.set_lies(Lies::default());
        disk.power(now, false);
        disk.power(now, true);
    });
    ensure!(site.disk.with(|disk, _| ata(disk).is_locked()));
    ensure!(site.ask("ata security-erase normal")?.is_ok());
    ensure!(left(site) == (false, false), "{:?}", left(site));
    Ok(())
}

type Facts = (Outcome<AtaCapabilities>, Outcome<SanitizeCapabilities>);

fn facts(site: &mut CommandSite) -> Result<Facts> {
    let text = site.ask("ata facts")?.map_err(anyhow::Error::msg)?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

fn hidden_areas(site: &mut CommandSite) -> Result<()> {
    let sectors = DISK_BYTES / 512;
    let cases = [
        ("nothing", profile(), Some(0)),
        ("protected", AtaProfile { protected_sectors: Some(10), ..profile() }, Some(5120)),
        ("above the maximum", AtaProfile { inaccessible_sectors: Some(4), ..profile() }, Some(2048)),
        ("overlay", AtaProfile { overlay_sectors: Some(sectors + 1), ..profile() }, Some(512)),
        ("an overlay of nonsense", AtaProfile { overlay_sectors: Some(1), ..profile() }, None),
    ];
    for (name, profile, expected) in cases {
        put(site, profile, |_| {});
        let (Outcome::Value(ata), _) = facts(site)? else { bail!("{name}: unreadable") };
        println!("{name}: {:?}", ata.hidden_bytes);
        ensure!(ata.hidden_bytes.value().copied() == expected, "{name}: {:?}", ata.hidden_bytes);
        let unreadable = matches!(ata.hidden_bytes, Outcome::Unreadable(_));
        ensure!(expected.is_some() || unreadable, "{name}: {:?}", ata.hidden_bytes);
        ensure!(ata.security_supported && ata.enhanced_erase && !ata.security_enabled);
        let estimates = (ata.erase_estimate_minutes, ata.enhanced_estimate_minutes);
        ensure!(estimates == (Some(2), Some(4)), "{estimates:?}");
    }
    // A refusal and a bridge without registers are not "nothing is hidden".
    for bridge in [
        AtaLies { aborts: vec![number::READ_NATIVE_MAX], ..AtaLies::default() },
        AtaLies { no_registers: true, ..AtaLies::default() },
    ] {
        put(site, profile(), |_| {});
        site.disk.with(|disk, _| lies(disk, bridge.clone()));
        let (Outcome::Value(ata), sanitize) = facts(site)? else { bail!("unreadable") };
        ensure!(matches!(ata.hidden_bytes, Outcome::Unreadable(_)), "{ata:?}");
        ensure!(!bridge.no_registers || matches!(sanitize, Outcome::Unreadable(_)), "{sanitize:?}");
    }
    Ok(())
}

fn sanitizes(site: &mut CommandSite) -> Result<()> {
    for kind in ["block", "crypto", "overwrite"] {
        put(site, profile(), |_| {});
        let (_, Outcome::Value(before)) = facts(site)? else { bail!("unreadable") };
        ensure!((before.state, before.obstacles) == (SanitizeState::Never, Vec::new()));
        let begun = site.ask(&format!("ata sanitize {kind}"))?;
        println!("{kind}: {begun:?}");
        ensure!(begun.is_ok(), "{begun:?}");
        let (_, Outcome::Value(meanwhile)) = facts(site)? else { bail!("unreadable") };
        ensure!(meanwhile.obstacles == [SanitizeObstacle::SanitizeRunning], "{meanwhile:?}");
        wait_progress(site, "Done")?;
        ensure!(!left(site).0, "{kind}: what the last tenant left is still there");
    }
    Ok(())
}

fn wait_progress(site: &mut CommandSite, state: &str) -> Result<()> {
    until(state, std::time::Duration::from_secs(30), || {
        let progress = site.ask("ata sanitize-progress")?.map_err(anyhow::Error::msg)?;
        Ok(progress.starts_with(state).then(|| println!("{progress}")))
    })
}

fn a_sanitize_that_is_frozen_fails_or_stands_still(site: &mut CommandSite) -> Result<()> {
    put(site, profile(), |disk| ata(disk).freeze_sanitize());
    let (_, Outcome::Value(frozen)) = facts(site)? else { bail!("unreadable") };
    ensure!(frozen.obstacles == [SanitizeObstacle::Frozen], "{frozen:?}");
    let refused = site.ask("ata sanitize block")?;
    ensure!(refused.as_ref().is_err_and(|why| why.contains("aborted BLOCK ERASE EXT")), "{refused:?}");

    put(site, profile(), |disk| {
        disk.set_lies(Lies { progress: ProgressLie::FailsAt(1000), ..Lies::default() });
    });
    ensure!(site.ask("ata sanitize block")?.is_ok());
    wait_progress(site, "Failed")?;
    let (_, Outcome::Value(failed)) = facts(site)? else { bail!("unreadable") };
    ensure!(failed.state == SanitizeState::Failed, "{failed:?}");

    put(site, profile(), |disk| {
        disk.set_lies(Lies { progress: ProgressLie::StuckAt(655), ..Lies::default() });
    });
    ensure!(site.ask("ata sanitize overwrite")?.is_ok());
    wait_progress(site, "Running { progress_65536: Some(655) }")?;
    ensure!(left(site).0, "it is at it, and nothing is erased yet");
    Ok(())
}
