//! Which lines of the kernel's log are told, and as what.
//!
//! Patterns after node-problem-detector's and gpud's, and the kernel's own sources. A pattern is long
//! enough that the name of a process (at most 15 characters, whatever the tenant likes) does not match it.

use contract::reading::ReadingKey;

use crate::probe::xid;

/// One kind of lines.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What they are reported as.
    pub key: ReadingKey,
    /// What is told of a line, if it is one of these.
    pub tell: fn(&str) -> Option<String>,
}

/// The kinds that every agent knows. A line is of the first kind that knows it: those that name a process
/// come first, so that the name decides nothing.
pub const KINDS: [Kind; 5] = [
    Kind { key: ReadingKey::GpuXids, tell: |line| xid::parse(line).map(|xid| xid.item()) },
    Kind { key: ReadingKey::KernelOutOfMemory, tell: |line| plain(line, OUT_OF_MEMORY) },
    Kind { key: ReadingKey::KernelLockups, tell: |line| plain(line, LOCKUPS) },
    Kind { key: ReadingKey::KernelHardwareErrors, tell: |line| plain(line, HARDWARE) },
    Kind { key: ReadingKey::KernelStorageErrors, tell: storage },
];

/// A pattern: these pieces, in this order, anywhere in the line.
type Pattern = &'static [&'static str];

/// Storage is failing.
const STORAGE: &[Pattern] = &[
    &["Buffer I/O error on dev"],
    &["I/O error, dev ", "sector"],
    &["critical medium error, dev "],
    &["critical target error, dev "],
    &["Unrecovered read error"],
    &["attempt to access beyond end of device"],
    &["I/O error while writing superblock"],
    &["I/O ", "timeout, reset controller"],
    &["controller is down; will reset"],
    &["Disabling device after reset failure"],
    &["no available path - failing I/O"],
    &["rejecting I/O to offline device"],
    &["Remounting filesystem read-only"],
    &["EXT4-fs error (device "],
    &["XFS", "Shutting down filesystem"],
    &["XFS", "Corruption of in-memory data"],
    &["XFS", "metadata I/O error"],
    &["BTRFS critical (device "],
    &["BTRFS", "forced readonly"],
    &["md/raid", "Disk failure on"],
];

/// Hardware is failing. A lockup or a hung task is not here: it says nothing about hardware.
const HARDWARE: &[Pattern] = &[
    &["[Hardware Error]"],
    &["event severity: "],
    &["Memory failure: "],
    &["CE memory read error"],
    &["UE memory read error"],
    &["EDAC MC", " UE ", " grain:"],
    &["PCIe Bus Error: severity=Uncorrected (Fatal)"],
    &["DPC: containment event"],
    &["insufficient power on the PCIe slot"],
    &["Port module event", "High Temperature"],
    &["critical temperature reached"],
];

/// The kernel stands still in places. gpud counts soft lockups and hung tasks,
/// node-problem-detector `TaskHung` and `UnregisterNetDevice`.
const LOCKUPS: &[Pattern] = &[
    &["soft lockup - CPU#", "stuck for "],
    &["Watchdog detected hard LOCKUP"],
    &["BUG: workqueue lockup - pool"],
    &["INFO: task ", " blocked for more than ", " seconds"],
    &["self-detected stall on CPU"],
    &["detected stalls on CPUs/tasks"],
    &["unregister_netdevice: waiting for ", " to become free"],
];

/// The machine ran out of memory. That a group of processes reached its own limit ("Memory cgroup out of
/// memory") is the tenant's affair.
const OUT_OF_MEMORY: &[Pattern] = &[&["Out of memory: Kill"]];

/// Devices whose errors say nothing: empty floppy and CD drives answer every read with one.
const NOT_DISKS: [&str; 3] = ["fd", "sr", "loop"];
/// What the block layer says before it names the device; anywhere else a name is whatever a tenant likes.
const NAMES_DEVICE: [&str; 2] = ["error, dev ", "error on dev "];

fn storage(line: &str) -> Option<String> {
    let device = NAMES_DEVICE.iter().find_map(|before| line.split_once(before)).map(|(_, device)| device);
    if device.is_some_and(|device| NOT_DISKS.iter().any(|name| device.starts_with(name))) {
        return None;
    }
    plain(line, STORAGE)
}

