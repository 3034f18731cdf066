//! A short cut past the program's hash maps: most frames concern neither an address nor a port of ours,
//! and a look into one array says so in a tenth of the time of a hash map's.
//!
//! Owns the layout and how it follows from what is set. It is exact: what it does not know alone, it
//! leaves to the hash maps. All zero says that nothing is ours.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::contract::{Address, AddressKey};

/// What [`crate::contract::HINTS`] holds.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hints {
    places: [Place; PLACES],
    /// For 64 ports each, in two words: a bit for each that is listened on somewhere, and one for each
    /// that is listened on at every shared address.
    ports: [[u64; 2]; 1024],
    /// For the ports that fall here: where there is one, and it has one listener, that of every address,
    /// the port above one more than that listener's place. 0 where there is none, else [`ASKED`].
    doors: [u32; PLACES],
}

/// The addresses that fall here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Place {
    /// The first of them, as two words.
    addr: [u64; 2],
    /// 0 where there is none, else the lone one's [`Address`], or [`SEVERAL`].
    kind: u64,
    /// Up to four ports that are listened on at the lone one by itself, the first the lowest, or [`MANY`]. One
    /// word: a frame sees all of a change or nothing of it.
    ports: u64,
}

/// How an address is owned, as far as it can be told from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is owned like this, or not ours.
    Exactly(Option<Address>),
    /// The hash map knows.
    Ask,
}

/// Whether a port of a shared address is listened on, as far as it can be told from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listened {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// The hash map knows.
    Ask,
}

impl Hints {
    /// Nothing is ours.
    pub const EMPTY: Self = Self {
        places: [Place { addr: [0; 2], kind: 0, ports: 0 }; PLACES],
        ports: [[0; 2]; 1024],
        doors: [0; PLACES],
    };

    /// Adds an address. What was told of others before stays true while this is copied.
    pub fn add_address(&mut self, addr: &AddressKey, kind: Address) {
        let words = words(addr);
        let place = &mut self.places[at(words)];
        if place.kind == 0 || place.addr == words {
            let is_alone = place.kind != SEVERAL;
            place.addr = words;
            place.kind = if is_alone { kind as u64 } else { SEVERAL };
        } else {
            place.kind = SEVERAL;
            place.ports = MANY;
        }
    }

    /// Adds a port that is listened on at `addr`, zeros for any, and says whether it is at every shared
    /// address. Comes after the addresses. Port 0 is reserved (RFC 6335, 6): nobody listens on it.
    pub fn add_port(&mut self, addr: &AddressKey, port: u16, is_everywhere: bool) {
        let [somewhere, everywhere] = &mut self.ports[port as usize >> 6];
        *somewhere |= 1 << (port & 63);
        *everywhere |= (is_everywhere as u64) << (port & 63);
        let words = words(addr);
        let place = &mut self.places[at(words)];
        if place.addr != words || place.ports == MANY || has(place.ports, port) {
            return;
        }
        let free = (0..u64::BITS).step_by(16).find(|lane| (place.ports >> lane) as u16 == 0);
        place.ports = free.map_or(MANY, |lane| place.ports | (port as u64) << lane);
    }

    /// Adds a port that is listened on, and the place of its listener if there is one alone, that of every
    /// address.
    pub fn add_door(&mut self, port: u16, place: Option<u16>) {
        let door = &mut self.doors[port as usize & (PLACES - 1)];
        *door = match place {
            Some(place) if *door == 0 && place != u16::MAX => {
                (port as u32) << 16 | (place as u32 + 1)
            }
            _ => ASKED,
        };
    }

    /// The place of the one listener on `port`; `None` where there may be none or several: the hash map
    /// knows.
    #[inline(always)]
    pub fn door(&self, port: u16) -> Option<u32> {
        let door = self.doors[port as usize & (PLACES - 1)];
        if door >> 16 != port as u32 { None } else { (door & 0xffff).checked_sub(1) }
    }

    /// Tells of a port that it is listened on everywhere only where `other` does too. Comes before an
    /// address is added: a port of the old ones need not be its.
    pub fn restrain(&mut self, other: &Self) {
        for (mine, theirs) in self.ports.iter_mut().zip(&other.ports) {
            mine[1] &= theirs[1];
        }
    }

