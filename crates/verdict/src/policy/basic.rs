//! The small sections: `[evidence]`, `[confidentiality]`, `[integrity]`, `[erase]`, `[boot]`.

use contract::decision::SanitizeLevel;
use contract::plan::{BootMethod, VerifyDepth};
use contract::reading::Trust;

use super::limits::ForeignFiles;
use super::section::section;

section!(
    /// How old evidence may be.
    EvidencePolicy, EvidenceFragment {
        age_max_seconds: u64 => 60..=86_400,
        reading_age_max_seconds: u64 => 60..=604_800,
        baseline_age_seconds: u64 => 3_600..=2_592_000,
    }
);
section!(
    /// What a change of tenant demands.
    ConfidentialityPolicy, ConfidentialityFragment { tenant_change_level: SanitizeLevel }
);
section!(
    /// When software is put right, and how.
    IntegrityPolicy, IntegrityFragment {
        altered_percent_reimage_above: u64 => 0..=100,
        foreign_files: ForeignFiles,
        file_system_errors_reimage_above: u64,
    }, formerly { keep_trust_min: Trust }
);
section!(
    /// How an erase is proven.
    ErasePolicy, EraseFragment {
        verify: VerifyDepth,
        // Fewer than 1000 samples find less than NIST SP 800-88r1's sampling rule would look at; more than
        // 100000 are no sample any more.
        verify_samples: u32 => 1_000..=100_000,
        skip_already_clean: bool,
    }
);
section!(
    /// How a machine gets from the ramdisk into its system.
    BootPolicy, BootFragment { method: BootMethod }
);
