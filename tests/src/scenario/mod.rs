//! What the demo shows and the tests hold: machines taken through the whole path.
//!
//! [`site`] is a service with an image and somebody at the command line; [`stage`] follows one job
//! through one machine and measures it; [`cases`] are the six cases of the demo, [`rows`] their order.
//! [`cutting`] cuts a machine's power again and again.

pub mod cases;
pub mod cutting;
pub mod rows;
pub mod site;
pub mod small;
pub mod stage;
