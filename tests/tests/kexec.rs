//! Into the installed system without a reset, where the policy says so.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::operator_api::JobState;
use contract::reading::Trust;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::disk::DiskBus;
use reprieve_tests::lab::Lab;
use reprieve_tests::machine::{Firmware, OnReset};
use reprieve_tests::scenario::site::{Site, console_end, spec};
use reprieve_tests::service::Configuration;
use reprieve_tests::wait::until_every;

const ROOM_BYTES: u64 = 256 << 20;
/// Boot, look, write, and the installed system's first report, under TCG.
const LIMIT: Duration = Duration::from_secs(900);

#[test]
fn a_machine_jumps_into_its_system_and_is_never_reset() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let policy = Some("[boot]\nmethod = \"kexec\"\n".to_owned());
    let configuration = Configuration { policy, ..Configuration::default() };
    let site = Site::new(&lab, &artefacts, &configuration, artefacts.image()?)?;
    let disk_bytes = site.image.disk_bytes + ROOM_BYTES;
    let mut machine = site.machine(spec("node", 1, Firmware::UefiPxe), DiskBus::Virtio, disk_bytes)?;
    let node = site.take_in(&mut machine)?;
    let job = site.operator.reimage(&node.to_string(), &[])?;
    // From here on a reset would stop the machine, and it would never come up.
    machine.start(OnReset::Stop)?;
    until_every(Duration::from_secs(1), "the report of the running system", LIMIT, || {
        ensure!(!machine.is_stopped_within(Duration::from_millis(1))?, "the machine was reset");
        match site.operator.job(job)?.state {
            JobState::Done { .. } => Ok(Some(())),
            JobState::Held { reason } => bail!("the job is held: {reason}"),
            _ => Ok(None),
        }
    })
    .with_context(|| format!("the console ends:\n{}", console_end(&machine)))?;
    site.operator.wait_decision(&node.to_string(), LIMIT, |seen| seen.trust == Trust::Resident)?;
    ensure!(!machine.is_stopped_within(Duration::from_secs(1))?, "the machine was reset");
    Ok(())
}
