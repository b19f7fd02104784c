//! What a fleet is like. Every figure has its source; what nobody publishes says so and is swept.

/// Minutes of a day.
pub const DAY_MINUTES: f64 = 1440.0;

/// How a fleet behaves. [`Parameters::published`] holds what papers and vendors say.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// Machines.
    pub nodes: u32,
    /// How long is simulated, in days.
    pub days: f64,
    /// Releases of a node by its user, a year. Not published; ours: every ten days.
    pub releases_per_year: f64,
    /// Share of releases after which the same tenant goes on with the node. Not published; swept 0.1 to 0.9.
    pub same_owner_share: f64,
    /// Times a year that immutable files of a node are changed by accident. Not published; ours, swept.
    pub drifts_per_year: f64,
    /// Times a year that somebody hostile changes a node's files. Not published; swept 1e-6 to 1e-3 a release.
    pub compromises_per_year: f64,
    /// Share of nodes that carry hard disks (12 of them); the rest carry two NVMe disks. Ours.
    pub storage_node_share: f64,
    /// Hard disks that fail in a year. Backblaze 2024: 1.57 %.
    pub hard_disk_failures_per_year: f64,
    /// A failed hard disk that had one of SMART 5, 187, 188, 197, 198 above zero. Backblaze 2016: 76.7 %.
    pub sign_if_failing: f64,
    /// A healthy hard disk that has. Backblaze 2016: 4.2 %.
    pub sign_if_healthy: f64,
    /// Shares of failed disks with each of 5, 187, 188, 197, 198 above zero (Backblaze 2016).
    pub attribute_if_failing: [f64; 5],
    /// The same of healthy disks.
    pub attribute_if_healthy: [f64; 5],
    /// How much likelier a healthy disk with one sign has another than it would by chance. Not published;
    /// swept 1 to 10. 1 is independence.
    pub healthy_sign_correlation: f64,
    /// Mean days from a failing disk's first sign to its failure. Not published; swept 7 to 120.
    pub sign_lead_days: f64,
    /// Events a day of an attribute that grows, mean. Not published; swept 0.1 to 10.
    pub sign_growth_per_day: f64,
    /// Share of healthy disks' signs that grow as failing ones' do. Not published; swept 0 to 0.5.
    pub healthy_growth_share: f64,
    /// NVMe disks that fail in a year. NetApp FAST'20 0.22 %; others up to 1 %.
    pub flash_failures_per_year: f64,
    /// Failing NVMe disks that say so before (critical warning or media errors). Alibaba/Solidigm IMW'22: 21 %
    /// thirty days ahead; up to 35 %.
    pub flash_sign_if_failing: f64,
    /// Machines a year with an uncorrected memory error. Google, CACM'11: 1.3 %.
    pub memory_uncorrected_per_year: f64,
    /// Machines a year in which corrected errors begin. Google, CACM'11: about a third of machines.
    pub memory_corrected_per_year: f64,
    /// Other interruptions a node-day for hardware reasons (Llama 3: 419 in 54 days on 2,048 nodes is 3.79 per
    /// 1,000 node-days, of which about 60 % are the node's hardware; here for GPU nodes only).
    pub accelerator_faults_per_day: f64,
    /// Share of nodes with accelerators. Ours.
    pub accelerator_node_share: f64,
    /// Share of such faults that a reset cures. Not published; swept.
    pub transient_share: f64,
    /// Nodes that fail again and again. Meta RSC: about 1.3 %.
    pub lemon_share: f64,
    /// How much oftener. Ours.
    pub lemon_factor: f64,
    /// Nodes that are delivered slower than they should be. SuperBench: 10.36 %; swept 1 % to 12 %.
    pub grey_share: f64,
    /// How much slower at least and at most (share of the rate that is lost). MegaScale: stragglers about 10 %.
    pub grey_loss: (f64, f64),
    /// Spread of a healthy node's own rate, standard deviation. Ours.
    pub rate_noise: f64,
    /// A reading cannot be had. Not published; swept 0 to 20 %.
    pub sensor_missing: f64,
    /// It cannot be had at another try of the agent's either. Not published; swept 0.1 to 1.
    pub sensor_missing_again: f64,
    /// A reading says that all is well whatever is so. Not published; swept 0 to 2 %.
    pub sensor_lie: f64,
    /// A person's repair cures what was wrong. Not published; swept 0.3 to 0.95.
    pub repair_success: f64,
    /// Minutes of a look from the ramdisk (design: 1 to 3).
    pub look_minutes: f64,
    /// Minutes of a whole reimage or wipe (the mission's article: 30).
    pub full_minutes: f64,
    /// Minutes of a reimage by difference or a repair, after the look. Ours, from the demo's record.
    pub partial_minutes: f64,
    /// Minutes of a node taken out until a person has looked. Ours: a day.
    pub quarantine_minutes: f64,
    /// Minutes lost by an interruption that nobody saw coming. Ours: a day and the work since the last
    /// checkpoint.
    pub failure_minutes: f64,
    /// Bytes that a whole image writes to flash.
    pub image_bytes: f64,
    /// Watts of a node that waits. Ours.
    pub idle_watts: f64,
}

