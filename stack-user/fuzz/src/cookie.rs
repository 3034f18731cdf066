//! The codec of SYN cookies: what was made is read in its period and the next, and nothing else is.

use stack_ebpf::cookie::{self, Keys, MSS, Offered, Period};
use stack_ebpf::flow::{FlowName, Offsets};
use stack_ebpf::siphash::Key;

use super::source::Source;

pub fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let secret = Key::new(core::array::from_fn(|_| source.u8()));
    let name = FlowName {
        local: core::array::from_fn(|_| source.u8()),
        remote: core::array::from_fn(|_| source.u8()),
        local_port: source.u16(),
        remote_port: source.u16(),
    };
    let (irs, period) = (source.u32(), Period::at(source.u64()));
    let mss = cookie::mss_index(source.u16());
    assert!(usize::from(mss) < MSS.len());
    let offsets = Offsets::new(name.fingerprint(&Key::new([7; 16])), &secret);
    let iss = cookie::encode(&Keys::at(secret, period), offsets, irs, mss, period);
    let iss = iss.expect("the keys are of this time");
    for later in 0..8 {
        let now = Period(period.0 + later);
        let read = cookie::decode(&Keys::at(secret, now), offsets, irs, iss, now);
        assert_eq!(read, (later < 2).then_some(mss), "{later} periods later");
    }
    let read = cookie::decode(&Keys::at(secret, period), offsets, irs, source.u32(), period);
    assert!(read.is_none_or(|mss| usize::from(mss) < MSS.len()));

    // The options come back by the timestamp, which is never ahead of the clock.
    let window_scale = source.option(|source| source.u8() % 15);
    let (offered, clock) = (Offered { window_scale, sack_permitted: source.bool() }, source.u32());
    let stamp = offered.into_clock(clock);
    assert!(clock.wrapping_sub(stamp) < 128, "{stamp} at {clock}");
    assert_eq!(Offered::from_clock(stamp), offered);
    let _ = Offered::from_clock(source.u32());
}
