//! `cargo xtask packetdrill-lib`: the library for packet scripts, and where it lies.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cmd;

/// Builds the library; its path.
pub(crate) fn library() -> Result<PathBuf> {
    let mut build = cmd::cargo();
    build.args([
        "rustc",
        "--release",
        "--package",
        "stack-user",
        "--lib",
        "--crate-type",
        "cdylib",
    ]);
    cmd::check(build.args(["--no-default-features", "--features", "packetdrill"]))?;
    let library = path();
    ensure!(library.is_file(), "cargo built no {}", library.display());
    Ok(library)
}

/// Where the library lies once it is built.
pub(crate) fn path() -> PathBuf {
    // A relative folder counts from where cargo runs.
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    cmd::root().join(target).join("release/libsluice.so")
}
