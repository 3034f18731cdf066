//! The library as the tool has it: loaded by dlopen, called by its table of functions.

use std::env;
use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;

use libloading::os::unix;
use sluice::packetdrill::abi::Interface;

/// A loaded library and the table that it filled in.
pub struct Library {
    pub table: Interface,
    _handle: unix::Library,
}

// SAFETY: the library takes calls from two threads, as the tool makes them.
unsafe impl Sync for Library {}

/// Calls a function of the table; pointers that are passed are valid for the call.
macro_rules! call {
    ($library:expr, $name:ident $(, $argument:expr)*) => {
        // SAFETY: the table is the library's own, and the pointers are to this test's memory.
        unsafe { ($library.table.$name)($library.table.userdata $(, $argument)*) }
    };
}
pub(crate) use call;

impl Library {
    /// Loads the library that `cargo xtask packetdrill-lib` built.
    pub fn load(flags: &str) -> Self {
        let path = env::var_os("SLUICE_PACKETDRILL_LIB")
            .expect("SLUICE_PACKETDRILL_LIB is the library's path; cargo xtask test sets it");
        // AddressSanitizer cannot stand beside a library that prefers its own symbols.
        let deep = if env::var_os("SLUICE_ASAN").is_some() { 0 } else { libc::RTLD_DEEPBIND };
        let how = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE | deep;
        type Init = unsafe extern "C" fn(*const libc::c_char, *mut Interface);
        let flags = CString::new(flags).expect("flags without a null");
        let mut table = MaybeUninit::uninit();
        // SAFETY: the function has this signature, and fills every member in.
        unsafe {
            let handle = unix::Library::open(Some(path), how).expect("the library loads");
            let init = handle.get::<Init>(b"packetdrill_interface_init").expect("it is exported");
            init(flags.as_ptr(), table.as_mut_ptr());
            Self { table: table.assume_init(), _handle: handle }
        }
    }

    /// The time of day in microseconds.
    pub fn micros(&self) -> i64 {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        assert_eq!(call!(self, gettimeofday, &mut time, std::ptr::null_mut()), 0);
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    pub fn sleep(&self, micros: u32) {
        assert_eq!(call!(self, usleep, micros), 0);
    }

    pub fn socket(&self, kind: i32) -> i32 {
        let fd = call!(self, socket, libc::AF_INET, libc::SOCK_STREAM | kind, libc::IPPROTO_TCP);
        assert!(fd >= 0);
        fd
    }

    /// `setsockopt` of a number.
    pub fn set(&self, fd: i32, level: i32, name: i32, value: i32) -> i32 {
        call!(self, setsockopt, fd, level, name, (&raw const value).cast(), 4)
    }

    /// `getsockopt` of a number.
    pub fn number(&self, fd: i32, level: i32, name: i32) -> Result<i32, i32> {
        let (mut value, mut len) = (0_i32, 4);
        match call!(self, getsockopt, fd, level, name, (&raw mut value).cast(), &mut len) {
            0 => Ok(value),
            _ => Err(errno()),
        }
    }

    /// `poll` of one descriptor, without waiting: what it is ready for.
    pub fn ready(&self, fd: i32, events: i16) -> i16 {
        let mut entry = libc::pollfd { fd, events, revents: 0 };
        call!(self, poll, &mut entry, 1, 0);
        entry.revents
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        call!(self, free);
    }
}

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Waits until a thread of this process sleeps: until its call is parked.
pub fn until_parked(thread: i32) {
    loop {
        let stat =
            fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("a thread of ours");
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')) {
            return;
        }
        std::thread::yield_now();
    }
}
