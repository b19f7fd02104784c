//! Speaking to the boot service: who it is, what is asked, and how often it is tried again.

pub mod addresses;
mod answer;
pub mod backoff;
mod boot;
pub mod client;
pub mod trust;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
