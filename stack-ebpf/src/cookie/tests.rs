//! Tests of the codec: every cookie is read again, and nothing else is taken for one.

use super::*;
use crate::contract::mapped;
use crate::flow::{FlowName, sequence_clock, stamp_clock};
use std::vec::Vec;

const SECRET: Key = Key::new(*b"a secret of ours");
const FLOW_KEY: Key = Key::new(*b"the key of flows");
const NAME: FlowName = FlowName {
    local: mapped([10, 0, 0, 1]),
    remote: mapped([192, 0, 2, 7]),
    local_port: 443,
    remote_port: 51_234,
};

/// A generator after SplitMix64 (Steele, Lea, Flood, 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn name(&mut self) -> FlowName {
        let addr = |word: u64| mapped((word as u32).to_be_bytes());
        let (local, remote, ports) = (addr(self.next()), addr(self.next()), self.next());
        FlowName { local, remote, local_port: ports as u16, remote_port: (ports >> 16) as u16 }
    }
}

/// What a name adds to the clocks under this key.
fn offsets_of(name: &FlowName, key: Key) -> Offsets {
    Offsets::new(name.fingerprint(&FLOW_KEY), &key)
}

/// A cookie of a connection under [`SECRET`].
fn made(name: &FlowName, irs: u32, mss: u8, period: Period) -> u32 {
    let keys = Keys::at(SECRET, period);
    encode(&keys, offsets_of(name, SECRET), irs, mss, period).expect("keys of this time")
}

