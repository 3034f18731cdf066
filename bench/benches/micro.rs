//! Micro benchmarks of the pure rooms: checksum, flow table, timer wheel.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice::tables::flow::{FlowHasher, FlowKind, FlowRef, FlowTable, words_for};
use sluice::tables::words::Words;
use sluice::time::{Duration, Instant};
use sluice::wheel::Wheel;
use sluice::wire::{FourTuple, checksum};

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for len in [64, 1_448, 8_948] {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        group.throughput(Throughput::Bytes(len));
        group.bench_function(format!("sum/{len}"), |bencher| {
            bencher.iter(|| checksum::sum(black_box(&bytes)));
        });
        let mut copy = bytes.clone();
        group.bench_function(format!("copy_and_sum/{len}"), |bencher| {
            bencher.iter(|| checksum::copy_and_sum(black_box(&mut copy), black_box(&bytes)));
        });
    }
}

/// The `n`-th of many clients of one port.
fn tuple(n: u32) -> FourTuple {
    FourTuple {
        local: Ipv4Addr::new(10, 0, 0, 1).into(),
        remote: Ipv4Addr::from(0x0a01_0000 + (n >> 14)).into(),
        local_port: 80,
        remote_port: 40_000 + (n & 0x3fff) as u16,
    }
}

fn flows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow");
    let hasher = FlowHasher::new([7; 16]);
    group.bench_function("hash", |bencher| bencher.iter(|| hasher.hash(black_box(&tuple(5)))));
    for count in [1_000, 1_000_000] {
        let hashes: Vec<u64> = (0..count).map(|n| hasher.hash(&tuple(n))).collect();
        let mut table = FlowTable::new(Words::zeroed(words_for(count as usize)));
        for (n, hash) in hashes.iter().enumerate() {
            let flow = FlowRef::new(FlowKind::Tcb, n as u32);
            table.insert(*hash, flow).expect("the table was made for as many");
        }
        let mut n = 0;
        // Batches of 64 as the shard takes them: touched first, then found.
        group.throughput(Throughput::Elements(64));
        group.bench_function(format!("find/{count}"), |bencher| {
            bencher.iter(|| {
                let batch: [usize; 64] = std::array::from_fn(|i| (n + i * 7_919) % hashes.len());
                n = (n + 104_729) % hashes.len();
                batch.iter().for_each(|at| table.touch(hashes[*at]));
                let is = |at: usize| move |flow: FlowRef| flow.index() == at as u32;
                batch.iter().filter(|at| table.find(hashes[**at], is(**at)).is_some()).count()
            });
        });
    }
}

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("arm_and_expire/1000", |bencher| {
        let mut wheel = Wheel::new(Duration::from_millis(1), Instant::ZERO);
        let mut now = Instant::ZERO;
        bencher.iter(|| {
            for key in 0..1_000 {
                wheel.arm(key, 0, now + Duration::from_micros(u64::from(key) * 251));
            }
            now = now + Duration::from_millis(252);
            let mut fired = 0;
            wheel.expire(now, usize::MAX, &mut |_, _| fired += 1);
            black_box(fired)
        });
    });
}

criterion_group!(benches, checksums, flows, wheel);
criterion_main!(benches);
