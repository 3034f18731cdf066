//! `cargo xtask setup`: finds what building and testing need, and installs what is missing.
//!
//! Owns the lists of packages and tools. Builds nothing of Sluice itself.

mod peers;

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::ebpf::{Route, clean_command, target_dir};
pub(crate) use peers::peers;

/// Makes the machine ready to build and test; with `dev` also for development.
///
/// Says what it is about to do before it does it, and does nothing where nothing is missing.
///
/// # Errors
/// When something is missing that cannot be installed here; the message holds the commands to type.
pub(crate) fn setup(dev: bool) -> Result<()> {
    let packages = missing_packages();
    let tools: Vec<_> = if dev { missing_tools() } else { Vec::new() };
    // A linker whose LLVM is not there does not even start: the file has to do.
    let linker = Route::find().map_or_else(
        || !Route::Debian.linker_root().join(LINKER).is_file(),
        |route| !has_linker(route),
    );
    if packages.is_empty() && tools.is_empty() && !linker {
        eprintln!("setup: nothing is missing");
        return Ok(());
    }
    announce(&packages, linker, &tools);
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    let Some(route) = Route::find() else {
        bail!("still no compiler for the BPF target; type:\n    {NIGHTLY}");
    };
    eprintln!("setup: the BPF side is compiled by {}", route.describe());
    if !has_linker(route) {
        install_linker(route)?;
    }
    for tool in tools {
        step(cargo_install(tool, None).arg("--locked"))?;
    }
    eprintln!("setup: done");
    Ok(())
}

/// Something that Debian packages.
struct Package {
    /// The package's name in Debian 12.
    name: &'static str,
    /// The file or, without a slash, the command that shows it is there on a system without dpkg.
    probe: &'static str,
}

fn missing_packages() -> Vec<&'static Package> {
    let bpf = if Route::find() == Some(Route::Nightly) { &[][..] } else { &BPF[..] };
    let wanted: Vec<_> = bpf.iter().chain(&USER).chain(&TRAFFIC).collect();
    match installed(&wanted) {
        Some(there) => wanted.into_iter().filter(|p| !there.iter().any(|t| t == p.name)).collect(),
        None => wanted.into_iter().filter(|p| !is_there(p.probe)).collect(),
    }
}

/// Which of `wanted` dpkg has installed; `None` on a system without dpkg.
fn installed(wanted: &[&Package]) -> Option<Vec<String>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status} ${Package}\n"])
        .args(wanted.iter().map(|package| package.name))
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(listed.lines().filter_map(|l| l.strip_prefix("installed ")).map(String::from).collect())
}

fn missing_tools() -> Vec<&'static str> {
    TOOLS.into_iter().filter(|tool| !is_there(tool)).collect()
}

/// Whether a file is there, or a command is on PATH.
fn is_there(probe: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    match probe.contains('/') {
        true => Path::new(probe).exists(),
        false => env::split_paths(&path).any(|folder| folder.join(probe).is_file()),
    }
}

fn has_linker(route: Route) -> bool {
    let linker = route.linker_root().join(LINKER);
    let Ok(output) = Command::new(linker).arg("--version").output() else { return false };
    String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == LINKER_VERSION)
}

fn announce(packages: &[&Package], linker: bool, tools: &[&str]) {
    eprintln!("setup: this is missing:");
    if !packages.is_empty() {
        eprintln!("    Debian packages: {}", names(packages));
    }
    if linker {
        eprintln!("    bpf-linker {LINKER_VERSION}, compiled under {}", target_dir().display());
    }
    if !tools.is_empty() {
        eprintln!("    tools, compiled into cargo's own folder: {}", tools.join(" "));
    }
}

