//! `reprieve job …`: what jobs there are, and watching one to its end.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Subcommand;
use contract::id::JobId;
use contract::operator_api::{JobState, JobView};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Ending;
use crate::client::{Client, Unreachable};
use crate::output::{bytes, clean, print, print_json, properties, short, table, time, trimmed, word};

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs
    List,
    /// Show one job
    Show {
        /// Job id
        job: JobId,
    },
    /// Watch a job until it ends; exit status 3 if it does not reach what was asked for
    Watch {
        /// Job id
        job: JobId,
    },
    /// Give a job up before anything irreversible
    Cancel {
        /// Job id
        job: JobId,
    },
}

/// How often a job is asked after.
const POLL_INTERVAL: Duration = Duration::from_millis(700);

/// How often in a row the service may be unreachable before watching gives up. It may be restarting.
const FAILURES_MAX: u32 = 60;

/// `reprieve job list`.
pub async fn list(client: &Client, json: bool) -> anyhow::Result<Ending> {
    let jobs: Vec<JobView> = client.get("/v1/jobs").await?;
    if json {
        print_json(&jobs)?;
        return Ok(Ending::Good);
    }
    if jobs.is_empty() {
        print("no jobs yet; reprieve reimage NODE makes one")?;
        return Ok(Ending::Good);
    }
    let mut rows = table(&["job", "node", "state", "requested by", "created", "changed"]);
    for job in &jobs {
        rows.add_row([
            job.id.to_string(),
            short(&job.node),
            clean(&state(&job.state)),
            clean(&job.requested_by),
            time(job.created_at),
            time(job.changed_at),
        ]);
    }
    print(&trimmed(&rows))?;
    Ok(Ending::Good)
}

/// `reprieve job show JOB`.
pub async fn show(client: &Client, job: JobId, json: bool) -> anyhow::Result<Ending> {
    print_job(&client.get(&path(job)).await?, json)
}

/// `reprieve job cancel JOB`.
pub async fn cancel(client: &Client, job: JobId, json: bool) -> anyhow::Result<Ending> {
    print_job(&client.post_empty(&format!("{}/cancel", path(job))).await?, json)
}

fn path(job: JobId) -> String {
    format!("/v1/jobs/{job}")
}

fn print_job(job: &JobView, json: bool) -> anyhow::Result<Ending> {
    if json {
        print_json(job)?;
    } else {
        print(&describe(job))?;
        for event in &job.events {
            print(&format!("{}  {}", time(event.at), clean(&event.text)))?;
        }
    }
    Ok(Ending::Good)
}

/// A job in words, with what each step proved.
pub fn describe(job: &JobView) -> String {
    let mut rows = vec![
        ("job", Some(job.id.to_string())),
        ("node", Some(job.node.to_string())),
        ("state", Some(clean(&state(&job.state)))),
        ("at least", job.at_least.as_ref().map(word)),
        ("sanitize to", job.sanitize_level.as_ref().map(word)),
        ("requested by", Some(clean(&job.requested_by))),
        ("why", job.why.as_ref().map(|why| clean(why))),
        ("created", Some(time(job.created_at))),
        ("changed", Some(time(job.changed_at))),
    ];
    if let Some(back) = &job.going_back {
        let way =
            format!("from image {} to {}: {}", short(&back.from), short(&back.to), clean(&back.because));
        rows.push(("taken back", Some(way)));
    }
    for step in &job.steps {
        let cost = format!(
            "step {}: read {}, fetched {}, written {} in {:.1} s; {}",
            step.step,
            bytes(step.bytes_read),
            bytes(step.bytes_fetched),
            bytes(step.bytes_written),
            step.millis as f64 / 1000.0,
            clean(&step.proof)
        );
        rows.push(("proven", Some(cost)));
    }
    properties(rows)
}

/// Where a job stands, in words.
fn state(state: &JobState) -> String {
    match state {
        JobState::Waiting => "waiting for the machine".to_owned(),
        JobState::Booting { attempt } => format!("booting the ramdisk (attempt {attempt})"),
        JobState::Looking => "looking".to_owned(),
        JobState::Ordered => "ordered".to_owned(),
        JobState::Acting { step, steps } => format!("acting: step {} of {steps}", step.saturating_add(1)),
        JobState::ComingUp => "done on the disk; the operating system is coming up".to_owned(),
        JobState::Done { action } => format!("done: {}", word(action)),
        JobState::Held { reason } => format!("held: {reason}"),
        JobState::Cancelled => "cancelled".to_owned(),
        JobState::RolledBack { reason } => format!("rolled back: {reason}"),
    }
}

fn ending(state: &JobState) -> Option<Ending> {
    match state {
        JobState::Done { .. } => Some(Ending::Good),
        JobState::Held { .. } | JobState::Cancelled | JobState::RolledBack { .. } => Some(Ending::NotReached),
        JobState::Waiting
        | JobState::Booting { .. }
        | JobState::Looking
        | JobState::Ordered
        | JobState::Acting { .. }
        | JobState::ComingUp => None,
    }
}

/// `reprieve job watch JOB`: shows what happens until the job ends.
pub async fn watch(client: &Client, job: JobId, json: bool) -> anyhow::Result<Ending> {
    let (view, ending) = follow(client, job, json).await?;
    if json {
        print_json(&view)?
    } else {
        print(&describe(&view))?
    }
    Ok(ending)
}

