//! What an NVMe controller can do, and what its sanitize is doing.

use std::fmt::Display;

use contract::inventory::{NvmeCapabilities, SanitizeCapabilities, SeparateMemory};
use contract::reading::Outcome;
use erasure::nvme::admin::{self, CNS_CONTROLLER, CNS_NAMESPACE};
use erasure::nvme::identify::{Controller, Namespace, count_namespaces, is_write_protected};
use erasure::nvme::sanitize_log::SanitizeLog;
use erasure::nvme::separate_memory::{
    LOG_BOOT_PARTITION, LOG_BOOT_PARTITION_BYTES, LOG_SUPPORTED_PAGES, LOG_SUPPORTED_PAGES_BYTES,
    has_log_page,
};
use erasure::nvme::{firmware_log, sanitize_log};

use super::nvme_admin::{NvmePort, READ_TIMEOUT_MILLIS};

/// What the controller of this namespace can do. A controller that does not answer the first question
/// is asked no other.
#[must_use]
pub fn read(port: &dyn NvmePort) -> (Outcome<NvmeCapabilities>, Outcome<SanitizeCapabilities>) {
    let controller = port.identify(CNS_CONTROLLER, 0).map_err(|error| named("Identify Controller", &error));
    let controller = controller.and_then(|data| {
        Controller::parse(&data).ok_or_else(|| "the Identify Controller data are too short".to_owned())
    });
    match controller {
        Ok(controller) => {
            let namespaces = port.identify(controller.namespace_list(), 0);
            let namespaces = namespaces.map(|data| count_namespaces(&data));
            let capabilities =
                controller.capabilities(Outcome::from(namespaces), boot_partitions(port, &controller));
            (Outcome::Value(capabilities), sanitize(port, &controller))
        }
        Err(why) => (Outcome::Unreadable(why.clone()), Outcome::Unreadable(why)),
    }
}

/// The boot partitions, as far as the controller says. It is asked only for log pages that it says it
/// has: an unsupported one would leave a mark in its error log.
fn boot_partitions(port: &dyn NvmePort, controller: &Controller) -> Outcome<SeparateMemory> {
    let separate = &controller.separate;
    let log = || -> Result<Option<Vec<u8>>, String> {
        let pages = port
            .log_page(LOG_SUPPORTED_PAGES, LOG_SUPPORTED_PAGES_BYTES)
            .map_err(|error| named("Supported Log Pages", &error))?;
        if has_log_page(&pages, LOG_BOOT_PARTITION) != Some(true) {
            return Ok(None);
        }
        port.log_page(LOG_BOOT_PARTITION, LOG_BOOT_PARTITION_BYTES)
            .map(Some)
            .map_err(|error| named("Boot Partition", &error))
    };
    separate.boot_partitions(if separate.lists_log_pages() { log().transpose() } else { None })
}

/// Absent where the controller has no sanitize. Whatever cannot be read makes the whole unreadable:
/// obstacles that nobody looked for are not obstacles that are not there.
fn sanitize(port: &dyn NvmePort, controller: &Controller) -> Outcome<SanitizeCapabilities> {
    if !controller.sanitizes() {
        return Outcome::Absent;
    }
    let capabilities = || -> Result<SanitizeCapabilities, String> {
        let log = sanitize_log(port)?;
        let slots = port
            .log_page(admin::LOG_FIRMWARE_SLOTS, firmware_log::LOG_BYTES)
            .map_err(|error| named("Firmware Slot Information", &error))?;
        let pending = firmware_log::activation_pending(&slots)
            .ok_or_else(|| "the firmware slot log is empty".to_owned())?;
        let protected = write_protected(port, controller)?;
        Ok(log.capabilities(controller, pending, protected))
    };
    Outcome::from(capabilities())
}

/// The Sanitize Status log page.
///
/// # Errors
/// In words, when it cannot be read or says what nobody knows.
pub fn sanitize_log(port: &dyn NvmePort) -> Result<SanitizeLog, String> {
    let data = port
        .log_page(admin::LOG_SANITIZE_STATUS, sanitize_log::LOG_BYTES)
        .map_err(|error| named("Sanitize Status", &error))?;
    SanitizeLog::parse(&data)
}

/// What this namespace says of itself, with its number.
///
/// # Errors
/// In words, when it cannot be read or is not active.
pub fn namespace(port: &dyn NvmePort) -> Result<(u32, Namespace), String> {
    let id = port.namespace().map_err(|error| named("the namespace's number", &error))?;
    let data = port.identify(CNS_NAMESPACE, id).map_err(|error| named("Identify Namespace", &error))?;
    let namespace = Namespace::parse(&data)
        .ok_or_else(|| format!("Identify Namespace says that namespace {id} is not active"))?;
    Ok((id, namespace))
}

