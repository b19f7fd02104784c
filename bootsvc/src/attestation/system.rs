//! How the running system boots: what its agent shows in answer to a challenge, and what is recorded under its
//! image. The rules are S1 to S7 of `attest::system`.
//!
//! - Y1: a challenge is drawn each time the agent asks what to judge with, is bound to node and credential, counts
//!   once and for `CHALLENGE_LASTS`, and is kept in memory alone (`system_proof`).
//! - Y2: what was shown counts for the boot that it was shown in, and for [`SHOWN_LASTS_MILLIS`]: a boot id is the
//!   agent's word, and a system that was changed could go on with the one before.
//! - Y3: the image is the one that the job wrote whose credential speaks. What another image showed is no measure.
//! - Y4: the key is the one that is recorded for the node.
//! - Y5: a boot is recorded by itself once for an image: when the first report after the image was written is what
//!   was asked for, the ramdisk's boot before was verified, and the firmware is as recorded. From there on only a
//!   person replaces it; another image's first use does, too.
//! - Y6: where it is recorded for this image, a boot that does not show itself is lost; else nothing is missed, so that
//!   agents of before this go on as they were.

use attest::golden::Golden;
use attest::register::{Register, Registers};
use attest::system::{Found, Known, Log, System, compare, known_by};
use contract::assignment::BootTrust;
use contract::boot_key::KnownBy;
use contract::boot_proof::SystemBootView;
use contract::history::PastImage;
use contract::id::{BootId, Digest, ImageId, JobId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{BootFacts, BootKnowledge, as_far_as_the_key_is_known, lost, registers};

/// How long what was shown counts (Y2); agents show themselves again long before.
pub const SHOWN_LASTS_MILLIS: u64 = 24 * 3_600_000;
/// Why a boot is recorded that nobody looked at (Y5).
const FIRST_USE: &str = "the first boot after the image was written from a proven ramdisk";

/// What is kept of a system's boot that a TPM signed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredSystem {
    /// Name of the attestation key.
    pub key: Digest,
    /// The registers that were asked for.
    pub registers: Vec<(u8, Digest)>,
    /// What the event log tells besides; none where there is none.
    pub log: Option<MeasuredLog>,
}

/// What is kept of an event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredLog {
    /// Register 7 at its separator.
    pub secure_boot: Option<Digest>,
    /// What was measured into register 4.
    pub programs: Vec<Digest>,
    /// The log calls some of them programs.
    pub names_programs: bool,
}

impl MeasuredSystem {
    /// As it is compared.
    pub(super) fn system(&self) -> System {
        let log = self.log.as_ref().map(|log| Log {
            secure_boot: log.secure_boot.map(|register| register.0),
            programs: log.programs.iter().map(|program| program.0).collect(),
            names_programs: log.names_programs,
        });
        let registers = self.registers.iter().map(|(index, register)| (*index, register.0));
        System { registers: Registers::new(registers), log }
    }
}

/// What the agent of the running system showed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ShownSystem {
    /// The job whose credential spoke.
    job: JobId,
    boot: BootId,
    at: UnixMillis,
    /// Or why nothing is proven.
    measured: Result<MeasuredSystem, String>,
    /// Its firmware is golden for the hardware model.
    golden_firmware: bool,
    /// What was booted is golden for image and hardware model.
    golden_booted: bool,
}

/// What is recorded of the system of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptSystem {
    image: ImageId,
    measured: MeasuredSystem,
    at: UnixMillis,
    why: String,
    /// Nobody looked at it (Y5).
    first_use: bool,
}

/// What is known of how a node's running system boots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SystemKnowledge {
    recorded: Option<KeptSystem>,
    shown: Option<ShownSystem>,
}

impl SystemKnowledge {
    /// Forgets what is recorded. `false` if nothing was.
    pub(super) fn forget(&mut self) -> bool {
        self.recorded.take().is_some()
    }

    /// The image that a job wrote (Y3).
    fn image(images: &[PastImage], job: JobId) -> Option<ImageId> {
        images.iter().find(|past| past.job == Some(job)).map(|past| past.image)
    }

    fn recorded_for(&self, image: Option<ImageId>) -> Option<&KeptSystem> {
        self.recorded.as_ref().filter(|kept| Some(kept.image) == image)
    }
}

