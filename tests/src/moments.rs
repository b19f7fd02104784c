//! Random choices from a seed, so that a failure can be had again.

/// A stream of choices (xorshift); the same seed gives the same ones.
#[derive(Debug, Clone)]
pub struct Moments(u64);

impl Moments {
    /// A stream from a seed, which is printed, because it is all that is needed to repeat a run. It is
    /// taken from the environment (`REPRIEVE_SEED`) if it is there.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let asked = std::env::var("REPRIEVE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = asked.unwrap_or(seed);
        println!("random choices from seed {seed}");
        Self(seed.max(1))
    }

    /// Less than `bound`; zero if that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are the better ones.
        (self.0 >> 11) % bound.max(1)
    }
}
