//! The cases over the library, and what no configuration means.

use std::vec::Vec;

use super::cases::{Case, VLAN, World, tagged, untagged};
use super::watched::Watched;
use super::{Tables, classify};
use crate::contract::{Address, AddressKey, Config};
use crate::verdict::{Action, Verdict};

#[test]
fn untagged_every_case_meets_its_verdict() {
    expect(&World::new(0), &untagged());
}

#[test]
fn tagged_every_case_meets_its_verdict() {
    expect(&World::new(VLAN), &tagged());
}

#[test]
fn cases_together_meet_every_verdict_that_needs_no_empty_queue() {
    let met: Vec<_> = untagged().into_iter().chain(tagged()).map(|case| case.verdict).collect();
    // These follow from what was before.
    let others = [Verdict::DropNoSocket, Verdict::DropSynLimit];
    for verdict in Verdict::ALL.iter().filter(|v| !others.contains(v) && !v.is_of_front()) {
        assert!(met.contains(verdict), "no case for {verdict:?}");
    }
}

#[test]
fn any_case_cut_at_any_length_is_never_redirected_without_its_ports() {
    let world = World::new(0);
    for case in untagged().into_iter().filter(|case| case.verdict == Verdict::RedirectListener) {
        for length in 0..14 + 20 + 20 {
            let verdict = classify(&case.frame[..length], &world);
            assert_ne!(verdict.action(), Action::Redirect, "{} at {length}", case.name);
        }
    }
}

#[test]
fn any_case_is_handed_over_when_it_is_a_listeners_and_never_when_it_is_the_kernels() {
    let all = [(World::new(0), untagged(), 12), (World::new(VLAN), tagged(), 16)];
    for (world, cases, ethertype) in all {
        let mut together = 0;
        for Case { name, frame, verdict } in cases {
            let tables = Watched::new(&world);
            assert_eq!(classify(&frame[..], &tables), verdict, "{name}");
            let (times, is_ipv4) = (tables.times(), frame[ethertype..].starts_with(&[8, 0]));
            let is_as_wanted = match verdict {
                Verdict::RedirectListener => times == u32::from(is_ipv4),
                Verdict::RedirectLocalPort | Verdict::RedirectIcmpError => times == 0,
                _ if verdict.action() == Action::Pass => times == 0,
                _ => times <= u32::from(is_ipv4),
            };
            assert!(is_as_wanted, "{name}: {times} times");
            together += times;
        }
        assert!(together > 0);
    }
}

#[test]
fn unconfigured_every_case_passes() {
    for config in [None, Some(Config::default())] {
        let bare = Bare(config);
        for case in untagged() {
            let verdict = classify(&case.frame[..], &bare);
            assert_eq!(verdict.action(), Action::Pass, "{}", case.name);
        }
    }
}

#[test]
fn zero_port_is_never_a_local_port_of_an_empty_range() {
    assert!(!Config::default().is_local_port(0));
}

fn expect(world: &World, cases: &[Case]) {
    for case in cases {
        assert_eq!(classify(&case.frame[..], world), case.verdict, "{}", case.name);
    }
}

/// Maps that user space has not filled.
struct Bare(Option<Config>);

impl Tables for Bare {
    fn config(&self) -> Option<&Config> {
        self.0.as_ref()
    }

    fn address(&self, _addr: &AddressKey) -> Option<Address> {
        None
    }

    fn is_listener(&self, _local: &AddressKey, _port: u16) -> bool {
        false
    }
}
