//! What the works measure, in words: the one table of them, by the beginning of their names.
//!
//! A work that nobody described still gets its section; it then says nothing but its rows.

use crate::row::Row;

/// Works whose names begin alike.
pub(super) struct Known {
    /// How their names begin; of several that fit, the longest counts.
    prefix: &'static str,
    /// What is measured.
    pub(super) says: &'static str,
}

/// What is known of a work, whatever letters of its name are capital.
pub(super) fn known(work: &str) -> Option<&'static Known> {
    let fitting = KNOWN.iter().filter(|known| is_of(work, known.prefix));
    fitting.max_by_key(|known| known.prefix.len())
}

/// Whether a work's name begins so, whatever letters are capital.
pub(super) fn is_of(work: &str, prefix: &str) -> bool {
    work.split_at_checked(prefix.len()).is_some_and(|(head, _)| head.eq_ignore_ascii_case(prefix))
}

/// The group of a work: its name up to the first comma.
pub(super) fn group(work: &str) -> &str {
    work.split(',').next().unwrap_or(work).trim()
}

/// The command that measures a group again; `row` is one of it.
pub(super) fn command(group: &str, row: &Row) -> String {
    let is_in_memory = row.config.get("driver mode").is_some_and(|mode| mode.contains("in memory"));
    match group {
        "churn" => "cargo xtask bench macro --churn".into(),
        "pktgen" => "cargo xtask bench pktgen".into(),
        "syn flood" => "cargo xtask bench flood".into(),
        "syn flood over IPv6" => "cargo xtask bench flood --ipv6".into(),
        _ if is_in_memory => format!("cargo xtask bench micro '{group}'"),
        _ => format!("cargo xtask bench macro '{group}'"),
    }
}

/// Where two groups stand in the page: as here, what is not here behind.
pub(super) fn place(group: &str) -> usize {
    let place = known(group).and_then(|known| KNOWN.iter().position(|k| k.prefix == known.prefix));
    place.unwrap_or(KNOWN.len())
}

const fn of(prefix: &'static str, says: &'static str) -> Known {
    Known { prefix, says }
}

/// In the order of the page.
const KNOWN: [Known; 21] = [
    of(
        "connect",
        "The client connects, sends one byte, receives it, closes; so many connections are under way \
         at once. Counted are those that went through all of it.",
    ),
    of(
        "fetch 1 B",
        "The client connects, fetches one byte by HTTP/1.0; the server closes first. All come from one \
         address, so that ports are used again while the server holds them in TIME-WAIT.",
    ),
    of(
        "request 64 B",
        "A request of 64 bytes comes back, on connections that stay, one under way on each. Rate, and the \
         time from send to answer: half, 99 of 100 and 999 of 1000 are no longer than p50, p99 and p99.9.",
    ),
    of("HTTP keep-alive", "wrk fetches the same bytes from each server, on connections that stay."),
    of(
        "bulk receive",
        "One connection without pause to a server that throws away what it receives.",
    ),
    of("bulk send", "One connection without pause from a server that sends without end."),
    of(
        "client check",
        "The instrument itself: our load client beside a well-known one, against the same server or the \
         same kernel. What is asked is a ratio of 1 within the spread.",
    ),
    of(
        "client manner",
        "Our load client as all rows have it, whose next request goes with the answer, beside itself as it is \
         set beside wrk: a round of its loop later, and the latency begins only then.",
    ),
    of("memory", "Resident memory of one connection, half-open entry or TIME-WAIT record, all in."),
    of(
        "churn",
        "Short connections at 80 % of the highest rate, for as many minutes as the rows say: none may fail, and \
         neither memory nor p99 may grow from the first part to the last. A latency counts from when its \
         connection is due.",
    ),
    of(
        "goodput",
        "Goodput of one connection through a relay that loses and delays segments, each way alike.",
    ),
    of(
        "syn flood",
        "SYNs from addresses that do not exist, and what is left for clients that mean it: connect, 1 KiB \
         each way, close. Sluice's `--syn-cookies` beside the kernel's `tcp_syncookies`: `auto` and 1 send \
         cookies under pressure, `always` and 2 to everybody. `sluice guard` stands before the kernel's listener, \
         beside the same listener alone.",
    ),
    of(
        "pktgen",
        "Frames from a generator: received by a worker, dropped by verdict, or redirected to another \
         interface. The ratio is the share of what was sent.",
    ),
    of("stack", "The whole stack in memory, from the bytes of frames in to those of frames out."),
    of(
        "instructions",
        "The same scenes, counted by callgrind: for comparing two commits, where time is too noisy.",
    ),
    of("flow lookup", "Look-ups in a table of so many flows, one after the other or by batch."),
    of("timers", "Operations on so many timers, uniform over 65 s."),
    of("wire", "Parsing and writing headers with their checksums."),
    of("checksum", "The Internet checksum alone."),
    of("checksum while copying", "The Internet checksum together with a copy of the bytes."),
    of(
        "XDP verdict",
        "Verdicts of the XDP program by BPF_PROG_TEST_RUN, beside a program that only passes.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_beginning_counts() {
        let says = |work| known(work).map(|known| known.prefix);
        assert_eq!(says("checksum while copying, 64 B"), Some("checksum while copying"));
        assert_eq!(says("checksum, 64 B"), Some("checksum"));
        assert_eq!(says("something new, 1 at once"), None);
    }

    #[test]
    fn group_ends_at_the_first_comma() {
        assert_eq!(group("request 64 B, 1 at once, p50"), "request 64 B");
        assert_eq!(group("lone"), "lone");
    }

    #[test]
    fn command_is_that_of_the_rows_own_part() {
        let row = Row::alone("w", "o", "ns", &[1.0]);
        assert_eq!(command("w", &row), "cargo xtask bench macro 'w'");
        let row = row.with(crate::machine::in_memory());
        assert_eq!(command("w", &row), "cargo xtask bench micro 'w'");
    }

    #[test]
    fn command_has_no_filter_where_there_is_none() {
        let row = Row::alone("churn, rate", "o", "conn/s", &[1.0]);
        assert_eq!(command("churn", &row), "cargo xtask bench macro --churn");
        assert_eq!(command("pktgen", &row), "cargo xtask bench pktgen");
    }

    #[test]
    fn every_work_is_described_and_every_description_is_used() {
        let names = [crate::system::names(), crate::micro::names()].concat();
        let works: Vec<&str> = names.iter().map(|[work, ..]| work.as_str()).collect();
        assert_eq!(
            command("syn flood over IPv6", &Row::alone("w", "o", "s", &[1.0])),
            "cargo xtask bench flood --ipv6"
        );
        for work in &works {
            assert!(known(work).is_some(), "{work}");
        }
        // Their rows are in no list.
        let others = ["pktgen", "wire", "checksum", "checksum while copying", "instructions"];
        for of in KNOWN.iter().filter(|of| !others.contains(&of.prefix)) {
            assert!(works.iter().any(|work| is_of(work, of.prefix)), "{}", of.prefix);
        }
    }

    #[test]
    fn unknown_works_come_last() {
        assert!(place("connect") < place("stack") && place("stack") < place("never heard of"));
    }
}
