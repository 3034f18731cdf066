//! SYN cookies: a peer's SYN that is answered without being remembered (RFC 4987, 3.6).
//!
//! Our ISS itself says what has to be known when the peer acknowledges it: when it was made, the
//! peer's MSS, and that we made it for this peer's ISN and name. It lies on the clock of sequence
//! numbers like any other ISS: its upper eight bits are those of the clock and the name's offset, so
//! that numbers of a name go on rising; the lower 24 are a keyed hash, plus the index of the MSS.
//! A blind guess is right once in 2^28: two periods of 256, and eight values of 2^24. An
//! acknowledgment is taken up to 64 s after the cookie was made, and never from 128 s on.
//!
//! What else the peer's SYN offered travels in the low bits of the timestamp that it echoes, where it
//! sends timestamps; a peer that does not gets a connection without window scale and SACK.
//!
//! Owns the codec. When a cookie is sent, and what becomes of its answer, is its callers' to know.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::{Offsets, PERIOD, PERIOD_BITS};
use crate::siphash::Key;

/// The keys of cookies in two neighbouring epochs, as a map holds them. All zero: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Keys {
    /// Of the offsets of sequence numbers and timestamps ([`Offsets`]).
    pub sequence: Key,
    /// Of the cookies of even and of odd epochs.
    epochs: [Epoch; 2],
}

/// The key of an epoch's cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Epoch {
    key: Key,
    /// One more than the epoch's number; zero while there is none.
    number: u64,
}

impl Keys {
    /// The keys for cookies of this period and the one before, all from one secret, which is the key
    /// of sequence numbers too. But in the first period of an epoch, which still needs the last one's,
    /// the other key is already that of the next: whoever puts them into a map in time needs none of
    /// it while it is written.
    pub const fn at(secret: Key, period: Period) -> Self {
        let epoch = period.epoch();
        let other = match period.before().epoch() == epoch {
            true => epoch.wrapping_add(1),
            false => epoch.wrapping_sub(1),
        };
        let [this, other] = [Epoch::of(secret, epoch), Epoch::of(secret, other)];
        let epochs = if epoch & 1 == 0 { [this, other] } else { [other, this] };
        Self { sequence: secret, epochs }
    }

    /// The key of a period's cookies; `None` where these keys are of other times.
    #[inline(always)]
    const fn of(&self, period: Period) -> Option<&Key> {
        let epoch = &self.epochs[period.epoch() as usize & 1];
        if epoch.number == period.epoch() as u64 + 1 { Some(&epoch.key) } else { None }
    }
}

impl Epoch {
    const fn of(secret: Key, number: u32) -> Self {
        Self { key: secret.derive([PURPOSE, number as u64]), number: number as u64 + 1 }
    }
}

/// A stretch of 64 s in which the clock of sequence numbers keeps its upper bits. A cookie holds in its
/// period and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub u32);

impl Period {
    /// The period of an instant, in nanoseconds of the clock that ISNs are made with.
    #[inline(always)]
    pub const fn at(nanos: u64) -> Self {
        Self((nanos / PERIOD) as u32)
    }