impl Parameters {
    /// What is published, with the middle of what is not.
    #[must_use]
    pub fn published() -> Self {
        Self {
            nodes: 1_000,
            days: 365.0,
            releases_per_year: 36.5,
            same_owner_share: 0.5,
            drifts_per_year: 1.0,
            compromises_per_year: 1e-2,
            storage_node_share: 0.3,
            hard_disk_failures_per_year: 0.0157,
            sign_if_failing: 0.767,
            sign_if_healthy: 0.042,
            attribute_if_failing: [0.420, 0.435, 0.448, 0.431, 0.330],
            attribute_if_healthy: [0.011, 0.005, 0.048, 0.007, 0.002],
            healthy_sign_correlation: 3.0,
            sign_lead_days: 30.0,
            sign_growth_per_day: 1.0,
            healthy_growth_share: 0.1,
            flash_failures_per_year: 0.005,
            flash_sign_if_failing: 0.28,
            memory_uncorrected_per_year: 0.013,
            memory_corrected_per_year: 0.33,
            accelerator_faults_per_day: 0.0023,
            accelerator_node_share: 0.2,
            transient_share: 0.5,
            lemon_share: 0.013,
            lemon_factor: 20.0,
            grey_share: 0.1036,
            grey_loss: (0.05, 0.30),
            rate_noise: 0.008,
            sensor_missing: 0.002,
            sensor_missing_again: 0.5,
            sensor_lie: 0.002,
            repair_success: 0.8,
            look_minutes: 3.0,
            full_minutes: 30.0,
            partial_minutes: 5.0,
            quarantine_minutes: DAY_MINUTES,
            failure_minutes: DAY_MINUTES,
            image_bytes: 4e9,
            idle_watts: 250.0,
        }
    }

    /// One parameter at another value, for the table of what the result depends on.
    #[must_use]
    pub fn sweeps(&self) -> Vec<(&'static str, String, Self)> {
        let with = |name, value: f64, set: fn(&mut Self, f64)| {
            let mut changed = self.clone();
            set(&mut changed, value);
            (name, value.to_string(), changed)
        };
        let mut all = Vec::new();
        for value in [0.1, 0.9] {
            all.push(with("same-owner share of releases", value, |p, v| p.same_owner_share = v));
        }
        for value in [0.1, 10.0] {
            all.push(with("drifts a year", value, |p, v| p.drifts_per_year = v));
        }
        for value in [1.0, 10.0] {
            all.push(with("healthy signs come together", value, |p, v| p.healthy_sign_correlation = v));
        }
        for value in [7.0, 120.0] {
            all.push(with("days from sign to failure", value, |p, v| p.sign_lead_days = v));
        }
        for value in [0.1, 10.0] {
            all.push(with("events a day of a growing sign", value, |p, v| p.sign_growth_per_day = v));
        }
        for value in [0.0, 0.5] {
            all.push(with("healthy signs that grow", value, |p, v| p.healthy_growth_share = v));
        }
        for value in [3.65e-5, 3.65e-2] {
            all.push(with("compromises a year", value, |p, v| p.compromises_per_year = v));
        }
        for value in [0.2, 0.9] {
            all.push(with("faults that a reset cures", value, |p, v| p.transient_share = v));
        }
        for value in [0.0, 0.2] {
            all.push(with("reading missing", value, |p, v| p.sensor_missing = v));
        }
        for value in [0.1, 1.0] {
            all.push(with("reading missing at another try", value, |p, v| p.sensor_missing_again = v));
        }
        for value in [0.0, 0.02] {
            all.push(with("reading lies", value, |p, v| p.sensor_lie = v));
        }
        for value in [0.3, 0.95] {
            all.push(with("repair cures", value, |p, v| p.repair_success = v));
        }
        for value in [0.01, 0.12] {
            all.push(with("grey nodes at delivery", value, |p, v| p.grey_share = v));
        }
        all
    }
}
