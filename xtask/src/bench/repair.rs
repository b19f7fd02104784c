//! `cargo xtask bench repair`: a disk of which a part has changed is made the image again.

use anyhow::{Result, ensure};

use super::device::MEBIBYTE;
use super::imaging::{Options, Stage, memory};
use super::service::Service;
use super::table::{mebibytes, render};
use super::{machine, tools};
use crate::demo::aim_line;

/// Changed chunks, in thousandths of all.
const SHARES_THOUSANDTHS: [u64; 4] = [1, 10, 50, 200];
/// Written and fetched at most so much of what changed.
const BYTES_AIM: f64 = 1.1;
/// Time beyond that of verifying at most so much of the changed share of a whole image's.
const TIME_AIM: f64 = 1.3;

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let stage = Stage::new(options)?;
    let service = Service::start(&stage.programs, &stage.folder.file("service"), &stage.image)?;
    let image = service.import(&stage.image, "bench")?.id;
    let agent = || tools::agent(&stage.programs, &service, &stage.device, &image);
    let chunks = stage.size_bytes / MEBIBYTE;
    let (mut whole, mut verify) = (Vec::new(), Vec::new());
    let changes: Vec<(u64, u64, Vec<u64>)> =
        (1_u64..).zip(SHARES_THOUSANDTHS).map(|(seed, share)| (seed, share, spread(chunks, share))).collect();
    let mut parts: Vec<Vec<tools::Ours>> = changes.iter().map(|_| Vec::new()).collect();
    // Round after round, so that a machine that becomes slower does so for all.
    for _ in 0..options.runs {
        stage.device.fill_with_old_content()?;
        whole.push(agent()?);
        stage.device.forget_cached()?;
        verify.push(agent()?);
        for ((seed, _, changed), part) in changes.iter().zip(&mut parts) {
            stage.device.overwrite(changed, *seed)?;
            part.push(agent()?);
        }
    }
    let (whole, verify) = (middle(whole)?, middle(verify)?);
    let head = ["changed", "chunks", "seconds", "read MiB", "fetched MiB", "written MiB", "memory MiB"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.push(row("everything", chunks, &whole));
    rows.push(row("nothing", 0, &verify));
    let mut aims = Vec::new();
    for ((_, share, changed), part) in changes.into_iter().zip(parts) {
        let measured = middle(part)?;
        let name = format!("{} %", percent(share));
        rows.push(row(&name, changed.len() as u64, &measured));
        let changed_mebibytes = mebibytes(changed.len() as u64 * MEBIBYTE);
        let most = measured.bytes_written.max(measured.bytes_fetched);
        let bytes = mebibytes(most) / changed_mebibytes;
        aims.push(line(&format!("{name} changed, bytes written and fetched"), bytes, BYTES_AIM, "x"));
        let allowed = verify.seconds + TIME_AIM * whole.seconds * percent(share) / 100.0;
        aims.push(line(&format!("{name} changed, time"), measured.seconds, allowed, " s"));
        println!("{name}: {}", measured.proof);
    }
    print!("\n{}", render(&rows));
    println!("\nload {} at the end\n\n{}", machine::load(), aims.join("\n"));
    Ok(())
}

fn line(name: &str, figure: f64, aim: f64, unit: &str) -> String {
    aim_line(name, &format!("{figure:.2}{unit}"), &format!("{aim:.2}{unit}"), figure <= aim)
}

/// So many thousandths of the chunks, spread over all but the first and the last, and unevenly, so that
/// content and zeros are hit as they come.
fn spread(chunks: u64, thousandths: u64) -> Vec<u64> {
    let count = (chunks * thousandths / 1000).max(1);
    let step = (chunks - 2) / count;
    (0..count).map(|number| 1 + number * (chunks - 2) / count + number * 3 % step).collect()
}

#[allow(clippy::cast_precision_loss)] // small numbers
fn percent(thousandths: u64) -> f64 {
    thousandths as f64 / 10.0
}

/// The run with the median time.
fn middle(mut all: Vec<tools::Ours>) -> Result<tools::Ours> {
    ensure!(!all.is_empty(), "nothing was measured");
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(all.swap_remove((all.len() - 1) / 2))
}

fn row(changed: &str, chunks: u64, ours: &tools::Ours) -> Vec<String> {
    vec![
        changed.to_owned(),
        chunks.to_string(),
        format!("{:.2}", ours.seconds),
        format!("{:.0}", mebibytes(ours.bytes_read)),
        format!("{:.1}", mebibytes(ours.bytes_fetched)),
        format!("{:.1}", mebibytes(ours.bytes_written)),
        format!("{:.0}", memory(ours)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_spread_and_never_the_first_or_last_chunk() {
        for (chunks, thousandths, count) in [(2048, 1, 2), (2048, 200, 409), (64, 1, 1)] {
            let changed = spread(chunks, thousandths);
            assert_eq!(changed.len(), count);
            assert!(changed.iter().all(|index| *index > 0 && *index < chunks - 1));
            assert!(changed.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