/// Who speaks of a running system, and when.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// The job that gave the credential.
    pub job: JobId,
    /// The boot that is spoken of; none if it does not matter which.
    pub boot: Option<BootId>,
    /// The images that the node had.
    pub images: &'a [PastImage],
    /// Now.
    pub now: UnixMillis,
}

impl BootKnowledge {
    /// Takes what the agent of a running system showed, in place of what it showed before.
    pub(super) fn take_system(
        &mut self,
        (job, boot): (JobId, BootId),
        at: UnixMillis,
        measured: Result<MeasuredSystem, String>,
        golden: Golden,
    ) {
        let Golden { firmware: golden_firmware, booted: golden_booted } = golden;
        self.system.shown = Some(ShownSystem { job, boot, at, measured, golden_firmware, golden_booted });
    }

    /// What the running system has shown of its boot (Y2, Y3, Y6).
    #[must_use]
    pub fn facts_of_system(&self, speaker: Speaker<'_>, demanded: KnownBy) -> BootFacts {
        let image = SystemKnowledge::image(speaker.images, speaker.job);
        match self.shown_by(speaker) {
            Some(shown) => {
                let key = shown.measured.as_ref().ok().and_then(|measured| self.known_key(measured.key));
                let found = self.judge_system(shown, image);
                let trust = as_far_as_the_key_is_known(found, key.as_ref(), demanded);
                BootFacts { trust: Some(trust), key }
            }
            None => {
                let missed = self.system.recorded_for(image);
                let why = "the running system has shown nothing of its boot";
                BootFacts { trust: missed.map(|_| lost(why)), key: None }
            }
        }
    }

    /// Y2.
    fn shown_by(&self, speaker: Speaker<'_>) -> Option<&ShownSystem> {
        self.system.shown.as_ref().filter(|shown| {
            shown.job == speaker.job
                && speaker.boot.is_none_or(|boot| boot == shown.boot)
                && shown.at <= speaker.now
                && speaker.now.millis_since(shown.at) <= SHOWN_LASTS_MILLIS
        })
    }

    /// What was found out of a key when a ramdisk showed it. It stays in its TPM.
    fn known_key(&self, key: Digest) -> Option<contract::boot_key::BootKey> {
        let shown = self.shown.as_ref()?;
        shown.measured.as_ref().is_ok_and(|measured| measured.key == key).then(|| shown.key.clone())?
    }

    fn judge_system(&self, shown: &ShownSystem, image: Option<ImageId>) -> BootTrust {
        let recorded = self.system.recorded_for(image);
        let unproven = |why: &str| BootTrust::Unproven { why: why.to_owned() };
        match (&shown.measured, &self.recorded) {
            (Err(why), _) if recorded.is_some() => lost(why),
            (Err(why), _) => unproven(why),
            (Ok(_), None) => unproven("nobody has recorded how this node boots"),
            (Ok(now), Some(kept)) if now.key != kept.measured.key => {
                lost("another TPM signed than the one that is recorded; was the mainboard replaced?")
            }
            (Ok(now), Some(_)) => self.compare_system(shown, now, recorded).into(),
        }
    }

    fn compare_system(
        &self,
        shown: &ShownSystem,
        now: &MeasuredSystem,
        recorded: Option<&KeptSystem>,
    ) -> Found {
        // What a person recorded last is how the firmware should be.
        let of_ramdisk = self.recorded.as_ref();
        let by_person =
            self.system.recorded.as_ref().filter(|kept| {
                !kept.first_use && of_ramdisk.is_none_or(|of_ramdisk| kept.at > of_ramdisk.at)
            });
        let (firmware, secure_boot) = match (by_person, of_ramdisk) {
            (Some(kept), _) => {
                let system = kept.measured.system();
                let secure_boot = system.log.as_ref().and_then(|log| log.secure_boot);
                (system.registers, secure_boot)
            }
            (None, Some(kept)) => {
                (registers(&kept.measured), kept.measured.secure_boot.map(|register| register.0))
            }
            (None, None) => (Registers::default(), None),
        };
        let (ramdisk, system) = (self.ramdisk_before(), recorded.map(|kept| kept.measured.system()));
        let known = Known {
            firmware: &firmware,
            secure_boot,
            ours: &self.our_programs(),
            ramdisk: ramdisk.as_ref(),
            system: system.as_ref(),
        };
        let golden = Golden { firmware: shown.golden_firmware, booted: shown.golden_booted };
        compare(&known, &now.system(), golden)
    }

