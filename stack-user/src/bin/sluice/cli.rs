//! The options, read with clap. What they mean on this machine is `plan`'s business.

use core::net::IpAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use sluice::control::Refusal;
use sluice::control::config::{ConnectSpec, CpuList, ListenSpec, OwnAddr, PortRange, SynLimit};
use sluice::control::prefix::Prefix;
use sluice::control::program::ModeWanted;
use sluice::time::Duration;

use crate::block::BlockOptions;
use crate::client::{ClientOptions, Load};
use crate::transport::TransportOptions;

/// A user-space TCP stack behind an XDP program.
#[derive(Debug, Parser)]
#[command(name = "sluice", version)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Serves on an interface until SIGINT or SIGTERM.
    Run(Box<RunOptions>),
    /// Opens connections to a peer, and says how they went.
    Client(Box<ClientOptions>),
    /// Says from whom a Sluice that runs hears nothing.
    Block(BlockOptions),
    /// Holds a program that passes every frame on an interface: the peer end of a veth pair.
    #[command(hide = true)]
    Pass(PassOptions),
}

/// The options of `sluice run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The interface to serve on.
    #[arg(long, value_name = "IFACE")]
    pub(crate) iface: String,
    /// A listening port and its service: echo, discard, chargen or http. Without any: echo on 7,
    /// discard on 9, http on 80; a client listens nowhere without any.
    #[arg(long, value_name = "[ADDR:]PORT=SERVICE")]
    pub(crate) listen: Vec<ListenSpec>,
    /// A connection to open at the start, and the service that talks on it.
    #[arg(long, value_name = "ADDR:PORT=SERVICE")]
    pub(crate) connect: Vec<ConnectSpec>,
    /// An address that the kernel does not have: Sluice answers for it, ping included. Any number of
    /// them, of both families.
    #[arg(long, value_name = "A/LEN")]
    pub(crate) addr: Vec<OwnAddr>,
    /// The gateway for what is not on the networks of --addr, one for each family.
    #[arg(long, value_name = "G", requires = "addr")]
    pub(crate) gateway: Vec<IpAddr>,
    /// How the XDP program is attached.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) mode: Mode,
    /// Demands sockets that copy.
    #[arg(long, conflicts_with = "zero_copy")]
    pub(crate) copy: bool,
    /// Demands sockets without copies.
    #[arg(long)]
    pub(crate) zero_copy: bool,
    /// Workers, one for each receive queue; as many as the interface has queues.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queues: Option<u16>,
    /// Workers never sleep: each takes a whole core.
    #[arg(long, conflicts_with = "spin")]
    pub(crate) busy_poll: bool,
    /// Microseconds for which a worker looks on before it sleeps, at most.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = SPIN, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) spin: u64,
    /// The CPUs that workers run on, such as 0,2-3.
    #[arg(long, value_name = "LIST")]
    pub(crate) cpus: Option<CpuList>,
    /// The VLAN to serve; other tagged frames are the kernel's, and so are untagged ones.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub(crate) vlan: Option<u16>,
    /// Local ports for connections that Sluice opens.
    #[arg(long, value_name = "LO-HI")]
    pub(crate) local_ports: Option<PortRange>,
    /// Time for connections to close after SIGINT or SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) grace: Duration,
    /// Believes TCP checksums of received frames: for a link known to be local.
    #[arg(long)]
    pub(crate) trust_checksums: bool,
    /// Ends by itself after this time, in seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) limit: Option<Duration>,
    /// The most connections at once, over all workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    pub(crate) max_connections: Option<u32>,
    /// The most half-open connections of each listener, and the most that wait to be accepted, at each
    /// worker.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    pub(crate) backlog: Option<u32>,
    /// The most half-open connections at once, over all workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    pub(crate) max_half_open: Option<u32>,
    /// The most connections in TIME-WAIT at once, over all workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CONNECTIONS))]
    pub(crate) max_time_wait: Option<u32>,
    /// A network or host of either family from which nothing is heard. Any number of them; `sluice
    /// block` changes the list later.
    #[arg(long, value_name = "CIDR")]
    pub(crate) block: Vec<Prefix>,
    /// A file with more of them, one on each line; what follows # is left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) block_list: Option<PathBuf>,
    /// The most SYNs that each source may send in a second, and at once, which is the same where it is
    /// not given; more are dropped. A source is an IPv4 address or an IPv6 /64. Holds while a
    /// listener's gate is open: at a closed one cookies answer everybody. Without it there is no limit.
    #[arg(long, value_name = "RATE[,BURST]")]
    pub(crate) syn_limit: Option<SynLimit>,
    /// The XDP program's object file; without it `sluice-xdp.o` beside or above the executable.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    #[command(flatten, next_help_heading = "TCP")]
    pub(crate) transport: TransportOptions,
    /// What `sluice client` opens.
    #[arg(skip)]
    pub(crate) load: Option<Load>,
}

/// The options of `sluice pass`.
#[derive(Debug, Args)]
pub(crate) struct PassOptions {
    /// The interface.
    #[arg(long, value_name = "IFACE")]
    pub(crate) iface: String,
    /// The XDP program's object file.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Native where the driver has it, else generic.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's receive path.
    Generic,
}

