//! The options that set TCP's times and limits for new connections.
//!
//! Their bounds are those of [`tcp::Config`]; here they only get names and units.

use clap::{Args, ValueEnum};

use sluice::control::Refusal;
use sluice::tcp::congestion::Algorithm;
use sluice::tcp::{self, KeepAlive, SynCookies};
use sluice::time::Duration;

use crate::cli::seconds;

/// TCP's times and limits; what is not given is as in [`tcp::Config`].
#[derive(Debug, Default, Args)]
pub(crate) struct TransportOptions {
    /// How long TIME-WAIT lasts, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_wait: Option<Duration>,
    /// How long FIN-WAIT-2 lasts once nobody reads any more, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    fin_wait_2: Option<Duration>,
    /// How often a SYN is sent again before the open fails: 7 is about four minutes.
    #[arg(long, value_name = "N")]
    syn_retries: Option<u8>,
    /// How often a SYN-ACK is sent again before the half-open entry goes: 5 is about a minute.
    #[arg(long, value_name = "N")]
    syn_ack_retries: Option<u8>,
    /// How often data or FIN are sent again before the connection is given up.
    #[arg(long, value_name = "N")]
    retries: Option<u8>,
    /// As --retries, once nobody waits for the outcome.
    #[arg(long, value_name = "N")]
    orphan_retries: Option<u8>,
    /// Probes idle peers: idle time and interval in seconds, probes without an answer, such as
    /// 7200,75,9.
    #[arg(long, value_name = "IDLE,INTERVAL,COUNT", value_parser = keepalive)]
    keepalive: Option<KeepAlive>,
    /// How long sent data may stay unacknowledged, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    user_timeout: Option<Duration>,
    /// The user timeout that peers are told, in seconds (RFC 5482).
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    advertise_user_timeout: Option<Duration>,
    /// Follows the user timeout that a peer tells (RFC 5482).
    #[arg(long)]
    adopt_user_timeout: bool,
    /// How long a close waits for what is unacknowledged, in seconds; 0 closes with RST. Without it
    /// the connection goes on in background.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    linger: Option<Duration>,
    /// Short segments go out at once (Nagle's algorithm off).
    #[arg(long)]
    no_delay: bool,
    /// The Differentiated Services field of packets, in the upper six bits of the octet, such as 0xb8.
    #[arg(long, value_name = "OCTET", value_parser = octet)]
    traffic_class: Option<u8>,
    /// The hops that packets may travel: the TTL.
    #[arg(long, value_name = "N")]
    hop_limit: Option<u8>,
    /// The congestion control of new connections.
    #[arg(long, value_enum)]
    congestion: Option<CongestionOption>,
    /// When a SYN is answered by a cookie rather than remembered, by the XDP program where it can.
    #[arg(long, value_enum)]
    syn_cookies: Option<CookieOption>,
    /// What becomes of acknowledgments that belong to nothing while SYNs are answered by the XDP program:
    /// reset:N answers so many with RST in a second from each CPU and drops the rest, drop all of them.
    #[arg(long, value_name = "reset[:N]|drop", default_value = "reset", value_parser = strays)]
    stray_acks: Strays,
    /// Answers the last acknowledgment of a handshake with RST when the accept queue is full.
    #[arg(long)]
    abort_on_overflow: bool,
}

/// How many acknowledgments that belong to nothing are answered with RST, in a second from each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strays(u32);

impl Default for Strays {
    fn default() -> Self {
        Self(20_000)
    }
}

/// The congestion control of new connections.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CongestionOption {
    /// NewReno (RFC 5681, RFC 6582).
    Reno,
    /// CUBIC (RFC 9438).
    Cubic,
}

/// When a SYN is answered by a cookie.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CookieOption {
    /// Never: what finds no room is dropped.
    Never,
    /// While there is hardly room to remember it.
    #[value(alias = "when-full")]
    Auto,
    /// Always.
    Always,
}

impl TransportOptions {
    /// RSTs that the XDP program sends in a second from each CPU.
    pub(crate) fn resets(&self) -> u32 {
        self.stray_acks.0
    }

