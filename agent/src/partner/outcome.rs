//! What came of the tests with all partners, as readings.

use std::fmt;

use contract::id::NodeId;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::Rates;
use super::stream::{Broken, Measured};
use crate::probe::evidence::Found;

/// A test with one partner.
#[derive(Debug)]
pub struct Meeting {
    /// With whom.
    pub node: NodeId,
    /// The partner's link is not slower than this node's, as far as is known.
    pub fair: bool,
    /// What came of it.
    pub result: Result<Measured, Broken>,
}

impl Meeting {
    /// How fast it was, where that says something of this node.
    pub fn rates(&self) -> Option<Rates> {
        self.result.as_ref().ok().filter(|_| self.fair).map(|measured| measured.rates)
    }

    fn wrong_bytes(&self) -> u64 {
        match &self.result {
            Ok(measured) => measured.wrong_bytes,
            Err(broken) => broken.wrong_bytes,
        }
    }
}

impl fmt::Display for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.node)?;
        match &self.result {
            Ok(Measured { rates: Rates { sent_megabytes, received_megabytes }, .. }) => {
                write!(f, "{sent_megabytes} MB/s sent, {received_megabytes} MB/s received")?;
            }
            Err(broken) => write!(f, "{broken}")?,
        }
        match self.wrong_bytes() {
            0 => Ok(()),
            wrong => write!(f, ", {wrong} bytes wrong"),
        }
    }
}

/// All readings of the network test. `lost` is why the service could not be asked for another partner.
pub fn readings(met: &[Meeting], lost: Option<String>) -> Vec<Found> {
    let fair: Vec<&Meeting> = met.iter().filter(|one| one.fair).collect();
    let rate = |of: fn(Rates) -> u64| {
        let best = fair.iter().filter_map(|one| one.rates()).map(of).max();
        match (best, fair.first(), &lost) {
            (Some(best), _, _) => Outcome::Value(ReadingValue::Count(best)),
            (None, Some(first), _) => Outcome::Unreadable(first.to_string()),
            (None, None, Some(why)) => Outcome::Unreadable(why.clone()),
            (None, None, None) => Outcome::Absent,
        }
    };
    let wrong = met.iter().fold(0_u64, |sum, one| sum.saturating_add(one.wrong_bytes()));
    let errors = match (met.iter().find(|one| one.result.is_ok()), met.first(), &lost) {
        _ if wrong > 0 => Outcome::Value(ReadingValue::Count(wrong)),
        (Some(_), _, _) => Outcome::Value(ReadingValue::Count(0)),
        (None, Some(first), _) => Outcome::Unreadable(first.to_string()),
        (None, None, Some(why)) => Outcome::Unreadable(why.clone()),
        (None, None, None) => Outcome::Absent,
    };
    let partners = match &lost {
        Some(why) if fair.is_empty() => Outcome::Unreadable(why.clone()),
        _ => Outcome::Value(ReadingValue::list(fair.iter().map(ToString::to_string).collect())),
    };
    vec![
        (Subject::Node, ReadingKey::NetworkTestPartners, partners),
        (Subject::Node, ReadingKey::NetworkSendMegabytes, rate(|rates| rates.sent_megabytes)),
        (Subject::Node, ReadingKey::NetworkReceiveMegabytes, rate(|rates| rates.received_megabytes)),
        (Subject::Node, ReadingKey::NetworkTestErrors, errors),
    ]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn meeting(fair: bool, result: Result<(u64, u64, u64), u64>) -> Meeting {
        let result = match result {
            Ok((sent_megabytes, received_megabytes, wrong_bytes)) => {
                Ok(Measured { rates: Rates { sent_megabytes, received_megabytes }, wrong_bytes })
            }
            Err(wrong_bytes) => Err(Broken { why: "it went away".to_owned(), wrong_bytes }),
        };
        Meeting { node: NodeId(Uuid::nil()), fair, result }
    }

    /// Short for an outcome: a value, `absent`, `lost`.
    fn told(found: &[Found]) -> Vec<String> {
        let short = |(_, _, outcome): &Found| match outcome {
            Outcome::Value(value) => match value {
                ReadingValue::List { total, .. } => format!("{total} partners"),
                value => value.to_string(),
            },
            Outcome::Absent => "absent".to_owned(),
            Outcome::Unreadable(_) => "lost".to_owned(),
        };
        found.iter().map(short).collect()
    }

    #[test]
    fn the_best_partner_counts_and_every_wrong_byte() {
        let good = || meeting(true, Ok((900, 800, 0)));
        let gone = || meeting(true, Err(0));
        let table: [(Vec<Meeting>, Option<&str>, [&str; 4]); 9] = [
            (vec![], None, ["0 partners", "absent", "absent", "absent"]),
            (vec![], Some("away"), ["lost", "lost", "lost", "lost"]),
            (vec![good()], None, ["1 partners", "900", "800", "0"]),
            (vec![good()], Some("away"), ["1 partners", "900", "800", "0"]),
            (vec![meeting(true, Ok((100, 1000, 3))), good()], None, ["2 partners", "900", "1000", "3"]),
            (vec![gone()], None, ["1 partners", "lost", "lost", "lost"]),
            (vec![gone(), good()], None, ["2 partners", "900", "800", "0"]),
            (vec![good(), meeting(true, Err(7))], None, ["2 partners", "900", "800", "7"]),
            // A partner whose link is slower is no measure; what it made of the data counts.
            (vec![meeting(false, Ok((10, 10, 1)))], None, ["0 partners", "absent", "absent", "1"]),
        ];
        for (met, lost, expected) in table {
            assert_eq!(told(&readings(&met, lost.map(str::to_owned))), expected, "{met:?}");
        }
    }

    #[test]
    fn a_partner_is_named_with_what_came_of_it() {
        let node = NodeId(Uuid::nil());
        let good = meeting(true, Ok((900, 800, 2))).to_string();
        assert_eq!(good, format!("{node}: 900 MB/s sent, 800 MB/s received, 2 bytes wrong"));
        assert_eq!(meeting(true, Err(0)).to_string(), format!("{node}: it went away"));
    }
}
