//! Simulates fleets of machines for a year, to hold the product's verdict against simpler ways to decide.
//!
//! The verdict is the product's own code: [`strategy::Ours`] calls `verdict::judge` with evidence made from a
//! simulated machine's hidden state, and nothing here knows its rules. What is simulated is in
//! [`parameters`], each figure with its source; what nobody publishes is swept. Results are results of a
//! simulation, and say nothing of a real fleet that differs from it.
//!
//! ```text
//! parameters ─► truth (hidden) ─► sensors ─► evidence ─► strategy ─► life ─► score ─► statistics
//!                 ▲ calendar (what happens from outside, the same for all strategies)
//! ```
#![forbid(unsafe_code)]

pub mod calendar;
pub mod context;
pub mod fleet;
pub mod life;
pub mod parameters;
pub mod report;
pub mod score;
pub mod sensors;
pub mod statistics;
pub mod strategy;
pub mod truth;
