//! What can be measured, and how each number counts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is measured. The unit is the last word of the name where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadingKey {
    /// NVMe SMART log byte 0; bits per NVM Express Base Specification, Figure "SMART / Health". Count.
    NvmeCriticalWarning,
    /// NVMe SMART log byte 3. Count, percent.
    NvmeAvailableSparePercent,
    /// NVMe SMART log byte 4. Count, percent.
    NvmeAvailableSpareThresholdPercent,
    /// NVMe SMART log byte 5; may exceed 100. Count, percent.
    NvmePercentageUsed,
    /// NVMe SMART log bytes 160-175. Count over the life of the disk.
    NvmeMediaErrors,
    /// ATA SMART attribute 5, raw. Count over the life of the disk.
    AtaReallocatedSectors,
    /// ATA SMART attribute 187, raw. Count over the life of the disk.
    AtaReportedUncorrectable,
    /// ATA SMART attribute 197, raw. Count at present.
    AtaPendingSectors,
    /// ATA SMART attribute 198, raw. Count over the life of the disk.
    AtaOfflineUncorrectable,
    /// ATA SMART RETURN STATUS says that a threshold is exceeded. Flag.
    AtaSmartThresholdExceeded,
    /// The kernel or the device refuses writes. Flag.
    DiskReadOnly,
    /// Reads of this run that the device answered with an unrecoverable error. Count.
    DiskReadErrors,
    /// Signatures of data found (partition table, file system, volume manager). List; empty = looked
    /// at the places where such signatures stand and at evenly spread samples, and all were blank.
    DiskContentSignatures,
    /// The partitions on the disk of the operating system that are neither the image's nor ours, each as
    /// JSON ([`crate::plan::KeptPartition`]). List; absent where the disk has no partition table.
    DiskDataPartitions,
    /// Kernel log lines of this boot that match the storage-failure patterns. List, bounded.
    KernelStorageErrors,
    /// Kernel log lines of this boot that match the hardware-failure patterns. List, bounded.
    KernelHardwareErrors,
    /// `/proc/sys/kernel/tainted`. Count (bit set).
    KernelTaint,
    /// Errors recorded in the file system's superblock. Count.
    FileSystemErrors,
    /// The file system was not cleanly unmounted and its journal is not replayed. Flag.
    FileSystemNeedsRecovery,
    /// The image that the disk says it carries (from the node's own partition). Text: image id.
    ImageInstalled,
    /// The disk carries no bootable image at all, or one whose writing was never finished. Flag.
    ImageUnfinished,
    /// Immutable partitions whose bytes differ from the image. List of partition numbers.
    ImagePartitionsAltered,
    /// Immutable files whose content, mode, owner or extended attributes differ. List of paths, bounded; more are counted.
    ImageFilesAltered,
    /// Immutable files that are gone. List of paths, bounded.
    ImageFilesMissing,
    /// Files and folders under immutable paths that the image does not know, each by itself. List of
    /// paths, bounded.
    ImageFilesForeign,
    /// How many immutable files were compared. Count.
    ImageFilesChecked,
    /// The volumes with the node's data that stand in the seed partition of the disk of the operating
    /// system, by digest (`imaging::seed`). List; empty = the partition is blank; absent = the disk has no
    /// such partition. What is no volume of ours has a digest too.
    NodeDataInstalled,
    /// The kernel command line. Text, secrets removed.
    KernelCommandLine,
    /// ATA SMART attribute 10, raw. Count over the life of the disk.
    AtaSpinRetries,
    /// ATA SMART attribute 188, raw, its lowest 16 bits (some makers pack three numbers). Count over the life
    /// of the disk.
    AtaCommandTimeouts,
    /// ATA SMART attribute 199, raw: errors between disk and controller. Count over the life of the disk.
    AtaInterfaceCrcErrors,
    /// Hours with power: NVMe SMART log bytes 128-143, ATA attribute 9. Count over the life of the disk.
    DiskPowerOnHours,
    /// Bytes written by the host: NVMe SMART log bytes 48-63 (times 512,000), ATA attribute 241. Count over
    /// the life of the disk.
    DiskBytesWritten,
    /// NVMe SMART log bytes 196-199: minutes above the critical temperature. Count over the life of the disk.
    NvmeCriticalTemperatureMinutes,
    /// NVMe SMART log bytes 192-195: minutes above the warning temperature. Count over the life of the disk.
    NvmeWarningTemperatureMinutes,
    /// NVMe SMART log bytes 144-159. Count over the life of the disk.
    NvmeUnsafeShutdowns,
    /// The disk predicts its failure: SCSI additional sense code 5Dh, informational exceptions log page 2Fh.
    /// Flag.
    ScsiFailurePredicted,
    /// SCSI READ DEFECT DATA, grown list. Count over the life of the disk.
    ScsiGrownDefects,
    /// The newest completed self-test of the disk failed: NVMe log page 06h, ATA self-test log, SCSI log page
    /// 10h. Flag; absent where none was ever run.
    DiskSelfTestFailed,
    /// Members that an array lacks: `/sys/block/md*/md/degraded`. Count at present.
    RaidMembersMissing,
    /// Errors that a mounted btrfs counts for its devices, or that XFS reports of metadata. Count over the life
    /// of the file system.
    FileSystemDeviceErrors,
    /// Errors that the memory controller could not correct: EDAC `ue_count`. Count in this boot.
    MemoryUncorrectedErrors,
    /// Errors that the memory controller corrected: EDAC `ce_count`. Count in this boot.
    MemoryCorrectedErrors,
    /// Memory that the kernel took out of use because of errors: `HardwareCorrupted` in `/proc/meminfo`. Count
    /// in this boot.
    MemoryPoisonedBytes,
    /// Words that did not read back as written in the memory test of this run. Count.
    MemoryTestErrors,
    /// Known answers that a processor got wrong in this run. Count.
    ProcessorTestErrors,
    /// Times that a processor slowed down for heat: `thermal_throttle/*_throttle_count`. Count in this boot.
    ProcessorThrottles,
    /// Records of crashes that firmware kept (`/sys/fs/pstore`). List of names, bounded.
    CrashRecords,
    /// Kernel log lines of this boot that tell of lockups and hung tasks. List, bounded.
    KernelLockups,
    /// Kernel log lines of this boot that tell of processes killed for want of memory. List, bounded.
    KernelOutOfMemory,
    /// Kernel log lines of this boot that match the operator's own patterns. List of `NAME: LINE`, bounded.
    OperatorLogMatches,
    /// Lanes of the link as negotiated: `current_link_width`. Count at present.
    PcieLinkWidth,
    /// Speed of a lane as negotiated, in megatransfers a second: `current_link_speed`. Count at present.
    PcieLinkMegatransfers,
    /// Advanced Error Reporting, corrected: `aer_dev_correctable`, total. Count in this boot.
    PcieCorrectableErrors,
    /// Advanced Error Reporting, uncorrected and not fatal. Count in this boot.
    PcieNonfatalErrors,
    /// Advanced Error Reporting, fatal. Count in this boot.
    PcieFatalErrors,
    /// Times that the link went down: `carrier_down_count`. Count in this boot.
    NicLinkDowns,
    /// Rate of the port, in megabits a second. Count at present.
    FabricRateMegabits,
    /// InfiniBand `link_downed`. Count since the port was reset.
    FabricLinkDowned,
    /// InfiniBand `symbol_error`. Count since the port was reset.
    FabricSymbolErrors,
    /// InfiniBand `link_error_recovery`. Count since the port was reset.
    FabricLinkErrorRecoveries,
    /// InfiniBand `port_rcv_errors`. Count since the port was reset.
    FabricReceiveErrors,
    /// InfiniBand `port_xmit_discards`. Count since the port was reset.
    FabricTransmitDiscards,
    /// InfiniBand `local_link_integrity_errors` and `excessive_buffer_overrun_errors` together. Count since
    /// the port was reset.
    FabricIntegrityErrors,
    /// Xid messages of NVIDIA's driver in this boot, each as `NUMBER PCI-ADDRESS LINE`. List, bounded.
    GpuXids,
    /// A row is to be remapped at the next reset. Flag.
    GpuRowRemapPending,
    /// A row could not be remapped. Flag.
    GpuRowRemapFailed,
    /// Rows remapped for uncorrectable errors. Count over the life of the GPU.
    GpuRowsRemappedUncorrectable,
    /// The driver says that SRAM errors crossed the maker's threshold. Flag.
    GpuSramThresholdExceeded,
    /// Uncorrected ECC errors since the driver was loaded. Count in this boot.
    GpuUncorrectedErrors,
    /// Replay, recovery and CRC errors of all NVLinks together. Count in this boot.
    GpuNvlinkErrors,
    /// The hardware holds the clocks down for heat or power (clocks event reasons 08h, 40h, 80h). Flag.
    GpuHardwareSlowdown,
    /// The chip says that a value is beyond its critical limit: hwmon `*_crit_alarm`, `*_fault`, Redfish
    /// health. List of what, bounded.
    SensorAlarms,
    /// A temperature. Count at present, thousandths of a degree.
    TemperatureMillicelsius,
    /// Secure Boot is not enforced (UEFI variables SecureBoot and SetupMode). Flag; absent where the
    /// firmware has none.
    SecureBootOff,
    /// TPM 2.0 platform configuration registers, each as `BANK:INDEX:HEX`. List.
    BootRegisters,
    /// Memory copied in one second, all processors together, in megabytes. Count.
    MemoryBandwidthMegabytes,
    /// Rounds of the known-answer test that all processors did in one second. Count.
    ProcessorRounds,
    /// Read from the disk in one second, in sequence, in megabytes. Count.
    DiskReadMegabytes,
    /// Rate of a network interface's link as negotiated, in megabits a second; stands in the inventory, and is
    /// a key of its own for golden values. Count at present.
    NicSpeedMegabits,
    /// Version of the firmware: of the machine's BIOS (node), a disk, a GPU; stands in the inventory, and is a
    /// key of its own for golden values. Text.
    FirmwareVersion,
    /// Version of the baseboard management controller's firmware; stands in the inventory, and is a key of its
    /// own for golden values. Text.
    BmcVersion,
    /// Processors that got a known answer wrong in this run, by number, core and package. List.
    ProcessorsFailed,
    /// The nodes that the network was tested with in a burn-in, each as `NODE: WHAT CAME OF IT`; not those whose
    /// link is slower than this node's. List; empty = nobody was there to test with.
    NetworkTestPartners,
    /// Sent to another node in one second over one connection, in megabytes, as it arrived there; the most of
    /// all partners. Count; absent where nobody was there.
    NetworkSendMegabytes,
    /// Received from another node in one second over one connection, in megabytes; the most of all partners.
    /// Count; absent where nobody was there.
    NetworkReceiveMegabytes,
    /// Bytes of the network test of this run, of both directions and all partners, that came otherwise than they
    /// were sent. Count; absent where nobody was there.
    NetworkTestErrors,
    /// Known answers that a GPU got wrong in this run. Count.
    GpuTestErrors,
    /// Words of a GPU's memory that did not read back as written in this run. Count.
    GpuMemoryTestErrors,
    /// Known answers that a GPU computed in one second. Count.
    GpuAnswers,
    /// Written to and read from a GPU's memory in one second by itself, in megabytes. Count.
    GpuMemoryMegabytes,
}

