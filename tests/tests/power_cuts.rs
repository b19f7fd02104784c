//! The power is cut at random moments, again and again: while a disk is erased and while it is written.
//! An erased disk is certified by a new order only, and a disk that boots holds a whole image.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use contract::id::JobId;
use contract::operator_api::JobState;
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::Told;
use reprieve_tests::disk::{find_bytes, first_difference};
use reprieve_tests::lab::Lab;
use reprieve_tests::moments::Moments;
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::cutting::{Cutting, Run, can_boot};
use reprieve_tests::scenario::site::IMAGE_NAME;
use reprieve_tests::scenario::small::{DISK_BYTES, site};
use reprieve_tests::service::Configuration;
use reprieve_tests::small_image;

/// How often the power is cut at least, in each test.
const CUTS: u32 = 20;
/// How often a job hands out the ramdisk before a person has to look.
const ATTEMPTS_MAX: u32 = 8;
/// A cut comes at most this long after the byte that it waits for, so that it also falls between writes.
const LATER_MILLIS_MAX: u64 = 40;

fn configuration() -> Configuration {
    Configuration { attempts_max: Some(ATTEMPTS_MAX), ..Configuration::default() }
}

fn later(moments: &mut Moments) -> Duration {
    Duration::from_millis(moments.below(LATER_MILLIS_MAX))
}

/// What the last tenant left behind, and how often: spread over the whole disk.
const LEFTOVER: &[u8; 512] = &[0x5e; 512];
const LEFTOVERS: u64 = 16;
/// So slow that an erase takes about three seconds, and cuts do not all come between the same writes.
const ERASE_BYTES_PER_SECOND: u64 = 40 << 20;

fn leftover_offset(number: u64) -> u64 {
    (DISK_BYTES / LEFTOVERS) * number + (1 << 20)
}

fn soil(disk: &Path) -> Result<()> {
    let file = File::options().write(true).open(disk).context("could not open the disk")?;
    (0..LEFTOVERS).try_for_each(|number| {
        file.write_all_at(LEFTOVER, leftover_offset(number)).context("could not soil the disk")
    })
}

/// How much of what the last tenant left is still there.
fn leftovers(disk: &Path) -> Result<u64> {
    let file = File::open(disk).context("could not open the disk")?;
    let mut left = 0;
    for number in 0..LEFTOVERS {
        let mut found = [0; 512];
        file.read_exact_at(&mut found, leftover_offset(number)).context("could not read the disk")?;
        left += u64::from(&found == LEFTOVER);
    }
    Ok(left)
}

/// After a cut: nothing is certified, nobody gets the machine, and it was cut where it should be.
fn expect_not_erased(cutting: &Cutting<'_, '_>, job: JobId) -> Result<()> {
    let certificates = cutting.site.operator.certificate_count(&cutting.reference())?;
    ensure!(certificates == 0, "a certificate for a disk that was cut off in the middle");
    let view = cutting.site.operator.job(job)?;
    ensure!(matches!(view.state, JobState::Acting { step: 0, .. }), "cut elsewhere: {}", describe(&view));
    ensure!(!can_boot(cutting.disk())?, "a disk that is being erased can boot");
    Ok(())
}

#[test]
fn twenty_power_cuts_while_a_disk_is_erased_never_certify_it_and_a_new_order_does() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &configuration())?;
    let mut cutting = Cutting::start(&site, &artefacts, ERASE_BYTES_PER_SECOND)?;
    let job = site.operator.wipe(&cutting.reference(), "clear", "laboratory")?;
    let mut moments = Moments::new(0x5eed);
    let (mut cuts, mut held, mut half_erased) = (0, 0, 0);
    while cuts < CUTS {
        soil(cutting.disk())?;
        let bytes = 1 + moments.below(DISK_BYTES);
        match cutting.run(job, bytes, later(&mut moments))? {
            Run::Cut(written) => {
                cuts += 1;
                expect_not_erased(&cutting, job).with_context(|| format!("cut {cuts}"))?;
                let left = leftovers(cutting.disk())?;
                println!("cut {cuts}: {written} bytes after power-on, {left} of {LEFTOVERS} leftovers left");
                half_erased += u32::from(left > 0 && left < LEFTOVERS);
            }
            Run::Held => {
                cutting.let_go_on(job)?;
                held += 1;
            }
            Run::Done(written) => bail!("all was done after {written} bytes, of which {bytes} are less"),
        }
    }
    println!("{half_erased} of {CUTS} disks were half erased; held {held} times and released");
    ensure!(held > 0, "{CUTS} power cuts used up no attempts");
    ensure!(half_erased >= CUTS / 2, "the cuts did not come while the disk was erased");
    expect_certified(&mut cutting, job)
}

