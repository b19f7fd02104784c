//! How a node's kernels are started, as far as the service knows: what rules compare with
//! (`verdict::rules::command_line`).
//!
//! | what happens | what is remembered |
//! |---|---|
//! | a boot script hands the ramdisk out | its arguments |
//! | the running system reports | its line, until an image is begun to be written |
//! | its first report after an image was written is what was asked for | its line, with the image: so it starts whenever it is written again |
//! | the same of a system that this job did not write | its line, until the image is written again |
//! | a person finds the node right | the same |
//!
//! A line that is known is never replaced by one that was only reported: what was found stays found until a
//! person has looked, or the image is another.

use contract::command_line::{CommandLines, LINE_BYTES_MAX};
use contract::evidence::Evidence;
use contract::history::PastImage;
use contract::id::{ImageId, JobId};
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use crate::store::nodes::NodeRecord;

/// How long a reason is kept, in characters.
const WHY_CHARACTERS_MAX: usize = 200;

/// What a look at the node is judged with.
#[must_use]
pub fn of(node: &NodeRecord) -> CommandLines {
    let image = node.assignment.image;
    CommandLines {
        system: image.and_then(|image| known(&node.images, image)).map(ToOwned::to_owned),
        system_last: node.system_line.clone(),
        ramdisk: node.ramdisk_arguments.clone(),
    }
}

/// Its running system has reported.
pub fn reported(node: &mut NodeRecord, evidence: &Evidence) {
    let readings = evidence.readings.iter();
    let mut lines = readings
        .filter(|one| one.key == ReadingKey::KernelCommandLine && one.subject == Subject::Node)
        .map(|one| one.outcome.clone());
    let line = match (lines.next(), lines.next()) {
        (None, _) => Outcome::Unreadable("it was not reported".to_owned()),
        (Some(_), Some(_)) => Outcome::Unreadable("it was reported twice".to_owned()),
        (Some(Outcome::Value(ReadingValue::Text(line))), None) if line.len() <= LINE_BYTES_MAX => {
            Outcome::Value(line)
        }
        (Some(Outcome::Value(ReadingValue::Text(_))), None) => {
            Outcome::Unreadable("it is longer than a kernel may take".to_owned())
        }
        (Some(Outcome::Value(_)), None) => Outcome::Unreadable("it is not a text".to_owned()),
        (Some(Outcome::Absent), None) => Outcome::Absent,
        (Some(Outcome::Unreadable(why)), None) => {
            Outcome::Unreadable(why.chars().take(WHY_CHARACTERS_MAX).collect())
        }
    };
    node.system_line = Some(line);
}

/// Its running system is what was asked for, in this job.
pub fn learn(node: &mut NodeRecord, job: Option<JobId>) {
    let (Some(image), Some(Outcome::Value(line))) = (node.assignment.image, &node.system_line) else {
        return;
    };
    if known(&node.images, image).is_some() {
        return;
    }
    if let Some(here) = node.images.first_mut().filter(|here| here.image == image) {
        let written_now = here.job.is_some() && here.job == job;
        let place = if written_now { &mut here.command_line } else { &mut here.accepted_command_line };
        *place = Some(line.clone());
    }
}

/// A person has found the node right.
pub fn accept(node: &mut NodeRecord) {
    let (Some(image), Some(Outcome::Value(line))) = (node.assignment.image, &node.system_line) else {
        return;
    };
    if let Some(here) = node.images.first_mut().filter(|here| here.image == image) {
        here.accepted_command_line = Some(line.clone());
    }
}

/// How this image starts on this node: what was accepted of it as it stands now, or how it started when it was
/// written last.
fn known(images: &[PastImage], image: ImageId) -> Option<&str> {
    let here = images.first().filter(|here| here.image == image);
    let accepted = here.and_then(|here| here.accepted_command_line.as_deref());
    let written =
        || images.iter().filter(|past| past.image == image).find_map(|past| past.command_line.as_deref());
    accepted.or_else(written)
}

#[cfg(test)]
mod tests {
    use contract::history::ImageOutcome;
    use contract::id::{Digest, NodeId, UnixMillis};
    use uuid::Uuid;

    use super::*;
    use crate::jobs::history;

