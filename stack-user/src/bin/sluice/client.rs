//! `sluice client`: opens connections to a peer, at a rate and so many at once, and says how they
//! went.

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use sluice::control::Refusal;
use sluice::control::config::Endpoint;
use sluice::datapath::Running;
use sluice::service::client::{Close, Outcome, Requests, Tally, Target, Task};
use sluice::service::http::Snapshot;
use sluice::shard::Command;
use sluice::time::{Duration, Instant};
use sluice::wire::{Addr, ipv6};

use crate::cli::{RunOptions, seconds};
use crate::serve;

/// The options of `sluice client`.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
    /// The peer.
    #[arg(long, value_name = "ADDR:PORT")]
    to: Endpoint,
    /// Connections to open in all.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Opens connections for so many seconds instead of a number of them.
    #[arg(long, value_name = "SECONDS", conflicts_with = "connections", value_parser = seconds)]
    during: Option<Duration>,
    /// The most of them at once.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..))]
    at_once: u64,
    /// The most that are opened in a second; without it as fast as they end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Bytes that each sends: those of /bytes/N.
    #[arg(long, value_name = "BYTES", default_value = "0")]
    send: u64,
    /// Bytes of the same pattern that each has to receive: others, fewer or more are a failure.
    #[arg(long, value_name = "BYTES", default_value = "0")]
    receive: u64,
    /// Each connection stays, and sends and receives over and over until the time of --during is over.
    #[arg(long, requires = "during", requires = "receive")]
    repeat: bool,
    /// Connections come from all addresses of the interface in turn, instead of the first.
    #[arg(long)]
    spread: bool,
    /// How connections end.
    #[arg(long, value_enum, default_value = "active")]
    close: CloseOption,
    /// Time between the last byte and our close, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    hold: Duration,
    /// How long after its open each leaves unread what the peer sends, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pause: Duration,
    /// Sends nothing before all connections are open.
    #[arg(long)]
    gather: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    summary: SummaryOption,
    #[command(flatten)]
    run: RunOptions,
}

/// How connections end.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CloseOption {
    /// We send FIN first, once all is sent and received.
    Active,
    /// The peer sends FIN first.
    Passive,
    /// We send FIN once all is sent, and go on receiving.
    Half,
    /// We send RST once all is sent and received.
    Reset,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SummaryOption {
    /// One line for people.
    Text,
    /// One JSON object with all counters.
    Json,
}

/// What a client's service has to know.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The peer.
    pub(crate) to: Endpoint,
    /// What each connection does.
    pub(crate) task: Task,
    /// Whether they come from all addresses.
    pub(crate) is_spread: bool,
    /// The most at once, over all workers.
    pub(crate) at_once: u64,
    /// Where all are counted.
    pub(crate) tally: Arc<Tally>,
}

/// `sluice client`.
pub(crate) fn run(mut options: ClientOptions) -> Result<()> {
    if options.gather && options.at_once < options.connections {
        let what = format!("--gather with --at-once {} below --connections", options.at_once);
        return Err(Refusal::new(what, "raise --at-once to the number of connections").into());
    }
    let load = Load {
        to: options.to,
        task: options.task(),
        is_spread: options.spread,
        at_once: options.at_once,
        tally: Arc::default(),
    };
    options.run.load = Some(load.clone());
    let mut driver = Driver::new(&options, load);
    serve::serve(&options.run, Some(&mut driver))?;
    driver.check()
}

impl ClientOptions {
    fn task(&self) -> Task {
        Task {
            send: self.send,
            receive: self.receive,
            close: match self.close {
                CloseOption::Active => Close::Active,
                CloseOption::Passive => Close::Passive,
                CloseOption::Half => Close::Half,
                CloseOption::Reset => Close::Reset,
            },
            hold: self.hold,
            pause: self.pause,
            gathers: self.gather,
            requests: if self.repeat { Requests::Many } else { Requests::One },
        }
    }
}

impl Load {
    /// What the client of one shard of `shards` has to open.
    pub(crate) fn target(&self, shard: u16, shards: u16, addrs: &[Addr]) -> Target {
        let Endpoint { addr, port } = self.to;
        let (shard, shards) = (u64::from(shard), u64::from(shards));
        let share = self.at_once / shards + u64::from(shard < self.at_once % shards);
        let kind = |addr: &Addr| (addr.is_v4(), ipv6::is_link_local(addr));
        let is_fit = |ours: &&Addr| self.is_spread && kind(ours) == kind(&addr);
        let from = addrs.iter().filter(is_fit).copied().collect();
        Target { addr, port, from, at_once: usize::try_from(share).unwrap_or(usize::MAX) }
    }
}

