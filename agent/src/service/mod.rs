//! Speaking to the boot service: who it is, what is asked, and how often it is tried again.

pub mod backoff;
pub mod client;
pub mod trust;

#[cfg(test)]
mod tests;
