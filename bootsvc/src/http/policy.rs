//! The technician's API for policies, as `contract::policy_api` says. Nothing here changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use contract::assignment::NodeContext;
use contract::decision::{Decision, Finding, Severity};
use contract::id::{NodeId, PoolName};
use contract::operator_api::DecisionView;
use contract::policy_api::{Axes, DecisionRecord, PolicyDiff, PolicyDiffRequest, PolicyView, VerdictChange};
use serde::Deserialize;
use verdict::model::Model;
use verdict::policy::Policy;

use crate::http::body::{self, Answer};
use crate::http::operator::{authorize, find};
use crate::policies::{self, InForce};
use crate::refusal::Refusal;
use crate::service::{Service, node_by_id};
use crate::store;
use crate::withheld;

/// How many nodes one answer judges twice. At some milliseconds each, an answer takes a second or two.
const NODES_PER_ANSWER: usize = 200;
/// A policy, as JSON.
const BODY_BYTES_MAX: usize = 4 << 20;

/// The paths for policies and for what verdicts were made of.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/policy", get(show))
        .route("/v1/policy/diff", post(diff))
        .route("/v1/nodes/{node}/decision", get(decision))
        .route("/v1/nodes/{node}/decision-record", get(record))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPool {
    pool: Option<PoolName>,
}

async fn show(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Query(query): Query<OfPool>,
) -> Result<Answer<PolicyView>, Refusal> {
    authorize(&service, &headers)?;
    let in_force = match &query.pool {
        Some(pool) => service.policies.of(pool),
        None => service.policies.site(),
    };
    Ok(Answer(PolicyView {
        pool: query.pool,
        digest: in_force.policy.digest(),
        layers: in_force.layers.clone(),
    }))
}

