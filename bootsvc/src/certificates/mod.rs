//! Certificates: the service signs what the agent proved, with what only the service knows.
//!
//! - here: from a finished order to certificates, in the transaction that ends the order.
//! - [`preview`]: what a wipe would do, before anybody is asked.

pub mod preview;

use contract::agent_api::{Finish, FinishResult};
use contract::certificate_api::{CertificateKey, CertificateView};
use contract::id::{CertificateId, DiskId, UnixMillis};
use contract::operator_api::DecisionView;
use contract::plan::Step;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use erasure::certificate::issue::{Facts, certify};
use erasure::certificate::signed::SignedCertificate;
use erasure::certificate::{Certificate, Chain, Issuer, Previous};

use crate::bearer;
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::orders::OrderRow;

/// A certificate that was made and is not stored yet.
struct Made {
    certificate: Certificate,
    view: CertificateView,
    file: String,
}

impl Service {
    /// Makes and records the certificates of an order that was reported done: one for each erase, or
    /// none at all. The inner error says why there can be none; then nothing is recorded.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn certify(
        &self,
        change: &mut Change<'_>,
        order: &OrderRow,
        finish: &Finish,
    ) -> Result<Result<Vec<CertificateView>, String>, Refusal> {
        if !order.plan.steps.iter().any(|step| matches!(step, Step::Erase { .. })) {
            return Ok(Ok(Vec::new()));
        }
        let evidence = store::evidence::judged(&mut change.transaction, order.plan.evidence).await?;
        let Some(judged) = evidence else {
            return Ok(Err("the evidence that the plan rests on is not stored any more".to_owned()));
        };
        let mut all: Vec<Made> = Vec::new();
        for (number, step) in (0..).zip(&order.plan.steps) {
            if !matches!(step, Step::Erase { .. }) {
                continue;
            }
            let chain = chain_of(change, &all, &step.disk().id).await?;
            match self.certify_step(change, order, finish, number, &judged, chain).await? {
                Ok(made) => all.push(made),
                Err(why) => return Ok(Err(format!("step {}: {why}", number + 1))),
            }
        }
        record(change, &all).await?;
        Ok(Ok(all.into_iter().map(|made| made.view).collect()))
    }

    /// Makes and records the certificates of the disks that were proven erased before an order failed. The
    /// failed step itself never gets one, nor does a disk of which anything does not agree: that is noted
    /// in the job, and the failure stays what it is.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn certify_before_failure(
        &self,
        change: &mut Change<'_>,
        order: &OrderRow,
        finish: &Finish,
        failed: u32,
    ) -> Result<(), Refusal> {
        // A failure that the plan does not have is no report to take anything from.
        if usize::try_from(failed).map_or(true, |failed| failed >= order.plan.steps.len()) {
            change.note("no disk is certified: the failure names a step that the plan does not have");
            return Ok(());
        }
        let erased = |(number, step): &(u32, &Step)| {
            *number != failed
                && matches!(step, Step::Erase { .. })
                && finish.steps.iter().any(|result| result.step == *number)
        };
        let steps: Vec<(u32, &Step)> = (0..).zip(&order.plan.steps).filter(erased).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let evidence = store::evidence::judged(&mut change.transaction, order.plan.evidence).await?;
        let Some(judged) = evidence else {
            change.note("no disk is certified: the evidence that the plan rests on is not stored any more");
            return Ok(());
        };
        let mut all: Vec<Made> = Vec::new();
        for (number, step) in steps {
            let disk = &step.disk().id;
            let chain = chain_of(change, &all, disk).await?;
            match self.certify_step(change, order, finish, number, &judged, chain).await? {
                Ok(made) => all.push(made),
                Err(why) => change.note(format!("disk {disk} is not certified: {why}")),
            }
        }
        record(change, &all).await
    }

    async fn certify_step(
        &self,
        change: &mut Change<'_>,
        order: &OrderRow,
        finish: &Finish,
        number: u32,
        judged: &DecisionView,
        chain: Chain,
    ) -> Result<Result<Made, String>, Refusal> {
        let step = usize::try_from(number).ok().and_then(|at| order.plan.steps.get(at));
        let Some(step) = step else { return Ok(Err("the plan has no such step".to_owned())) };
        let begun_at: Option<UnixMillis> =
            store::certificates::begun_at(&mut change.transaction, order.id, number).await?;
        let Some(begun_at) = begun_at else {
            return Ok(Err("that it begins was never recorded".to_owned()));
        };
        let mut results = finish.steps.iter().filter(|result| result.step == number);
        let (result, second) = (results.next(), results.next());
        let failed_at = match &finish.result {
            FinishResult::Failed { step, .. } => Some(*step),
            FinishResult::Done | FinishResult::Refused { .. } => None,
        };
        let proven = result.filter(|result| !result.proof.is_empty());
        let record = proven.and_then(|result| result.erase_record.as_deref());
        let (Some(record), None) = (record, second) else {
            return Ok(Err("there is not exactly one proof and erase record for it".to_owned()));
        };
        let begun_before =
            store::certificates::begun_before(&mut change.transaction, order.job, order.id, &step.disk().id)
                .await?;
        let now = change.now;
        let data_owner = change.node.data_owner.clone();
        let demanded = self.key_demanded(&change.node);
        let tpm_quote = change.node.boot.quoted_in(order.session, demanded);
        let job = change.job()?;
        let certificate = certify(Facts {
            id: CertificateId(bearer::new_uuid()),
            issuer: Issuer {
                account: "reprieve-bootsvc".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                site: None,
            },
            now,
            order: order.id,
            job: order.job,
            plan: order.plan_digest,
            step_number: number,
            step,
            begun_at,
            begun_before,
            evidence: &judged.evidence,
            decision: &judged.decision,
            data_owner: &data_owner,
            requested_by: &job.requested_by,
            why: job.why.as_deref(),
            record,
            tpm_quote,
            order_failed_at_step: failed_at,
            chain,
        });
        match certificate {
            Ok(certificate) => self.sign_certificate(certificate).map(Ok),
            Err(why) => Ok(Err(why.to_string())),
        }
    }

    fn sign_certificate(&self, certificate: Certificate) -> Result<Made, Refusal> {
        let signed = SignedCertificate::sign(&certificate, &self.authority.certificate_key)
            .map_err(Refusal::internal)?;
        let file = signed.to_bytes().map_err(Refusal::internal)?;
        let view = CertificateView {
            id: certificate.id,
            issued_at: certificate.issued_at,
            disk: certificate.device.id.clone(),
            model: certificate.device.model.clone(),
            serial: certificate.device.serial.clone(),
            node: certificate.machine.node,
            job: certificate.authority.job,
            level: certificate.sanitization.method,
            method: certificate.sanitization.technique,
            number: certificate.chain.number,
            digest: signed.digest().map_err(Refusal::internal)?,
        };
        Ok(Made { certificate, view, file: String::from_utf8(file).map_err(Refusal::internal)? })
    }

    /// The public key that certificates are checked with.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn certificate_key(&self) -> Result<CertificateKey, Refusal> {
        let key = self.authority.certificate_key.verifying_key();
        Ok(CertificateKey {
            public_key: hex::encode(key.to_bytes()),
            pem: key.to_public_key_pem(LineEnding::LF).map_err(Refusal::internal)?,
        })
    }
}

async fn record(change: &mut Change<'_>, all: &[Made]) -> Result<(), Refusal> {
    for made in all {
        store::certificates::insert(&mut change.transaction, &made.certificate, &made.view, &made.file)
            .await?;
        change.note(format!("certificate {} is signed: disk {}", made.view.id, made.view.disk));
    }
    Ok(())
}

/// Where the next certificate of a disk stands, behind those that are stored and those just made.
async fn chain_of(change: &mut Change<'_>, made: &[Made], disk: &DiskId) -> Result<Chain, Refusal> {
    if let Some(made) = made.iter().rev().find(|made| made.view.disk == *disk) {
        return Ok(after(&made.view));
    }
    let last = store::certificates::last_of_disk(&mut change.transaction, disk).await?;
    Ok(last.map_or(Chain { number: 1, previous: None }, |(view, _)| after(&view)))
}

/// The place after a certificate.
fn after(view: &CertificateView) -> Chain {
    Chain {
        number: view.number.saturating_add(1),
        previous: Some(Previous { id: view.id, digest: view.digest }),
    }
}
