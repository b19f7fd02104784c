//! Tables and aims for people.

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use crate::score::Score;
use crate::statistics::{Estimate, bootstrap};

/// A figure of a year.
type Figure = fn(&Score) -> f64;

/// Years of fleets under one strategy, one a seed.
#[derive(Debug, Clone)]
pub struct Years {
    /// The strategy.
    pub strategy: &'static str,
    /// One a seed.
    pub scores: Vec<Score>,
    /// Nodes of each fleet.
    pub nodes: u32,
}

impl Years {
    /// A figure over the seeds.
    #[must_use]
    pub fn estimate(&self, figure: Figure) -> Estimate {
        bootstrap(&self.scores.iter().map(figure).collect::<Vec<_>>())
    }

    /// A figure that adds up, for each thousand nodes.
    fn per_thousand(&self, figure: Figure) -> Estimate {
        let thousands = f64::from(self.nodes) / 1000.0;
        bootstrap(&self.scores.iter().map(|score| figure(score) / thousands).collect::<Vec<_>>())
    }
}

/// What the comparison shows: a name, the figure, how it is written, and whether it is for a thousand nodes.
const ROWS: &[(&str, Figure, Form, bool)] = &[
    ("leaks (data handed to another tenant)", |s| s.leaks, Form::Number, true),
    ("minutes of a release", Score::minutes_per_release, Form::Number, false),
    ("sound same-owner releases written needlessly", Score::unneeded_share, Form::Percent, false),
    ("interruptions", Score::interruptions, Form::Number, true),
    ("of those, failures that nobody saw coming", |s| s.failures, Form::Number, true),
    ("bad nodes handed on", |s| s.escapes, Form::Number, true),
    ("sound nodes taken out, of looks", Score::false_quarantine_share, Form::Percent, false),
    ("hard disks named: precision", Score::disk_precision, Form::Percent, false),
    ("hard disks named: recall", Score::disk_recall, Form::Percent, false),
    (
        "hard disks: precision of the likeliest, at half of the failing",
        |s| s.disk_precision_at_recall(0.5),
        Form::Percent,
        false,
    ),
    ("slow nodes caught at delivery", Score::grey_share_caught, Form::Percent, false),
    ("right nodes refused at delivery", Score::refused_share, Form::Percent, false),
    ("all node-hours lost", |s| s.lost_minutes / 60.0, Form::Number, true),
    ("terabytes written to flash by images", |s| s.flash_bytes / 1e12, Form::Number, true),
    ("kilowatt hours waited", |s| s.kilowatt_hours, Form::Number, true),
];

/// How a figure is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Number,
    Percent,
}

fn cell(estimate: Estimate, form: Form) -> String {
    let Estimate { mean, low, high } = estimate;
    match form {
        _ if !mean.is_finite() => "-".to_owned(),
        Form::Number if mean >= 100.0 => format!("{mean:.0} ({low:.0} to {high:.0})"),
        Form::Number => format!("{mean:.2} ({low:.2} to {high:.2})"),
        Form::Percent => format!("{:.2} % ({:.2} to {:.2})", mean * 100.0, low * 100.0, high * 100.0),
    }
}

/// All strategies side by side: the mean over the seeds, and the interval in which it lies at 95 %.
#[must_use]
pub fn comparison(all: &[Years]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(
        std::iter::once("per 1,000 nodes and year").chain(all.iter().map(|years| years.strategy)),
    );
    for (name, figure, form, adds_up) in ROWS {
        let of = |years: &Years| if *adds_up { years.per_thousand(*figure) } else { years.estimate(*figure) };
        let cells = all.iter().map(|years| cell(of(years), *form));
        table.add_row(std::iter::once((*name).to_owned()).chain(cells));
    }
    table.to_string()
}

/// One parameter at another value: ours and the static thresholds.
#[derive(Debug, Clone)]
pub struct Swept {
    /// The parameter.
    pub parameter: &'static str,
    /// Its value.
    pub value: String,
    /// The product.
    pub ours: Years,
    /// What it is held against.
    pub fixed: Years,
}

