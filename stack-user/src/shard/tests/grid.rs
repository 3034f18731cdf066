//! The golden grid: every state by every event, driven through a shard by raw frames in virtual
//! time.
//!
//! `grid/grid.txt` holds what happens: a section for each state, a line for each event with the
//! next state, what is sent and what the user is told. `SLUICE_BLESS=1` writes it anew. `rig` is
//! the shard and its scripted peer, `rows` leads it into each state, `events` lists what may happen
//! then.
//!
//! Sequence numbers are told from the ISN of their sender: `S+1` is the number after our SYN, `R+1`
//! the one after the peer's.

mod events;
mod rig;
mod rows;

use std::fmt::Write;
use std::{env, fs};

use self::events::EVENTS;
use self::rig::Rig;
use self::rows::Row;

/// The grid as it is now.
fn grid() -> String {
    let mut text = String::from(HEAD);
    for row in Row::ALL {
        let _ = writeln!(text, "\n{}", row.name());
        for event in EVENTS {
            let cells = match (event.arises)(row) {
                true => {
                    let mut rig = Rig::at(row);
                    (event.run)(&mut rig);
                    rig.outcome()
                }
                false => "does not arise".into(),
            };
            let _ = writeln!(text, "    {:<39} | {cells}", event.name);
        }
    }
    text
}

// As the file says, in every cell: CM-1.a, CM-1.k, CM-1.l, CM-7.e, CM-7.g, CM-7.l; SYN with text
// (CM-1.h); calls of the user in every state, RFC 9293 3.9.1.1 (MUST-41, MUST-42), 3.6.1 (SHLD-3,
// MAY-1), CM-5.c, CM-5.d, CM-5.e, CM-5.f; RST with text and in SYN-RECEIVED of both kinds, RFC 9293
// 3.5 (MUST-11, SHLD-2), CM-1.i; ICMP, RFC 9293 3.9.2.2 (MUST-54 to MUST-56); 2MSL (CM-6.c);
// keepalive, RFC 9293 3.8.4 (MUST-24, MUST-26, MUST-29, SHLD-12), CM-8.a; probes, RFC 9293 3.8.6.1
// (MUST-36, MUST-37), CM-8.c; the user timeout, RFC 9293 3.8.3 (MUST-21), CM-8.d; what R2 ends,
// CM-5.a, CM-11.b.
#[test]
fn every_state_every_event_does_what_the_grid_says() {
    let now = grid();
    if env::var_os("SLUICE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/shard/tests/grid/grid.txt");
        fs::write(path, now).expect("the grid can be written");
        return;
    }
    let changes = changes(GOLDEN, &now);
    assert!(
        changes.is_empty(),
        "{} lines differ from src/shard/tests/grid/grid.txt (-: the file, +: now):\n{}\
         where that is meant: SLUICE_BLESS=1 cargo test -p stack-user --no-default-features --lib grid",
        changes.matches("\n+ ").count(),
        changes
    );
}

/// The lines that differ, each under the name of its state.
fn changes(golden: &str, now: &str) -> String {
    let (before, after) = (lines(golden), lines(now));
    let mut text = String::new();
    for (key, line) in &before {
        let other = after.iter().find(|(other, _)| other == key).map(|(_, line)| line);
        if other != Some(line) {
            let _ = write!(text, "{}, {}:\n- {line}\n", key.0, key.1);
            let _ = writeln!(text, "+ {}", other.map_or("(no such line)", |line| line));
        }
    }
    for (key, line) in &after {
        if !before.iter().any(|(other, _)| other == key) {
            let _ = write!(text, "{}, {}:\n- (no such line)\n+ {line}\n", key.0, key.1);
        }
    }
    text
}

/// The cells of a grid by state and event.
fn lines(grid: &str) -> Vec<((&str, &str), &str)> {
    let mut state = "";
    let mut all = Vec::new();
    for line in grid.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("    ").and_then(|line| line.split_once('|')) {
            Some((event, cells)) => all.push(((state, event.trim()), cells.trim())),
            None => state = line,
        }
    }
    all
}

#[test]
fn grid_that_differs_tells_the_state_the_event_and_both_lines() {
    let golden = "# head\n\nLISTEN\n    SYN | A | b | c\n    ACK | A | - | -\n";
    let told = changes(golden, "LISTEN\n    SYN | A | x | c\n    FIN | A | - | -\n");
    assert_eq!(
        told,
        "LISTEN, SYN:\n- A | b | c\n+ A | x | c\nLISTEN, ACK:\n- A | - | -\n+ (no such line)\n\
         LISTEN, FIN:\n- (no such line)\n+ A | - | -\n"
    );
    assert_eq!(changes(golden, golden), "");
}

const GOLDEN: &str = include_str!("grid/grid.txt");

const HEAD: &str = "\
# Every state by every event: the next state, what is sent, what the user is told.
# S+n and R+n count from our initial sequence number and from the peer's; a time is that of the last
# of equal segments. Written by
# SLUICE_BLESS=1 cargo test -p stack-user --no-default-features --lib grid
";
