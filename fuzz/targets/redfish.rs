//! What a management controller answers: the input is cut at each zero byte into its answers.
#![no_main]

use contract::id::UnixMillis;
use libfuzzer_sys::fuzz_target;
use redfish::identity::Expected;
use redfish::look::Look;

fuzz_target!(|data: &[u8]| {
    let mut look = Look::at(Expected::default());
    for answer in data.split(|byte| *byte == 0) {
        if look.next_question().is_none() {
            break;
        }
        look.answered(Ok(answer));
    }
    let _ = look.finish(UnixMillis(0));
});
