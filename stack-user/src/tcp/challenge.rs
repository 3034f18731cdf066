//! The budget of challenge ACKs (RFC 5961, section 7): per connection, so that no other connection
//! can be observed through it (CVE-2016-5696).

use crate::time::Instant;

/// Twelve bits of the present second, and how many were sent in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Challenge(u16);

impl Challenge {
    /// Counts one more; `false` where this second has had its share.
    pub fn take(&mut self, now: Instant) -> bool {
        let second = ((now.as_millis() / 1000) as u16) << SENT_BITS;
        if self.0 >> SENT_BITS << SENT_BITS != second {
            self.0 = second;
        }
        let is_left = self.0 - second < PER_SECOND;
        self.0 += u16::from(is_left);
        is_left
    }
}

const PER_SECOND: u16 = 10;
/// Bits that hold as many.
const SENT_BITS: u32 = 4;
const _: () = assert!(PER_SECOND < 1 << SENT_BITS);

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 5961 7: a limit for each connection.
    #[test]
    fn every_second_has_its_share() {
        let mut challenge = Challenge::default();
        for second in [0u64, 1, 2, 15, 16, 4095, 4096, 4098, 70_000, 70_001] {
            let at = |millis| Instant::from_millis(second * 1000 + millis);
            let taken = (0..1000).filter(|millis| challenge.take(at(*millis))).count();
            assert_eq!(taken, usize::from(PER_SECOND), "second {second}");
        }
    }
}