    /// The configuration of the shards.
    ///
    /// # Errors
    /// A refusal that names the bound of an impossible value.
    pub(crate) fn config(&self) -> Result<tcp::Config, Refusal> {
        let default = tcp::Config::default();
        let config = tcp::Config {
            time_wait: self.time_wait.unwrap_or(default.time_wait),
            fin_wait_2: self.fin_wait_2.unwrap_or(default.fin_wait_2),
            syn_retries: self.syn_retries.unwrap_or(default.syn_retries),
            syn_ack_retries: self.syn_ack_retries.unwrap_or(default.syn_ack_retries),
            retries: self.retries.unwrap_or(default.retries),
            orphan_retries: self.orphan_retries.unwrap_or(default.orphan_retries),
            keepalive: self.keepalive.is_some(),
            keepalive_times: self.keepalive.unwrap_or(default.keepalive_times),
            user_timeout: self.user_timeout,
            advertise_user_timeout: self.advertise_user_timeout,
            adopt_user_timeout: self.adopt_user_timeout,
            linger: self.linger,
            nodelay: self.no_delay,
            traffic_class: self.traffic_class.unwrap_or(default.traffic_class),
            hop_limit: self.hop_limit.unwrap_or(default.hop_limit),
            congestion: match self.congestion {
                Some(CongestionOption::Reno) => Algorithm::NewReno,
                Some(CongestionOption::Cubic) => Algorithm::Cubic,
                None => default.congestion,
            },
            syn_cookies: match self.syn_cookies {
                Some(CookieOption::Never) => SynCookies::Never,
                Some(CookieOption::Auto) => SynCookies::WhenFull,
                Some(CookieOption::Always) => SynCookies::Always,
                None => default.syn_cookies,
            },
            abort_on_overflow: self.abort_on_overflow,
            ..default
        };
        config.check().map_err(|err| Refusal::new(err, "choose a value within these bounds"))?;
        Ok(config)
    }
}

/// An octet, such as `184` or `0xb8`.
fn octet(text: &str) -> Result<u8, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no octet, such as 184 or 0xb8"))
}

/// `IDLE,INTERVAL,COUNT`.
fn keepalive(text: &str) -> Result<KeepAlive, String> {
    let form = || "give IDLE,INTERVAL,COUNT, such as 7200,75,9".to_owned();
    let [idle, interval, count] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err(form());
    };
    let count = count.parse().map_err(|_| form())?;
    Ok(KeepAlive { idle: seconds(idle)?, interval: seconds(interval)?, count })
}

/// `reset`, `reset:N` or `drop`.
fn strays(text: &str) -> Result<Strays, String> {
    let form = || "give reset, reset:N with N of 1 at least, or drop".to_owned();
    match (text, text.strip_prefix("reset:")) {
        ("reset", _) => Ok(Strays::default()),
        ("drop", _) => Ok(Strays(0)),
        (_, Some(most)) => match most.parse() {
            Ok(most @ 1..) => Ok(Strays(most)),
            _ => Err(form()),
        },
        _ => Err(form()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: TransportOptions,
    }

    fn config(line: &str) -> Result<tcp::Config, String> {
        let line = Line::try_parse_from(format!("sluice {line}").split_whitespace());
        line.map_err(|err| err.to_string())?.options.config().map_err(|err| err.to_string())
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(config(""), Ok(tcp::Config::default()));
    }

    #[test]
    fn each_option_sets_its_own_value() {
        let got = config(
            "--time-wait 1 --fin-wait-2 2 --syn-retries 3 --syn-ack-retries 4 --retries 5 \
             --orphan-retries 6 --keepalive 7,8,9 --user-timeout 10 --advertise-user-timeout 11 \
             --adopt-user-timeout --linger 12 --no-delay --congestion reno --syn-cookies always \
             --abort-on-overflow --traffic-class 0xb8 --hop-limit 13",
        );
        let second = Duration::from_secs;
        let wanted = tcp::Config {
            time_wait: second(1),
            fin_wait_2: second(2),
            syn_retries: 3,
            syn_ack_retries: 4,
            retries: 5,
            orphan_retries: 6,
            keepalive: true,
            keepalive_times: KeepAlive { idle: second(7), interval: second(8), count: 9 },
            user_timeout: Some(second(10)),
            advertise_user_timeout: Some(second(11)),
            adopt_user_timeout: true,
            linger: Some(second(12)),
            nodelay: true,
            traffic_class: 0xb8,
            hop_limit: 13,
            congestion: Algorithm::NewReno,
            syn_cookies: SynCookies::Always,
            abort_on_overflow: true,
            ..tcp::Config::default()
        };
        assert_eq!(got, Ok(wanted));
    }

    #[test]
    fn strays_are_reset_at_most_so_often_or_dropped() {
        for (line, resets) in [
            ("", 20_000),
            ("--stray-acks reset", 20_000),
            ("--stray-acks reset:7", 7),
            ("--stray-acks drop", 0),
        ] {
            let line = Line::try_parse_from(format!("sluice {line}").split_whitespace());
            assert_eq!(line.unwrap().options.resets(), resets);
        }
    }

    #[test]
    fn impossible_values_are_refused() {
        for line in [
            "--syn-retries 0",
            "--syn-retries 256",
            "--retries 0",
            "--keepalive 1,1",
            "--keepalive 1,1,1,1",
            "--keepalive 0,1,1",
            "--keepalive 1,1,0",
            "--time-wait 0",
            "--user-timeout -1",
            "--linger soon",
            "--traffic-class 0xb9",
            "--traffic-class 256",
            "--hop-limit 0",
            "--congestion bbr",
            "--stray-acks reset:0",
            "--stray-acks reset:-1",
            "--stray-acks drop:1",
            "--stray-acks pass",
            "--syn-cookies sometimes",
            "--syn-cookies",
        ] {
            assert!(config(line).is_err(), "{line}");
        }
    }
}