    const JOB: JobId = JobId(Uuid::from_u128(7));
    const NOW: UnixMillis = UnixMillis(1);

    fn image(name: &str) -> ImageId {
        ImageId(Digest::of(name.as_bytes()))
    }

    fn node() -> NodeRecord {
        let mac = "52:54:00:00:00:01".parse().unwrap();
        NodeRecord::discovered(NodeId(Uuid::from_u128(1)), mac, "default".parse().unwrap(), NOW)
    }

    /// Writes the image in a job of this number; its system comes up with this line and is what was asked for.
    fn install(node: &mut NodeRecord, name: &str, line: &str, number: u128) {
        let job = JobId(Uuid::from_u128(number));
        node.assignment.image = Some(image(name));
        history::writing(&mut node.images, image(name), None, job, NOW);
        node.system_line = None;
        history::proven(&mut node.images, job, NOW);
        comes_up(node, line, Some(job));
    }

    fn comes_up(node: &mut NodeRecord, line: &str, job: Option<JobId>) {
        node.system_line = Some(Outcome::Value(line.to_owned()));
        if let Some(image) = node.assignment.image {
            history::good(&mut node.images, image, None, NOW);
        }
        learn(node, job);
    }

    fn expected(node: &NodeRecord) -> Option<String> {
        of(node).system
    }

    #[test]
    fn each_image_has_the_line_that_it_came_up_with_when_it_was_written() {
        let mut node = node();
        install(&mut node, "A", "root=a", 1);
        assert_eq!(expected(&node).as_deref(), Some("root=a"));
        comes_up(&mut node, "root=a x", None);
        assert_eq!(expected(&node).as_deref(), Some("root=a"), "a line that is known is not replaced");
        // Another image has another line, and none before it has reported.
        node.assignment.image = Some(image("B"));
        assert_eq!(expected(&node), None);
        install(&mut node, "B", "root=b", 2);
        assert_eq!(expected(&node).as_deref(), Some("root=b"));
        // Rolled back: A again, and it is compared with what A was.
        install(&mut node, "A", "root=a init=/bin/sh", 3);
        assert_eq!(expected(&node).as_deref(), Some("root=a"));
    }

    #[test]
    fn what_a_person_accepts_holds_until_the_image_is_written_again() {
        let mut node = node();
        install(&mut node, "A", "root=a", 1);
        comes_up(&mut node, "root=a hugepages=8", None);
        accept(&mut node);
        assert_eq!(expected(&node).as_deref(), Some("root=a hugepages=8"));
        install(&mut node, "A", "root=a", 2);
        assert_eq!(expected(&node).as_deref(), Some("root=a"));
        // The same job that writes again.
        comes_up(&mut node, "root=a y", Some(JobId(Uuid::from_u128(2))));
        accept(&mut node);
        history::writing(&mut node.images, image("A"), None, JobId(Uuid::from_u128(2)), NOW);
        assert_eq!(expected(&node).as_deref(), Some("root=a"));
    }

    #[test]
    fn a_system_that_was_not_written_now_is_known_only_as_it_stands() {
        let mut node = node();
        node.assignment.image = Some(image("A"));
        comes_up(&mut node, "root=a tenant=1", None);
        assert_eq!(expected(&node).as_deref(), Some("root=a tenant=1"));
        history::writing(&mut node.images, image("A"), None, JOB, NOW);
        assert_eq!(expected(&node), None, "written again, it starts as the image says");
    }

    #[test]
    fn what_was_not_reported_is_not_learned_and_nothing_is_accepted_of_another_image() {
        let mut node = node();
        node.assignment.image = Some(image("A"));
        history::good(&mut node.images, image("A"), None, NOW);
        assert_eq!(node.images[0].outcome, ImageOutcome::Good);
        node.system_line = Some(Outcome::Unreadable("EIO".to_owned()));
        learn(&mut node, None);
        accept(&mut node);
        assert_eq!(expected(&node), None);
        node.system_line = Some(Outcome::Value("x".to_owned()));
        node.assignment.image = Some(image("B"));
        accept(&mut node);
        learn(&mut node, None);
        node.assignment.image = Some(image("A"));
        assert_eq!(expected(&node), None);
    }
}
