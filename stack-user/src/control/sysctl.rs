//! Settings of the kernel under `/proc/sys`, those of this thread's network namespace: read, and changed
//! for a while.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The number, the last one of several, that `name` is set to, such as `net.ipv4.tcp_syncookies`.
///
/// # Errors
/// When it cannot be read, or is no number.
pub fn read(name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(path(name))?;
    let last = text.split_whitespace().last().unwrap_or_default();
    last.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, text.trim().to_owned()))
}

/// All numbers that `name` is set to.
///
/// # Errors
/// As of [`read`].
pub fn read_all(name: &str) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(path(name))?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    numbers.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, text.trim().to_owned()))
}

/// A setting that was changed. Dropped, it is as it was, unless somebody has changed it since.
#[derive(Debug)]
pub struct Changed {
    name: &'static str,
    was: u32,
    is: u32,
}

impl Changed {
    /// Sets `name` to `value`.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn to(name: &'static str, value: u32) -> io::Result<Self> {
        let was = read(name)?;
        fs::write(path(name), value.to_string())?;
        Ok(Self { name, was, is: value })
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let Self { name, was, is } = *self;
        let restored = read(name).and_then(|now| match now == is {
            true => fs::write(path(name), was.to_string()),
            false => Ok(()),
        });
        if let Err(err) = restored {
            tracing::warn!(name, was, %err, "a sysctl could not be put back");
        }
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}