/// Left alone at last, the disk is erased and certified, with every cut on the certificate, and carries
/// the image.
fn expect_certified(cutting: &mut Cutting<'_, '_>, job: JobId) -> Result<()> {
    soil(cutting.disk())?;
    let Run::Done(_) = finish(cutting, job)? else { bail!("the power was cut by nobody") };
    ensure!(find_bytes(cutting.disk(), LEFTOVER)?.is_none(), "what the last tenant left is still there");
    ensure!(first_difference(&cutting.site.image_file, cutting.disk())?.is_none(), "not the whole image");
    let view = cutting.site.operator.job(job)?;
    ensure!(matches!(view.state, JobState::ComingUp), "{}", describe(&view));
    let certificates = cutting.site.operator.certificate_count(&cutting.reference())?;
    ensure!(certificates == 1, "{certificates} certificates for one erase");
    let signed = cutting.site.operator.certificate(&cutting.reference())?;
    let text = signed["payload"].as_str().map_or_else(|| signed.to_string(), str::to_owned);
    let certificate: serde_json::Value =
        serde_json::from_str(&text).context("the certificate is not JSON")?;
    let begun = certificate["sanitization"]["begun_before"].as_array().map_or(0, Vec::len);
    ensure!(begun == CUTS as usize, "{begun} of {CUTS} power cuts are on the certificate");
    Ok(())
}

/// Lets a job come to its end; holds are released on the way.
fn finish(cutting: &mut Cutting<'_, '_>, job: JobId) -> Result<Run> {
    loop {
        match cutting.run(job, u64::MAX, Duration::ZERO)? {
            Run::Held => cutting.let_go_on(job)?,
            other => return Ok(other),
        }
    }
}

/// So slow that writing the small image takes four seconds.
const WRITE_BYTES_PER_SECOND: u64 = 10 << 20;
/// The end of an image: tables, the node's record, the first MiB, and the last files.
const REST_BYTES: u64 = 3 << 20;
/// How often another image is written at most.
const ROUNDS_MAX: u32 = 15;

/// Two images, and which of them a disk should carry.
struct Images {
    files: [PathBuf; 2],
    wanted: usize,
}

impl Images {
    const NAMES: [&'static str; 2] = [IMAGE_NAME, "other"];

    fn import(cutting: &Cutting<'_, '_>) -> Result<Self> {
        let other = cutting.site.lab.folder().join("other.raw");
        small_image::make(&other, 2)?;
        cutting.site.operator.import(&other, Self::NAMES[1], &[])?;
        Ok(Self { files: [cutting.site.image_file.clone(), other], wanted: 0 })
    }

    /// What a disk may be after a cut: unable to boot, or one image, whole.
    fn expect_whole_or_dead(&self, disk: &Path) -> Result<&'static str> {
        if !can_boot(disk)? {
            return Ok("cannot boot");
        }
        for (number, file) in self.files.iter().enumerate() {
            if first_difference(file, disk)?.is_none() {
                return Ok(if number == self.wanted { "the new image" } else { "the old image" });
            }
        }
        bail!("the power cut left a disk that boots half-done")
    }
}

