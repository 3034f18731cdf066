//! Instructions of the stack's scenes, counted by callgrind: they are the same in every run, where time
//! is not.
//!
//! The bench runs itself under valgrind, once for few rounds and once for more; the difference is free
//! of what only happens at the start.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::floor::Floor;
use super::ours::Ours;
use super::scene::{MEASURED, Op, Scene, World};
use super::smol::Smol;
use super::{OURS, Stack, with_settings};
use crate::clock::{Stopwatch, pause};
use crate::micro::pair::{Plan, Work};
use crate::row::Row;
use crate::tools;

/// The rows of this file, all of them of one connection.
pub fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let has_valgrind = tools::is_there("valgrind");
    let mut rows = Vec::new();
    for (case, (op, batch)) in plan.sizes(&CASES).iter().enumerate() {
        let work = format!("instructions, {}, 1 connection, batch of {batch}", op.name());
        if !plan.wants(&work) {
            continue;
        }
        if !has_valgrind {
            let why = tools::missing("valgrind", "valgrind");
            let row = Row::absent(&work, OURS, Smol::NAME, UNIT, &why);
            rows.push(with_settings(row.with(plan.config.clone()), 1));
            continue;
        }
        eprintln!("{work}: {OURS} beside {}", Smol::NAME);
        let pair =
            instructions(case, OURS).and_then(|ours| Ok((ours, instructions(case, Smol::NAME)?)));
        let row = match pair {
            Ok(pair) => Row::measured(&work, OURS, Smol::NAME, UNIT, &[pair]),
            Err(error) => Row::failed(&work, OURS, Smol::NAME, UNIT, &format!("{error:#}")),
        };
        let row = row.with(plan.config.clone());
        rows.push(with_settings(row, 1).with_setting("alternations", 1));
    }
    Ok(rows)
}

/// Plays a case on the stack of that name, so many rounds with so many connections; how many operations
/// that were. What each took in the median of its rounds is noted on the standard error.
///
/// # Errors
/// When there is no such case or stack, or the stack did something else.
pub fn play(case: usize, stack: &str, times: (usize, usize)) -> Result<u64> {
    let (op, batch) = *CASES.get(case).context("there is no such case")?;
    match stack {
        OURS => play_on::<Ours>(op, batch, times),
        Smol::NAME => play_on::<Smol>(op, batch, times),
        // It knows no other.
        Floor::NAME if matches!(op, Op::Data(_)) => play_on::<Floor>(op, batch, times),
        _ => bail!("there is no stack {stack}"),
    }
}