async fn diff(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<PolicyDiff>, Refusal> {
    authorize(&service, &headers)?;
    let request: PolicyDiffRequest = body::read_json(&headers, body, BODY_BYTES_MAX).await?;
    let mut reading = service.store.read().await?;
    let mut nodes: Vec<(NodeId, PoolName)> = store::nodes::all(&mut reading)
        .await?
        .into_iter()
        .filter(|node| request.pool.as_ref().is_none_or(|pool| *pool == node.assignment.pool))
        .map(|node| (node.id, node.assignment.pool))
        .filter(|(node, _)| request.after.is_none_or(|after| *node > after))
        .collect();
    nodes.sort();
    let more = nodes.len() > NODES_PER_ANSWER;
    nodes.truncate(NODES_PER_ANSWER);
    let next = nodes.last().filter(|_| more).map(|(node, _)| *node);
    let mut answer = PolicyDiff { judged: 0, not_judged: 0, changes: Vec::new(), next };
    // A broken policy is said even where no node is judged by it.
    policies::in_force(vec![request.new.clone()]).map_err(|error| broken(&error))?;
    let mut others: BTreeMap<PoolName, Arc<InForce>> = BTreeMap::new();
    for (node, pool) in nodes {
        let last = store::evidence::last_decision(&mut reading, node).await?;
        let context = match &last {
            Some(view) => store::evidence::context(&mut reading, view.evidence.id).await?,
            None => None,
        };
        let (Some(view), Some(context)) = (last, context) else {
            answer.not_judged += 1;
            continue;
        };
        let after = match others.get(&pool) {
            Some(known) => Arc::clone(known),
            None => {
                let layers = service.policies.with(&pool, &request.new, request.pool.is_some());
                let made = policies::in_force(layers).map_err(|error| broken(&error))?;
                Arc::clone(others.entry(pool.clone()).or_insert(Arc::new(made)))
            }
        };
        let before = service.policies.of(&pool);
        let judging = Arc::clone(&service);
        let twice = move || judge_twice(&judging, &view, &context, &before, &after);
        let (taken_at, before, after) =
            tokio::task::spawn_blocking(twice).await.map_err(Refusal::internal)?;
        answer.judged += 1;
        if before.action != after.action || axes(&before) != axes(&after) {
            answer.changes.push(VerdictChange {
                node,
                pool,
                taken_at,
                before_because: because(&before, &after),
                after_because: because(&after, &before),
                before: before.action,
                before_axes: Some(axes(&before)),
                after: after.action,
                after_axes: Some(axes(&after)),
            });
        }
    }
    Ok(Answer(answer))
}

fn broken(error: &anyhow::Error) -> Refusal {
    Refusal::bad_request(format!("{error:#}"), "correct the file (`reprieve policy check`)")
}

/// The same evidence and facts under both policies, at the time of the verdict that stands.
fn judge_twice(
    service: &Service,
    view: &DecisionView,
    context: &NodeContext,
    before: &InForce,
    after: &InForce,
) -> (contract::id::UnixMillis, Decision, Decision) {
    let at = view.decision.decided_at;
    let in_force = service.models.current();
    let judge = |policy| crate::judging::judge(&view.evidence, context, policy, &in_force.model, at);
    (view.evidence.taken_at, judge(&before.policy), judge(&after.policy))
}

fn axes(decision: &Decision) -> Axes {
    Axes {
        confidentiality: decision.confidentiality.clone(),
        integrity: decision.integrity,
        fitness: decision.fitness,
    }
}

/// What makes a verdict another than the other one: its first reason, or the first thing that only it has found.
fn because(decision: &Decision, other: &Decision) -> String {
    let only_here =
        |finding: &&Finding| finding.severity != Severity::Good && !other.findings.contains(finding);
    let found = decision.findings.iter().find(only_here).filter(|_| decision.action == other.action);
    found.or(decision.reasons.first()).map(|finding| finding.statement.clone()).unwrap_or_default()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    /// Names of files are wanted, also where they do not leave the site.
    #[serde(default)]
    names: bool,
}

/// The last verdict, for a screen that may stand anywhere: of data that do not leave the site without names of
/// files, unless somebody asks for them, which is logged.
async fn decision(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    Query(wanted): Query<Names>,
    headers: HeaderMap,
) -> Result<Answer<DecisionView>, Refusal> {
    authorize(&service, &headers)?;
    let id = find(&service, &reference).await?;
    let mut reading = service.store.read().await?;
    let last = store::evidence::last_decision(&mut reading, id).await?.ok_or_else(|| {
        Refusal::not_found(
            format!("node {id} was never judged"),
            "boot it from the network, or ask for a state",
        )
    })?;
    let node = node_by_id(&mut reading, id).await?;
    let then = store::evidence::context(&mut reading, last.evidence.id).await?;
    drop(reading);
    let policy = service.policies.of(&node.assignment.pool);
    let owners = [Some(node.data_owner), then.map(|context| context.data_owner)];
    if !owners.iter().flatten().any(|owner| policy.policy.media_stay(owner)) {
        return Ok(Answer(last));
    }
    if wanted.names {
        tracing::warn!(node = %id, evidence = %last.evidence.id, "an operator was shown names of files of data that do not leave the site (policy: tenancy.media_stay)");
        return Ok(Answer(last));
    }
    let record = without_names(id, record_of(&service, id).await?)?;
    Ok(Answer(DecisionView { decision: record.decision, evidence: record.evidence, names_withheld: true }))
}

async fn record(
    State(service): State<Arc<Service>>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<DecisionRecord>, Refusal> {
    authorize(&service, &headers)?;
    let node = find(&service, &reference).await?;
    let record = record_of(&service, node).await?;
    let stays =
        service.policies.of(&record.context.assignment.pool).policy.media_stay(&record.context.data_owner);
    if stays { without_names(node, record).map(Answer) } else { Ok(Answer(record)) }
}

/// All that the last verdict was made of.
async fn record_of(service: &Service, node: NodeId) -> Result<DecisionRecord, Refusal> {
    let mut reading = service.store.read().await?;
    let gone = |what: &str| {
        Refusal::not_found(format!("{what} of node {node} is not known"), "let it be looked at once more")
    };
    let last = store::evidence::last_decision(&mut reading, node).await?;
    let DecisionView { decision, evidence, .. } = last.ok_or_else(|| gone("a verdict"))?;
    let context = store::evidence::context(&mut reading, evidence.id).await?;
    let context = context.ok_or_else(|| gone("what the service knew at the last verdict"))?;
    let policy = store::judgement_texts::by_digest(&mut reading, &decision.policy.to_string()).await?;
    let model = match &decision.model {
        Some(digest) => store::judgement_texts::by_digest(&mut reading, &digest.to_string()).await?,
        None => None,
    };
    let policy = policy.ok_or_else(|| gone("the policy of the last verdict"))?;
    let model = model.ok_or_else(|| gone("the model of the last verdict"))?;
    Ok(DecisionRecord { decision, evidence, context, policy, model, names_withheld: false })
}

/// The record of a node whose data do not leave the site: without names of files.
fn without_names(node: NodeId, record: DecisionRecord) -> Result<DecisionRecord, Refusal> {
    let unreadable = |what: &str, error: &dyn std::fmt::Display| {
        Refusal::conflict(
            format!("the {what} of the last verdict cannot be read: {error}"),
            "let it be looked at once more",
        )
    };
    let policy = Policy::parse(&record.policy).map_err(|error| unreadable("policy", &error))?;
    let model = Model::parse(&record.model).map_err(|error| unreadable("model", &error))?;
    let DecisionRecord { decision, evidence, context, .. } = record;
    let judged = withheld::judged_without_names(&decision, evidence, context, &policy, &model);
    let (decision, evidence, context) = judged.ok_or_else(|| {
        Refusal::conflict(
            format!("the last verdict of node {node} rests on names of files, which do not leave the site (policy: tenancy.media_stay)"),
            "read it at the site (`reprieve node explain NODE --names`)",
        )
    })?;
    let (policy, model) = (record.policy, record.model);
    Ok(DecisionRecord { decision, evidence, context, policy, model, names_withheld: true })
}
