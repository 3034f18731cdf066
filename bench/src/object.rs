//! The BPF objects that lie beside or above this program.

use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

/// The object called `name`, loaded into the kernel: its maps, and its programs when they are asked for.
///
/// # Errors
/// Where it is not there, or the kernel refuses it.
pub(crate) fn load(name: &str) -> Result<Ebpf> {
    load_sized(name, &[])
}

/// The same with maps that have so many entries.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_sized(name: &str, sizes: &[(&str, u32)]) -> Result<Ebpf> {
    let program = std::env::current_exe().context("the path of this program")?;
    let places = program.ancestors().skip(1).take(3).map(|folder| folder.join(name));
    let found: Option<PathBuf> = places.into_iter().find(|path| path.is_file());
    let path = found.with_context(|| format!("{name} is missing (`cargo xtask build-ebpf`)"))?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut loader = EbpfLoader::new();
    for (map, entries) in sizes {
        loader.map_max_entries(map, *entries);
    }
    loader.load(&bytes).with_context(|| format!("the kernel does not take {}", path.display()))
}

/// The program called `name` of an object, past the verifier.
///
/// # Errors
/// Where the object has none, or the verifier refuses it.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
    let xdp: &mut Xdp = program.try_into().with_context(|| format!("{name} is not of XDP"))?;
    if xdp.fd().is_err() {
        xdp.load().with_context(|| format!("the kernel refuses {name}"))?;
    }
    Ok(xdp)
}
