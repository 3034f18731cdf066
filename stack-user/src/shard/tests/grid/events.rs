//! The columns of the grid: what the user asks, what arrives, what falls due.

use super::rig::{ACK, FIN, RST, Rig, SYN, Seg};
use super::rows::Row;
use crate::service::Connection;
use crate::tcp::{KeepAlive, Setting};
use crate::time::Duration;
use crate::wire::tcp::Flags;

/// Something that may happen in any state.
pub(super) struct Event {
    pub name: &'static str,
    /// Where it can arise.
    pub arises: fn(Row) -> bool,
    /// Makes it happen.
    pub run: fn(&mut Rig),
}

/// What may happen in every state.
const fn event(name: &'static str, run: fn(&mut Rig)) -> Event {
    Event { name, arises: |_| true, run }
}

/// A timer, which runs in some states only.
const fn timer(name: &'static str, arises: fn(Row) -> bool, run: fn(&mut Rig)) -> Event {
    Event { name, arises, run }
}

/// All of them: calls of the user, segments, ICMP errors, timers.
pub(super) const EVENTS: &[Event] = &[
    event("OPEN active", |rig| rig.open()),
    event("OPEN passive", |rig| rig.listen()),
    event("SEND", |rig| rig.send()),
    event("CLOSE", |rig| rig.close()),
    event("CLOSE twice", |rig| {
        rig.close();
        rig.close();
    }),
    event("SEND after CLOSE", |rig| {
        rig.close();
        rig.send();
    }),
    event("SEND, urgent", |rig| rig.call(|conn| format!("took {}", conn.send_urgent(&[7; 10])))),
    event("RECEIVE", |rig| rig.call(|conn| format!("read {}", conn.read(&mut [0; 20])))),
    event("RECEIVE, text unread", |rig| {
        leave_unread(rig);
        rig.call(|conn| format!("read {}", conn.read(&mut [0; 20])));
    }),
    event("CLOSE for good", |rig| user(rig, |conn| conn.close())),
    event("CLOSE for good, text unread", |rig| {
        leave_unread(rig);
        user(rig, |conn| conn.close());
    }),
    event("CLOSE for good, text unread and FIN", |rig| {
        leave_unread(rig);
        rig.rcv += 10;
        rig.arrive(rig.holding(ACK | FIN));
        rig.begin();
        user(rig, |conn| conn.close());
    }),
    event("CLOSE for good, then text", |rig| {
        user(rig, |conn| conn.close());
        rig.arrive(text(rig, ACK));
    }),
    event("CLOSE for good, linger 0", |rig| {
        set(rig, Setting::Linger(Some(Duration::ZERO)));
        user(rig, |conn| conn.close());
    }),
    event("CLOSE for good, linger 5 s, silence", |rig| {
        set(rig, Setting::Linger(Some(Duration::from_secs(5))));
        user(rig, |conn| conn.close());
        rig.wait(Duration::from_millis(5_500));
    }),
    event("CLOSE of reading, then text", |rig| {
        user(rig, |conn| conn.shutdown_read());
        rig.arrive(text(rig, ACK));
    }),
    event("ABORT", |rig| user(rig, |conn| conn.abort())),
    event("STATUS", |rig| rig.call(|conn| format!("{:?}", conn.info().state))),
    event("SYN in the window", |rig| at(rig, rig.segment(SYN), 10)),
    event("SYN outside the window", |rig| at(rig, rig.segment(SYN), BEFORE)),
    event("SYN outside, newer timestamp", |rig| {
        let seg = Seg { stamp: Some(10), ..rig.segment(SYN) };
        at(rig, seg, BEFORE)
    }),
    event("SYN outside, older timestamp", |rig| {
        let seg = Seg { stamp: Some(-10), ..rig.segment(SYN) };
        at(rig, seg, BEFORE)
    }),
    event("SYN ahead, older timestamp", |rig| {
        let seg = Seg { stamp: Some(-10), ..rig.segment(SYN) };
        at(rig, seg, 10)
    }),
    event("SYN repeated", |rig| arrive(rig, rig.syn())),
    event("SYN with text", |rig| {
        let seg = Seg { text: 10, ..rig.segment(SYN) };
        at(rig, seg, 10)
    }),
    event("SYN, FIN", |rig| at(rig, rig.segment(SYN | FIN), 10)),
    event("SYN, RST", |rig| at(rig, rig.segment(SYN | RST), 0)),
    event("SYN, ACK of all", |rig| arrive(rig, Seg { seq: 0, ..rig.segment(SYN | ACK) })),
    event("SYN, ACK of what was not sent", |rig| {
        arrive(rig, Seg { seq: 0, ack: rig.nxt + 1000, ..rig.segment(SYN | ACK) })
    }),
    event("SYN, ACK of all, with text", |rig| {
        arrive(rig, Seg { seq: 0, text: 10, ..rig.segment(SYN | ACK) })
    }),
    event("SYN, ACK of all, in the window", |rig| at(rig, rig.segment(SYN | ACK), 10)),
    event("ACK of all", |rig| arrive(rig, rig.segment(ACK))),
    event("ACK of nothing new", |rig| arrive(rig, rig.holding(ACK))),
    event("ACK old", |rig| arrive(rig, Seg { ack: rig.una - 1, ..rig.segment(ACK) })),
    event("ACK older than any window", |rig| {
        arrive(rig, Seg { ack: rig.una - 200_000, ..rig.segment(ACK) })
    }),
    event("ACK of what was not sent", |rig| {
        arrive(rig, Seg { ack: rig.nxt + 1000, ..rig.segment(ACK) })
    }),
    event("ACK of all, outside the window", |rig| at(rig, rig.segment(ACK), BEFORE)),
    event("ACK of all, window zero", |rig| arrive(rig, Seg { window: 0, ..rig.segment(ACK) })),
    event("text in order", |rig| arrive(rig, text(rig, ACK))),
    event("text in order, ACK of all", |rig| arrive(rig, Seg { text: 10, ..rig.segment(ACK) })),
    event("text in order, no ACK bit", |rig| arrive(rig, text(rig, Flags::NONE))),
    event("text in order, old ACK", |rig| arrive(rig, Seg { ack: rig.una - 1, ..text(rig, ACK) })),
    event("text in order, ACK of what was not sent", |rig| {
        arrive(rig, Seg { ack: rig.nxt + 1000, ..text(rig, ACK) })
    }),
    event("text across the left edge", |rig| at(rig, text(rig, ACK), -5)),
    event("text out of order", |rig| at(rig, text(rig, ACK), 10)),
    event("text before the window", |rig| at(rig, text(rig, ACK), -20)),
    event("text beyond the window", |rig| at(rig, text(rig, ACK), 200_000)),
    event("text with an older timestamp", |rig| {
        arrive(rig, Seg { stamp: Some(-10), ..text(rig, ACK) })
    }),
    event("text without a timestamp", |rig| arrive(rig, Seg { stamp: None, ..text(rig, ACK) })),
    event("urgent text", |rig| arrive(rig, Seg { urgent: 5, ..text(rig, ACK | Flags::URG) })),
    event("URG without text", |rig| {
        arrive(rig, Seg { urgent: 5, ..rig.holding(ACK | Flags::URG) })
    }),
    event("FIN", |rig| arrive(rig, rig.holding(ACK | FIN))),
    event("FIN, ACK of all", |rig| arrive(rig, rig.segment(ACK | FIN))),
    event("FIN with text", |rig| arrive(rig, text(rig, ACK | FIN))),
    event("FIN without ACK bit", |rig| arrive(rig, rig.holding(FIN))),
    event("FIN out of order", |rig| at(rig, rig.holding(ACK | FIN), 10)),
    event("FIN before the window", |rig| at(rig, rig.holding(ACK | FIN), -1)),
    event("FIN, ACK of what was not sent", |rig| {
        arrive(rig, Seg { ack: rig.nxt + 1000, ..rig.segment(ACK | FIN) })
    }),
    event("RST exact", |rig| arrive(rig, rig.segment(RST))),
    event("RST in the window", |rig| at(rig, rig.segment(RST), 10)),
    event("RST outside the window", |rig| at(rig, rig.segment(RST), BEFORE)),
    event("RST with text", |rig| arrive(rig, text(rig, RST))),
    event("RST without a timestamp", |rig| arrive(rig, Seg { stamp: None, ..rig.segment(RST) })),
    event("RST with an older timestamp", |rig| {
        arrive(rig, Seg { stamp: Some(-10), ..rig.segment(RST) })
    }),
    event("RST, ACK of all", |rig| arrive(rig, rig.segment(RST | ACK))),
    event("RST, ACK of what was not sent", |rig| {
        arrive(rig, Seg { ack: rig.nxt + 1000, ..rig.segment(RST | ACK) })
    }),
    event("no flags", |rig| arrive(rig, rig.segment(Flags::NONE))),
    event("all flags", |rig| arrive(rig, rig.segment(Flags(0x3f)))),
    event("PSH and URG alone", |rig| arrive(rig, rig.segment(Flags::PSH | Flags::URG))),
    event("ICMP host unreachable", |rig| icmp(rig, 3, 1)),
    event("ICMP port unreachable", |rig| icmp(rig, 3, 3)),
    event("ICMP port unreachable, not in flight", |rig| rig.icmp(3, 3, rig.nxt + 1000)),
    event("ICMP fragmentation needed", |rig| icmp(rig, 3, 4)),
    event("ICMP source quench", |rig| icmp(rig, 4, 0)),
    event("ICMP time exceeded", |rig| icmp(rig, 11, 0)),
    event("ICMP parameter problem", |rig| icmp(rig, 12, 0)),
    timer("retransmission timer", has_something_out, |rig| {
        send_something(rig);
        rig.wait(Duration::from_millis(1_000));
    }),
    timer("R2: silence", has_something_out, |rig| {
        send_something(rig);
        rig.wait(Duration::from_secs(2_000));
    }),
    timer("persist timer", Row::sends, |rig| {
        close_window(rig);
        rig.wait(Duration::from_millis(1_000));
    }),
    timer("persist timer, each probe answered", Row::sends, |rig| {
        close_window(rig);
        for _ in 0..200 {
            rig.wait(Duration::from_secs(10));
            rig.arrive(Seg { window: 0, ..rig.segment(ACK) });
        }
    }),
    timer("persist timer, no answer", Row::sends, |rig| {
        close_window(rig);
        rig.wait(Duration::from_secs(2_000));
    }),
    timer("delayed-ACK timer", Row::receives, |rig| {
        // The first segments are acknowledged at once.
        for _ in 0..17 {
            rig.arrive(text(rig, ACK));
            rig.rcv += 10;
        }
        rig.begin();
        rig.wait(Duration::from_millis(100));
    }),
    timer("keepalive timer, no answer", Row::is_idle, |rig| {
        set(rig, keepalive());
        rig.wait(Duration::from_secs(100));
    }),
    timer("keepalive timer, each probe answered", Row::is_idle, |rig| {
        set(rig, keepalive());
        for _ in 0..9 {
            rig.wait(Duration::from_millis(10_500));
            rig.arrive(rig.segment(ACK));
        }
    }),
    timer("user timeout", has_something_out, |rig| {
        set(rig, Setting::UserTimeout(Some(Duration::from_secs(5))));
        send_something(rig);
        rig.wait(Duration::from_secs(100));
    }),
    timer("R2: silence, the user has closed", has_something_out, |rig| {
        user(rig, |conn| conn.close());
        rig.begin();
        rig.wait(Duration::from_secs(2_000));
    }),
    timer(
        "FIN-WAIT-2 timer",
        |row| row == Row::FinWait2,
        |rig| {
            user(rig, |conn| conn.close());
            rig.wait(Duration::from_secs(61));
        },
    ),
    timer("2MSL timer", |row| row == Row::TimeWait, |rig| rig.wait(Duration::from_secs(21))),
    timer(
        "2MSL timer, FIN repeated in between",
        |row| row == Row::TimeWait,
        |rig| {
            rig.wait(Duration::from_secs(15));
            rig.arrive(Seg { seq: rig.rcv - 1, ..rig.segment(ACK | FIN) });
            rig.wait(Duration::from_secs(15));
        },
    ),
    timer(
        "an hour of silence",
        |row| !row.is_waiting(),
        |rig| rig.wait(Duration::from_secs(3_600)),
    ),
];

