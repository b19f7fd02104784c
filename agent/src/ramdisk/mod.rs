//! PID 1 of the ramdisk: makes the kernel usable, reaches the service, hands over to the session.
//!
//! PID 1 never ends: the kernel would stop. Every way out is a reboot, and a reboot after a failure
//! comes only after a wait, so that a machine that cannot work does not spin. The service counts how
//! often it comes back.

pub mod module_index;
pub mod modules;
pub mod mounts;
pub mod network;
pub mod uevents;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigHandler, Signal, signal};

use self::modules::Modules;
use self::network::Interface;
use crate::kernel_command_line::BootParameters;

/// How long tasks may take to end.
const ENDING_MAX: Duration = Duration::from_secs(10);
/// How long a machine that cannot go on shows why before it reboots.
const HOLD: Duration = Duration::from_secs(60);
/// How long the boot interface is looked for before all modules are loaded for it.
const INTERFACE_QUICK: Duration = Duration::from_millis(300);
/// How long the boot interface is looked for in all.
const INTERFACE_MAX: Duration = Duration::from_secs(30);
/// How long the link may take; switches with spanning tree take 30 s.
const LINK_MAX: Duration = Duration::from_secs(60);

/// Storage drivers on their way.
pub type Loading = std::thread::JoinHandle<()>;

/// Runs as PID 1. Does not return.
pub fn run() -> ! {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("reprieve: the agent broke off: {info}");
        hold_and_reboot();
    }));
    let end = prepare().and_then(|(parameters, loading)| work(parameters, loading));
    match end {
        Ok(()) => restart(),
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("reprieve: {error:#}");
            hold_and_reboot()
        }
    }
}

fn prepare() -> anyhow::Result<(BootParameters, Loading)> {
    // SAFETY: no handler is installed; ignored children are reaped by the kernel.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.context("cannot ignore ended children")?;
    mounts::mount_all()?;
    mounts::open_console();
    mounts::quiet_kernel_console();
    crate::start_log(true);
    tracing::info!("reprieve-agent {} starts the ramdisk", crate::VERSION);
    // The first random numbers take long: the kernel waits for entropy and the library tests its source
    // (3 s under emulation). Both happen once, so they begin now, beside the drivers. If it fails here
    // it fails again where it matters.
    std::thread::spawn(|| {
        let _ = aws_lc_rs::rand::fill(&mut [0; 32]);
    });
    let line = std::fs::read_to_string("/proc/cmdline").context("cannot read the kernel command line")?;
    let parameters = BootParameters::parse(&line)?;
    let modules = Arc::new(Modules::of_running_kernel().context("cannot read the list of kernel modules")?);
    if let Err(error) = mounts::answer_for_modprobe() {
        tracing::warn!("the kernel cannot ask for modules by name: {error}");
    }
    let loading = bring_up(&parameters, &modules)?;
    mounts::mount_firmware_variables();
    mounts::mount_crash_records();
    mounts::mount_event_log();
    Ok((parameters, loading))
}

/// The boot interface first, everything else while it is coming up.
fn bring_up(parameters: &BootParameters, modules: &Arc<Modules>) -> anyhow::Result<Loading> {
    modules.load_for_network();
    let mut loading = None;
    let found = network::wait_for_interface(parameters.interface, INTERFACE_QUICK).or_else(|_| {
        loading = Some(load_all(modules));
        network::wait_for_interface(parameters.interface, INTERFACE_MAX)
    });
    Interface::named("lo")?.up()?;
    let name = found?;
    let interface = Interface::named(&name)?;
    interface.up()?;
    if let Some((address, netmask)) = parameters.address {
        interface.set_address(address, netmask)?;
    }
    network::wait_for_link(&name, LINK_MAX)?;
    if let Some(gateway) = parameters.gateway {
        interface.add_default_route(gateway)?;
    }
    tracing::info!("{name} is up, {} ms after kernel start", crate::clock::since_kernel_start_millis());
    Ok(loading.unwrap_or_else(|| load_all(modules)))
}

fn load_all(modules: &Arc<Modules>) -> Loading {
    let modules = modules.clone();
    std::thread::spawn(move || {
        // First contact comes first where there is only one processor. On Linux this is the thread's own.
        // SAFETY: setpriority takes no pointers.
        unsafe { nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, 10) };
        modules.load_all();
    })
}

fn work(parameters: BootParameters, loading: Loading) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let worked = runtime.block_on(crate::session::run(parameters, loading));
    // What is under way ends first, connections above all: a network card that is used while the kernel shuts
    // it down may keep the machine from rebooting. A question that a driver never answers does not.
    runtime.shutdown_timeout(ENDING_MAX);
    worked
}

/// Everything is done: let the firmware decide what boots, which by now is the disk.
pub fn restart() -> ! {
    nix::unistd::sync();
    let failed = reboot(RebootMode::RB_AUTOBOOT);
    eprintln!("reprieve: the machine does not reboot: {failed:?}; switch it off and on");
    loop {
        std::thread::park();
    }
}

fn hold_and_reboot() -> ! {
    nix::unistd::sync();
    eprintln!("reprieve: nothing more is done; rebooting in {} s", HOLD.as_secs());
    std::thread::sleep(HOLD);
    restart()
}
