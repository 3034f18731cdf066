//! Raw frames on the client's end: a capture written as pcap, and frames sent as they are.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use relay::PacketSocket;

use crate::topology::Namespace;

/// A packet socket on an interface of `namespace`.
pub(crate) fn open(namespace: &Namespace, interface: &str) -> PacketSocket {
    let opened = namespace.inside(|| PacketSocket::open(interface));
    opened.expect("root may open a packet socket on an interface that is there")
}

/// Sends `frames` from `interface` as they are. Frames that the kernel refuses (too short) are left
/// out; gives how many were sent.
pub(crate) fn send(
    namespace: &Namespace,
    interface: &str,
    frames: impl Iterator<Item = Vec<u8>>,
) -> usize {
    let socket = open(namespace, interface);
    frames.filter(|frame| socket.send_all(frame)).count()
}

/// A capture of everything that passes an interface, both ways.
pub(crate) struct Capture {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    writer: Option<JoinHandle<usize>>,
}

impl Capture {
    /// Captures into a file named after `test` from now on.
    pub(crate) fn start(namespace: &Namespace, interface: &str, test: &str) -> Self {
        let socket = open(namespace, interface);
        // Room for whole transfers: the reader may not run for a while.
        setsockopt(&socket.fd, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        // The reader looks at the end mark as often as this.
        setsockopt(&socket.fd, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).unwrap();
        let name = format!("{test}-{}.pcap", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut file = BufWriter::new(File::create(&path).expect("the capture can be written"));
        file.write_all(&pcap_header()).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let writer = std::thread::spawn(move || {
            let mut buffer = vec![0; SNAP];
            let (mut count, mut is_quiet) = (0, false);
            // What came before the mark was set is still read.
            loop {
                match recv(socket.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(len) => {
                        count += 1;
                        file.write_all(&pcap_record(count, len)).unwrap();
                        file.write_all(&buffer[..len]).unwrap();
                        is_quiet = false;
                    }
                    Err(_) if over.load(Ordering::Relaxed) => break,
                    // Nothing comes for the moment: what did can be read.
                    Err(_) if !is_quiet => {
                        file.flush().unwrap();
                        is_quiet = true;
                    }
                    Err(_) => {}
                }
            }
            file.flush().unwrap();
            count as usize
        });
        Self { path, is_over, writer: Some(writer) }
    }

    /// How often `octets` are in what was captured, and has been written by now.
    pub(crate) fn count(&self, octets: &[u8]) -> usize {
        let bytes = std::fs::read(&self.path).expect("the capture can be read");
        bytes.windows(octets.len()).filter(|window| *window == octets).count()
    }

    /// Ends the capture; gives its file and how many frames it holds.
    pub(crate) fn finish(&mut self) -> (&Path, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        let count = self.writer.take().map_or(0, |writer| writer.join().unwrap());
        (&self.path, count)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.finish();
        if std::thread::panicking() {
            eprintln!("the capture is kept: {}", self.path.display());
        } else {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The file's head: little-endian pcap 2.4, Ethernet.
fn pcap_header() -> Vec<u8> {
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAP as u32, 1];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

/// The head of one record. No clock is read: frame `number` is stamped with that many µs.
fn pcap_record(number: u32, len: usize) -> Vec<u8> {
    let words = [number / 1_000_000, number % 1_000_000, len as u32, len as u32];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The most bytes of a frame that are kept.
const SNAP: usize = 65_536;