/// Lets the clients open connections, and sees them end.
pub(crate) struct Driver {
    load: Load,
    connections: u64,
    during: Option<Duration>,
    rate: Option<u64>,
    format: SummaryOption,
    began: Instant,
    took: Duration,
    /// Connections and requests done when the time of `during` was over.
    done: Option<(u64, u64)>,
    /// The most that were open or opening at one look.
    peak: u64,
}

impl Driver {
    fn new(options: &ClientOptions, load: Load) -> Self {
        Self {
            load,
            connections: if options.during.is_some() { u64::MAX } else { options.connections },
            during: options.during,
            rate: options.rate,
            format: options.summary,
            began: Instant::ZERO,
            took: Duration::ZERO,
            done: None,
            peak: 0,
        }
    }

    /// From here on time counts.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    /// Lets open what may be opened now; whether all have ended.
    pub(crate) fn pump(&mut self, running: &Running) -> bool {
        let tally = &self.load.tally;
        if tally.opened() + tally.open_failed() >= self.connections {
            tally.start();
        }
        let ended = tally.ended();
        self.peak = self.peak.max(tally.asked() - ended);
        if self.done.is_some() {
            return ended >= tally.asked();
        }
        self.took = running.clock().now().since(self.began);
        if self.during.is_some_and(|during| self.took >= during) {
            tally.end();
            self.done = Some((ended, tally.answered()));
            return ended >= tally.asked();
        }
        if tally.allow(self.due()) {
            running.broadcast(&Command::Open);
        }
        ended >= self.connections
    }

    /// How often [`Driver::pump`] has something to do.
    pub(crate) fn interval(&self) -> Duration {
        // Connections open each other: the thread only has to see the end.
        if self.rate.is_some() { Duration::from_millis(1) } else { Duration::from_millis(5) }
    }

    /// How many connections may have been opened by now.
    fn due(&self) -> u64 {
        let Some(rate) = self.rate else { return self.connections };
        let due = self.took.as_nanos() * u128::from(rate) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).saturating_add(1).min(self.connections)
    }

    /// What became of the connections, in the form that was asked for.
    pub(crate) fn summary(&self, counted: &Snapshot) -> String {
        let tally = &self.load.tally;
        let (sent, received) = tally.bytes();
        let seconds = self.took.as_secs_f64();
        let per_second = |n: u64| n as f64 / seconds.max(f64::MIN_POSITIVE);
        let (done, answered) = self.done.unwrap_or((tally.ended(), tally.answered()));
        let outcomes =
            || Outcome::ALL.into_iter().map(|outcome| (outcome.name(), tally.ended_as(outcome)));
        if self.format == SummaryOption::Text {
            let ends: Vec<_> = outcomes()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            return format!(
                "{} connections in {seconds:.3} s ({:.0}/s, {} at once): {}; {sent} bytes sent, \
                 {received} received ({:.1} MB/s)",
                tally.asked(),
                per_second(done),
                self.peak,
                ends.join(", "),
                per_second(sent + received) / 1e6,
            );
        }
        let states = counted.states.iter().map(|(name, count)| (*name, *count));
        let counters = counted.counters.iter().map(|counter| (counter.name, counter.value));
        json!({
            "connections": tally.asked(),
            "opened": tally.opened(),
            "at_once": self.peak,
            "seconds": seconds,
            "connections_per_second": per_second(done),
            "requests_per_second": per_second(answered),
            "bytes_sent": sent,
            "bytes_received": received,
            "outcomes": object(outcomes()),
            "states": object(states),
            "counters": object(counters),
        })
        .to_string()
    }

    /// An error where not every connection did what it should.
    fn check(&self) -> Result<()> {
        let tally = &self.load.tally;
        let (done, all) = (tally.ended_as(Outcome::Done), tally.asked());
        if done < all || (self.during.is_none() && all < self.connections) {
            let all = if self.during.is_some() { all } else { self.connections };
            bail!("{done} of {all} connections went as they should");
        }
        Ok(())
    }
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()
}
