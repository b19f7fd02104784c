//! What a certificate says in sentences.

use contract::plan::{EraseMethod, VerifyDepth};

use super::Record;
use crate::certificate::wording;
use crate::record::exclusions;

pub(super) fn statement(record: &Record) -> String {
    if record.method == EraseMethod::NvmeFoundClean {
        return format!(
            "The disk {} was not erased now. The device reports that it was sanitized before and that \
             nothing was written since; it was asked before and after it was read back, and what was read \
             back holds no data. Method: {}. Technique: {}. What this does not cover stands under \
             exclusions. Technique standard: {}.",
            record.disk.id,
            wording::level(record.level),
            wording::technique(record.method),
            wording::technique_standard(record.method),
        );
    }
    let said = match record.method {
        EraseMethod::Overwrite => "acknowledged every write",
        _ => "reported success",
    };
    let instead = record.refused().map_or_else(String::new, |ordered| {
        format!(" {} was ordered first, which the disk refused.", wording::technique(ordered))
    });
    format!(
        "The disk {} was sanitized. Method: {}. Technique: {}.{instead} The device {said}, and what was read \
         back agrees with it. What this does not cover stands under exclusions. Technique standard: {}.",
        record.disk.id,
        wording::level(record.level),
        wording::technique(record.method),
        wording::technique_standard(record.method),
    )
}

pub(super) fn verification_in_words(record: &Record, depth: VerifyDepth) -> String {
    let mut words = match depth {
        VerifyDepth::Sampling => "Sampling".to_owned(),
        VerifyDepth::TenPercent => {
            "A tenth of the medium, two stretches in each of a thousand equal parts, and sampling".to_owned()
        }
        VerifyDepth::Full => "Every addressable byte".to_owned(),
    };
    words.push_str(&format!(": {} blocks of 4 KiB at positions that follow from the seed", record.samples));
    if let Some(bytes) = record.bytes_read_back {
        words.push_str(&format!(", {bytes} bytes in all, were read back from the medium"));
    }
    if record.method == EraseMethod::NvmeFoundClean {
        words.push_str(
            "; every one held zeros or ones alone. No markers were written, for nothing was erased",
        );
    } else if let Some(markers) = record.markers_gone {
        words.push_str(&format!(
            "; {markers} markers were written before the erase, read back, and found gone afterwards"
        ));
    }
    match record.found_with_95_percent_ppm {
        None => {}
        Some(0) => words.push_str("; nothing that was not erased could pass for erased"),
        Some(ppm) => words.push_str(&format!(
            "; if {}.{:04} % of the blocks or more had not been erased, this finds it with a probability of \
             at least 95 %",
            ppm / 10_000,
            ppm % 10_000
        )),
    }
    words
}

/// What we know not to be covered, whether the agent said it or not, and what it said beyond.
pub(super) fn all_exclusions(method: EraseMethod, reported: Vec<String>) -> Vec<String> {
    let mut all = exclusions(method);
    for exclusion in reported {
        if !all.contains(&exclusion) {
            all.push(exclusion);
        }
    }
    all
}
