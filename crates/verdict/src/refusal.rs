//! Why no plan could be made.

use contract::decision::SanitizeLevel;
use contract::id::DiskId;

/// Why no plan could be made although the decision demands one. Nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefusal {
    /// Decision, evidence, facts and policy do not belong together.
    #[error("the decision does not belong to this {what}; judge again")]
    Mismatched {
        /// Which of them is another's.
        what: &'static str,
    },
    /// The node is protected.
    #[error("the node is protected; take the protection off first")]
    Protected,
    /// A hold is on the node.
    #[error("hold {hold:?} is on the node; nothing is written while the policy has it")]
    OnHold {
        /// Its name.
        hold: String,
    },
    /// Destructive work may not begin now.
    #[error("no work that changes disks may begin before {opens_at}; it waits until then")]
    OutsideWindow {
        /// When it may, in UTC.
        opens_at: String,
    },
    /// No image or no tenant is assigned.
    #[error("no {what} is assigned; assign one first")]
    NotAssigned {
        /// `image`, `image size` or `tenant`.
        what: &'static str,
    },
    /// The disks could not be seen.
    #[error("the disks could not be seen: {why}; look again")]
    NoDisks {
        /// Why.
        why: String,
    },
    /// The disk that should carry the operating system is not there.
    #[error(
        "disk {disk}, which should carry the operating system, is missing; assign another or put it back"
    )]
    OsDiskMissing {
        /// Which.
        disk: DiskId,
    },
    /// The disk that should carry the operating system cannot.
    #[error("disk {disk} cannot carry the operating system: it {why}; assign another")]
    OsDiskUnfit {
        /// Which.
        disk: DiskId,
        /// Why not.
        why: String,
    },
    /// No disk can carry the operating system.
    #[error(
        "no disk can carry the operating system: none that is writable and fixed has {image_bytes} bytes"
    )]
    NoOsDisk {
        /// What the image needs.
        image_bytes: u64,
    },
    /// No disk is as the rule says.
    #[error("no disk can carry the operating system by the rule {rule}: {why}; assign another (`--os-disk`)")]
    OsDiskNoMatch {
        /// The rule as people write it.
        rule: String,
        /// What is wrong with which disk.
        why: String,
    },
    /// Several disks are as the rule says, and it does not say which.
    #[error(
        "{count} disks fit the rule {rule}, and only one may: {disks}. Say more, or add smallest or largest (`--os-disk`)"
    )]
    OsDiskAmbiguous {
        /// How many.
        count: usize,
        /// The rule as people write it.
        rule: String,
        /// Which.
        disks: String,
    },
    /// The disk that would be written was not there when the node was approved.
    #[error(
        "disk {disk} would carry the operating system, but is new to this node; approve the new hardware or assign a disk"
    )]
    OsDiskUnexpected {
        /// Which.
        disk: DiskId,
    },
    /// The level cannot be delivered on a disk. It is never silently lowered.
    #[error("disk {disk} cannot be sanitized to the level {level:?}: {why}")]
    CannotErase {
        /// Which.
        disk: DiskId,
        /// What was demanded.
        level: SanitizeLevel,
        /// Why not, and what the operator can do.
        why: String,
    },
    /// It could not be told which partitions of the disk hold data that must stay.
    #[error(
        "which partitions of disk {disk} hold data that must stay could not be told: {why}; repair its partition table or ask for a wipe"
    )]
    DataUnknown {
        /// Which.
        disk: DiskId,
        /// Why not.
        why: String,
    },
    /// Work that was begun on another disk was to keep partitions there.
    #[error(
        "disk {disk} may have no partition table any more, and partitions of its own that the work which was begun there was to keep; put it back if it is missing, or assign it again (`--os-disk`), so that this work goes on there, or ask for a wipe"
    )]
    KeptElsewhere {
        /// Which.
        disk: DiskId,
    },
    /// What has to be put back cannot be named exactly.
    #[error("what has to be repaired cannot be named: {why}; ask for a reimage")]
    NotNameable {
        /// Why.
        why: String,
    },
    /// A rule for a data image names no disk, several, or one that is taken.
    #[error(
        "the rule {rule} names no disk that can get its data image: {why}; assign another (`--data-image`) or none (`--no-data-images`)"
    )]
    DataDisk {
        /// The rule as people write it.
        rule: String,
        /// What is wrong.
        why: String,
    },
    /// It could not be told whether a data disk that was begun to be written has been used since.
    #[error(
        "whether disk {disk} still holds only what was begun to be written could not be told: {why}; look again, or ask for a wipe"
    )]
    DataDiskUnknown {
        /// Which.
        disk: DiskId,
        /// Why not.
        why: String,
    },
}