impl From<Mode> for ModeWanted {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

/// Why there is nothing to do.
pub(crate) enum Stop {
    /// Help or the version was asked for and shown.
    Shown,
    /// The options are wrong.
    Refused(Refusal),
}

/// Reads the options of this process.
pub(crate) fn parse() -> Result<Action, Stop> {
    Cli::try_parse().map(|cli| cli.action).map_err(|err| {
        if matches!(err.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            // Nobody may be reading.
            let _ = err.print();
            return Stop::Shown;
        }
        Stop::Refused(refusal(&err))
    })
}

/// clap's first paragraph on one line; the rest is usage.
fn refusal(err: &clap::Error) -> Refusal {
    let remedy = "`sluice run --help` lists the options";
    if err.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Refusal::new("nothing to do", "give a command, such as `sluice run --iface eth0`");
    }
    let text = err.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    Refusal::new(first.strip_prefix("error: ").unwrap_or(first), remedy)
}

/// A time in seconds, such as `2` or `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("`{text}` is no time in seconds"))
}

/// How long a worker looks on before it sleeps.
const SPIN: u64 = sluice::datapath::SPIN.as_nanos() as u64 / 1_000;
/// The longest time that an option may give: ten years.
const MAX_SECONDS: f64 = 315_360_000.0;
/// The most connections that may be asked for.
const MAX_CONNECTIONS: i64 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Action, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.action)
    }

    #[test]
    fn run_with_every_option_is_read() {
        let line = "sluice run --iface veth0 --listen 80=http --listen 10.0.0.1:7=echo --connect \
                    10.0.0.2:9=discard --addr 10.0.0.9/24 --gateway 10.0.0.2 --mode native --copy \
                    --queues 2 --busy-poll --cpus 0,1 --vlan 5 --local-ports 1000-2000 --grace 0.5 \
                    --trust-checksums --for 30 --backlog 5 --max-connections 10 --max-half-open 20 --max-time-wait 30 \
                    --program x.o --time-wait 1 --block 10.9.0.0/16 --block ::/1 --block-list x \
                    --syn-limit 50,10";
        let Ok(Action::Run(options)) = parse(line) else { panic!("refused") };
        assert_eq!(options.listen.len(), 2);
        assert_eq!(options.grace, Duration::from_millis(500));
        assert_eq!(options.limit, Some(Duration::from_secs(30)));
        assert_eq!(options.syn_limit, Some(SynLimit { rate: 50, burst: 10 }));
    }

    #[test]
    fn block_lists_are_changed_by_command() {
        for line in ["add --iface v 10.0.0.0/8 ::1", "remove --iface v 10.1.1.1", "list --iface v"]
        {
            assert!(matches!(parse(&format!("sluice block {line}")), Ok(Action::Block(_))));
        }
        for line in ["", "add --iface v", "add 10.0.0.1", "add --iface v 10.0.0.1/8", "list"] {
            let line = refusal(&parse(&format!("sluice block {line}")).unwrap_err()).to_string();
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn client_with_every_option_is_read() {
        let line = "sluice client --iface veth0 --to 10.0.0.2:9 --connections 100 --at-once 100 \
                    --rate 50 --send 10 --receive 20 --close reset --hold 0.5 --pause 1 --gather \
                    --summary json --local-ports 1000-2000 --time-wait 1";
        assert!(matches!(parse(line), Ok(Action::Client(_))));
    }

    #[test]
    fn malformed_options_of_a_client_are_refused_on_one_line() {
        for options in [
            "",
            "--to 10.0.0.2",
            "--to 10.0.0.2:0",
            "--to [::1]",
            "--to ::1:80",
            "--to 10.0.0.2:80 --connections 0",
            "--to 10.0.0.2:80 --at-once 0",
            "--to 10.0.0.2:80 --rate 0",
            "--to 10.0.0.2:80 --send -1",
            "--to 10.0.0.2:80 --close later",
            "--to 10.0.0.2:80 --hold NaN",
        ] {
            let err = parse(&format!("sluice client --iface v {options}")).unwrap_err();
            let line = refusal(&err).to_string();
            assert!(!line.contains('\n') && line.contains("--help"), "{line}");
        }
    }

    #[test]
    fn malformed_options_are_refused_on_one_line() {
        for options in [
            "--iface v --listen http",
            "--iface v --vlan 4095",
            "--iface v --queues 0",
            "--iface v --for -1",
            "--iface v --grace soon",
            "--iface v --grace NaN",
            "--iface v --copy --zero-copy",
            "--iface v --gateway 10.0.0.1",
            "--iface v --block 10.0.0.1/24",
            "--iface v --syn-limit 0",
            "--iface v --syn-limit 1,2,3",
            "--iface v stray",
            "",
        ] {
            let err = parse(&format!("sluice run {options}")).unwrap_err();
            let line = refusal(&err).to_string();
            assert!(!line.contains('\n') && line.contains("--help"), "{line}");
        }
    }

    #[test]
    fn no_command_is_refused() {
        assert!(refusal(&parse("sluice").unwrap_err()).to_string().starts_with("nothing to do"));
    }
}
