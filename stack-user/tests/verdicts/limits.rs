//! The block list and the limit of SYNs in the kernel, changed while the program runs.

use sluice::control::blocks::BlockError;
use sluice::control::prefix::Prefix;
use sluice::datapath::Clock;
use sluice::time::Instant;
use sluice::wire::Addr;
use stack_ebpf::contract::{Address, MAX_ADDRESSES, MAX_BLOCKS, MAX_LISTENERS, mapped};
use stack_ebpf::verdict::Verdict;

use crate::cases::World;
use crate::front::Both;
use crate::ground::{ACK, ECHO, HTTP, OWN, SYN, Says};
use crate::kernel::Kernel;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
#[ignore = "needs root and the BPF object"]
fn block_list_holds_from_one_frame_to_the_next() {
    let mut both = Both::new(0);
    for (says, blocks) in [
        (Says::default(), ["10.0.0.0/24", "10.0.0.2/32", "0.0.0.0/0"]),
        (Says { is_v6: true, ..Says::default() }, ["2001:db8::/64", "2001:db8::2/128", "::/0"]),
    ] {
        let frame = Says { ports: (1, ECHO), ..says }.frame();
        let met = |both: &Both| both.run(&frame).0;
        for block in blocks {
            assert_eq!(met(&both), Verdict::RedirectListener, "without {block}");
            both.program.blocks.add(&[prefix(block)]).unwrap();
            assert_eq!(met(&both), Verdict::DropBlocked, "with {block}");
            assert_eq!(both.program.blocks.list().unwrap(), [prefix(block)]);
            assert!(both.program.blocks.remove(prefix(block)).unwrap());
            assert!(!both.program.blocks.remove(prefix(block)).unwrap(), "it was removed");
        }
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn block_list_parts_go_by_themselves_and_families_stay_apart() {
    let mut both = Both::new(0);
    let frame = Says { ports: (1, ECHO), ..Says::default() }.frame();
    let met = |both: &Both| both.run(&frame).0;
    both.program.blocks.add(&[prefix("::/0"), prefix("10.0.0.0/8"), prefix("10.0.0.2")]).unwrap();
    assert_eq!(met(&both), Verdict::DropBlocked);
    both.program.blocks.remove(prefix("10.0.0.2")).unwrap();
    assert_eq!(met(&both), Verdict::DropBlocked);
    both.program.blocks.remove(prefix("10.0.0.0/8")).unwrap();
    assert_eq!(met(&both), Verdict::RedirectListener);
    assert_eq!(both.program.blocks.list().unwrap(), [prefix("::/0")]);
}

#[test]
#[ignore = "needs root and the BPF object"]
fn block_list_that_is_full_says_so_and_holds() {
    let mut kernel = Kernel::serving(&World { blocked: Vec::new(), ..World::new(0) });
    let hosts = (0..MAX_BLOCKS).map(|n| {
        let [_, b, c, d] = n.to_be_bytes();
        Prefix::new(Addr(mapped([11, b, c, d])), 128).unwrap()
    });
    kernel.program.blocks.add(&hosts.collect::<Vec<_>>()).unwrap();
    let error = kernel.program.blocks.add(&[prefix("12.0.0.0/8")]).unwrap_err();
    assert!(matches!(error, BlockError::Full) && error.to_string().contains("65536"), "{error}");
    // What is there may come again.
    kernel.program.blocks.add(&[prefix("11.0.0.0")]).unwrap();
    assert_eq!(kernel.program.blocks.list().unwrap().len(), MAX_BLOCKS as usize);
}

/// Sends as many SYNs; says how many were let through, and that the others were dropped for the limit.
fn let_through(both: &Both, says: &Says, count: u16) -> usize {
    let verdicts = (0..count).map(|n| {
        let verdict =
            both.run(&Says { ports: (1_000 + n, says.ports.1), ..says.clone() }.frame()).0;
        let is_let = matches!(verdict, Verdict::RedirectListener | Verdict::RedirectOwn);
        assert!(is_let || verdict == Verdict::DropSynLimit, "{verdict:?}");
        is_let
    });
    verdicts.filter(|is_let| *is_let).count()
}

#[test]
#[ignore = "needs root and the BPF object"]
fn source_may_send_so_many_syns_at_an_open_gate() {
    let mut both = Both::new(0);
    let echo = Says { ports: (0, ECHO), ..Says::default() };
    assert_eq!(let_through(&both, &echo, 50), 50, "without a limit");
    both.program.blocks.limit_syns(1, 5).unwrap();
    let clock = Clock::start();
    let seconds = || clock.now().since(Instant::ZERO).as_secs_f64() as usize;
    let v6 = Says { is_v6: true, ..echo.clone() };
    let other = Says { remote: [10, 0, 0, 77], ..echo.clone() };
    for says in [&echo, &other, &v6] {
        let passed = let_through(&both, says, 50);
        // One more for each second that this takes.
        let most = 6 + seconds();
        assert!((5..=most).contains(&passed), "{passed}");
    }
    // Other segments, other ports, and gates that are closed are not counted.
    for flags in [ACK, SYN | ACK] {
        let says = Says { flags, ..echo.clone() };
        assert_eq!(both.run(&says.frame()).0, Verdict::RedirectListener);
    }
    let closed_port = Says { local: OWN, ports: (0, 9), ..echo.clone() };
    assert_eq!(let_through(&both, &closed_port, 50), 50);
    for _ in 0..50 {
        assert_eq!(both.run(&Says::default().frame()).0, Verdict::TransmitCookie);
    }
    // The same port, once its gate is open.
    both.ground.gates[0].closed = 0;
    both.tell();
    let http = Says { ports: (0, HTTP), ..Says::default() };
    assert!(let_through(&both, &http, 50) <= 1 + seconds());
}

#[test]
#[ignore = "needs root and the BPF object"]
fn sources_beyond_the_table_are_limited_all_the_same() {
    let mut both = Both::new(0);
    both.program.blocks.limit_syns(1, 2).unwrap();
    // The table has 64 places; each source sends five at once.
    for n in 0..1_000_u16 {
        let [c, d] = n.to_be_bytes();
        let says = Says { remote: [10, 1, c, d], ports: (0, ECHO), ..Says::default() };
        // One more for each second that this takes.
        let clock = Clock::start();
        let passed = let_through(&both, &says, 5);
        assert!(passed <= 3 + clock.now().since(Instant::ZERO).as_secs_f64() as usize, "{passed}");
    }
}

// What is there stays, what did not fit is nobody's, and the reason is said.
#[test]
#[ignore = "needs root and the BPF object"]
fn addresses_and_listeners_beyond_the_most_are_refused() {
    let mut both = Both::new(0);
    let maps = &mut both.program.maps;
    let addr = |n: u32| {
        let [_, _, c, d] = n.to_be_bytes();
        Addr(mapped([10, 9, c, d]))
    };
    // Three are there, and two listeners.
    (3..MAX_ADDRESSES).for_each(|n| maps.set_address(addr(n), Address::Shared).unwrap());
    let error = maps.set_address(addr(MAX_ADDRESSES), Address::Shared).unwrap_err();
    assert_eq!(error.to_string(), "more than 256 addresses to serve");
    let place = |n: u32| (Some(addr(3 + n / 1_000)), 1_000 + (n % 1_000) as u16);
    let mut listen = |n| {
        let (addr, port) = place(n);
        maps.set_listener(addr, port)
    };
    (2..MAX_LISTENERS).for_each(|n| listen(n).unwrap());
    assert_eq!(listen(MAX_LISTENERS).unwrap_err().to_string(), "more than 4096 listeners");
    let met =
        |local, port| both.run(&Says { local, ports: (1, port), ..Says::default() }.frame()).0;
    let bytes = |n| <[u8; 4]>::try_from(&addr(n).0[12..]).unwrap();
    assert_eq!(met(bytes(MAX_ADDRESSES), ECHO), Verdict::PassAddress);
    assert_eq!(met(bytes(7), 1_000 + (MAX_LISTENERS % 1_000) as u16), Verdict::PassPort);
    assert_eq!(met(bytes(3), 1_002), Verdict::RedirectListener);
    assert_eq!(met(bytes(3), HTTP), Verdict::TransmitCookie);
}

// What the program finds in its maps may be anything: no gate opens by that.
#[test]
#[ignore = "needs root and the BPF object"]
fn maps_with_nothing_or_nonsense_are_as_the_library_takes_them() {
    let syn = Says::default();
    for what in 0..5 {
        let mut both = Both::new(0);
        let ground = &mut both.ground;
        (ground.front.stray_cost, ground.front.reset_cost) = (0, 1);
        match what {
            // No keys.
            0 => ground.front.keys = zerocopy::FromZeros::new_zeroed(),
            // Modes that nobody sets.
            1 => ground.gates[0].closed = u64::MAX,
            2 => ground.doors[0].is_closed = u64::MAX,
            3 => ground.doors[0].options = 0xff,
            // More of everything than there is.
            _ => (ground.front.buckets, ground.front.shards) = (1 << 31, u32::MAX),
        }
        both.tell_all_but_flows();
        let wanted = if what == 0 { Verdict::RedirectUnanswered } else { Verdict::TransmitCookie };
        for is_v6 in [false, true] {
            let says = Says { is_v6, ..syn.clone() };
            assert_eq!(both.agree(&says.frame()).0, wanted, "{what}");
            let ack = Says { flags: ACK, acknowledgment: 4_711, ..says };
            let verdict = both.agree(&ack.frame()).0;
            assert_ne!(verdict, Verdict::RedirectCookie, "{what}");
        }
    }
    // An address of a kind that nobody sets is nobody's.
    assert_eq!(Address::from_value(3), None);
}
