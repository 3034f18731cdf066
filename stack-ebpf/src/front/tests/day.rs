//! A day of the front line in virtual time: cookies of any moment, under keys that user space renews.

use super::*;

/// What becomes of an acknowledgment at a moment, under keys that were renewed so long ago.
fn meet_at(ground: &mut Ground, ack: &Says, now: u64, late: u64) -> Verdict {
    set(ground, now, late);
    verdict(ground, ack)
}

fn set(ground: &mut Ground, now: u64, late: u64) {
    ground.now = now;
    ground.front.keys = Keys::at(SECRET, Period::at(now.saturating_sub(late)));
    ground.proven.borrow_mut().clear();
    ground.budgets = Default::default();
}

// In a day the clock of sequence numbers goes round five times, the eight bits that a cookie has of it as
// often, and keys change 21 times. The second day is one in which the clock of timestamps goes round.
#[test]
fn acknowledgments_of_a_day_are_taken_up_to_64_seconds_and_never_from_128_on() {
    const ROUND: u64 = 256 * 64 * SECOND;
    let mut ground = Ground::new(0);
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 20) % below
    };
    let wrap = (1_u64 << 32) * 1_000_000 - 43_200 * SECOND;
    for begin in [0, wrap] {
        let (mut now, mut count) = (begin, 0_u64);
        while now < begin + 86_400 * SECOND {
            // Every other one in the first or the last moment of a period, where most can go wrong.
            let period = now - now % (64 * SECOND);
            now = match count % 4 {
                0 => period,
                1 => period + 64 * SECOND - 1,
                _ => now,
            };
            let (is_v6, options) = (count % 2 == 1, linux_options(count as u32, 7));
            let ports = (1_024 + (count % 60_000) as u16, HTTP);
            let says = Says { is_v6, ports, options, ..Says::default() };
            // Keys are looked after every minute; an hour late they still do.
            set(&mut ground, now, draw(3_600 * SECOND));
            let ack = ack_of(&says, &cookie(&ground, &says));
            for age in [0, draw(64 * SECOND), 64 * SECOND - 1, 64 * SECOND] {
                let found = meet_at(&mut ground, &ack, now + age, draw(3_600 * SECOND));
                assert_eq!(found, Verdict::RedirectCookie, "made at {now} ns, {age} ns old");
            }
            for age in
                [128 * SECOND, 128 * SECOND + draw(86_400 * SECOND), ROUND, ROUND + 64 * SECOND]
            {
                let found = meet_at(&mut ground, &ack, now + age, draw(3_600 * SECOND));
                assert_ne!(found, Verdict::RedirectCookie, "made at {now} ns, {age} ns old");
            }
            now += SECOND + draw(12 * SECOND);
            count += 1;
        }
        assert!(count > 5_000, "{count}");
    }
}
