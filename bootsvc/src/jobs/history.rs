//! Which images a node had, what became of each, and which one is the way back. Pure; the list is the
//! node's, the newest first.
//!
//! | what happened | entry |
//! |---|---|
//! | a step that writes an image begins | new, writing |
//! | all steps are proven | coming up |
//! | the system's first report is what was asked for | good |
//! | a job is held, or goes back | failed |
//! | a system that was not written by a job is what was asked for | new, good |

use contract::history::{ImageOutcome, PAST_IMAGES_MAX, PastImage};
use contract::id::{ImageId, JobId, TenantId, UnixMillis};

/// Why there is no image to go back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWayBack {
    /// No other image is known to have worked.
    #[error("no earlier image of this node is known to have worked")]
    NoEarlierImage,
    /// The earlier image was another tenant's.
    #[error("the image {image} that the node had before was there for another tenant")]
    OtherTenant {
        /// Which.
        image: ImageId,
    },
    /// The job did not change the image.
    #[error("the node had this image before, too")]
    SameImage,
    /// The job wrote no image.
    #[error("the job wrote no image")]
    NothingWritten,
}

/// How long a reason may be, in characters.
const REASON_CHARACTERS_MAX: usize = 1000;

/// A step that writes an image begins.
pub fn writing(
    images: &mut Vec<PastImage>,
    image: ImageId,
    tenant: Option<TenantId>,
    job: JobId,
    now: UnixMillis,
) {
    match of_job(images, job).filter(|past| past.image == image) {
        Some(past) => {
            (past.outcome, past.outcome_at) = (ImageOutcome::Writing, now);
            past.accepted_command_line = None;
        }
        None => push(images, entry(image, tenant, Some(job), ImageOutcome::Writing, now)),
    }
}

/// All steps of a job are proven.
pub fn proven(images: &mut [PastImage], job: JobId, now: UnixMillis) {
    if let Some(past) = of_job(images, job).filter(|past| past.outcome == ImageOutcome::Writing) {
        (past.outcome, past.outcome_at) = (ImageOutcome::ComingUp, now);
    }
}

/// All steps of a job are proven, and no report will come from what it wrote.
pub fn unreported(images: &mut [PastImage], job: JobId, now: UnixMillis) {
    if let Some(past) = of_job(images, job).filter(|past| past.outcome == ImageOutcome::ComingUp) {
        (past.outcome, past.outcome_at) = (ImageOutcome::Unreported, now);
    }
}

/// A running system is what was asked for.
pub fn good(images: &mut Vec<PastImage>, image: ImageId, tenant: Option<TenantId>, now: UnixMillis) {
    match images.first_mut().filter(|past| past.image == image && past.tenant == tenant) {
        Some(past) if past.outcome == ImageOutcome::Good => {}
        Some(past) => (past.outcome, past.outcome_at) = (ImageOutcome::Good, now),
        None => push(images, entry(image, tenant, None, ImageOutcome::Good, now)),
    }
}

/// What a job wrote last is not what was asked for, or was never written to its end.
pub fn failed(images: &mut [PastImage], job: JobId, reason: &str, now: UnixMillis) {
    let open = |past: &&mut PastImage| matches!(past.outcome, ImageOutcome::Writing | ImageOutcome::ComingUp);
    if let Some(past) = of_job(images, job).filter(open) {
        let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        (past.outcome, past.outcome_at) = (ImageOutcome::Failed { reason }, now);
    }
}

/// The image to go back to when a person asks: the newest other one that worked, or that nobody could report
/// from, for the same tenant.
///
/// # Errors
/// [`NoWayBack`].
pub fn previous<'a>(
    images: &'a [PastImage],
    current: Option<ImageId>,
    tenant: Option<&TenantId>,
) -> Result<&'a PastImage, NoWayBack> {
    let stood = |past: &PastImage| matches!(past.outcome, ImageOutcome::Good | ImageOutcome::Unreported);
    let other = |past: &&PastImage| stood(past) && Some(past.image) != current;
    let past = images.iter().find(other).ok_or(NoWayBack::NoEarlierImage)?;
    same_tenant(past, tenant)
}

