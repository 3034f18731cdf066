//! Numbers that look random and are the same in every run: splitmix64, and Zipf's law over it.

/// A generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// All numbers below `count`, in random order.
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..count as u32).collect();
        for at in (1..count).rev() {
            all.swap(at, self.below(at as u64 + 1) as usize);
        }
        all
    }

    /// `len` numbers below `count`, the k-th most frequent of them 1/k as frequent as the first; which
    /// one that is, is random.
    pub fn zipf(&mut self, count: usize, len: usize) -> Vec<u32> {
        let names = self.permutation(count);
        let mut sums = Vec::with_capacity(count);
        let mut sum = 0.0;
        for rank in 1..=count {
            sum += 1.0 / rank as f64;
            sums.push(sum);
        }
        let draw = |_| {
            let at = (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * sum;
            names[sums.partition_point(|sum| *sum <= at).min(count - 1)]
        };
        (0..len).map(draw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_has_every_number_once_and_moves_them() {
        let mut all = Rng::new(1).permutation(1_000);
        assert!(all.iter().enumerate().any(|(at, n)| at != *n as usize));
        all.sort_unstable();
        assert!(all.iter().enumerate().all(|(at, n)| at == *n as usize));
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut rng = Rng::new(2);
        let drawn: Vec<u64> = (0..200).map(|_| rng.below(3)).collect();
        assert!((0..3).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| *n < 3));
    }

    #[test]
    fn zipf_draws_the_first_twice_as_often_as_the_second() {
        let drawn = Rng::new(3).zipf(100, 100_000);
        let mut counts = [0u32; 100];
        drawn.iter().for_each(|n| counts[*n as usize] += 1);
        counts.sort_unstable();
        let ratio = f64::from(counts[99]) / f64::from(counts[98]);
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
    }
}
