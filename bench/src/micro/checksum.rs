//! The Internet checksum: ours beside plain scalar code, alone and while copying.

use std::hint::black_box;

use anyhow::{Result, ensure};
use sluice::wire::checksum;

use super::OURS;
use super::pair::{Plan, Work};
use crate::clock::Stopwatch;
use crate::row::Row;

/// The rows of this file.
pub fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for len in plan.sizes(&[64, 1_448, 8_948]) {
        let work = format!("checksum, {len} B");
        if plan.wants(&work) {
            let (mut ours, mut theirs) = (Sum::new(*len, ours), Sum::new(*len, scalar));
            rows.push(plan.pair(&work, (OURS, &mut ours), ("scalar", &mut theirs)));
        }
        let work = format!("checksum while copying, {len} B");
        if plan.wants(&work) {
            let mut ours = Copying::new(*len, ours_copying);
            let mut theirs = Copying::new(*len, copy_then_sum);
            rows.push(plan.pair(&work, (OURS, &mut ours), ("copy, then scalar", &mut theirs)));
        }
    }
    Ok(rows)
}

fn ours(bytes: &[u8]) -> u16 {
    checksum::finish(checksum::sum(bytes))
}

fn ours_copying(to: &mut [u8], from: &[u8]) -> u16 {
    checksum::finish(checksum::copy_and_sum(to, from))
}

fn copy_then_sum(to: &mut [u8], from: &[u8]) -> u16 {
    to.copy_from_slice(from);
    scalar(from)
}

/// RFC 1071 by 64-bit words: each carry goes into the next addition, which no vector unit can do.
fn scalar(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0u64;
    for word in words {
        let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(*word));
        sum = next + u64::from(carry);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(last));
    let mut sum = u128::from(next) + u128::from(carry);
    while sum >> 16 != 0 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::from_be(sum as u16)
}

/// RFC 1071 as it is written: 16-bit words, one after the other.
fn reference(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum >> 16 != 0 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + 13) as u8).collect()
}

struct Sum<F> {
    bytes: Vec<u8>,
    sum: F,
}

impl<F: Fn(&[u8]) -> u16> Sum<F> {
    fn new(len: usize, sum: F) -> Self {
        Self { bytes: bytes(len), sum }
    }
}

impl<F: Fn(&[u8]) -> u16> Work for Sum<F> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        let mut last = 0;
        watch.time(|| {
            for _ in 0..ROUND {
                last = black_box((self.sum)(black_box(&self.bytes)));
            }
        });
        ensure!(last == reference(&self.bytes), "the sum is wrong");
        Ok(ROUND)
    }
}

struct Copying<F> {
    from: Vec<u8>,
    to: Vec<u8>,
    sum: F,
}

impl<F: Fn(&mut [u8], &[u8]) -> u16> Copying<F> {
    fn new(len: usize, sum: F) -> Self {
        Self { from: bytes(len), to: vec![0; len], sum }
    }
}

impl<F: Fn(&mut [u8], &[u8]) -> u16> Work for Copying<F> {
    fn round(&mut self, watch: &mut Stopwatch) -> Result<u64> {
        let mut last = 0;
        self.to.fill(0);
        watch.time(|| {
            for _ in 0..ROUND {
                last = black_box((self.sum)(black_box(&mut self.to), black_box(&self.from)));
            }
        });
        ensure!(last == reference(&self.from), "the sum is wrong");
        ensure!(self.to == self.from, "the copy is wrong");
        Ok(ROUND)
    }
}

const ROUND: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalar_agrees_with_the_reference_at_every_length() {
        let bytes = bytes(300);
        for len in 0..bytes.len() {
            assert_eq!(scalar(&bytes[..len]), reference(&bytes[..len]), "{len}");
        }
        assert_eq!(scalar(&[0xff; 4096]), reference(&[0xff; 4096]));
        // RFC 1071, section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
        assert_eq!(reference(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn wrong_sum_is_noticed() {
        assert!(Sum::new(64, |_: &[u8]| 0).round(&mut Stopwatch::new()).is_err());
        let mut idle = Copying::new(64, |_: &mut [u8], from: &[u8]| reference(from));
        assert!(idle.round(&mut Stopwatch::new()).is_err());
    }
}
