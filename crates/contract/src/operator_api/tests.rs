use super::{JobState, JobView};
use crate::id::{JobId, NodeId, UnixMillis};

#[test]
fn a_job_reads_back_in_every_state() {
    let reason = "why".to_owned();
    for state in [
        JobState::Waiting,
        JobState::Booting { attempt: 1 },
        JobState::Looking,
        JobState::Ordered,
        JobState::Acting { step: 0, steps: 2 },
        JobState::ComingUp,
        JobState::Done { action: crate::decision::Action::Keep },
        JobState::Held { reason: reason.clone() },
        JobState::Cancelled,
        JobState::RolledBack { reason },
    ] {
        let job = JobView {
            id: JobId(uuid::Uuid::nil()),
            node: NodeId(uuid::Uuid::nil()),
            state,
            requested_by: "operator".to_owned(),
            created_at: UnixMillis(1),
            changed_at: UnixMillis(2),
            at_least: None,
            sanitize_level: None,
            why: None,
            progress: None,
            steps: Vec::new(),
            events: Vec::new(),
            going_back: None,
        };
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<JobView>(&text).unwrap(), job, "{text}");
    }
}
