//! Memory that other processes can read: the words that a shard's region lies in.
//!
//! It is a memfd, mapped for the rest of the process's life: whoever has its descriptor, such as by
//! `/proc/PID/fd`, maps it for reading. It takes pages as they are used, can neither grow nor
//! shrink, and nobody but its maker can map it for writing.

use core::ptr;
use core::slice;
use core::sync::atomic::AtomicU64;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::tables::words::Words;

/// Makes `len` words of zero that only this process writes; the descriptor is for others to read
/// them. `name` is what `/proc/PID/fd` and `/proc/PID/maps` show.
///
/// # Errors
/// What the kernel said, such as `ENOMEM`, or `EINVAL` for a `name` of more than 249 bytes.
pub fn create(name: &str, len: usize) -> io::Result<(OwnedFd, Words)> {
    let name = CString::new(name)?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: `name` is a string that ends with NUL and outlives the call.
    let fd = checked(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let bytes = libc::off_t::try_from(bytes(len)?).map_err(io::Error::other)?;
    // SAFETY: a call that touches no memory of ours.
    checked(unsafe { libc::ftruncate(fd.as_raw_fd(), bytes) })?;
    seal(fd.as_raw_fd(), libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)?;
    let words = map(fd.as_fd(), len, libc::PROT_READ | libc::PROT_WRITE)?;
    seal(fd.as_raw_fd(), libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL)?;
    Ok((fd, words))
}

/// Maps for reading what another process has made with [`create`].
///
/// # Errors
/// `InvalidData` for a file that can shrink while it is read, else what the kernel said.
pub fn open(fd: BorrowedFd<'_>) -> io::Result<Words> {
    // SAFETY: a call that touches no memory of ours.
    let seals = checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
    if seals & libc::F_SEAL_SHRINK == 0 {
        let what = "a file that can shrink is no shard's memory";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is live for the call and of the size that the kernel writes.
    checked(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded, so the kernel has filled it in.
    let size = unsafe { stat.assume_init() }.st_size;
    map(fd, size as usize / size_of::<u64>(), libc::PROT_READ)
}

fn bytes(len: usize) -> io::Result<usize> {
    len.checked_mul(size_of::<u64>()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

fn seal(fd: RawFd, seals: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: a call that touches no memory of ours.
    checked(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) })
}

/// Maps `len` words, and never unmaps them.
fn map(fd: BorrowedFd<'_>, len: usize, protection: libc::c_int) -> io::Result<Words> {
    if len == 0 {
        return Ok(Words::mapped(&[]));
    }
    let (size, flags) = (bytes(len)?, libc::MAP_SHARED | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at a place of the kernel's choice replaces none that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, fd.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping holds `len` words from `base` on, aligned to a page, and is never unmapped.
    // The file behind it cannot shrink: that is sealed, by `create` or as `open` has checked. Other
    // processes may change the words at any time, which atomics allow; a mapping for reading alone
    // is written by nobody here, and read with relaxed loads of eight bytes only, as
    // `tables::counted` and the flow table's reader promise.
    Ok(Words::mapped(unsafe { slice::from_raw_parts(base.cast::<AtomicU64>(), len) }))
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::region::{Identity, Layout, Region, RegionError};
    use crate::tables::words::Words;
    use std::fs::File;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Sender, channel};

    const LAYOUT: Layout = Layout { flows: 100, connections: 4 };
    /// Where the other process finds the memory.
    const PATH: &str = "SLUICE_TEST_REGION";

    fn resident(name: &str) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, entry) = maps.split_once(&format!("memfd:{name}")).unwrap();
        let rss = entry.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn created_memory_is_zero_and_takes_pages_as_they_are_used() {
        let (_fd, words) = create("sluice-test-pages", 1 << 27).unwrap();
        assert_eq!(resident("sluice-test-pages"), 0);
        words.as_ref()[1 << 26].store(1, Ordering::Relaxed);
        assert!(resident("sluice-test-pages") <= 2 << 20);
        assert_eq!(words.as_ref()[(1 << 26) + 1].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn opened_memory_is_the_makers_and_cannot_be_written_or_cut() {
        let (fd, words) = create("sluice-test-opened", 64).unwrap();
        let opened = open(fd.as_fd()).unwrap();
        words.as_ref()[63].store(7, Ordering::Relaxed);
        assert_eq!(opened.as_ref().len(), 64);
        assert_eq!(opened.as_ref()[63].load(Ordering::Relaxed), 7);
        assert!(map(fd.as_fd(), 64, libc::PROT_READ | libc::PROT_WRITE).is_err());
        let file = File::from(fd);
        assert!(file.set_len(8).is_err() && file.set_len(8192).is_err());
    }

    #[test]
    fn file_that_can_shrink_is_refused() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(open(file.as_fd()).is_err());
    }

    /// Writes records whose figures are all equal until told to stop; says when the first flow is there.
    fn write(region: &Region, begun: &Sender<()>, stop: &AtomicBool) {
        use crate::tables::published::Record;
        use crate::tcp::{State, Summary};
        use crate::wire::{Addr, FourTuple};
        let mut records = region.records();
        let mut flows = region.flow_table();
        let stays = crate::tables::flow::FlowRef::new(crate::tables::flow::FlowKind::Tcb, 1);
        flows.insert(7, stays).unwrap();
        begun.send(()).unwrap();
        (0..4).for_each(|index| region.note_record(index));
        let mut n = 1u32;
        while !stop.load(Ordering::Relaxed) {
            n = n.wrapping_add(1);
            let addr = Addr([n as u8; 16]);
            let (port, state) = (n as u16, State::Established);
            let tuple =
                FourTuple { local: addr, remote: addr, local_port: port, remote_port: port };
            let summary = Summary { state, unread: n, queued: n, cwnd: n, srtt: n, retransmits: n };
            records.put(n % 4, &Record { tuple, service: port, summary });
            // A flow that comes and goes, beside the one that stays.
            match n % 2 {
                0 => flows.insert(u64::from(n) << 32 | 7, stays).unwrap(),
                _ => drop(flows.remove(u64::from(n - 1) << 32 | 7, stays)),
            }
        }
    }

    #[test]
    fn another_process_reads_while_the_owner_writes() {
        let (fd, words) = create("sluice-test-region", LAYOUT.words()).unwrap();
        let region =
            Region::create(words, LAYOUT, Identity { boot: 5, process: 1, shard: 2, shards: 3 });
        let stop = AtomicBool::new(false);
        let output = std::thread::scope(|scope| {
            let (begun, begins) = channel();
            let (region, is_over) = (&region, &stop);
            scope.spawn(move || write(region, &begun, is_over));
            begins.recv().unwrap();
            let mut reader = Command::new(std::env::current_exe().unwrap());
            let name = "datapath::shared::tests::reader_in_another_process";
            reader.args([name, "--exact", "--nocapture"]).stdin(Stdio::null());
            reader.env(PATH, format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()));
            let output = reader.output();
            stop.store(true, Ordering::Relaxed);
            output.unwrap()
        });
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("whole records"), "{said}{complaint}");
    }

    /// The other process of the test above; nothing to do in this one.
    #[test]
    fn reader_in_another_process() {
        let Some(path) = std::env::var_os(PATH) else { return };
        let file = File::open(path).unwrap();
        let region = Region::open(open(file.as_fd()).unwrap()).unwrap();
        assert_eq!(region.identity(), Identity { boot: 5, process: 1, shard: 2, shards: 3 });
        let (records, flows) = (region.record_reader(), region.flow_reader());
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 1000 {
            for (index, record) in records.iter(region.records_used()) {
                let n = record.summary.unread;
                let summary = record.summary;
                let figures = [summary.queued, summary.cwnd, summary.srtt, summary.retransmits];
                assert_eq!(figures, [n; 4]);
                assert_eq!(
                    (record.tuple.local_port, record.tuple.remote.0),
                    (n as u16, [n as u8; 16])
                );
                assert_eq!(n % 4, index);
                seen.insert(n);
            }
            assert!(flows.contains(7) && !flows.contains(8));
        }
        println!("{} whole records", seen.len());
    }

    #[test]
    fn memory_of_another_kind_is_no_region() {
        let (fd, _) = create("sluice-test-other", 64).unwrap();
        let words: Words = open(fd.as_fd()).unwrap();
        assert_eq!(Region::open(words).err(), Some(RegionError::Magic));
    }
}
