//! What the kernel says about itself: boot id, taint, command line.

use std::path::Path;

use contract::command_line::without_secrets;
use contract::id::BootId;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use uuid::Uuid;

use super::source::{self, Source};
use crate::kernel_command_line::redacted;

/// The id of this boot; the nil UUID with the reason if it cannot be read, so that it matches no other.
pub fn boot_id(source: &Source) -> (BootId, Option<String>) {
    let path = source.path("proc/sys/kernel/random/boot_id");
    match source::read_text(&path).map(|text| text.parse::<BootId>()) {
        Ok(Ok(id)) => (id, None),
        Ok(Err(error)) => (BootId(Uuid::nil()), Some(error.to_string())),
        Err(error) => (BootId(Uuid::nil()), Some(format!("cannot read {}: {error}", path.display()))),
    }
}

/// Taint and command line.
#[must_use]
pub fn read(source: &Source) -> Vec<(Subject, ReadingKey, Outcome<ReadingValue>)> {
    let taint = source::number(&source.path("proc/sys/kernel/tainted")).map(ReadingValue::Count);
    let line = command_line(&source.path("proc/cmdline")).map(ReadingValue::Text);
    vec![
        (Subject::Node, ReadingKey::KernelTaint, taint),
        (Subject::Node, ReadingKey::KernelCommandLine, line),
    ]
}

fn command_line(path: &Path) -> Outcome<String> {
    source::attribute(path).map(|text| without_secrets(&redacted(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_does_not_leave_the_machine() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/sys/kernel/random")).unwrap();
        std::fs::write(root.path().join("proc/cmdline"), "quiet reprieve.token=abc rd.iscsi.password=x\n")
            .unwrap();
        std::fs::write(root.path().join("proc/sys/kernel/tainted"), "4096\n").unwrap();
        let source = Source::recorded(root.path());
        let readings = read(&source);
        assert_eq!(readings[0].2, Outcome::Value(ReadingValue::Count(4096)));
        assert_eq!(
            readings[1].2,
            Outcome::Value(ReadingValue::Text(
                "quiet reprieve.token=(removed) rd.iscsi.password=(removed)".into()
            ))
        );
        assert!(boot_id(&source).1.is_some());
    }
}