    /// How `addr` is owned.
    #[inline(always)]
    pub fn address(&self, addr: &AddressKey) -> Told {
        let words = words(addr);
        let place = &self.places[at(words)];
        if place.kind == SEVERAL {
            return Told::Ask;
        }
        let [one, two] = place.addr;
        let is_it = one == words[0] && two == words[1];
        Told::Exactly(if is_it { Address::from_value(place.kind as u32) } else { None })
    }

    /// Whether `port` of `local`, a shared address, is listened on.
    #[inline(always)]
    pub fn listened(&self, local: &AddressKey, port: u16) -> Listened {
        let [somewhere, everywhere] = &self.ports[(port >> 6) as usize & 1023];
        if *somewhere >> (port & 63) & 1 == 0 {
            return Listened::No;
        }
        if *everywhere >> (port & 63) & 1 == 1 {
            return Listened::Yes;
        }
        match self.places[at(words(local))].ports {
            MANY => Listened::Ask,
            ports if has(ports, port) => Listened::Yes,
            _ => Listened::No,
        }
    }
}

#[inline(always)]
fn words(addr: &AddressKey) -> [u64; 2] {
    transmute!(*addr)
}

/// Whether a port, which is not 0, is one of a place's: whether one of four halfwords is zero after the
/// difference is taken (Warren, "Hacker's Delight", 6-1).
#[inline(always)]
const fn has(ports: u64, port: u16) -> bool {
    const ONES: u64 = 0x0001_0001_0001_0001;
    let differs = ports ^ (port as u64).wrapping_mul(ONES);
    differs.wrapping_sub(ONES) & !differs & (ONES << 15) != 0
}