/// The image to go back to when what a job wrote did not come up: the one that worked before it.
///
/// # Errors
/// [`NoWayBack`]; above all if the job did not change the image.
pub fn before<'a>(
    images: &'a [PastImage],
    job: JobId,
    tenant: Option<&TenantId>,
) -> Result<&'a PastImage, NoWayBack> {
    let at = images.iter().position(|past| past.job == Some(job)).ok_or(NoWayBack::NothingWritten)?;
    let (written, earlier) = match images.split_at(at).1 {
        [written, earlier @ ..] => (written, earlier),
        [] => return Err(NoWayBack::NothingWritten),
    };
    let worked = |past: &&PastImage| past.outcome == ImageOutcome::Good;
    let past = earlier.iter().find(worked).ok_or(NoWayBack::NoEarlierImage)?;
    if past.image == written.image {
        return Err(NoWayBack::SameImage);
    }
    same_tenant(past, tenant)
}

fn same_tenant<'a>(past: &'a PastImage, tenant: Option<&TenantId>) -> Result<&'a PastImage, NoWayBack> {
    if tenant.is_some() && past.tenant.as_ref() == tenant {
        Ok(past)
    } else {
        Err(NoWayBack::OtherTenant { image: past.image })
    }
}

fn entry(
    image: ImageId,
    tenant: Option<TenantId>,
    job: Option<JobId>,
    outcome: ImageOutcome,
    now: UnixMillis,
) -> PastImage {
    PastImage {
        image,
        tenant,
        job,
        since: now,
        outcome,
        outcome_at: now,
        command_line: None,
        accepted_command_line: None,
    }
}

/// The newest entry of a job.
fn of_job(images: &mut [PastImage], job: JobId) -> Option<&mut PastImage> {
    images.iter_mut().find(|past| past.job == Some(job))
}

/// Puts an entry first. The oldest go, but never the newest one that worked: it is the way back.
fn push(images: &mut Vec<PastImage>, past: PastImage) {
    images.insert(0, past);
    while images.len() > PAST_IMAGES_MAX {
        let keep = images.iter().position(|past| past.outcome == ImageOutcome::Good);
        let last = images.len() - 1;
        images.remove(if keep == Some(last) { last - 1 } else { last });
    }
}

#[cfg(test)]
mod tests {
    use contract::id::Digest;
    use uuid::Uuid;

    use super::*;

    fn image(name: &str) -> ImageId {
        ImageId(Digest::of(name.as_bytes()))
    }

    fn job(number: u128) -> JobId {
        JobId(Uuid::from_u128(number))
    }

    fn tenant(name: &str) -> Option<TenantId> {
        Some(name.parse().unwrap())
    }

    fn written(images: &mut Vec<PastImage>, name: &str, whose: &str, number: u128) {
        let now = UnixMillis(u64::try_from(number).unwrap());
        writing(images, image(name), tenant(whose), job(number), now);
        proven(images, job(number), now);
    }

    /// `A:t+` wrote image A for tenant t and it worked; `A:t-` and it failed; `A:t?` and nobody knows.
    fn history(words: &str) -> Vec<PastImage> {
        let mut images = Vec::new();
        for (at, word) in words.split_whitespace().enumerate() {
            let number = at as u128 + 1;
            let (name, rest) = word.split_once(':').unwrap();
            let (whose, outcome) = rest.split_at(rest.len() - 1);
            written(&mut images, name, whose, number);
            match outcome {
                "+" => good(&mut images, image(name), tenant(whose), UnixMillis(9)),
                "-" => failed(&mut images, job(number), "did not come up", UnixMillis(9)),
                _ => {}
            }
        }
        images
    }