/// Shows what happens until the job ends; the job as it ended.
pub async fn follow(client: &Client, job: JobId, json: bool) -> anyhow::Result<(JobView, Ending)> {
    let mut screen = Screen::new(json);
    let mut failures = 0;
    loop {
        match client.get::<JobView>(&path(job)).await {
            Ok(view) => {
                failures = 0;
                screen.show(&view)?;
                if let Some(ending) = ending(&view.state) {
                    screen.bar.finish_and_clear();
                    return Ok((view, ending));
                }
            }
            Err(error) if error.downcast_ref::<Unreachable>().is_some() && failures < FAILURES_MAX => {
                failures += 1;
                screen.say("the service does not answer; asking again");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What the watcher sees: events as lines, and below them a bar where there is a terminal.
struct Screen {
    bar: ProgressBar,
    json: bool,
    /// Time and text of the last event shown. The list is bounded, so its length does not tell.
    last: Option<(u64, String)>,
}

impl Screen {
    fn new(json: bool) -> Self {
        let visible = !json && std::io::stderr().is_terminal();
        let bar = if visible { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, json, last: None }
    }

    fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn show(&mut self, job: &JobView) -> anyhow::Result<()> {
        for event in new_events(job, self.last.as_ref()) {
            if !self.json {
                let line = format!("{}  {}", time(event.at), clean(&event.text));
                self.bar.suspend(|| print(&line))?;
            }
        }
        self.last = job.events.last().map(|event| (event.at.0, event.text.clone())).or(self.last.take());
        match &job.progress {
            Some(progress) if progress.total_bytes > 0 => {
                self.bar.set_style(style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}"));
                self.bar.set_length(progress.total_bytes);
                self.bar.set_position(progress.done_bytes.min(progress.total_bytes));
                self.say(&clean(&doing(job, &progress.phase)));
            }
            _ => {
                self.bar.set_style(style("{spinner} {msg}"));
                let phase = job.progress.as_ref().map(|progress| progress.phase.as_str());
                self.say(&clean(&phase.map_or_else(|| state(&job.state), |phase| doing(job, phase))));
            }
        }
        Ok(())
    }
}

/// What is being done, and to which disk: the phase with the step that began last, in which the
/// service names the disk.
fn doing(job: &JobView, phase: &str) -> String {
    let began = job.events.iter().rev().find_map(|event| event.text.split_once(" begins: "));
    match (&job.state, began) {
        (JobState::Acting { .. }, Some((step, what))) => format!("{phase} ({step}: {what})"),
        _ => phase.to_owned(),
    }
}

/// A style; a template that cannot be read gives the default one.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The events after the last one that was shown; all of them if that one is gone from the list.
fn new_events<'a>(job: &'a JobView, last: Option<&(u64, String)>) -> &'a [contract::operator_api::JobEvent] {
    let shown = last
        .and_then(|(at, text)| job.events.iter().rposition(|event| event.at.0 == *at && event.text == *text));
    shown.map_or(&job.events, |shown| &job.events[shown + 1..])
}

#[cfg(test)]
mod tests {
    use contract::id::{JobId, NodeId, UnixMillis};
    use contract::operator_api::{JobEvent, JobState, JobView};

    use super::{doing, ending, new_events};
    use crate::Ending;

    fn job(events: &[(u64, &str)]) -> JobView {
        let event = |&(at, text): &(u64, &str)| JobEvent { at: UnixMillis(at), text: text.to_owned() };
        JobView {
            id: JobId(uuid::Uuid::nil()),
            node: NodeId(uuid::Uuid::nil()),
            state: JobState::Waiting,
            requested_by: "test".to_owned(),
            created_at: UnixMillis(0),
            changed_at: UnixMillis(0),
            at_least: None,
            sanitize_level: None,
            why: None,
            progress: None,
            steps: Vec::new(),
            events: events.iter().map(event).collect(),
            going_back: None,
        }
    }

    #[test]
    fn each_event_is_shown_once_even_when_old_ones_are_dropped() {
        let last = (2, "b".to_owned());
        assert_eq!(new_events(&job(&[(1, "a"), (2, "b")]), None).len(), 2);
        assert_eq!(new_events(&job(&[(1, "a"), (2, "b"), (3, "c")]), Some(&last)).len(), 1);
        assert_eq!(new_events(&job(&[(2, "b"), (3, "c"), (4, "d")]), Some(&last)).len(), 2);
        assert_eq!(new_events(&job(&[(8, "x")]), Some(&last)).len(), 1);
    }

    #[test]
    fn the_disk_that_is_worked_on_is_named() {
        let events =
            [(1, "step 1 of 3 begins: erase a (Overwrite)"), (2, "step 2 of 3 begins: erase b (Overwrite)")];
        let mut acting = job(&events);
        acting.state = JobState::Acting { step: 1, steps: 3 };
        assert_eq!(doing(&acting, "erasing"), "erasing (step 2 of 3: erase b (Overwrite))");
        assert_eq!(doing(&job(&events), "looking"), "looking");
    }

    #[test]
    fn only_done_is_good() {
        let held = JobState::Held { reason: String::new() };
        assert_eq!(ending(&held), Some(Ending::NotReached));
        assert_eq!(ending(&JobState::Cancelled), Some(Ending::NotReached));
        let back = JobState::RolledBack { reason: String::new() };
        assert_eq!(ending(&back), Some(Ending::NotReached));
        assert_eq!(ending(&JobState::ComingUp), None);
        let done = JobState::Done { action: contract::decision::Action::Keep };
        assert_eq!(ending(&done), Some(Ending::Good));
    }
}