#[test]
fn twenty_power_cuts_while_a_disk_is_written_never_leave_one_that_boots_half_done() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let site = site(&lab, &artefacts, &configuration())?;
    let mut cutting = Cutting::start(&site, &artefacts, WRITE_BYTES_PER_SECOND)?;
    let mut images = Images::import(&cutting)?;
    let mut moments = Moments::new(0xc0ffee);
    let mut job = site.operator.reimage(&cutting.reference(), &[])?;
    let Run::Done(whole) = finish(&mut cutting, job)? else { bail!("the power was cut by nobody") };
    println!("the whole image: {whole} bytes written");
    let mut cuts = 0;
    for round in 1.. {
        ensure!(round <= ROUNDS_MAX, "only {cuts} cuts in {ROUNDS_MAX} rounds");
        job = next_image(&cutting, &mut images, job)?;
        cuts += round_of_cuts(&mut cutting, &images, job, whole, CUTS - cuts, &mut moments)?;
        if cuts >= CUTS {
            break;
        }
    }
    let Run::Done(_) = finish(&mut cutting, job)? else { bail!("the power was cut by nobody") };
    expect_complete(&cutting, &images, job)
}

/// The other image is wanted from now on. The one that was written comes up for nobody, because there is
/// no system in it, so the node is held in the end and a person lets it go.
fn next_image(cutting: &Cutting<'_, '_>, images: &mut Images, job: JobId) -> Result<JobId> {
    for _ in 0..ATTEMPTS_MAX {
        let told = cutting.boot.ask(&cutting.machine)?;
        ensure!(told == Told::Disk, "a machine whose image is whole is told {told:?}");
    }
    let told = cutting.boot.ask(&cutting.machine)?;
    ensure!(told == Told::HeldWithDisk, "a system that never reports is told {told:?}");
    cutting.site.operator.cancel(job)?;
    let reference = cutting.reference();
    cutting.site.operator.release_hold(&reference)?;
    images.wanted = 1 - images.wanted;
    cutting.site.operator.reimage(&reference, &["--image", Images::NAMES[images.wanted]])
}

/// Cuts the power while one image is written, until it is whole or there were enough cuts.
fn round_of_cuts(
    cutting: &mut Cutting<'_, '_>,
    images: &Images,
    job: JobId,
    whole: u64,
    cuts_max: u32,
    moments: &mut Moments,
) -> Result<u32> {
    let (mut cuts, mut left) = (0, whole);
    while cuts < cuts_max {
        let bytes = moment(left, moments);
        match cutting.run(job, bytes, later(moments))? {
            Run::Cut(written) => {
                cuts += 1;
                left = left.saturating_sub(written);
                let disk = images.expect_whole_or_dead(cutting.disk())?;
                println!("cut: {written} bytes after power-on, the disk: {disk}");
                let view = cutting.site.operator.job(job)?;
                ensure!(matches!(view.state, JobState::Acting { .. }), "{}", describe(&view));
            }
            Run::Held => cutting.let_go_on(job)?,
            Run::Done(written) => {
                println!("whole after {written} bytes");
                expect_complete(cutting, images, job)?;
                return Ok(cuts);
            }
        }
    }
    Ok(cuts)
}

/// After how many written bytes the power is cut, of those that are `left`. One cut in four comes near the
/// end, where tables and the first MiB are written, the others in the first half, so that an image can
/// be cut often; when only the end is left, none comes.
fn moment(left: u64, moments: &mut Moments) -> u64 {
    match (left <= REST_BYTES, moments.below(4)) {
        (true, _) => u64::MAX,
        (false, 0) => left - moments.below(REST_BYTES),
        (false, _) => 1 + moments.below(left / 2),
    }
}

fn expect_complete(cutting: &Cutting<'_, '_>, images: &Images, job: JobId) -> Result<()> {
    let difference = first_difference(&images.files[images.wanted], cutting.disk())?;
    ensure!(difference.is_none(), "the image is not whole at byte {difference:?}");
    ensure!(can_boot(cutting.disk())?, "a whole image that cannot boot");
    let view = cutting.site.operator.job(job)?;
    ensure!(matches!(view.state, JobState::ComingUp), "{}", describe(&view));
    Ok(())
}
