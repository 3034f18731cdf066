//! The figures that were asked for before anything was measured, beside what was.
//!
//! Owns the list. A row is found by parts of its name, so that each setting of a work is a line of its
//! own; what no row answers is said to be not measured.

use crate::printer::{figure, in_short, range};
use crate::row::{FAILED, Row, SMOKE};
use crate::spread::Spread;

/// One figure that is asked for.
struct Required {
    /// What is measured, in words.
    what: &'static str,
    /// How the work's name begins, and what else it holds.
    work: &'static str,
    holds: &'static [&'static str],
    /// Who is measured, and beside whom; empty where it does not matter.
    subject: &'static str,
    peer: &'static str,
    measure: Measure,
    limit: Limit,
}

/// Which figure of the row counts.
#[derive(Clone, Copy)]
enum Measure {
    /// Subject over peer.
    Ratio,
    /// The subject's own.
    Own,
}

#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing but that it is there.
    Reported,
}

/// A line of the table.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) required: String,
    pub(super) measured: String,
    pub(super) met: &'static str,
}

/// All lines, in the order of the list; a requirement has one for each row that answers it.
pub(super) fn lines(rows: &[Row]) -> Vec<Line> {
    let all = REQUIRED.iter().flat_map(|required| {
        let fitting: Vec<&Row> = rows.iter().filter(|row| required.fits(row)).collect();
        // The subject's own figure stands in the row of each of its peers: the worst of them counts.
        let own = |row: &&&Row| row.median.map(|median| (median * 1e3) as i64);
        match (required.measure, &fitting[..]) {
            (_, []) => vec![required.line(None)],
            (Measure::Own, rows) => vec![required.line(rows.iter().max_by_key(own).copied())],
            (_, rows) => rows.iter().map(|row| required.line(Some(row))).collect(),
        }
    });
    all.collect()
}

impl Required {
    fn fits(&self, row: &Row) -> bool {
        let Some(rest) = rest(&row.work, self.work) else { return false };
        let peer = row.peer.as_deref().unwrap_or_default();
        (rest.is_empty() || !self.holds.is_empty())
            && self.holds.iter().all(|part| rest.contains(part))
            && (self.subject.is_empty() || row.subject == self.subject)
            && (self.peer.is_empty() || peer == self.peer)
    }

    fn line(&self, row: Option<&Row>) -> Line {
        // Where several rows may answer, or several lines say the same, the row is named.
        let is_one_of_many = !self.holds.is_empty() || self.peer.is_empty();
        let is_own = matches!(self.measure, Measure::Own);
        let what = match row {
            // Of one subject many things are asked.
            _ if self.what == self.subject => format!("{}: {}", self.what, self.work),
            Some(row) if self.what == self.work && !is_own => name(row),
            Some(row) if self.what != self.work && is_one_of_many => {
                format!("{} ({})", self.what, name(row))
            }
            _ => self.what.into(),
        };
        let (measured, met) = match row {
            None => ("not measured".into(), "-"),
            Some(row) => match self.measured(row) {
                None => (row.absent.as_deref().map_or_else(|| "no figure".into(), in_short), "-"),
                Some(found) => (self.shown(row, found), self.verdict(row, found)),
            },
        };
        Line { what, required: self.wanted(row), measured, met }
    }

    fn measured(&self, row: &Row) -> Option<Spread> {
        match self.measure {
            Measure::Ratio => row.ratio_spread(),
            Measure::Own => row.spread(),
        }
    }

    fn shown(&self, row: &Row, found: Spread) -> String {
        let unit = match self.measure {
            Measure::Ratio => String::new(),
            Measure::Own => format!(" {}", row.unit),
        };
        format!("{}{unit} ({})", figure(found.median), range(found))
    }