fn plain(line: &str, patterns: &[Pattern]) -> Option<String> {
    patterns.iter().any(|pattern| has_pieces(line, pattern)).then(|| line.to_owned())
}

fn has_pieces(line: &str, pieces: &[&str]) -> bool {
    let mut rest = line;
    pieces.iter().all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// What a line is told as, if it is told at all.
#[must_use]
pub fn tell(line: &str) -> Option<(ReadingKey, String)> {
    KINDS.iter().find_map(|kind| (kind.tell)(line).map(|told| (kind.key, told)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn failures_are_told_as_what_they_are_and_harmless_lines_are_not() {
        let storage = Some(ReadingKey::KernelStorageErrors);
        let hardware = Some(ReadingKey::KernelHardwareErrors);
        let lockup = Some(ReadingKey::KernelLockups);
        let memory = Some(ReadingKey::KernelOutOfMemory);
        let gpu = Some(ReadingKey::GpuXids);
        let cases = [
            (
                "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=[Hardware Error], GPU has fallen off the bus.",
                gpu,
            ),
            ("Buffer I/O error on dev sda1, logical block 0, async page read", storage),
            ("blk_update_request: I/O error, dev vda, sector 12 op 0x0:(READ)", storage),
            ("I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0", None),
            ("Buffer I/O error on dev sr0, logical block 0, async page read", None),
            ("EXT4-fs error (device sda1): ext4_lookup:1855: inode #2: comm dev fd0: x", storage),
            ("nvme nvme0: I/O 12 QID 3 timeout, reset controller", storage),
            ("nvme nvme1: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10", storage),
            ("EXT4-fs error (device sda1): ext4_lookup:1855: inode #2: comm ls", storage),
            ("XFS (dm-0): metadata I/O error in \"xfs_buf_ioend+0x1\" at daddr 0x1", storage),
            ("BTRFS info (device sdb: state EA): forced readonly", storage),
            ("mce: [Hardware Error]: Machine check events logged", hardware),
            ("{1}[Hardware Error]: event severity: corrected", hardware),
            ("EDAC MC0: 1 UE on CPU_SrcID#0_Chan#1_DIMM#0 (page:0x1 offset:0x0 grain:32)", hardware),
            ("pcieport 0000:00:01.0: DPC: containment event, status:0x1f01", hardware),
            (
                "mlx5_core 0000:3b:00.0: Port module event[error]: module 0, Cable error, High Temperature",
                hardware,
            ),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [stress:99]", lockup),
            ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", lockup),
            ("INFO: task jbd2/sda1-8:210 blocked for more than 120 seconds.", lockup),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", lockup),
            ("unregister_netdevice: waiting for eth0 to become free. Usage count = 1", lockup),
            ("Out of memory: Killed process 812 (java) total-vm:9kB, anon-rss:8kB", memory),
            ("Memory cgroup out of memory: Killed process 812 (java) total-vm:9kB", None),
            ("EXT4-fs (vda1): recovery complete", None),
            ("systemd[1]: Started Journal Service.", None),
            // What a tenant calls his processes decides nothing.
            ("Out of memory: Killed process 9 ([Hardware Error) total-vm:1kB", memory),
            ("EXT4-fs error[77]: segfault at 0 ip 0 sp 0 error 4 in cat[55]", None),
            ("INFO: task dev sda sector:9 blocked for more than 120 seconds.", lockup),
        ];
        for (line, expected) in cases {
            assert_eq!(tell(line).map(|(key, _)| key), expected, "{line}");
        }
    }

    #[test]
    fn every_pattern_is_longer_than_the_name_of_a_process() {
        // TASK_COMM_LEN is 16 with its end; several pieces must be more together, and were typed by nobody.
        for pattern in [STORAGE, HARDWARE, LOCKUPS, OUT_OF_MEMORY].concat() {
            let characters: usize = pattern.iter().map(|piece| piece.len()).sum();
            assert!(characters > 15, "{pattern:?} is short enough to be the name of a process");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in any::<String>()) {
            let _ = tell(&line);
        }
    }
}
