//! The kernel's own generator, by its files in /proc/net/pktgen. It sends UDP.
//!
//! Everything here runs on a thread of the namespace that sends: the files are that namespace's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::source::Stream;
use crate::clock::{now, pause};
use crate::generator::Report;
use crate::system::stop::Stop;

/// Whether this kernel has it.
pub(super) fn exists() -> bool {
    Path::new(DIR).join("pgctrl").exists()
}

/// Sends for the stream's time.
pub(super) fn send(stream: &Stream, stop: &Stop) -> Result<Report> {
    let guard = Guard;
    for (file, line) in lines(stream) {
        write(&file, &line)?;
    }
    let begin = now();
    std::thread::scope(|scope| -> Result<()> {
        // Returns when all has stopped.
        let sender = scope.spawn(|| write("pgctrl", "start"));
        let end = begin + Duration::from_secs_f64(stream.seconds);
        while now() < end && stop.check().is_ok() {
            pause(end.saturating_sub(now()).min(Duration::from_millis(50)));
        }
        write("pgctrl", "stop")?;
        sender.join().unwrap_or(Ok(()))
    })?;
    let seconds = (now() - begin).as_secs_f64();
    stop.check()?;
    let mut sent = 0;
    for cpu in &stream.cpus {
        let text = fs::read_to_string(path(&device(stream, *cpu)))?;
        sent += sofar(&text).context("pktgen does not say what it has sent")?;
    }
    drop(guard);
    Ok(Report { sent, seconds, ..Report::default() })
}

/// What is written to which file, in order: a device for each CPU.
fn lines(stream: &Stream) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for cpu in &stream.cpus {
        let (thread, device) = (format!("kpktgend_{cpu}"), device(stream, *cpu));
        lines.push((thread.clone(), "rem_device_all".into()));
        lines.push((thread, format!("add_device {device}")));
        let port = stream.to.port();
        for line in [
            "count 0".into(),
            "delay 0".into(),
            format!("pkt_size {}", stream.size),
            format!("dst {}", stream.to.ip()),
            format!("dst_mac {}", stream.mac),
            "src_min 198.18.0.1".into(),
            "src_max 198.19.255.254".into(),
            "flag IPSRC_RND".into(),
            format!("udp_dst_min {port}"),
            format!("udp_dst_max {port}"),
            "udp_src_min 1024".into(),
            "udp_src_max 65535".into(),
            "flag UDPSRC_RND".into(),
        ] {
            lines.push((device.clone(), line));
        }
    }
    lines
}

fn device(stream: &Stream, cpu: usize) -> String {
    format!("{}@{cpu}", stream.iface)
}

/// The count in a device's file.
fn sofar(text: &str) -> Option<u64> {
    text.split_whitespace().skip_while(|word| *word != "pkts-sofar:").nth(1)?.parse().ok()
}

fn path(file: &str) -> PathBuf {
    Path::new(DIR).join(file)
}

fn write(file: &str, line: &str) -> Result<()> {
    fs::write(path(file), format!("{line}\n")).with_context(|| format!("pktgen: {file}: {line}"))
}

/// Takes the devices away again, whatever happens.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        // Nothing is left where it does not go.
        let _ = write("pgctrl", "stop");
        let _ = write("pgctrl", "reset");
    }
}

/// The files of the thread's own namespace.
const DIR: &str = "/proc/thread-self/net/pktgen";

#[cfg(test)]
mod tests {
    use crate::generator::Kind;

    use super::*;

    #[test]
    fn each_cpu_has_its_device_and_all_say_the_same() {
        let stream = Stream {
            kind: Kind::Udp,
            iface: "veth1".into(),
            to: "10.77.0.9:9".parse().unwrap(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            size: 128,
            seconds: 1.0,
            cpus: vec![0, 3],
            owned: None,
        };
        let lines = lines(&stream);
        let of = |file: &str| -> Vec<_> {
            lines.iter().filter(|(at, _)| at == file).map(|(_, line)| line.clone()).collect()
        };
        assert_eq!(of("kpktgend_3"), ["rem_device_all", "add_device veth1@3"]);
        assert_eq!(of("veth1@0"), of("veth1@3"));
        for line in ["pkt_size 128", "dst 10.77.0.9", "dst_mac 02:00:00:00:00:01", "udp_dst_min 9"]
        {
            assert!(of("veth1@3").contains(&line.to_string()), "{line}");
        }
    }

    #[test]
    fn count_is_found_in_the_device_s_file() {
        let text =
            "Params: count 0\nCurrent:\n     pkts-sofar: 123456  errors: 7\n     started: 1us\n";
        assert_eq!(sofar(text), Some(123_456));
        assert_eq!(sofar("Result: Idle"), None);
    }
}