/// What the result depends on.
#[must_use]
pub fn sweeps(all: &[Swept]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "parameter",
        "value",
        "leaks",
        "minutes of a release",
        "written needlessly",
        "interruptions against static",
        "sound taken out",
        "disk precision",
        "disk recall",
    ]);
    for swept in all {
        let percent = |figure: Figure| format!("{:.2} %", swept.ours.estimate(figure).mean * 100.0);
        table.add_row([
            swept.parameter.to_owned(),
            swept.value.clone(),
            format!("{:.0}", swept.ours.estimate(|s| s.leaks).mean),
            format!("{:.1}", swept.ours.estimate(Score::minutes_per_release).mean),
            percent(Score::unneeded_share),
            format!("{:+.0} %", change(&swept.ours, &swept.fixed, Score::interruptions) * 100.0),
            percent(Score::false_quarantine_share),
            percent(Score::disk_precision),
            percent(Score::disk_recall),
        ]);
    }
    table.to_string()
}

/// By how much ours differs from the other, as a share of the other.
fn change(ours: &Years, other: &Years, figure: Figure) -> f64 {
    ours.estimate(figure).mean / other.estimate(figure).mean - 1.0
}

/// What was aimed for, as simulation results.
#[derive(Debug)]
pub struct Aims<'a> {
    /// The product.
    pub ours: &'a Years,
    /// Static thresholds.
    pub fixed: &'a Years,
    /// The product, where four of five releases are to the same tenant.
    pub ours_keep: &'a Years,
    /// Always-wipe there.
    pub always_keep: &'a Years,
    /// Seconds of the large fleet, if there was one.
    pub large_seconds: Option<f64>,
}

impl Aims<'_> {
    /// One line an aim.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let ours = |figure: Figure| self.ours.estimate(figure).mean;
        let percent = |share: f64| share * 100.0;
        let fewer = percent(-change(self.ours, self.fixed, Score::interruptions));
        let less = percent(-change(self.ours_keep, self.always_keep, |s| s.release_minutes));
        let leaks = self.ours.scores.iter().map(|score| score.leaks).sum::<f64>();
        let mut lines = vec![
            at_most("simulation, leaks", leaks, 0.0, ""),
            at_most(
                "simulation, sound same-owner releases written",
                percent(ours(Score::unneeded_share)),
                5.0,
                " %",
            ),
            at_least(
                "simulation, disk forecast, precision at 50 % recall",
                percent(ours(|s| s.disk_precision_at_recall(0.5))),
                90.0,
                " %",
            ),
            at_least("simulation, disks named, recall", percent(ours(Score::disk_recall)), 50.0, " %"),
            at_least("simulation, interruptions fewer than static thresholds", fewer, 35.0, " %"),
            at_least("simulation, slow nodes caught", percent(ours(Score::grey_share_caught)), 95.0, " %"),
            at_most(
                "simulation, sound nodes taken out",
                percent(ours(Score::false_quarantine_share)),
                1.0,
                " %",
            ),
            at_most(
                "simulation, right nodes refused at delivery",
                percent(ours(Score::refused_share)),
                1.0,
                " %",
            ),
            at_least(
                "simulation, release minutes less than always-wipe, same-owner share 0.8",
                less,
                70.0,
                " %",
            ),
        ];
        if let Some(seconds) = self.large_seconds {
            lines.push(at_most("simulation, large fleet", seconds, 600.0, " s"));
        }
        lines
    }
}

fn at_most(name: &str, figure: f64, aim: f64, unit: &str) -> String {
    line(name, figure, aim, unit, figure <= aim)
}

fn at_least(name: &str, figure: f64, aim: f64, unit: &str) -> String {
    line(name, figure, aim, unit, figure >= aim)
}

fn line(name: &str, figure: f64, aim: f64, unit: &str, met: bool) -> String {
    let said = if met { "met".to_owned() } else { format!("missed by {:.2}{unit}", (figure - aim).abs()) };
    format!("aim {name}: {figure:.2}{unit} (aim {aim}{unit}) {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_says_by_how_much_it_is_missed() {
        assert_eq!(at_most("leaks", 0.0, 0.0, ""), "aim leaks: 0.00 (aim 0) met");
        assert_eq!(at_least("recall", 40.0, 50.0, " %"), "aim recall: 40.00 % (aim 50 %) missed by 10.00 %");
        assert!(at_least("nothing named", f64::NAN, 50.0, " %").contains("missed"));
    }

    #[test]
    fn what_was_never_counted_is_a_dash() {
        let years = Years { strategy: "none", scores: vec![Score::default()], nodes: 10 };
        assert!(comparison(&[years]).contains("| - "));
    }
}
