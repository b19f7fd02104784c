//! Faults of a machine while its system runs, found by the system's own agent.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use contract::decision::{Action, Fitness, Integrity};
use contract::operator_api::DecisionView;
use contract::reading::Trust;
use reprieve_tests::login::Login;
use reprieve_tests::scenario::site::{IMAGE_NAME, TENANT};

use super::Subject;
use super::expected::{Data, Expected, RECENTLY_WATCHED, UNTOUCHED};

/// NVM Express critical warning, bit 2: the disk's reliability is degraded.
const RELIABILITY_DEGRADED: u8 = 0b100;
/// The tenant that comes after the first.
const NEXT_TENANT: &str = "basalt";
const DAY_SECONDS: i64 = 86_400;
/// How far the time of evidence may be from the service's.
const SKEW_MAX_SECONDS: u64 = 120;

const ALTER_FILES: &str = r#"
cp -a /usr/bin/sort /root/sort
printf x >> /usr/bin/sort
mv /usr/bin/tail /root/tail
printf '#!/bin/sh\n' > /usr/bin/intruder
"#;
const PUT_FILES_BACK: &str = r#"
cp -a /root/sort /usr/bin/sort
mv /root/tail /usr/bin/tail
rm /usr/bin/intruder
sync
"#;

/// A file system with data finds an error of its own (ext4's `trigger_fs_error`), and a disk stops answering
/// (the kernel's `dm-flakey`, set up as in `linux/dm-ioctl.h`, for want of `dmsetup`).
const SPOIL_DISKS: &str = r#"
data=$(readlink -f /dev/disk/by-id/*LAB-DATA)
mount "$data" /mnt
echo 1 > "/sys/fs/ext4/$(basename "$data")/trigger_fs_error"
modprobe dm-flakey
spare=$(readlink -f /dev/disk/by-id/*LAB-SPARE)
perl -e '
my ($disk, $sectors) = @ARGV;
open(my $control, "+<", "/dev/mapper/control") or die "control: $!";
sub ask {
    my ($number, $targets, $data) = @_;
    my @head = (4, 0, 0, 312 + length($data), 312, $targets, 0, 0, 0, 0);
    my $request = pack("L10 Q a128 a129 x7", @head, 0, "flakey", "") . $data;
    ioctl($control, 0xC138FD00 | $number, $request) or die "device mapper command $number: $!";
}
my $never_up = "$disk 0 0 86400";
ask(3, 0, "");
ask(9, 1, pack("Q Q l L a16", 0, $sectors, 0, 0, "flakey") . pack("Z64", $never_up));
ask(6, 0, "");
' "$spare" "$(blockdev --getsz "$spare")"
! dd if=/dev/dm-0 of=/dev/null bs=4096 count=1 2> /dev/null
"#;
/// The system's own file system finds an error, and by its mount options takes no more writes.
const SPOIL_ROOT: &str = r#"
echo 1 > "/sys/fs/ext4/$(basename "$(findmnt -n -o SOURCE /)")/trigger_fs_error"
! touch /root/still-writable 2> /dev/null
"#;

/// The agent is shown another line than the kernel was started with: the machine is not started again for this.
/// Its unit has mounts of its own.
const CHANGE_LINE: &str = r#"
agent="$(systemctl show --property MainPID --value reprieve-agent)"
sed 's/$/ hugepages=1/' /proc/cmdline > /var/changed
sed 's/$/ init=\/bin\/sh/' /proc/cmdline > /var/weakened
nsenter --target "$agent" --mount mount --no-mtab --bind /var/changed /proc/cmdline
grep -q hugepages=1 "/proc/$agent/root/proc/cmdline"
"#;
const WEAKEN_LINE: &str = r#"
agent="$(systemctl show --property MainPID --value reprieve-agent)"
nsenter --target "$agent" --mount umount /proc/cmdline
nsenter --target "$agent" --mount mount --no-mtab --bind /var/weakened /proc/cmdline
grep -q init=/bin/sh "/proc/$agent/root/proc/cmdline"
"#;
const PUT_LINE_BACK: &str = r#"
agent="$(systemctl show --property MainPID --value reprieve-agent)"
nsenter --target "$agent" --mount umount /proc/cmdline
rm /var/changed /var/weakened
"#;

const FILES: Expected = Expected {
    action: Action::Repair,
    integrity: Integrity::Repair,
    first: "integrity/files",
    rules: &["integrity/files", "integrity/foreign-files"],
    words: &["/usr/bin/sort", "/usr/bin/tail"],
    ..UNTOUCHED
};
const WARNING: Expected = Expected {
    action: Action::Quarantine,
    fitness: Fitness::Quarantine,
    first: "fitness/nvme-critical-warning",
    rules: &["fitness/nvme-critical-warning"],
    words: &["raises critical warning 0x04: reliability degraded"],
    ..UNTOUCHED
};
const CLEARED: Expected = Expected {
    fitness: Fitness::Watch,
    rules: &[RECENTLY_WATCHED],
    words: &["Nothing is found now, but an earlier look found something"],
    ..UNTOUCHED
};
const LINE_CHANGED: Expected = Expected {
    rules: &["integrity/kernel-command-line"],
    words: &["started with another command line: added hugepages=1."],
    ..UNTOUCHED
};
const LINE_WEAKENED: Expected = Expected {
    action: Action::Reimage,
    integrity: Integrity::Reimage,
    first: "integrity/kernel-command-line",
    rules: &["integrity/kernel-command-line"],
    words: &["which can weaken what protects the system: added init=/bin/sh."],
    ..UNTOUCHED
};
const TENANT_CHANGED: Expected = Expected {
    action: Action::Wipe,
    confidentiality: Data::AreErased,
    first: "confidentiality/data-owner",
    rules: &["confidentiality/data-owner"],
    words: &["hold data of tenant amber, and the node goes to tenant basalt"],
    ..UNTOUCHED
};
const DISKS_SPOILT: Expected = Expected {
    fitness: Fitness::Watch,
    rules: &["fitness/kernel-storage-errors", "integrity/file-system-errors"],
    words: &["recorded 1 error", "storage errors in this boot"],
    ..UNTOUCHED
};
const ROOT_SPOILT: Expected = Expected {
    action: Action::Reimage,
    integrity: Integrity::Reimage,
    first: "integrity/file-system-errors",
    rules: &["fitness/kernel-storage-errors", "integrity/file-system-errors"],
    words: &["The file system on nvme0n1p3 recorded"],
    ..DISKS_SPOILT
};

/// One fault after the other; each is gone before the next, but for those that a boot remembers.
pub fn go_through(subject: &mut Subject<'_, '_>, login: &Login<'_>) -> Result<()> {
    let view = subject.look("untouched", UNTOUCHED)?;
    ensure!(view.evidence.trust == Trust::Resident, "{:?}", view.evidence.trust);

    login.run(ALTER_FILES)?;
    subject.look("files altered, deleted and added", FILES)?;
    login.run(PUT_FILES_BACK)?;

    subject.machine.raise_nvme_warning_now(RELIABILITY_DEGRADED)?;
    subject.look("NVMe critical warning", WARNING)?;
    subject.machine.raise_nvme_warning_now(0)?;
    subject.look("NVMe critical warning taken back", CLEARED)?;

    for days in [-9_000, 20] {
        set_clock(login, days)?;
        let view = subject.look(&format!("clock set by {days} days"), UNTOUCHED)?;
        expect_time(&view)?;
    }
    set_clock(login, 0)?;

    for (script, what, expected) in [
        (CHANGE_LINE, "kernel's command line changed", LINE_CHANGED),
        (WEAKEN_LINE, "kernel's command line weakened", LINE_WEAKENED),
        (PUT_LINE_BACK, "kernel's command line as before", UNTOUCHED),
    ] {
        login.run(script)?;
        subject.look(what, expected)?;
    }

    change_tenant(subject, login)?;

    login.run(SPOIL_DISKS)?;
    subject.look("errors of a file system with data and of a disk", DISKS_SPOILT)?;
    login.run(SPOIL_ROOT)?;
    subject.look("errors of the system's file system, read-only now", ROOT_SPOILT)?;
    Ok(())
}

fn now_seconds() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("it is before 1970")?.as_secs())
}

/// Sets the machine's clock so many days off the right time.
fn set_clock(login: &Login<'_>, days: i64) -> Result<()> {
    let time = now_seconds()?.saturating_add_signed(days * DAY_SECONDS);
    login.run(&format!("date --set=@{time} > /dev/null")).map(drop)
}

/// Evidence bears the service's time, whatever the machine's clock says.
fn expect_time(view: &DecisionView) -> Result<()> {
    let seconds_off = (view.evidence.taken_at.0 / 1000).abs_diff(now_seconds()?);
    ensure!(seconds_off < SKEW_MAX_SECONDS, "the evidence's time is {seconds_off} s off");
    Ok(())
}

/// The node is to go to another tenant, and then is not.
fn change_tenant(subject: &Subject<'_, '_>, login: &Login<'_>) -> Result<()> {
    let operator = &subject.site.operator;
    operator.assign(&subject.reference, IMAGE_NAME, NEXT_TENANT)?;
    let before = subject.last_look()?;
    // A request for this would go into the ramdisk at once; the agent reports whenever it starts.
    login.run("systemctl restart reprieve-agent")?;
    subject.expect_after(before, "tenant changed", TENANT_CHANGED)?;
    operator.assign(&subject.reference, IMAGE_NAME, TENANT)?;
    subject.look("tenant as before", UNTOUCHED).map(drop)
}
