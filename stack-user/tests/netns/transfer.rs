//! Bytes through Sluice: fetched, echoed, discarded, over one connection and over many.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::family::{Ip, shown};
use crate::process::piped;
use crate::server::Sluice;
use crate::topology::{Namespace, PATIENCE, SERVER, Topology};

/// The byte at `offset` of `/bytes/N`, computed as its documentation says.
fn expected(offset: usize) -> u8 {
    let hash = ((offset % PERIOD) as u32).wrapping_mul(0x9E37_79B1);
    let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85EB_CA77);
    (hash >> 24) as u8
}

/// The first `len` bytes of the pattern, which repeats after [`PERIOD`] bytes.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(expected).collect()
}

/// One read. A machine that was suspended interrupts calls with a time limit (signal(7)): they go on.
pub(crate) fn read(mut source: impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match source.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Reads `source` to its end and compares each byte with the pattern; gives the count.
pub(crate) fn assert_pattern(source: &mut dyn Read) -> usize {
    let period: Vec<u8> = pattern(PERIOD);
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let len = read(&mut *source, &mut buffer).expect("the bytes keep coming");
        if len == 0 {
            return offset;
        }
        let mut rest = &buffer[..len];
        while !rest.is_empty() {
            let wanted = &period[offset % period.len()..];
            let n = wanted.len().min(rest.len());
            assert!(rest[..n] == wanted[..n], "wrong bytes within {offset}..{}", offset + n);
            rest = &rest[n..];
            offset += n;
        }
    }
}

/// Fetches `/bytes/size` with curl and compares all of it.
pub(crate) fn fetch(client: &Namespace, address: Ip, size: usize) {
    let mut curl = client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "300", "--speed-time", "60"]);
    curl.arg(format!("http://{}/bytes/{size}", shown(address)));
    assert_eq!(piped(&mut curl, assert_pattern), size);
}

/// Writes `size` bytes of the pattern and compares what comes back meanwhile, to the end.
pub(crate) fn echo(stream: &TcpStream, size: usize) {
    let writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let chunk: Vec<u8> = pattern(PERIOD);
            let mut left = size;
            while left > 0 {
                let n = left.min(chunk.len());
                (&writer).write_all(&chunk[..n]).expect("the server keeps reading");
                left -= n;
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(assert_pattern(&mut { stream }), size);
    });
}

/// Sends `text` over a new connection and reads it back meanwhile: a server that echoes stops reading
/// once the buffers of the way back are full.
pub(crate) fn assert_echoes(client: &Namespace, to: (Ip, u16), text: &[u8]) {
    let stream = client.connect(to);
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(text).expect("the server keeps reading");
            stream.shutdown(Shutdown::Write).unwrap();
        });
        (&stream).read_to_end(&mut back).unwrap();
    });
    assert!(back == text, "sent {} bytes, other {} bytes came back", text.len(), back.len());
}

/// Bytes after which the pattern repeats.
pub(crate) const PERIOD: usize = 65_521;

const MIB: usize = 1 << 20;

#[test]
#[ignore = "needs root"]
fn curl_fetching_one_byte_gets_it() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    fetch(&topology.client, SERVER, 1);
    fetch(&topology.client, SERVER, 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn curl_fetching_a_mebibyte_gets_every_byte() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    fetch(&topology.client, SERVER, MIB);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn curl_fetching_a_gibibyte_gets_every_byte() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    fetch(&topology.client, SERVER, 1024 * MIB);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn echo_of_256_mebibytes_both_ways_at_once_returns_every_byte() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    echo(&topology.client.connect((SERVER, 7)), 256 * MIB);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn thousand_connections_at_once_all_echo() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let streams: Vec<TcpStream> = std::thread::scope(|scope| {
        let open = || {
            topology.client.inside(|| {
                let connect = |_| TcpStream::connect((SERVER, 7)).expect("a connection");
                (0..125).map(connect).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(streams.len(), 1000);
    for (number, mut stream) in streams.iter().enumerate() {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&number.to_le_bytes()).unwrap();
    }
    for (number, mut stream) in streams.iter().enumerate() {
        let mut back = [0; size_of::<usize>()];
        stream.read_exact(&mut back).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(usize::from_le_bytes(back), number);
    }
    for stream in streams {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&stream, &mut [0; 8]).unwrap(), 0, "the end follows the end");
    }
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn half_closed_connection_is_served_to_its_end() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    assert_echoes(&topology.client, (SERVER, 7), b"half");
    // The whole answer comes although the client has nothing more to say.
    let mut stream = topology.client.connect((SERVER, 80));
    stream.write_all(b"GET /bytes/3000000 HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(assert_pattern(&mut &answer[head..]), 3_000_000);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn connection_closed_without_data_ends_on_both_sides() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    assert_echoes(&topology.client, (SERVER, 7), b"");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn discard_takes_all_and_sends_nothing() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let mut stream = topology.client.connect((SERVER, 9));
    let chunk = vec![7; MIB];
    for _ in 0..32 {
        stream.write_all(&chunk).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&stream, &mut [0; 8]).unwrap(), 0);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn reader_that_goes_away_resets_its_connection_alone() {
    let topology = Topology::new();
    let mut sluice = Sluice::start(&topology, "--listen 19=chargen --listen 7=echo");
    let mut stream = topology.client.connect((SERVER, 19));
    stream.read_exact(&mut vec![0; MIB]).unwrap();
    // Unread data is left: the kernel sends RST.
    drop(stream);
    sluice.assert_alive();
    assert_echoes(&topology.client, (SERVER, 7), b"still here");
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn slow_reader_stops_the_sender_and_loses_nothing() {
    let topology = Topology::new();
    let sluice = Sluice::start(&topology, "");
    let mut stream = topology.client.connect((SERVER, 80));
    stream.write_all(b"GET /bytes/40000000 HTTP/1.0\r\n\r\n").unwrap();
    // Long enough for both buffers to fill and the window to close.
    crate::process::pause(std::time::Duration::from_secs(2));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(assert_pattern(&mut &answer[head..]), 40_000_000);
    sluice.stop();
}

#[test]
#[ignore = "needs root"]
fn frames_lost_on_the_way_are_made_good() {
    let topology = Topology::new();
    // The bucket drops what its short queue does not hold.
    topology.client.quiet("tc qdisc add dev veth1 root tbf rate 40mbit burst 5k limit 20k");
    let sluice = Sluice::start(&topology, "");
    echo(&topology.client.connect((SERVER, 7)), 8 * MIB);
    let drops = topology.client.quiet("tc -s qdisc show dev veth1");
    assert!(!drops.contains("(dropped 0,"), "nothing was lost: {drops}");
    sluice.stop();
}