    /// By the median; where the client is the bound, the row cannot tell what the server could do.
    fn verdict(&self, row: &Row, found: Spread) -> &'static str {
        if row.config.contains_key(SMOKE) {
            return "- (smoke)";
        }
        let is_met = match self.limit {
            Limit::AtLeast(least) => found.median >= least,
            Limit::AtMost(most) => found.median <= most,
            Limit::Reported => true,
        };
        if row.config.contains_key(FAILED) {
            return "no; failed";
        }
        let core = row.config.get("client's core").map_or("", String::as_str);
        let is_bound = core.ends_with(": client-bound") || core.contains("subject is client-bound");
        let is_judge = self.holds.contains(&BOTH_ENDS);
        match (is_met, is_bound && !is_judge) {
            (true, _) => "yes",
            (false, true) => "no; client-bound, judged by the row with both ends Sluice",
            (false, false) => "no",
        }
    }

    fn wanted(&self, row: Option<&Row>) -> String {
        let (word, value) = match self.limit {
            Limit::AtLeast(value) => ("at least", value),
            Limit::AtMost(value) => ("at most", value),
            Limit::Reported => return "reported beside it".into(),
        };
        // Without a row the unit is that of the list.
        let unit = match self.work {
            work if work.starts_with("memory") => "B",
            work if work.starts_with("syn flood") || work.starts_with("churn") => "",
            _ => "ns",
        };
        let unit = row.map_or(unit, |row| &row.unit);
        match self.measure {
            Measure::Ratio if self.peer.is_empty() => format!("{word} {value} times each peer"),
            Measure::Ratio => format!("{word} {value} times {}", self.peer),
            Measure::Own => format!("{word} {value} {unit}").trim_end().into(),
        }
    }
}

/// What follows `beginning` in a work's name, whatever letters are capital.
fn rest<'a>(work: &'a str, beginning: &str) -> Option<&'a str> {
    let (head, rest) = work.split_at_checked(beginning.len())?;
    head.eq_ignore_ascii_case(beginning).then_some(rest)
}

/// The row's name for people.
fn name(row: &Row) -> String {
    let peer = row.peer.as_ref().map(|peer| format!(" beside {peer}")).unwrap_or_default();
    format!("{}{peer}", row.work)
}

const fn required(what: &'static str, work: &'static str) -> Required {
    Required {
        what,
        work,
        holds: &[],
        subject: "",
        peer: "",
        measure: Measure::Ratio,
        limit: Limit::AtLeast(1.0),
    }
}

use Limit::{AtLeast, AtMost, Reported};

/// What the rows are called in which Sluice is the client too, which has no kernel as its bound.
const BOTH_ENDS: &str = "both ends";
/// What the rows are called that say how much more a verdict costs than none.
const OVER_PASS: &str = ", over bare XDP_PASS";

/// Sluice in the modes that answer whatever comes.
const AUTO: &str = "sluice, cookies auto";
const ALWAYS: &str = "sluice, cookies always";
/// A listener of the kernel behind `sluice guard`.
const GUARD: &str = "kernel, sluice guard";
/// Bytes that a process may grow by during a flood and be said to be as before: some pages of stacks.
const GROWTH: f64 = 65_536.0;