/// The user calls something that returns nothing.
fn user(rig: &mut Rig, run: fn(&mut dyn Connection)) {
    rig.call(|conn| {
        run(conn);
        String::new()
    });
}

/// The user changes a setting: preparation.
fn set(rig: &mut Rig, setting: Setting) {
    rig.call(|conn| {
        conn.configure(setting).map_or_else(|error| error.to_string(), |()| String::new())
    });
    rig.begin();
}

fn keepalive() -> Setting {
    let (idle, interval) = (Duration::from_secs(10), Duration::from_secs(2));
    Setting::KeepAlive(Some(KeepAlive { idle, interval, count: 3 }))
}

/// Text comes that the user leaves where it is: preparation.
fn leave_unread(rig: &mut Rig) {
    rig.leaves_text();
    rig.arrive(text(rig, ACK));
    rig.begin();
}

/// A segment before every window.
const BEFORE: i32 = -200_000;

fn arrive(rig: &mut Rig, seg: Seg) {
    rig.arrive(seg);
}

/// The segment arrives, moved by `offset`.
fn at(rig: &mut Rig, seg: Seg, offset: i32) {
    rig.arrive(Seg { seq: seg.seq + offset, ..seg });
}

/// Ten octets, the next in order.
fn text(rig: &Rig, flags: Flags) -> Seg {
    Seg { text: 10, ..rig.holding(flags) }
}

/// An ICMP error about the first octet that is not acknowledged; text is out where there may be any.
fn icmp(rig: &mut Rig, kind: u8, code: u8) {
    if rig.row.sends() {
        rig.send();
        rig.begin();
    }
    rig.icmp(kind, code, rig.una);
}

/// Whether something of ours is out, or can be.
fn has_something_out(row: Row) -> bool {
    row.sends() || row.is_waiting()
}

/// Sees that something is out.
fn send_something(rig: &mut Rig) {
    if rig.row.sends() {
        rig.send();
        rig.begin();
    }
}

/// Sees that text waits for the window to open.
fn close_window(rig: &mut Rig) {
    rig.arrive(Seg { window: 0, ..rig.segment(ACK) });
    rig.send();
    rig.begin();
}
