//! What a SCSI disk says of its health: LOG SENSE and READ DEFECT DATA (12).
//!
//! Layouts: SPC-5 (LOG SENSE, Informational Exceptions and Self-Test Results log pages), SBC-4 (READ
//! DEFECT DATA (12)).

/// Log page "Self-Test Results".
pub const PAGE_SELF_TESTS: u8 = 0x10;
/// Log page "Informational Exceptions".
pub const PAGE_EXCEPTIONS: u8 = 0x2f;
/// Room for a log page: the self-test page has 404 bytes, and of others only the beginning counts.
pub const PAGE_BYTES: u16 = 512;
/// What comes back of the list of defects: its header.
pub const DEFECT_HEADER_BYTES: u32 = 8;
/// Additional sense code "failure prediction threshold exceeded".
const FAILURE_PREDICTED: u8 = 0x5d;
/// Its qualifier for a prediction that somebody had the disk make as a test.
const QUALIFIER_TEST: u8 = 0xff;
/// One result of a self-test.
const RESULT_BYTES: usize = 20;

/// LOG SENSE of a page, its cumulative values.
#[must_use]
pub fn log_sense(page: u8) -> [u8; 10] {
    let [high, low] = PAGE_BYTES.to_be_bytes();
    [0x4d, 0, 0x40 | (page & 0x3f), 0, 0, 0, 0, high, low, 0]
}

/// READ DEFECT DATA (12) of the grown list, as bytes from the index, its header alone.
#[must_use]
pub fn read_grown_defects() -> [u8; 12] {
    let [a, b, c, d] = DEFECT_HEADER_BYTES.to_be_bytes();
    [0xb7, 0x08 | 0x04, 0, 0, 0, 0, a, b, c, d, 0, 0]
}

/// Whether an additional sense code and its qualifier say that the disk predicts its failure.
#[must_use]
pub fn predicts_failure(additional: (u8, u8)) -> bool {
    additional.0 == FAILURE_PREDICTED && additional.1 != QUALIFIER_TEST
}

