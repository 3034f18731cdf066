//! What a test says beside its result: a note, or that it did not run.

use std::io::Write;

/// Whether the tests run in their full sizes (`cargo xtask test --long`).
pub(crate) fn is_long() -> bool {
    std::env::var_os("SLUICE_LONG").is_some()
}

/// Writes a line for information; shown also when the test passes.
macro_rules! note {
    ($($part:tt)*) => { $crate::report::write_note(&format!($($part)*)) };
}

/// The harness keeps what a test prints, but not what goes straight to standard error.
pub(crate) fn write_note(line: &str) {
    // Nobody may be reading.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Notes that a test did not run, and why; `cargo xtask test` counts these lines as skipped.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    let Some(path) = std::env::var_os("SLUICE_SKIPS") else { return };
    let file = std::fs::File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()))
        .expect("the file for skipped tests can be written");
}