    #[test]
    fn the_way_back_is_the_newest_other_image_that_worked_for_the_same_tenant() {
        let table = [
            // history, assigned, what a person gets, what the service takes by itself
            ("", "A", "no earlier", "wrote no image"),
            ("A:t+", "A", "no earlier", "no earlier"),
            ("A:t+", "B", "A", "no earlier"),
            ("A:t+ B:t?", "B", "A", "A"),
            ("A:t+ B:t-", "B", "A", "A"),
            ("A:t+ B:t+", "B", "A", "A"),
            ("A:t+ B:t- A:t+", "A", "no earlier", "had this image"),
            ("A:t+ B:t+ A:t+", "A", "B", "B"),
            ("A:t+ A:t-", "A", "no earlier", "had this image"),
            ("Z:t+ A:t+ A:t-", "A", "Z", "had this image"),
            ("A:t- B:t-", "B", "no earlier", "no earlier"),
            ("A:t? B:t-", "B", "no earlier", "no earlier"),
            ("A:u+ B:t-", "B", "another tenant", "another tenant"),
            ("A:t+ C:u+ B:t-", "B", "another tenant", "another tenant"),
            ("A:t+ C:t- B:t-", "B", "A", "A"),
        ];
        for (words, assigned, asked, by_itself) in table {
            let images = history(words);
            let newest = images.first().and_then(|past| past.job).unwrap_or(job(99));
            let show = |found: Result<&PastImage, NoWayBack>| match found {
                Ok(past) => {
                    let names = ["A", "B", "C", "Z"];
                    names.into_iter().find(|name| image(name) == past.image).unwrap().to_owned()
                }
                Err(none) => none.to_string(),
            };
            let who = tenant("t");
            let found = show(previous(&images, Some(image(assigned)), who.as_ref()));
            assert!(found.contains(asked), "{words}, asked: {found}");
            let found = show(before(&images, newest, who.as_ref()));
            assert!(found.contains(by_itself), "{words}, by itself: {found}");
        }
    }

    #[test]
    fn nothing_is_found_without_a_tenant() {
        assert!(previous(&history("A:t+"), None, None).is_err());
    }

    #[test]
    fn the_same_job_that_writes_again_has_one_entry_and_the_way_back_another() {
        let mut images = history("A:t+ B:t-");
        written(&mut images, "B", "t", 2);
        assert_eq!(images.len(), 2, "the job went on after the hold");
        writing(&mut images, image("A"), tenant("t"), job(2), UnixMillis(5));
        assert_eq!((images.len(), images[0].image), (3, image("A")));
        failed(&mut images, job(2), "again", UnixMillis(6));
        assert!(matches!(&images[0].outcome, ImageOutcome::Failed { .. }));
        assert_eq!(images[1].outcome, ImageOutcome::ComingUp, "only the newest of the job has failed");
    }

    #[test]
    fn a_system_that_is_found_is_recorded_once_and_a_late_report_counts() {
        let mut images = Vec::new();
        for at in 1..4 {
            good(&mut images, image("A"), tenant("t"), UnixMillis(at));
        }
        assert_eq!((images.len(), images[0].job, images[0].outcome_at), (1, None, UnixMillis(1)));
        let mut images = history("A:t+ B:t-");
        good(&mut images, image("B"), tenant("t"), UnixMillis(10));
        assert_eq!((images.len(), &images[0].outcome), (2, &ImageOutcome::Good));
    }

    #[test]
    fn the_list_is_bounded_and_never_loses_the_way_back() {
        let mut images = history("Z:t+ A:t+");
        for number in 10..80 {
            written(&mut images, &format!("B{number}"), "t", number);
            failed(&mut images, job(number), "no", UnixMillis(1));
            assert!(images.len() <= PAST_IMAGES_MAX);
        }
        assert_eq!(previous(&images, None, tenant("t").as_ref()).unwrap().image, image("A"));
    }
}
