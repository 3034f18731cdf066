//! How often something may happen on one CPU: a bucket of time.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What is left of a CPU's budget, as the time until which it is spent (the virtual scheduling of ITU-T
/// I.371): all zero is a full one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Budget {
    spent_until: u64,
}

impl Budget {
    /// Takes one out at `now`, in ns. Each costs `cost` ns; as many may come at once as cost 20 ms.
    #[inline(always)]
    pub fn take(&mut self, cost: u64, now: u64) -> bool {
        self.take_ahead(cost, BURST, now)
    }

    /// The same where the budget may be spent `burst` ns ahead of time.
    #[inline(always)]
    pub fn take_ahead(&mut self, cost: u64, burst: u64, now: u64) -> bool {
        let from = if self.spent_until > now { self.spent_until } else { now };
        if cost == 0 || from - now > burst {
            return false;
        }
        self.spent_until = from + cost;
        true
    }

    /// What each of so many a second costs; none a second cost nothing and are never let through.
    pub const fn cost_of(per_second: u32) -> u64 {
        match per_second {
            0 => 0,
            per_second => 1_000_000_000_u64.div_ceil(per_second as u64),
        }
    }
}

/// How far ahead of time a budget may be spent, in ns.
const BURST: u64 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_lets_through_so_many_a_second_and_a_burst() {
        for per_second in [50, 1_000, 20_000] {
            let (mut budget, cost) = (Budget::default(), Budget::cost_of(per_second));
            let through = |budget: &mut Budget, from: u64, to: u64| {
                (from..to).step_by(10_000).filter(|now| budget.take(cost, *now)).count() as u64
            };
            let second = 1_000_000_000;
            let first = through(&mut budget, second, 2 * second);
            let rate = u64::from(per_second);
            assert!((rate..=rate + rate * BURST / second + 2).contains(&first), "{first}");
            let next = through(&mut budget, 2 * second, 3 * second);
            assert!((rate - 1..=rate + 1).contains(&next), "{next}");
            // A pause fills it up, and no more than that.
            let after = through(&mut budget, 60 * second, 60 * second + 1);
            assert_eq!(after, 1);
        }
    }

    #[test]
    fn budget_without_a_cost_lets_nothing_through() {
        let mut budget = Budget::default();
        assert!((0..10).all(|now| !budget.take(Budget::cost_of(0), now * 1_000_000_000)));
    }
}