/// The figures of issues 4 and 5.
#[rustfmt::skip]
const REQUIRED: &[Required] = &[
    Required { subject: "sluice", peer: "kernel", limit: AtLeast(2.5),
        ..required("Connections per second, kernel client, 32 at once", "connect, 32 at once") },
    Required { holds: &[BOTH_ENDS], peer: "kernel", limit: AtLeast(6.0),
        ..required("Connections per second, both ends Sluice", "connect") },
    Required { peer: "kernel", limit: AtMost(0.7),
        ..required("Request/response 64 B, one connection, busy polling: p50", "request 64 B, 1 at once, spinners, p50") },
    Required { peer: "kernel", limit: AtMost(0.7),
        ..required("Request/response 64 B, one connection, busy polling: p99", "request 64 B, 1 at once, spinners, p99") },
    Required { subject: "sluice", peer: "kernel", limit: AtLeast(1.3),
        ..required("Request/response 64 B, 32 at once: rate", "request 64 B, 32 at once, rate") },
    Required { subject: "sluice", peer: "kernel", limit: AtMost(1.0),
        ..required("Request/response 64 B, 32 at once: p99", "request 64 B, 32 at once, p99") },
    Required { subject: "sluice", peer: "kernel", limit: AtLeast(1.3),
        ..required("Request/response 64 B, 100 at once: rate", "request 64 B, 100 at once, rate") },
    Required { subject: "sluice", peer: "kernel", limit: AtMost(1.0),
        ..required("Request/response 64 B, 100 at once: p99", "request 64 B, 100 at once, p99") },
    Required { holds: &["100 at once, rate"], peer: "nginx", limit: AtLeast(1.3),
        ..required("HTTP keep-alive beside nginx, 100 connections", "HTTP keep-alive") },
    Required { subject: "sluice", peer: "kernel", limit: AtLeast(1.0),
        ..required("Bulk receive, MTU 1500, TSO off", "bulk receive, MTU 1500") },
    Required { subject: "sluice", peer: "kernel", limit: AtLeast(1.0),
        ..required("Bulk send, MTU 1500, TSO off", "bulk send, MTU 1500") },
    Required { subject: "sluice", peer: "kernel", measure: Measure::Own, limit: AtMost(480.0),
        ..required("Memory of an idle established connection, all in, at 100 k", "memory of an idle connection") },
    Required { subject: "sluice", peer: "kernel", measure: Measure::Own, limit: AtMost(96.0),
        ..required("Memory of a TIME-WAIT record, all in, at 1 M", "memory of a TIME-WAIT") },
    Required { subject: "sluice", measure: Measure::Own, limit: AtMost(0.0),
        ..required("Churn at 80 % of the highest rate: failed connections", "churn, failed") },
    Required { subject: "sluice", peer: "sluice, first part", limit: AtMost(1.05),
        ..required("Churn: resident memory, the last part beside the first", "churn, resident memory, last part") },
    Required { subject: "sluice", peer: "sluice, first part", limit: Reported,
        ..required("Churn: p99, the last part beside the first", "churn, p99, last part") },
    Required { subject: "sluice", peer: "kernel", limit: AtLeast(0.9),
        ..required("Goodput at 1 % loss and 10 ms, sending, beside cubic", "goodput, 1 % lost, 10 ms each way, send") },
    Required { holds: &["foreign", OVER_PASS], measure: Measure::Own, limit: AtMost(15.0),
        ..required("XDP verdict over a bare XDP_PASS: foreign traffic", "XDP verdict") },
    Required { holds: &["redirect", OVER_PASS], measure: Measure::Own, limit: AtMost(60.0),
        ..required("XDP verdict over a bare XDP_PASS: redirect", "XDP verdict") },
    Required { holds: &["cookie SYN-ACK", OVER_PASS], measure: Measure::Own, limit: AtMost(260.0),
        ..required("XDP verdict over a bare XDP_PASS: cookie SYN-ACK", "XDP verdict") },
    Required { holds: &["cookie check", OVER_PASS], measure: Measure::Own, limit: AtMost(140.0),
        ..required("XDP verdict over a bare XDP_PASS: cookie check", "XDP verdict") },
    Required { peer: "smoltcp", limit: AtMost(0.25), ..required(
        "64 B segment in, ACK out, one connection, batch of 1: a quarter of smoltcp's time",
        "stack, data of 64 B in and ACK out, 1 connection, batch of 1") },
    Required { peer: "smoltcp", measure: Measure::Own, limit: AtMost(150.0), ..required(
        "The same, 100 k connections uniform, batches of 64",
        "stack, data of 64 B in and ACK out, 100 k connections uniform, batch of 64") },
    flood(AUTO, AtLeast(99.0), "syn flood, highest rate, clients within 1 s"),
    flood(AUTO, AtLeast(99.9), "syn flood, highest rate, clients within 4 s"),
    flood(AUTO, AtMost(0.0), "syn flood, highest rate, clients refused or reset"),
    Required { measure: Measure::Ratio, peer: "kernel, better setting",
        ..flood(AUTO, AtLeast(8.0), "syn flood, highest rate, answered by CPU time") },
    flood(AUTO, Reported, "syn flood, flat out, clients completed"),
    flood(ALWAYS, AtLeast(99.0), "syn flood, highest rate, clients within 1 s"),
    flood(ALWAYS, AtLeast(99.9), "syn flood, highest rate, clients within 4 s"),
    flood(ALWAYS, AtMost(0.0), "syn flood, highest rate, clients refused or reset"),
    Required { measure: Measure::Ratio, peer: "kernel, better setting",
        ..flood(ALWAYS, AtLeast(8.0), "syn flood, highest rate, answered by CPU time") },
    flood(ALWAYS, Reported, "syn flood, flat out, clients completed"),
    flood(GUARD, AtLeast(99.0), "syn flood, highest rate, clients within 1 s"),
    flood(GUARD, AtLeast(99.9), "syn flood, highest rate, clients within 4 s"),
    flood(GUARD, AtMost(0.0), "syn flood, highest rate, clients refused or reset"),
    flood(AUTO, AtMost(GROWTH), "syn flood, 10 M SYNs, memory grown"),
    flood(ALWAYS, AtMost(GROWTH), "syn flood, 10 M SYNs, memory grown"),
    lookup("flow lookup, hit, 1 M, uniform, single", "hashbrown"),
    lookup("flow lookup, hit, 1 M, uniform, batch of 64", "hashbrown"),
    lookup("flow lookup, hit, 1 M, Zipf, single", "hashbrown"),
    lookup("flow lookup, hit, 1 M, Zipf, batch of 64", "hashbrown"),
    timer("timers, re-arm later, 10 M", 30.0),
    timer("timers, re-arm earlier, 10 M", 80.0),
    timer("timers, cancel, 10 M", 40.0),
    timer("timers, expire, 10 M", 60.0),
    beside("timers, re-arm later, 10 M"),
    beside("timers, re-arm earlier, 10 M"),
    beside("timers, cancel, 10 M"),
    beside("timers, expire, 10 M"),
];

