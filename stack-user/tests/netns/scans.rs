//! nmap's scans from the client's namespace: what open, closed and guarded ports answer.
//!
//! A guarded port is one whose SYNs are all answered by cookies of the XDP program. Beside each
//! expectation stands what RFC 9293 asks of such a port; a guarded one is in LISTEN too.

use nix::sys::socket::AddressFamily;

use crate::family::{FAMILY, Ip};
use crate::process::exists;
use crate::server::Sluice;
use crate::topology::{FREE, SERVER, Topology};
use crate::transfer::fetch;

/// A kind of scan, and what nmap makes of the answers of a port in LISTEN and of one in CLOSED.
struct Scan {
    option: &'static str,
    listen: &'static str,
    closed: &'static str,
}

const SCANS: [Scan; 4] = [
    // A SYN. RFC 9293 3.10.7.2, third: LISTEN answers SYN-ACK. 3.10.7.1: CLOSED answers RST.
    Scan { option: "-sS", listen: "open", closed: "closed" },
    // An ACK. RFC 9293 3.10.7.2, second: LISTEN answers RST, as CLOSED does by 3.10.7.1.
    Scan { option: "-sA", listen: "unfiltered", closed: "unfiltered" },
    // No flag at all. RFC 9293 3.10.7.2, fourth: LISTEN drops it. 3.10.7.1: CLOSED answers RST.
    Scan { option: "-sN", listen: "open|filtered", closed: "closed" },
    // FIN, PSH and URG without ACK: as without any flag.
    Scan { option: "-sX", listen: "open|filtered", closed: "closed" },
];

/// The echo service's port, and one where nobody listens.
const OPEN: u16 = 7;
const CLOSED: u16 = 81;

/// What nmap says.
fn nmap(topology: &Topology, options: &str, to: Ip) -> String {
    let family = if FAMILY == AddressFamily::Inet6 { "-6" } else { "" };
    let ports = format!("{OPEN},{CLOSED}");
    let bounds = "-n -Pn -T4 --max-retries 3 --host-timeout 60s";
    topology.client.quiet(&format!("nmap {family} {options} {bounds} -p {ports} {to}"))
}

/// The state of a port in what nmap says for grep: `Ports: 7/open/tcp//echo///, 81/closed/tcp/////`.
fn state(said: &str, port: u16) -> &str {
    let ports =
        said.lines().find_map(|line| line.split_once("Ports: ")).map_or("", |(_, rest)| rest);
    let entry = ports.split(", ").find_map(|entry| entry.strip_prefix(&format!("{port}/")));
    entry
        .and_then(|entry| entry.split('/').next())
        .unwrap_or_else(|| panic!("no {port} in:\n{said}"))
}

fn assert_scans(test: &str, address: Ip, options: &str) {
    if !exists("nmap") {
        return crate::skip(test, "nmap is not installed (cargo xtask setup)");
    }
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, options);
    fetch(&topology.client, address, 1);
    for Scan { option, listen, closed } in SCANS {
        let said = nmap(&topology, &format!("{option} -oG -"), address);
        assert_eq!(state(&said, OPEN), listen, "{option}, open:\n{said}");
        assert_eq!(state(&said, CLOSED), closed, "{option}, closed:\n{said}");
    }
    // What it takes the host for changes with its data base: told, and no more.
    let guess = nmap(&topology, "-O --max-os-tries 1", address);
    let told =
        |line: &&str| line.contains("OS") && !line.starts_with("OS:") && !line.contains("://");
    let told: Vec<&str> = guess.lines().filter(told).collect();
    note!(
        "{test}: nmap -O: {}",
        if told.is_empty() { "no such host is known".into() } else { told.join("; ") }
    );
    // It serves as before.
    fetch(&topology.client, address, 1);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn open_and_closed_ports_answer_scans_as_the_rfc_asks() {
    assert_scans("open_and_closed_ports_answer_scans_as_the_rfc_asks", SERVER, "");
}

#[test]
#[ignore = "needs root"]
fn guarded_ports_answer_scans_as_open_ones() {
    let options = "--syn-cookies always";
    assert_scans("guarded_ports_answer_scans_as_open_ones", SERVER, options);
}

// Here the shard answers for closed ports, elsewhere the kernel.
#[test]
#[ignore = "needs root"]
fn ports_of_an_own_address_answer_scans_as_the_rfc_asks() {
    for cookies in ["auto", "always"] {
        let options = format!("--addr {FREE}/{} --syn-cookies {cookies}", crate::family::PREFIX);
        assert_scans("ports_of_an_own_address_answer_scans_as_the_rfc_asks", FREE, &options);
    }
}