    /// The period before.
    #[inline(always)]
    pub const fn before(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// 64 periods, 68 minutes, have one key.
    #[inline(always)]
    pub const fn epoch(self) -> u32 {
        self.0 >> 6
    }
}

/// The ISS that answers a SYN with the sequence number `irs`; `mss` is an index into [`MSS`]. `None`
/// where the keys are of other times. `offsets` are those of the connection's name.
#[inline(always)]
pub const fn encode(
    keys: &Keys,
    offsets: Offsets,
    irs: u32,
    mss: u8,
    period: Period,
) -> Option<u32> {
    let Some(key) = keys.of(period) else { return None };
    let low = tag(key, offsets, irs, period).wrapping_add((mss as usize % MSS.len()) as u32);
    let clock = offsets.sequence().wrapping_add(period.0 << PERIOD_BITS);
    Some(clock.wrapping_add(low & LOW))
}

/// The index into [`MSS`] of a cookie that was made for a SYN with `irs`, in this period or the one
/// before; `None` for any other number.
#[inline(always)]
pub const fn decode(
    keys: &Keys,
    offsets: Offsets,
    irs: u32,
    iss: u32,
    period: Period,
) -> Option<u8> {
    let cookie = iss.wrapping_sub(offsets.sequence());
    // Eight bits of the period are left: how long ago it was made.
    let age = period.0.wrapping_sub(cookie >> PERIOD_BITS) & 0xff;
    if age > 1 {
        return None;
    }
    let made_in = if age == 0 { period } else { period.before() };
    let Some(key) = keys.of(made_in) else { return None };
    let mss = cookie.wrapping_sub(tag(key, offsets, irs, made_in)) & LOW;
    if (mss as usize) < MSS.len() { Some(mss as u8) } else { None }
}

#[inline(always)]
const fn tag(key: &Key, offsets: Offsets, irs: u32, period: Period) -> u32 {
    // Of the period as many bits as fit: they come again after 34 years.
    let tail = ((period.0 as u64 & 0xff_ffff) << 32) | irs as u64;
    key.hash_with_tail(&[offsets.fingerprint], (tail, 7)) as u32
}

/// The index of the largest of [`MSS`] that a peer takes which takes `mss` octets.
#[inline(always)]
pub const fn mss_index(mss: u16) -> u8 {
    let mut index = 0;
    let mut at = 1;
    while at < MSS.len() {
        if MSS[at] <= mss {
            index = at as u8;
        }
        at += 1;
    }
    index
}

/// What a cookie can say of a peer's MSS, in octets. The usual ones are there: of IPv4 and IPv6 on
/// Ethernet (1460, 1440), of tunnels (1400, 1360), of IPv6's least MTU (1220), of 9000-octet frames
/// (8960), of a peer that does not say (536). A peer that offers another gets the next below, and one
/// that offers less than 48 is sent that, as TCP does without cookies too.
pub const MSS: [u16; 8] = [48, 536, 1220, 1360, 1400, 1440, 1460, 8960];

/// What a cookie's timestamp says of the options of a peer's SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// The peer's window shift, at most 14.
    pub window_scale: Option<u8>,
    /// Whether the peer takes SACK.
    pub sack_permitted: bool,
}

impl Offered {
    /// The reading of the clock of timestamps that a cookie's SYN-ACK carries at `clock`, before the
    /// connection's offset is added. It is never ahead of the clock: what the connection sends later
    /// would be older for the peer's PAWS (CM-3.j).
    #[inline(always)]
    pub const fn into_clock(self, clock: u32) -> u32 {
        let shift = match self.window_scale {
            Some(shift) if shift < NO_SCALE => shift,
            Some(_) => 14,
            None => NO_SCALE,
        };
        let sack = if self.sack_permitted { SACK } else { 0 };
        let stamp = clock & !STAMP_LOW | sack | shift as u32;
        if stamp & STAMP_LOW > clock & STAMP_LOW {
            stamp.wrapping_sub(STAMP_LOW + 1)
        } else {
            stamp
        }
    }

    /// What such a reading says, which the peer echoed.
    #[inline(always)]
    pub const fn from_clock(stamp: u32) -> Self {
        let window_scale = match (stamp & NO_SCALE as u32) as u8 {
            NO_SCALE => None,
            shift => Some(shift),
        };
        Self { window_scale, sack_permitted: stamp & SACK != 0 }
    }
}

/// The bits of a cookie that are not the clock's.
const LOW: u32 = (1 << PERIOD_BITS) - 1;
/// The bits of a timestamp that tell options: four of the window shift, one of SACK, and one that is
/// zero until ECN needs it. As on Linux.
const STAMP_LOW: u32 = 0x3f;
/// In place of a window shift: the peer does not scale.
const NO_SCALE: u8 = 15;
const SACK: u32 = 1 << 4;
/// Sets the keys of cookies apart from others of the same secret.
const PURPOSE: u64 = u64::from_le_bytes(*b"synacook");

#[cfg(test)]
mod tests;
