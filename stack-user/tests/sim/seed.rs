//! Seeded randomness: the same seed gives the same run.

use std::env;

/// A generator after SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number up to `most` whose size is as random as its digits: half of them are below its root.
    pub(crate) fn scaled(&mut self, most: u64) -> u64 {
        let bits = u64::from(u64::BITS - most.leading_zeros());
        most.checked_shr(self.below(bits + 1) as u32).map_or(0, |top| self.below(top + 1))
    }

    /// Whether something of this probability happens.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    pub(crate) fn key(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.next().to_le_bytes());
        key[8..].copy_from_slice(&self.next().to_le_bytes());
        key
    }
}

/// Runs `scenario` once per seed: `usual` of them unless the environment says otherwise, ten times as
/// many with `SLUICE_LONG=1`. A failure prints the command that repeats it.
pub(crate) fn each(usual: u64, scenario: impl Fn(u64)) {
    each_of((usual, usual * 10), scenario);
}

/// As [`each`], with the number of seeds for `SLUICE_LONG=1` given.
pub(crate) fn each_of((usual, long): (u64, u64), scenario: impl Fn(u64)) {
    let seeds = match (from_env("SLUICE_SEED"), from_env("SLUICE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 1..count + 1,
        (None, None) => 1..1 + if from_env("SLUICE_LONG") == Some(1) { long } else { usual },
    };
    for seed in seeds {
        let report = OnFailure(seed);
        scenario(seed);
        drop(report);
    }
}

fn from_env(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// Prints how to repeat the run when it is dropped by a panic.
struct OnFailure(u64);

impl Drop for OnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current();
            eprintln!(
                "to repeat this failure:\n  SLUICE_SEED={} cargo test -p stack-user \
                 --no-default-features --test {} -- --exact {}",
                self.0,
                env!("CARGO_CRATE_NAME"),
                thread.name().unwrap_or_default()
            );
        }
    }
}
