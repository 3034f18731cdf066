//! The rooms of `stack-user`: who may import whom, and how long a file may be.
//!
//! A pure room imports only the rooms above it, reads no clock, opens no socket or file and starts
//! no thread. The check reads paths from the source without comments, strings and tests; it knows
//! nothing of what a macro makes.

mod paths;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd;

/// The pure rooms, each of which may import those before it.
const PURE: &[&str] = &["counters", "time", "wire", "tcp", "tables", "wheel", "service", "shard"];

/// What no pure room names: clocks, sockets, files, threads, randomness, and the crates behind the
/// features `xdp` and `packetdrill`, whose rooms lie at the edge.
const FORBIDDEN: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::fs",
    "std::io",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "rand",
    "getrandom",
    "aya",
    "xsk_rs",
    "nix",
    "netlink_packet_core",
    "netlink_packet_route",
    "netlink_sys",
    "libc",
    "rustix",
];

/// The most lines that a file of Rust may have.
const MOST_LINES: usize = 500;

/// Checks imports and lengths; the error lists every place.
pub(crate) fn check() -> Result<()> {
    let mut found = Vec::new();
    for member in ["stack-ebpf", "stack-user", "xtask", "bench", "relay"] {
        for file in rust_files(&cmd::root().join(member))? {
            let text = fs::read_to_string(&file)?;
            let lines = text.lines().count();
            if lines > MOST_LINES {
                found.push(format!("{}: {lines} lines, at most {MOST_LINES}", shown(&file)));
            }
        }
    }
    let src = cmd::root().join("stack-user/src");
    let modules = modules(&fs::read_to_string(src.join("lib.rs"))?);
    for file in rust_files(&src)? {
        let module = module_path(file.strip_prefix(&src)?);
        let text = fs::read_to_string(&file)?;
        found.extend(
            bad_imports(&module, &text, &modules)
                .into_iter()
                .map(|(line, what)| format!("{}:{line}: {what}", shown(&file))),
        );
    }
    if !found.is_empty() {
        bail!("{} places break the order of the rooms:\n{}", found.len(), found.join("\n"));
    }
    Ok(())
}

/// What a file of the module at `module` imports although it must not: line and sentence. Nothing
/// for a file of tests or of a room that is not pure.
fn bad_imports(module: &[String], text: &str, modules: &[String]) -> Vec<(usize, String)> {
    let Some(room) = module.first() else { return Vec::new() };
    let Some(place) = PURE.iter().position(|pure| pure == room) else { return Vec::new() };
    if module.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let allowed = &PURE[..=place];
    let mut found = Vec::new();
    for (line, path) in paths::paths(text) {
        if let Some(other) = room_of(&path, module.len(), modules) {
            if !allowed.contains(&other) {
                found.push((line, format!("room `{room}` must not import room `{other}`")));
            }
        } else if FORBIDDEN.iter().any(|name| is_within(&path, name)) {
            found.push((line, format!("room `{room}` must not use `{}`", path.join("::"))));
        }
    }
    found
}

/// The module of the crate's root that `path` names, seen from a file `depth` modules deep.
fn room_of<'a>(path: &'a [String], depth: usize, modules: &[String]) -> Option<&'a str> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let root = match path.first()?.as_str() {
        "crate" => 1,
        // Inside an inline module one `super` leads nowhere new; names of rooms tell the two apart.
        "super" if supers >= depth => supers,
        _ => return None,
    };
    let first = path.get(root)?;
    modules.contains(first).then_some(first)
}

/// Whether `path` is `name`, lies within it, or takes in its parent as a whole.
fn is_within(path: &[String], name: &str) -> bool {
    let name: Vec<_> = name.split("::").collect();
    if path.len() >= name.len() {
        let is_glob = path.last().is_some_and(|last| last == "*");
        let parent = name.len() - 1;
        let is_parent = is_glob && path.len() == name.len() && parent > 0;
        return path.iter().zip(&name).take(if is_parent { parent } else { name.len() }).all(eq);
    }
    // `use std::time;` would bring the clock in under a name that the scan does not follow.
    name.len() == 3 && path.len() == 2 && path.iter().zip(&name).all(eq)
}

fn eq((part, name): (&String, &&str)) -> bool {
    part == name
}

/// The modules that `lib.rs` declares.
fn modules(lib: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim();
        let rest = line.strip_prefix("pub ").unwrap_or(line);
        Some(rest.strip_prefix("mod ")?.strip_suffix(';')?.to_string())
    };
    lib.lines().filter_map(name).collect()
}

/// The module that a file under `src` is: `tcp/input/ack.rs` is `[tcp, input, ack]`.
fn module_path(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// Every file of Rust under `dir`, in order.
pub(crate) fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn shown(file: &Path) -> String {
    file.strip_prefix(cmd::root()).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests;
