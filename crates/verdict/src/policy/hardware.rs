//! `[disks]`, `[memory]`, `[processor]`, `[kernel]`, `[sensors]`, `[links]`, `[gpu]`, `[boot_trust]`: what
//! follows from readings that `[fitness]` does not name.

use contract::boot_key::KnownBy;

use super::limits::{HealthUnreadable, Limits, Response};
use super::section::section;

section!(
    /// Disks, arrays and file systems.
    DisksPolicy, DisksFragment {
        ata_spin_retries: Limits,
        ata_command_timeouts: Limits,
        ata_interface_crc_errors: Limits,
        nvme_critical_temperature_minutes: Limits,
        nvme_warning_temperature_minutes: Limits,
        scsi_grown_defects: Limits,
        raid_members_missing: Limits,
        file_system_device_errors: Limits,
        signs_together: Limits,
        self_test_failed: Response,
        failure_predicted: Response,
        security_enabled: Response,
    }
);
section!(
    /// Memory.
    MemoryPolicy, MemoryFragment {
        uncorrected_errors: Limits,
        corrected_errors: Limits,
        poisoned_bytes: Limits,
        test_errors: Limits,
        module_missing: Response,
    }
);
section!(
    /// Processors.
    ProcessorPolicy, ProcessorFragment { test_errors: Limits, throttles: Limits }
);
section!(
    /// What the kernel and the firmware report.
    KernelPolicy, KernelFragment {
        crash_records: Response,
        lockups: Response,
        out_of_memory: Response,
        operator_matches: Response,
        taint_watch_mask: u64,
    }
);
section!(
    /// Sensors for temperature, fans and power.
    SensorsPolicy, SensorsFragment { alarms: Response }
);
section!(
    /// PCIe links, network interfaces, fabric ports, and versions.
    LinksPolicy, LinksFragment {
        pcie_width_below_golden: Response,
        pcie_speed_below_golden: Response,
        pcie_bit_errors_per_quadrillion: u64 => 1..=1_000_000,
        pcie_nonfatal_errors: Limits,
        pcie_fatal_errors: Limits,
        nic_speed_below_golden: Response,
        nic_link_downs: Limits,
        fabric_rate_below_golden: Response,
        fabric_link_downed: Limits,
        fabric_symbol_errors: Limits,
        fabric_link_error_recoveries: Limits,
        fabric_receive_errors: Limits,
        fabric_transmit_discards: Limits,
        fabric_integrity_errors: Limits,
        version_differs: Response,
    }
);
section!(
    /// GPUs.
    GpuPolicy, GpuFragment {
        missing: Response,
        unreadable: HealthUnreadable,
        row_remap_pending: Response,
        row_remap_failed: Response,
        sram_threshold_exceeded: Response,
        hardware_slowdown: Response,
        rows_remapped: Limits,
        uncorrected_errors: Limits,
        nvlink_errors: Limits,
        xid_logged: Response,
        xid_restart_application: Response,
        xid_reset_gpu: Response,
        xid_reset_repeats_quarantine_from: u64 => 1..=1_000,
        xid_reboot: Response,
        xid_reboot_repeats_quarantine_from: u64 => 1..=1_000,
        xid_check_power: Response,
        xid_update_software: Response,
        xid_workflow: Response,
        xid_power_smoothing: Response,
        xid_unknown: Response,
    }
);
section!(
    /// The way from power-on into the kernel.
    BootTrustPolicy, BootTrustFragment {
        unproven: Response,
        lost: Response,
        key_known_by: KnownBy,
        certificate_refused: Response,
        system_changed: Response,
        secure_boot_off: Response,
    }
);