fn write_protected(port: &dyn NvmePort, controller: &Controller) -> Result<bool, String> {
    let (id, namespace) = namespace(port)?;
    if namespace.write_protected || !controller.write_protection {
        return Ok(namespace.write_protected);
    }
    port.admin(admin::get_write_protection(id), &mut [], READ_TIMEOUT_MILLIS)
        .map(is_write_protected)
        .map_err(|error| named("the namespace's write protection", &error))
}

fn named(what: &str, error: &dyn Display) -> String {
    format!("cannot read {what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_nvme::FakeNvme;
    use contract::inventory::{SanitizeObstacle, SanitizeState};

    fn unreadable<T: std::fmt::Debug>(outcome: &Outcome<T>) -> &str {
        let Outcome::Unreadable(why) = outcome else { panic!("{outcome:?}") };
        why
    }

    #[test]
    fn a_controller_without_sanitize_is_asked_for_no_log() {
        let fake = FakeNvme::without_sanitize();
        let (nvme, sanitize) = read(&fake);
        assert!(
            matches!(nvme, Outcome::Value(found) if found.format && found.namespaces == Outcome::Value(1))
        );
        assert_eq!(sanitize, Outcome::Absent);
        assert!(fake.logs_asked.borrow().is_empty());
    }

    #[test]
    fn a_sanitize_and_what_stands_against_it_are_seen() {
        let mut fake = FakeNvme::with_sanitize();
        let Outcome::Value(found) = read(&fake).1 else { panic!("unread") };
        assert!(found.block && found.crypto && !found.overwrite);
        assert_eq!((found.state, found.obstacles), (SanitizeState::Never, vec![]));
        assert_eq!(found.block_estimate_seconds, Some(30));
        fake.set_sanitize_log(0x1000, 2, 2);
        fake.active_firmware = 0x21;
        fake.write_protection = Some(1);
        let Outcome::Value(found) = read(&fake).1 else { panic!("unread") };
        assert_eq!(found.state, SanitizeState::Running { progress_65536: 0x1000 });
        assert_eq!(
            found.obstacles,
            [
                SanitizeObstacle::NamespaceWriteProtected,
                SanitizeObstacle::FirmwareActivationPending,
                SanitizeObstacle::SanitizeRunning
            ]
        );
    }

    #[test]
    fn memory_beside_the_blocks_is_there_not_there_or_not_known() {
        let seen = |fake: &FakeNvme| {
            let Outcome::Value(found) = read(fake).0 else { panic!("unread") };
            (found.replay_protected, found.boot_partitions)
        };
        let mut fake = FakeNvme::without_sanitize();
        let (replay_protected, boot) = seen(&fake);
        assert_eq!(replay_protected, Outcome::Absent);
        assert!(unreadable(&boot).contains("registers"));
        fake.set_version_2_with_memory_beside();
        let memory = |count, bytes_each| Outcome::Value(SeparateMemory { count, bytes_each });
        assert_eq!(seen(&fake), (memory(1, Some(128 << 10)), memory(2, Some(256 << 10))));
        assert_eq!(*fake.logs_asked.borrow(), [0x00, 0x15]);
        fake.refuses = vec![admin::OPCODE_GET_LOG_PAGE];
        assert!(unreadable(&seen(&fake).1).contains("Supported Log Pages"));
    }

    #[test]
    fn what_cannot_be_read_is_not_absent() {
        let mut dead = FakeNvme::with_sanitize();
        dead.refuses = vec![admin::OPCODE_IDENTIFY];
        let (nvme, sanitize) = read(&dead);
        assert!(unreadable(&nvme).contains("Identify Controller"));
        assert!(unreadable(&sanitize).contains("Identify Controller"));
        let mut no_logs = FakeNvme::with_sanitize();
        no_logs.refuses = vec![admin::OPCODE_GET_LOG_PAGE];
        assert!(unreadable(&read(&no_logs).1).contains("Sanitize Status"));
        let mut no_features = FakeNvme::with_sanitize();
        no_features.write_protection = Some(0);
        no_features.refuses = vec![admin::OPCODE_GET_FEATURES];
        assert!(unreadable(&read(&no_features).1).contains("write protection"));
        let odd = FakeNvme::with_sanitize();
        odd.set_sanitize_log(0, 6, 0);
        assert!(unreadable(&read(&odd).1).contains("unknown status"));
    }
}
