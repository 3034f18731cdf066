//! `sluice client`: opens connections to a peer, at a rate and so many at once, and says how they
//! went.

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use sluice::control::Refusal;
use sluice::control::config::Endpoint;
use sluice::datapath::Running;
use sluice::service::client::{Close, Outcome, Tally, Task};
use sluice::service::http::Snapshot;
use sluice::shard::Command;
use sluice::time::{Duration, Instant};

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
    /// Where all are counted.
    pub(crate) tally: Arc<Tally>,
}

/// `sluice client`.
pub(crate) fn run(mut options: ClientOptions) -> Result<()> {
    if options.gather && options.at_once < options.connections {
        let what = format!("--gather with --at-once {} below --connections", options.at_once);
        return Err(Refusal::new(what, "raise --at-once to the number of connections").into());
    }
    let load = Load { to: options.to, task: options.task(), tally: Arc::default() };
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
        }
    }
}

/// Opens the connections and sees them end.
pub(crate) struct Driver {
    load: Load,
    connections: u64,
    at_once: u64,
    rate: Option<u64>,
    format: SummaryOption,
    /// The index of the client's service.
    service: u16,
    began: Instant,
    took: Duration,
    /// How many connections have been asked for.
    asked: u64,
    /// The most that were open or opening at one look.
    peak: u64,
}

impl Driver {
    fn new(options: &ClientOptions, load: Load) -> Self {
        Self {
            load,
            connections: options.connections,
            at_once: options.at_once,
            rate: options.rate,
            format: options.summary,
            service: 0,
            began: Instant::ZERO,
            took: Duration::ZERO,
            asked: 0,
            peak: 0,
        }
    }

    /// From here on time counts; the client's service has index `service` in each shard.
    pub(crate) fn begin(&mut self, service: u16, now: Instant) {
        self.service = service;
        self.began = now;
    }

    /// Opens what may be opened now; whether all have ended.
    pub(crate) fn pump(&mut self, running: &Running) -> bool {
        self.took = running.clock().now().since(self.began);
        let tally = &self.load.tally;
        if tally.opened() + tally.open_failed() >= self.connections {
            tally.start();
        }
        let ended = tally.ended();
        let due = self.due();
        while self.asked < due && self.asked - ended < self.at_once {
            let shard = (self.asked % u64::from(running.count())) as u16;
            let Endpoint { addr, port } = self.load.to;
            let command =
                Command::Connect { remote: addr, remote_port: port, service: self.service };
            if running.send(shard, command).is_err() {
                break;
            }
            self.asked += 1;
        }
        self.peak = self.peak.max(self.asked - ended);
        ended >= self.connections
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
                self.asked,
                per_second(tally.ended()),
                self.peak,
                ends.join(", "),
                per_second(sent + received) / 1e6,
            );
        }
        let states = counted.states.iter().map(|(name, count)| (*name, *count));
        let counters = counted.counters.iter().map(|counter| (counter.name, counter.value));
        json!({
            "connections": self.asked,
            "opened": tally.opened(),
            "at_once": self.peak,
            "seconds": seconds,
            "connections_per_second": per_second(tally.ended()),
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
        let done = self.load.tally.ended_as(Outcome::Done);
        if done < self.connections {
            bail!("{done} of {} connections went as they should", self.connections);
        }
        Ok(())
    }
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    pairs.map(|(name, value)| (name.to_owned(), value.into())).collect()
}