/// What a number is taken for.
fn read(name: &FlowName, irs: u32, iss: u32, period: Period) -> Option<u8> {
    decode(&Keys::at(SECRET, period), offsets_of(name, SECRET), irs, iss, period)
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn cookie_of_any_name_is_read_in_its_period_and_the_next() {
    let mut rng = Rng(1);
    for _ in 0..10_000 {
        let (name, irs, mss) = (rng.name(), rng.next() as u32, (rng.next() % 8) as u8);
        // Any time within 2^32 periods, and often the last ones of an epoch.
        let period = Period(rng.next() as u32 | if rng.next().is_multiple_of(2) { 63 } else { 0 });
        let iss = made(&name, irs, mss, period);
        for later in 0..6 {
            let now = Period(period.0.wrapping_add(later));
            let wanted = (later < 2).then_some(mss);
            assert_eq!(read(&name, irs, iss, now), wanted, "{period:?} {later}");
        }
        assert_eq!(read(&name, irs, iss, period.before()), None);
    }
}

// Virtual time: a day in which user space renews the keys now and then, and late.
#[test]
fn cookie_is_taken_until_64_seconds_and_never_from_128_on() {
    let mut rng = Rng(6);
    let mut keys = Keys::at(SECRET, Period(0));
    let offsets = offsets_of(&NAME, SECRET);
    let (mut now, mut renewed) = (0, 0);
    let mut waiting: Vec<(u64, u32, u32)> = Vec::new();
    while now < 86_400 * SECOND {
        now += rng.next() % (2 * SECOND);
        // Every half an hour would do; a period ends in between, and an epoch.
        if now - renewed > 60 * SECOND + rng.next() % (1_000 * SECOND) {
            (keys, renewed) = (Keys::at(SECRET, Period::at(now)), now);
        }
        let period = Period::at(now);
        waiting.retain(|(made_at, irs, iss)| {
            let (age, taken) = (now - made_at, decode(&keys, offsets, *irs, *iss, period));
            assert!(age > 64 * SECOND || taken == Some(3), "refused at {age}");
            assert!(age < 128 * SECOND || taken.is_none(), "taken at {age}");
            age < 200 * SECOND
        });
        let irs = rng.next() as u32;
        waiting.push((now, irs, encode(&keys, offsets, irs, 3, period).expect("renewed in time")));
    }
}

#[test]
fn keys_of_other_times_make_and_take_nothing() {
    let offsets = offsets_of(&NAME, SECRET);
    let iss = made(&NAME, 7, 2, Period(1_000));
    let none = Keys::read_from_bytes(&[0; size_of::<Keys>()]).expect("any octets are keys");
    for keys in [Keys::at(SECRET, Period(800)), Keys::at(SECRET, Period(1_200)), none] {
        assert_eq!(encode(&keys, offsets, 7, 2, Period(1_000)), None);
        assert_eq!(decode(&keys, offsets, 7, iss, Period(1_000)), None);
    }
}

#[test]
fn cookie_of_another_name_peer_or_secret_is_none() {
    let period = Period(1_000);
    let iss = made(&NAME, 77, 6, period);
    let others = [
        FlowName { remote: mapped([192, 0, 2, 8]), ..NAME },
        FlowName { local: mapped([10, 0, 0, 2]), ..NAME },
        FlowName { local_port: 80, ..NAME },
        FlowName { remote_port: 51_235, ..NAME },
    ];
    assert_eq!(read(&NAME, 77, iss, period), Some(6));
    for other in others {
        assert_eq!(read(&other, 77, iss, period), None);
    }
    assert_eq!(read(&NAME, 78, iss, period), None);
    let other = Key::new([9; 16]);
    let keys = Keys::at(other, period);
    assert_eq!(decode(&keys, offsets_of(&NAME, other), 77, iss, period), None);
    // The sequence numbers' part of the secret alone does not make cookies.
    assert_eq!(decode(&keys, offsets_of(&NAME, SECRET), 77, iss, period), None);
}

// One guess in 2^28 is right: a million find none.
#[test]
fn guessed_numbers_are_hardly_ever_cookies() {
    let (period, mut rng) = (Period(5), Rng(2));
    let hits = (0..1_000_000).filter(|_| {
        let words = rng.next();
        read(&NAME, words as u32, (words >> 32) as u32, period).is_some()
    });
    assert_eq!(hits.count(), 0);
}

// Of 2^32 numbers at most keys x periods x MSS entries are taken. The upper eight bits, which tell the
// period and which anybody knows who has a connection of ours, are given to the guesser here, so that
// there is something to count.
#[test]
fn guessed_numbers_are_right_as_often_as_was_promised() {
    let (period, mut rng) = (Period(64), Rng(7));
    let keys = Keys::at(SECRET, period);
    let mut hits = 0;
    for _ in 0..1 << 24 {
        let words = rng.next();
        let name = FlowName { remote_port: words as u16, ..NAME };
        let offsets = offsets_of(&name, SECRET);
        let made_in = if words >> 16 & 1 == 0 { period } else { period.before() };
        let clock = offsets.sequence().wrapping_add(made_in.0 << PERIOD_BITS);
        let iss = clock.wrapping_add((words >> 40) as u32);
        hits += u32::from(decode(&keys, offsets, words as u32, iss, period).is_some());
    }
    // Eight are to be expected. Two keys, two periods, eight MSS in 2^32, for the guess of one in 128.
    assert!((1..=(2 * 2 * 8 * 128) >> 8).contains(&hits), "{hits}");
}

// RFC 9293 3.4.1 (MUST-8): a cookie is at most a period away from the ISN that the clock gives.
#[test]
fn cookie_lies_where_the_clock_of_sequence_numbers_is() {
    let mut rng = Rng(3);
    for _ in 0..1_000 {
        let nanos = rng.next() >> 8;
        let offset = offsets_of(&NAME, SECRET).sequence();
        let isn = offset.wrapping_add(sequence_clock(nanos) as u32);
        let iss = made(&NAME, rng.next() as u32, 0, Period::at(nanos));
        let apart = iss.wrapping_sub(isn) as i32;
        assert!(apart.unsigned_abs() < 1 << PERIOD_BITS, "{apart}");
        // Two periods on, every cookie of the name is above this one.
        let later = nanos + 2 * PERIOD;
        let next = made(&NAME, rng.next() as u32, 7, Period::at(later));
        assert!((next.wrapping_sub(iss) as i32) > 0);
    }
}

#[test]
fn period_ends_when_the_upper_bits_of_the_clock_change() {
    assert_eq!(Period::at(PERIOD - 1), Period(0));
    assert_eq!(Period::at(PERIOD), Period(1));
    assert_eq!(sequence_clock(PERIOD) >> PERIOD_BITS, 1);
    assert_eq!(Period(0).before(), Period(u32::MAX));
}

#[test]
fn keys_change_by_epoch_keep_the_last_and_then_have_the_next() {
    let (last, first) = (Period(127), Period(128));
    let (old, new) = (Keys::at(SECRET, last), Keys::at(SECRET, first));
    assert_eq!(old, new, "the next was there already");
    assert_eq!(old.of(last), new.of(last));
    assert_ne!(new.of(last), new.of(first));
    assert!(new.of(last).is_some() && new.of(Period(192)).is_none());
    // The last epoch's is needed in the first period alone.
    let later = Keys::at(SECRET, Period(129));
    assert_eq!(later.of(first), new.of(first));
    assert!(later.of(last).is_none());
    assert_eq!(later.of(Period(192)), Keys::at(SECRET, Period(192)).of(Period(192)));
    assert_eq!(Keys::at(SECRET, Period(66)), old);
}

#[test]
fn mss_is_rounded_down_to_one_of_the_table() {
    let sent = |mss: u16| MSS[usize::from(mss_index(mss))];
    for mss in 48..=u16::MAX {
        let index = usize::from(mss_index(mss));
        assert!(MSS[index] <= mss);
        assert!(MSS.get(index + 1).is_none_or(|next| *next > mss));
    }
    assert_eq!([0, 47, 536, 1220].map(sent), [48, 48, 536, 1220]);
    assert_eq!([1460, 1452, 9_000].map(sent), [1460, 1440, 8960]);
}

// CM-3.j; RFC 7323 5.3: a cookie's TSval is never ahead of what the connection sends later, else
// the peer's PAWS would drop it; and never far behind.
#[test]
fn stamp_is_never_ahead_of_the_clock_and_says_what_was_offered() {
    let offers: Vec<Offered> = (0..=15)
        .map(|shift| if shift == 15 { None } else { Some(shift) })
        .flat_map(|window_scale| {
            [false, true].map(|sack_permitted| Offered { window_scale, sack_permitted })
        })
        .collect();
    let mut rng = Rng(4);
    let edges = [0, 1, 62, 63, 64, 65, u32::MAX - 64, u32::MAX - 1, u32::MAX];
    let clocks = edges.into_iter().chain((0..10_000).map(|_| rng.next() as u32));
    for clock in clocks {
        for offer in &offers {
            let stamp = offer.into_clock(clock);
            assert!(clock.wrapping_sub(stamp) <= STAMP_LOW, "{clock} {stamp}");
            assert_eq!(Offered::from_clock(stamp), *offer);
            assert_eq!(stamp & 0x20, 0, "the bit of ECN is reserved");
        }
    }
}

// CM-3.j.
#[test]
fn stamp_with_the_offset_of_the_name_stays_behind_later_segments() {
    let mut rng = Rng(5);
    for _ in 0..10_000 {
        let (name, nanos) = (rng.name(), rng.next() >> 8);
        let offset = offsets_of(&name, SECRET).stamp();
        let offer = Offered { window_scale: Some((rng.next() % 15) as u8), sack_permitted: true };
        let stamp = offer.into_clock(stamp_clock(nanos)).wrapping_add(offset);
        let later = stamp_clock(nanos + rng.next() % 1_000_000_000_000).wrapping_add(offset);
        assert!((later.wrapping_sub(stamp) as i32) >= 0, "PAWS would drop the later one");
        assert_eq!(Offered::from_clock(stamp.wrapping_sub(offset)), offer);
    }
}

// RFC 7323 2.3: a shift above 14 counts as 14.
#[test]
fn window_scale_above_fourteen_counts_as_fourteen() {
    for shift in [15, 16, 255] {
        let offer = Offered { window_scale: Some(shift), sack_permitted: false };
        let read = Offered::from_clock(offer.into_clock(1_000_000));
        assert_eq!(read.window_scale, Some(14));
    }
}