const fn lookup(work: &'static str, peer: &'static str) -> Required {
    Required { holds: &[], peer, limit: AtMost(1.2), ..required(work, work) }
}

/// What one mode of Sluice does during a flood.
const fn flood(subject: &'static str, limit: Limit, work: &'static str) -> Required {
    Required { subject, measure: Measure::Own, limit, ..required(subject, work) }
}

/// A timer's own time. Each peer has a row, with a time of its own for ours.
const fn timer(work: &'static str, most: f64) -> Required {
    let measure = Measure::Own;
    Required { measure, limit: AtMost(most), ..required(work, work) }
}

/// Faster than each peer.
const fn beside(work: &'static str) -> Required {
    Required { limit: AtMost(1.0), ..required(work, work) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(lines: &'a [Line], what: &str) -> Vec<&'a Line> {
        lines.iter().filter(|line| line.what.starts_with(what)).collect()
    }

    fn connect(pair: (f64, f64)) -> Row {
        Row::measured("connect, 32 at once", "sluice", "kernel", "conn/s", &[pair])
    }

    #[test]
    fn ratio_is_judged_by_its_median_and_no_row_is_not_measured() {
        let what = "Connections per second, kernel client";
        let of = |rows: &[Row]| (found(&lines(rows), what)[0].met, lines(rows).len());
        assert_eq!(of(&[connect((2.5, 1.0))]).0, "yes");
        assert_eq!(of(&[connect((2.4, 1.0))]).0, "no");
        let none = lines(&[]);
        assert_eq!(
            (found(&none, what)[0].met, found(&none, what)[0].measured.as_str()),
            ("-", "not measured")
        );
        assert_eq!(none.len(), REQUIRED.len());
    }

    #[test]
    fn row_with_both_ends_ours_answers_its_own_line_alone() {
        let mut row = connect((7.0, 1.0));
        row.work += ", both ends sluice";
        let lines = lines(&[row]);
        assert_eq!(found(&lines, "Connections per second, kernel client")[0].met, "-");
        assert_eq!(found(&lines, "Connections per second, both ends")[0].met, "yes");
    }

    #[test]
    fn what_is_only_reported_is_there_or_not() {
        let work = "syn flood, flat out, clients completed";
        let row = Row::measured(work, AUTO, "kernel, syncookies 1", "% completed", &[(7.0, 1.0)]);
        let of = |rows: &[Row]| {
            let mut lines = lines(rows).into_iter();
            let line = lines.find(|line| line.what == format!("{AUTO}: {work}")).unwrap();
            (line.met, line.measured, line.required)
        };
        let said = "reported beside it".to_string();
        assert_eq!(of(&[]), ("-", "not measured".into(), said.clone()));
        assert_eq!(of(&[row]), ("yes", "7.00 % completed (7.00..7.00)".into(), said));
    }

    #[test]
    fn lines_of_one_subject_say_what_is_asked_of_it() {
        let row = Row::alone("syn flood, 10 M SYNs, memory grown", AUTO, "B", &[1.0]);
        for lines in [lines(&[]), lines(&[row])] {
            let of: Vec<&str> = found(&lines, AUTO).iter().map(|line| &*line.what).collect();
            let mut unique = of.clone();
            unique.dedup();
            assert_eq!((of.len(), of.len()), (unique.len(), 6), "{of:?}");
            assert!(of.contains(&"sluice, cookies auto: syn flood, 10 M SYNs, memory grown"));
        }
    }

    #[test]
    fn client_that_is_the_bound_is_said() {
        let row = connect((2.0, 1.0))
            .with_setting("client's core", "99 % beside 80 %: subject is client-bound");
        assert!(
            found(&lines(&[row]), "Connections per second, kernel")[0].met.contains("client-bound")
        );
        let row = connect((2.0, 1.0))
            .with_setting("client's core", "9 % beside 99 %: peer is client-bound");
        assert_eq!(found(&lines(&[row]), "Connections per second, kernel")[0].met, "no");
    }

    #[test]
    fn smoke_is_not_judged() {
        let row = connect((3.0, 1.0)).with_setting(SMOKE, "yes");
        assert_eq!(found(&lines(&[row]), "Connections per second, kernel")[0].met, "- (smoke)");
    }

    #[test]
    fn absent_row_is_not_judged_and_says_why() {
        let why = "nginx is missing";
        let row = Row::absent(
            "HTTP keep-alive 1 KiB, 100 at once, rate",
            "sluice",
            "nginx",
            "req/s",
            why,
        );
        let lines = lines(&[row]);
        let line = found(&lines, "HTTP")[0];
        assert_eq!((line.met, line.measured.as_str()), ("-", why));
    }

    #[test]
    fn own_figure_is_the_worst_of_its_rows_and_each_peer_has_its_line() {
        let row = |peer, own| {
            Row::measured("timers, cancel, 10 M", "sluice", peer, "ns", &[(own, 100.0)])
        };
        let lines =
            lines(&[row("BTreeMap", 39.0), row("BinaryHeap", 41.0), row("DelayQueue", 38.0)]);
        let found = found(&lines, "timers, cancel");
        let met = |required: &str| -> Vec<&str> {
            let of = found.iter().filter(|line| line.required == required);
            of.map(|line| line.met).collect()
        };
        assert_eq!(met("at most 40 ns"), ["no"]);
        assert_eq!(met("at most 1 times each peer"), ["yes"; 3]);
    }

    #[test]
    fn worst_of_the_verdicts_over_a_pass_counts() {
        let of = |work: &str, over| Row::alone(work, "sluice", "ns", &[over]);
        let rows = [
            of("XDP verdict, foreign: UDP, over bare XDP_PASS", 20.0),
            of("XDP verdict, foreign: another MAC, over bare XDP_PASS", 2.0),
        ];
        let lines = lines(&rows);
        let line = found(&lines, "XDP verdict over a bare XDP_PASS: foreign")[0];
        assert_eq!((line.met, line.measured.as_str()), ("no", "20.0 ns (20.0..20.0)"));
        assert!(line.what.contains("UDP"), "{}", line.what);
    }

    #[test]
    fn row_that_failed_meets_nothing() {
        let row = connect((3.0, 1.0)).with_setting(FAILED, "2 of 9");
        assert_eq!(found(&lines(&[row]), "Connections per second, kernel")[0].met, "no; failed");
    }

    /// Every requirement is answered by the rows it means, of those that a full run makes.
    #[test]
    fn requirements_fit_the_rows_that_are_made() {
        let names = [crate::system::names(), crate::micro::names()].concat();
        let rows: Vec<Row> = names.iter().map(row_of).collect();
        let answers = |required: &Required| rows.iter().filter(|row| required.fits(row)).count();
        for required in REQUIRED {
            let want = match (required.work, required.holds) {
                // 1, 32, 100 and 1,000 at once.
                ("connect", _) => 4,
                ("XDP verdict", ["foreign", _]) => 5,
                ("XDP verdict", ["cookie SYN-ACK" | "cookie check", _]) => 1,
                ("XDP verdict", _) => 5,
                // One for each peer.
                (work, _) if work.starts_with("timers") => 3,
                _ => 1,
            };
            assert_eq!(answers(required), want, "{}: {}", required.what, required.work);
        }
    }

    #[test]
    fn one_goodput_is_judged_and_not_that_of_another_loss() {
        let of = |work: &str| Row::measured(work, "sluice", "kernel", "Gbit/s", &[(1.0, 1.0)]);
        let names = ["0.1 % lost, 10 ms", "1 % lost, 0 ms"];
        let rows = names.map(|name| of(&format!("goodput, {name} each way, send")));
        assert_eq!(found(&lines(&rows), "Goodput")[0].measured, "not measured");
    }

    fn row_of([work, subject, peer]: &[String; 3]) -> Row {
        match peer.as_str() {
            "" => Row::alone(work, subject, "x", &[1.0]),
            peer => Row::measured(work, subject, peer, "x", &[(1.0, 1.0)]),
        }
    }
}