impl fmt::Display for ReadingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => Err(fmt::Error),
        }
    }
}

/// How a number of a key counts, which says what a change of it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counting {
    /// It is what it is now: a state, a size, a result of this run. Judged as it stands.
    Present,
    /// It counts events over the life of the part, through every boot. Judged by its change.
    Life,
    /// It counts events since the boot (or since something was reset). Judged by its change, which in
    /// another boot is all of it.
    Boot,
}

impl ReadingKey {
    /// How the number counts; lists and flags are [`Counting::Present`].
    #[must_use]
    pub fn counting(self) -> Counting {
        match self {
            Self::NvmeMediaErrors
            | Self::AtaReallocatedSectors
            | Self::AtaReportedUncorrectable
            | Self::AtaOfflineUncorrectable
            | Self::AtaSpinRetries
            | Self::AtaCommandTimeouts
            | Self::AtaInterfaceCrcErrors
            | Self::DiskPowerOnHours
            | Self::DiskBytesWritten
            | Self::NvmeCriticalTemperatureMinutes
            | Self::NvmeWarningTemperatureMinutes
            | Self::NvmeUnsafeShutdowns
            | Self::ScsiGrownDefects
            | Self::FileSystemDeviceErrors
            | Self::GpuRowsRemappedUncorrectable => Counting::Life,
            Self::MemoryUncorrectedErrors
            | Self::MemoryCorrectedErrors
            | Self::MemoryPoisonedBytes
            | Self::ProcessorThrottles
            | Self::PcieCorrectableErrors
            | Self::PcieNonfatalErrors
            | Self::PcieFatalErrors
            | Self::NicLinkDowns
            | Self::FabricLinkDowned
            | Self::FabricSymbolErrors
            | Self::FabricLinkErrorRecoveries
            | Self::FabricReceiveErrors
            | Self::FabricTransmitDiscards
            | Self::FabricIntegrityErrors
            | Self::GpuUncorrectedErrors
            | Self::GpuNvlinkErrors => Counting::Boot,
            _ => Counting::Present,
        }
    }
}