    /// The registers of the last ramdisk's boot (S3). One whose firmware is not as recorded, or that does not hold,
    /// explains nothing.
    fn ramdisk_before(&self) -> Option<Registers> {
        let shown = self.shown.as_ref()?;
        match self.judge(shown, KnownBy::FirstUse) {
            BootTrust::Verified | BootTrust::Unproven { .. } => shown.measured.as_ref().ok().map(registers),
            BootTrust::Mismatch { .. } | BootTrust::Changed { .. } | BootTrust::Lost { .. } => None,
        }
    }

    /// What the node's recorded ramdisk measured into register 4. What a later one did nobody has looked at.
    fn our_programs(&self) -> Vec<Register> {
        let programs = self.recorded.as_ref().map(|kept| kept.measured.programs.as_slice());
        programs.unwrap_or_default().iter().map(|program| program.0).collect()
    }

    /// What a system's boot would be golden by.
    pub(super) fn golden_system(&self, measured: &MeasuredSystem, image: ImageId) -> Option<Digest> {
        known_by(&measured.system(), image, &self.our_programs())
    }

    /// Y5, in the transaction that takes the first report and finds it as asked. Whether it was recorded.
    pub(crate) fn record_first_use(&mut self, speaker: Speaker<'_>, demanded: KnownBy) -> bool {
        let Some(image) = SystemKnowledge::image(speaker.images, speaker.job) else { return false };
        let from_proven_ramdisk =
            self.shown.as_ref().is_some_and(|shown| self.judge(shown, demanded) == BootTrust::Verified);
        if !from_proven_ramdisk || self.system.recorded_for(Some(image)).is_some() {
            return false;
        }
        let (Some(shown), Some(kept)) = (self.shown_by(speaker), &self.recorded) else { return false };
        let Ok(measured) = shown.measured.clone() else { return false };
        let is_new = self.compare_system(shown, &measured, None) == Found::NotRecorded;
        if !is_new || measured.key != kept.measured.key {
            return false;
        }
        let why = FIRST_USE.to_owned();
        self.system.recorded = Some(KeptSystem { image, measured, at: speaker.now, why, first_use: true });
        true
    }

    /// A person found the boot right that the running system showed last. Returns its image and what it measured.
    ///
    /// # Errors
    /// Says why there is nothing to record.
    pub(crate) fn record_system(
        &mut self,
        images: &[PastImage],
        why: &str,
        now: UnixMillis,
    ) -> Result<(ImageId, MeasuredSystem), String> {
        let shown = self.system.shown.as_ref().ok_or("the running system has shown nothing of its boot")?;
        let measured = shown.measured.clone()?;
        let kept = self.recorded.as_ref().ok_or("record how the node boots the ramdisk first")?;
        if kept.measured.key != measured.key {
            return Err(
                "another TPM signed than the one that is recorded; record a boot of the ramdisk first"
                    .to_owned(),
            );
        }
        if self.ramdisk_before().is_some_and(|ramdisk| ramdisk == measured.system().registers) {
            return Err(
                "the system was started without a reset (kexec) and shows the ramdisk's boot".to_owned()
            );
        }
        let image = SystemKnowledge::image(images, shown.job).ok_or("nobody knows which image it is of")?;
        self.system.recorded = Some(KeptSystem {
            image,
            measured: measured.clone(),
            at: now,
            why: why.to_owned(),
            first_use: false,
        });
        Ok((image, measured))
    }

    /// When the running system showed its boot last.
    #[must_use]
    pub fn system_shown_at(&self) -> Option<UnixMillis> {
        self.system.shown.as_ref().map(|shown| shown.at)
    }

    /// For people; none while nothing is known.
    pub(super) fn view_system(&self, images: &[PastImage], demanded: KnownBy) -> Option<SystemBootView> {
        let SystemKnowledge { recorded, shown } = &self.system;
        if recorded.is_none() && shown.is_none() {
            return None;
        }
        let trust = shown.as_ref().and_then(|shown| {
            let speaker = Speaker { job: shown.job, boot: None, images, now: shown.at };
            self.facts_of_system(speaker, demanded).trust
        });
        Some(SystemBootView {
            image: recorded.as_ref().map(|kept| kept.image),
            recorded_at: recorded.as_ref().map(|kept| kept.at),
            why: recorded.as_ref().map(|kept| kept.why.clone()),
            shown_at: shown.as_ref().map(|shown| shown.at),
            trust,
        })
    }
}