fn install_packages(packages: &[&Package]) -> Result<()> {
    let names = names(packages);
    // What no distribution but Debian packages has another way.
    let bpf = packages.iter().any(|missing| BPF.iter().any(|package| package.name == missing.name));
    let nightly = if bpf {
        format!(
            "\nwhere rustc-web and llvm-22-dev are not to be had, this replaces them and cargo-web, \
             rust-web-src:\n    {NIGHTLY}"
        )
    } else {
        String::new()
    };
    if !is_there("apt-get") {
        bail!(
            "this system has no apt-get; install by its own means what Debian calls\n    \
             {names}{nightly}\nthen type:\n    cargo xtask setup"
        );
    }
    if !is_root() {
        bail!(
            "only root can install packages; type:\n    sudo apt-get update\n    \
             sudo apt-get install --yes --no-install-recommends {names}\n    cargo xtask setup"
        );
    }
    // A list that cannot be fetched is no reason to stop: what is cached may do.
    if let Err(error) = step(apt_get().arg("update")) {
        eprintln!("setup: {error:#}; going on with the lists that are there");
    }
    step(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(names.split(' ')))
        .with_context(|| {
            format!(
                "the packages could not be installed; to try by hand, type:\n    apt-get update\n    \
                 apt-get install --yes --no-install-recommends {names}{nightly}"
            )
        })
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// bpf-linker links bitcode with the LLVM of the compiler that made it.
fn install_linker(route: Route) -> Result<()> {
    let root = route.linker_root();
    let build = root.join("build");
    let major = route.llvm_major().context("the compiler does not tell its version of LLVM")?;
    let llvm = match route {
        Route::Debian => PathBuf::from(format!("/usr/lib/llvm-{major}")),
        Route::Nightly => nightly_llvm(route)?,
    };
    let mut install = cargo_install("bpf-linker", Some((&root, &build)));
    install.args(["--version", LINKER_VERSION, "--locked", "--force"]);
    install.args(["--no-default-features", "--features", &format!("llvm-{major}")]);
    step(install.env("LLVM_PREFIX", llvm))?;
    // Kept until here so that an interrupted build goes on where it stopped.
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// Compiles a tool of developers into `root`.
pub(crate) fn install_tool(name: &str, version: &str, root: &PathBuf) -> Result<()> {
    let build = root.join("build");
    eprintln!("setup: {name} {version} is compiled under {}", root.display());
    step(cargo_install(name, Some((root, &build))).args(["--version", version, "--locked"]))?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// A prefix whose `lib` holds the LLVM library inside rustup's rustc, also under the name that is
/// linked for.
fn nightly_llvm(route: Route) -> Result<PathBuf> {
    let sysroot = route.sysroot().context("the nightly compiler is gone")?;
    let prefix = route.linker_root().join("llvm");
    let folder = prefix.join("lib");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot renew {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(sysroot.join("lib"))? {
        let library = entry?.path();
        let name = library.file_name().unwrap_or_default();
        let text = name.to_string_lossy();
        if text.starts_with("libLLVM.so.") {
            symlink(&library, folder.join("libLLVM.so"))?;
        }
        if text.starts_with("libLLVM") {
            symlink(&library, folder.join(name))?;
        }
    }
    Ok(prefix)
}

/// `cargo install`, into `(root, build folder)` where they are given; outside of the workspace, so
/// that neither its configuration nor its lock file matters.
fn cargo_install(name: &str, place: Option<(&PathBuf, &PathBuf)>) -> Command {
    let mut install = clean_command("cargo");
    install.current_dir("/").args(["install", name]);
    if let Some((root, build)) = place {
        install.arg("--root").arg(root).arg("--target-dir").arg(build);
    }
    install
}

/// Shows a command, runs it with its output streamed to stderr, and fails when it fails.
fn step(command: &mut Command) -> Result<()> {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let line = format!("{} {}", command.get_program().to_string_lossy(), args.join(" "));
    eprintln!("setup: {line}");
    // What a command prints is progress; stdout is kept for results.
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.with_context(|| format!("cannot start: {line}"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("this failed ({status}): {line}"),
    }
}

fn names(packages: &[&Package]) -> String {
    packages.iter().map(|package| package.name).collect::<Vec<_>>().join(" ")
}

fn is_root() -> bool {
    let uid = Command::new("id").arg("-u").output();
    uid.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

const fn package(name: &'static str, probe: &'static str) -> Package {
    Package { name, probe }
}

/// The compiler for the BPF target, the sources of its `core`, and the LLVM for bpf-linker.
const BPF: [Package; 4] = [
    package("rustc-web", "/usr/bin/rustc"),
    package("cargo-web", "/usr/bin/cargo"),
    package("rust-web-src", "/usr/lib/rustlib/src/rust/library/core/src/lib.rs"),
    package("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"),
];

/// What xsk-rs needs to build libxdp and libbpf from source.
const USER: [Package; 10] = [
    package("clang", "clang"),
    package("llvm", "llvm-strip"),
    package("m4", "m4"),
    package("pkg-config", "pkg-config"),
    package("libelf-dev", "/usr/include/libelf.h"),
    package("zlib1g-dev", "/usr/include/zlib.h"),
    package("libpcap-dev", "/usr/include/pcap.h"),
    package("make", "make"),
    package("gcc", "gcc"),
    package("libc6-dev", "/usr/include/stdio.h"),
];

/// What `run` and `test` call.
const TRAFFIC: [Package; 7] = [
    package("iproute2", "ip"),
    package("ethtool", "ethtool"),
    package("curl", "curl"),
    package("iputils-ping", "ping"),
    package("netcat-openbsd", "nc"),
    package("tshark", "tshark"),
    package("nmap", "nmap"),
];

/// What development needs besides.
const TOOLS: [&str; 3] = ["cargo-fuzz", "cargo-mutants", "cargo-deny"];

const LINKER: &str = "bin/bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
const NIGHTLY: &str = "rustup toolchain install nightly --profile minimal --component rust-src";