/// The parameters of a log page, as far as they came.
///
/// # Errors
/// In words, where the answer is another page or has no header.
fn parameters(page: u8, answer: &[u8]) -> Result<&[u8], String> {
    let Some((&[code, _, high, low], rest)) = answer.split_first_chunk::<4>() else {
        return Err(format!("log page {page:#04x} has {} bytes", answer.len()));
    };
    if code & 0x3f != page {
        return Err(format!("log page {page:#04x} was asked for, and {:#04x} came", code & 0x3f));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    Ok(rest.get(..length).unwrap_or(rest))
}

/// The additional sense code and its qualifier in the Informational Exceptions log page.
///
/// # Errors
/// In words, where the answer is not that page or lacks its first parameter.
pub fn exception(answer: &[u8]) -> Result<(u8, u8), String> {
    match *parameters(PAGE_EXCEPTIONS, answer)? {
        [0, 0, _, length, code, qualifier, ..] if length >= 2 => Ok((code, qualifier)),
        _ => Err("the informational exceptions log page lacks its parameter".to_owned()),
    }
}

/// Whether the newest completed self-test failed; none where none was ever completed. Results stand
/// newest first.
///
/// # Errors
/// In words, where the answer is not the page or a result is none that anybody knows.
pub fn newest_self_test_failed(answer: &[u8]) -> Result<Option<bool>, String> {
    for result in parameters(PAGE_SELF_TESTS, answer)?.chunks_exact(RESULT_BYTES) {
        let (status, hours) = (result[4], u16::from_be_bytes([result[6], result[7]]));
        // Not used. Disks put their numbers into unused ones too, so these two decide.
        if status == 0 && hours == 0 {
            return Ok(None);
        }
        match status & 0xf {
            0 => return Ok(Some(false)),
            // Broken off, or still running: says nothing of the disk.
            1 | 2 | 0xf => {}
            3..=7 => return Ok(Some(true)),
            other => return Err(format!("a self-test ended with result {other}")),
        }
    }
    Ok(None)
}

/// How many entries the grown list of defects has; none where the disk gives no such list.
///
/// # Errors
/// In words, where the header is too short or the list has a format of which the size is not known.
pub fn grown_defects(header: &[u8]) -> Result<Option<u64>, String> {
    let Some(&[_, flags, _, _, a, b, c, d]) = header.first_chunk::<8>() else {
        return Err(format!("the list of defects has a header of {} bytes", header.len()));
    };
    if flags & 0x08 == 0 {
        return Ok(None);
    }
    let entry_bytes = match flags & 0x07 {
        0 => 4,
        1..=5 => 8,
        other => return Err(format!("the list of defects has format {other}")),
    };
    // The length is that of the whole list, however little of it there was room for.
    Ok(Some(u64::from(u32::from_be_bytes([a, b, c, d])) / entry_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn page(code: u8, parameters: &[u8]) -> Vec<u8> {
        let mut page = vec![code, 0];
        page.extend((parameters.len() as u16).to_be_bytes());
        page.extend(parameters);
        page
    }

    fn results(statuses: &[(u8, u16)]) -> Vec<u8> {
        let mut all = Vec::new();
        for number in 0..20_u8 {
            let (status, hours) = statuses.get(usize::from(number)).copied().unwrap_or((0, 0));
            let mut one = vec![0, number + 1, 3, 16, status, number];
            one.extend(hours.to_be_bytes());
            one.resize(RESULT_BYTES, 0);
            all.extend(one);
        }
        page(PAGE_SELF_TESTS, &all)
    }

    #[test]
    fn commands_byte_by_byte() {
        assert_eq!(log_sense(PAGE_EXCEPTIONS), [0x4d, 0, 0x6f, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!(read_grown_defects(), [0xb7, 0x0c, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
    }

    #[test]
    fn an_exception_is_read_and_a_test_predicts_nothing() {
        // As scsi_debug answers.
        assert_eq!(exception(&page(0x2f, &[0, 0, 3, 3, 0, 0, 38])), Ok((0, 0)));
        assert_eq!(exception(&page(0x2f, &[0, 0, 3, 3, 0x5d, 0x10, 38])), Ok((0x5d, 0x10)));
        assert!(exception(&page(0x2f, &[0, 0, 3])).is_err());
        assert!(exception(&page(0x10, &[0, 0, 3, 3, 0x5d, 0])).is_err());
        assert!(exception(&[0x2f]).is_err());
        for (additional, expected) in
            [((0x5d, 0), true), ((0x5d, 0x73), true), ((0x5d, 0xff), false), ((0x0b, 1), false)]
        {
            assert_eq!(predicts_failure(additional), expected, "{additional:?}");
        }
    }

    #[test]
    fn the_newest_completed_self_test_counts() {
        for (statuses, expected) in [
            (&[][..], Ok(None)),
            (&[(0x20, 9), (0x27, 8)], Ok(Some(false))),
            (&[(0x27, 9), (0x20, 8)], Ok(Some(true))),
            (&[(0x4f, 0), (0x21, 9), (0x23, 8)], Ok(Some(true))),
            (&[(0x21, 9)], Ok(None)),
        ] {
            assert_eq!(newest_self_test_failed(&results(statuses)), expected, "{statuses:?}");
        }
        assert!(newest_self_test_failed(&results(&[(0x28, 1)])).is_err());
    }

    #[test]
    fn defects_are_counted_by_the_size_of_their_format() {
        let header = |flags: u8, length: u32| [&[0, flags, 0, 0][..], &length.to_be_bytes()].concat();
        for (flags, length, expected) in
            [(0x0c, 80, Ok(Some(10))), (0x08, 80, Ok(Some(20))), (0x0d, 0, Ok(Some(0))), (0x04, 80, Ok(None))]
        {
            assert_eq!(grown_defects(&header(flags, length)), expected);
        }
        assert!(grown_defects(&header(0x0e, 8)).is_err());
        assert!(grown_defects(&[0, 8, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), right in any::<bool>()) {
            for code in [PAGE_EXCEPTIONS, PAGE_SELF_TESTS] {
                if let (true, Some(first)) = (right, bytes.first_mut()) {
                    *first = code;
                }
                let _ = exception(&bytes);
                let _ = newest_self_test_failed(&bytes);
            }
            let _ = grown_defects(&bytes);
        }
    }
}