/// Where an address falls: by the upper bits of a product (Knuth's multiplicative hashing).
#[inline(always)]
const fn at(words: [u64; 2]) -> usize {
    let mixed = (words[0] ^ words[1]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize & (PLACES - 1)
}

/// How many places there are.
const PLACES: usize = 64;
/// The kind of a place where several addresses fall.
const SEVERAL: u64 = 3;
/// In place of a place's ports: the hash map knows. Ports begin at the lowest, so that these are none.
const MANY: u64 = 1 << 48;
/// In place of a door: none is told. No port has a listener at that place.
const ASKED: u32 = 0xffff_0000;

const _: () = assert!(size_of::<Hints>() == PLACES * 36 + 16_384);

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::contract::mapped;

    fn addresses() -> impl Iterator<Item = AddressKey> {
        (0..=255_u8).flat_map(|c| (0..=63_u8).map(move |d| mapped([10, 0, c, d])))
    }

    #[test]
    fn nothing_is_ours_when_nothing_is_set() {
        for addr in addresses() {
            assert_eq!(Hints::EMPTY.address(&addr), Told::Exactly(None));
        }
        let listened = |port| Hints::EMPTY.listened(&[0; 16], port);
        assert!((0..=u16::MAX).all(|port| listened(port) == Listened::No));
        // Zero is an address like any other.
        assert_eq!(Hints::EMPTY.address(&[0; 16]), Told::Exactly(None));
    }

    #[test]
    fn what_is_told_of_any_address_is_true() {
        for count in [1, 2, 10, 60, 256] {
            let set: Vec<_> = addresses().step_by(61).take(count).collect();
            let mut hints = Hints::EMPTY;
            let kind = |n: usize| if n.is_multiple_of(3) { Address::Own } else { Address::Shared };
            set.iter().enumerate().for_each(|(n, addr)| hints.add_address(addr, kind(n)));
            for addr in addresses() {
                let truth = set.iter().position(|known| *known == addr).map(kind);
                let told = hints.address(&addr);
                assert!(told == Told::Ask || told == Told::Exactly(truth), "{addr:?}: {told:?}");
            }
            if count == 1 {
                assert!(addresses().all(|addr| hints.address(&addr) != Told::Ask));
            }
        }
    }

    #[test]
    fn kind_of_a_lone_address_may_change() {
        let (addr, mut hints) = (mapped([10, 0, 0, 1]), Hints::EMPTY);
        for kind in [Address::Shared, Address::Own] {
            hints.add_address(&addr, kind);
            assert_eq!(hints.address(&addr), Told::Exactly(Some(kind)));
        }
    }

    #[test]
    fn places_are_spread() {
        let mut hints = Hints::EMPTY;
        (0..16).for_each(|d| hints.add_address(&mapped([10, 0, 0, d]), Address::Shared));
        let asked = (0..16).filter(|d| hints.address(&mapped([10, 0, 0, *d])) == Told::Ask);
        assert!(asked.count() <= 8);
    }

    #[test]
    fn ports_are_told_apart() {
        let (here, there) = (mapped([10, 0, 0, 1]), mapped([10, 0, 0, 2]));
        let mut hints = Hints::EMPTY;
        [here, there].iter().for_each(|addr| hints.add_address(addr, Address::Shared));
        let ports = [63, 64, 80, 65_535];
        ports.iter().for_each(|port| hints.add_port(&here, *port, *port % 2 == 1));
        let wanted = |port| match (ports.contains(&port), port % 2) {
            (false, _) => [Listened::No; 2],
            (true, 1) => [Listened::Yes; 2],
            (true, _) => [Listened::Yes, Listened::No],
        };
        for port in 0..=u16::MAX {
            let told = [here, there].map(|addr| hints.listened(&addr, port));
            assert_eq!(told, wanted(port), "{port}");
        }
    }

    #[test]
    fn what_is_told_of_a_port_of_any_address_is_true() {
        let set: Vec<_> = addresses().step_by(61).take(60).collect();
        let lone = |hints: &Hints, addr| hints.address(addr) != Told::Ask;
        for count in [1, 3, 4, 5, 9] {
            let ports = |n: usize| (0..count).map(move |m| 1 + (7 * n + m) as u16);
            let mut hints = Hints::EMPTY;
            set.iter().for_each(|addr| hints.add_address(addr, Address::Shared));
            for (n, addr) in set.iter().enumerate() {
                for port in ports(n) {
                    hints.add_port(addr, port, false);
                    // It is the same port still.
                    hints.add_port(addr, port, false);
                }
            }
            for (n, addr) in set.iter().enumerate() {
                for port in 0..500 {
                    let is_it = ports(n).any(|own| own == port);
                    let truth = if is_it { Listened::Yes } else { Listened::No };
                    let told = hints.listened(addr, port);
                    assert!(told == Listened::Ask || told == truth, "{addr:?} {port}: {told:?}");
                    let is_told = !lone(&hints, addr) || count > 4 || told != Listened::Ask;
                    assert!(is_told, "{addr:?} {port}");
                }
            }
            assert!(set.iter().any(|addr| lone(&hints, addr)));
        }
    }

    #[test]
    fn port_of_an_address_that_is_not_ours_is_told_of_no_other() {
        let ours = mapped([10, 0, 0, 1]);
        for other in addresses().filter(|addr| *addr != ours) {
            let mut hints = Hints::EMPTY;
            hints.add_address(&ours, Address::Shared);
            hints.add_port(&other, 80, false);
            assert_eq!(hints.listened(&ours, 80), Listened::No);
        }
    }

    #[test]
    fn door_is_told_of_a_port_with_one_listener_and_a_place_of_its_own() {
        let mut hints = Hints::EMPTY;
        assert!((0..=u16::MAX).all(|port| hints.door(port).is_none()));
        let ports = [(0, Some(0)), (80, Some(7)), (81, None), (82, Some(9)), (146, Some(10))];
        for (port, place) in ports {
            hints.add_door(port, place);
        }
        hints.add_door(u16::MAX, Some(3));
        let told = [0, 80, 81, 82, 146, u16::MAX].map(|port| hints.door(port));
        assert_eq!(told, [Some(0), Some(7), None, None, None, Some(3)]);
        // A third one does not make it one again, nor does another at a place that is told.
        hints.add_door(210, Some(1));
        hints.add_door(80, None);
        assert_eq!([82, 146, 210, 80, 16].map(|port| hints.door(port)), [None; 5]);
        assert_eq!((0..=u16::MAX).filter(|port| hints.door(*port).is_some()).count(), 2);
    }

    #[test]
    fn restrained_ports_are_those_of_their_addresses() {
        let (mut hints, mut other) = (Hints::EMPTY, Hints::EMPTY);
        let (before, added) = (mapped([10, 0, 0, 1]), mapped([10, 0, 0, 2]));
        hints.add_address(&before, Address::Shared);
        for (addr, port, is_still) in [([0; 16], 80, true), (before, 443, false)] {
            hints.add_port(&addr, port, true);
            other.add_port(&addr, port, is_still);
        }
        hints.restrain(&other);
        let told = |port| [before, added].map(|addr| hints.listened(&addr, port));
        assert_eq!(told(80), [Listened::Yes; 2]);
        assert_eq!(told(443), [Listened::Yes, Listened::No]);
    }
}