fn play_on<S: Stack>(op: Op, batch: usize, (rounds, conns): (usize, usize)) -> Result<u64> {
    let mut world = World::<S>::new(conns)?;
    world.settle()?;
    let mut scene = Scene { world: &mut world, op, batch };
    let (mut done, mut times) = (0, Vec::with_capacity(rounds));
    for _ in 0..rounds {
        let mut watch = Stopwatch::new();
        let count = scene.round(&mut watch)?;
        times.push(watch.nanos() as f64 / count.max(1) as f64);
        done += count;
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    eprintln!("each took {:.1} ns in the median, {:.1} to {:.1}", at(50), at(5), at(95));
    Ok(done)
}

/// Instructions of one operation.
fn instructions(case: usize, stack: &str) -> Result<f64> {
    let (few, more) = (counted(case, stack, ROUNDS)?, counted(case, stack, 3 * ROUNDS)?);
    let (instructions, operations) = (more.0 - few.0, more.1 - few.1);
    ensure!(instructions > 0.0 && operations > 0.0, "callgrind counted nothing of {stack}");
    Ok(instructions / operations)
}

/// Instructions and operations of so many rounds.
fn counted(case: usize, stack: &str, rounds: usize) -> Result<(f64, f64)> {
    let bench = std::env::current_exe().context("this program does not know where it lies")?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", &format!("--toggle-collect={MEASURED}")])
        .arg(bench)
        .args(["scene", &case.to_string(), stack, &rounds.to_string()])
        .stdin(Stdio::null());
    let output = guarded(&mut command).context("cannot start valgrind")?;
    let (said, noted) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let error = noted.lines().find(|line| line.starts_with("error:"));
    let last = error.or(noted.lines().last()).unwrap_or("nothing");
    ensure!(output.status.success(), "valgrind failed ({}): {last}", output.status);
    let operations = said.trim().parse().context("the scene said no number")?;
    let instructions = collected(&noted).with_context(|| format!("callgrind said {last}"))?;
    Ok((instructions, operations))
}

/// Runs a command to its end, and ends it before this process where a signal asks for that.
fn guarded(command: &mut Command) -> Result<Output> {
    let signals = Signals::caught()?;
    signals.is_idle.store(false, Ordering::Relaxed);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // What it says is a few lines, which its pipes hold.
    while child.try_wait()?.is_none() {
        let signal = signals.asked.load(Ordering::Relaxed);
        if signal != 0 {
            child.kill()?;
            child.wait()?;
            low_level::emulate_default_handler(i32::try_from(signal)?)?;
        }
        pause(TURN);
    }
    signals.is_idle.store(true, Ordering::Relaxed);
    Ok(child.wait_with_output()?)
}

/// Signals that end this process: at once while it is idle, else after its child.
struct Signals {
    /// The number of the last one; 0 is none.
    asked: Arc<AtomicUsize>,
    is_idle: Arc<AtomicBool>,
}

impl Signals {
    /// Those of this process, caught since the first call.
    fn caught() -> Result<&'static Self> {
        static SIGNALS: OnceLock<Signals> = OnceLock::new();
        if let Some(signals) = SIGNALS.get() {
            return Ok(signals);
        }
        let (asked, is_idle) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&is_idle))?;
            flag::register_usize(signal, Arc::clone(&asked), usize::try_from(signal)?)?;
        }
        Ok(SIGNALS.get_or_init(|| Self { asked, is_idle }))
    }
}

/// What callgrind says it has collected.
fn collected(noted: &str) -> Option<f64> {
    let line = noted.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

/// What is counted; the first also where all has to be quick.
const CASES: [(Op, usize); 8] = [
    (Op::Data(64), 1),
    (Op::Data(64), 64),
    (Op::Data(1_448), 1),
    (Op::Data(1_448), 64),
    (Op::Ack, 1),
    (Op::Ack, 64),
    (Op::Open, 1),
    (Op::Open, 64),
];
const UNIT: &str = "instructions";
const ROUNDS: usize = 4;
/// How often is looked whether a command has ended.
const TURN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collected_is_read_from_what_callgrind_notes() {
        let noted = "==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n";
        assert_eq!(collected(noted), Some(1_234_567.0));
        assert_eq!(collected("==7== Events : Ir\n"), None);
    }

    #[test]
    fn every_case_plays_on_both_stacks() {
        for case in 0..CASES.len() {
            let (ours, theirs) =
                (play(case, OURS, (2, 1)).unwrap(), play(case, Smol::NAME, (2, 1)).unwrap());
            assert!(ours == theirs && ours > 0, "{case}");
        }
    }

    #[test]
    fn floor_answers_each_segment_by_a_sound_acknowledgment() {
        // Of each answer both checksums are verified, and what it acknowledges is compared.
        for case in [0, 2] {
            let ours = play(case, OURS, (2, 1)).unwrap();
            assert_eq!(play(case, Floor::NAME, (2, 1)).unwrap(), ours, "{case}");
        }
    }

    #[test]
    fn case_or_stack_that_is_not_there_is_refused() {
        assert!(play(CASES.len(), OURS, (1, 1)).is_err());
        assert!(play(0, "linux", (1, 1)).is_err());
    }
}
