//! One record of the kernel's log (`Documentation/ABI/testing/dev-kmsg`).

/// One record of `/dev/kmsg`.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number in this boot.
    pub sequence: u64,
    /// Whether the kernel wrote it. User space may write what it likes.
    pub from_kernel: bool,
    /// Its first line.
    pub text: &'a str,
}

impl<'a> Record<'a> {
    /// `priority,sequence,microseconds,flags[,…];text`, then continuation lines that begin with a space.
    #[must_use]
    pub fn parse(record: &'a str) -> Option<Self> {
        let (head, text) = record.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let sequence = fields.next()?.parse().ok()?;
        // The facility is above the three bits of the level; user space cannot write as facility 0.
        Some(Self {
            sequence,
            from_kernel: priority >> 3 == 0,
            text: text.lines().next().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Record;
    use proptest::prelude::{any, proptest};

    #[test]
    fn records_are_told_by_who_wrote_them() {
        let record = Record::parse("12,7,99,-;said a tenant\n SUBSYSTEM=x\n").unwrap();
        assert_eq!(record, Record { sequence: 7, from_kernel: false, text: "said a tenant" });
        assert!(Record::parse("3,0,1,-;kernel").unwrap().from_kernel);
        assert_eq!(Record::parse("no record"), None);
        assert_eq!(Record::parse("3,x,1;text"), None);
    }

    proptest! {
        #[test]
        fn any_record_is_survived(record in any::<String>()) {
            let _ = Record::parse(&record);
        }
    }
}
