//! `cargo xtask build-ebpf`: builds the XDP program for the BPF target.
//!
//! Owns the choice of the toolchain route and the place of bpf-linker. Installs nothing: that is
//! `setup`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// How the BPF side is compiled: its crates need a compiler with the sources of `core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Debian's rustc-web and its sources, in /usr/bin beside rustup's stable.
    Debian,
    /// A nightly of rustup's with the component rust-src.
    Nightly,
}

impl Route {
    /// The route that is complete on this machine, Debian's first: it is the one every run of the
    /// tests takes.
    pub(crate) fn find() -> Option<Self> {
        [Self::Debian, Self::Nightly].into_iter().find(|route| route.is_complete())
    }

    /// Whether the compiler is there with the sources of `core`, and bpf-linker knows its LLVM.
    fn is_complete(self) -> bool {
        let Some(sysroot) = self.sysroot() else { return false };
        let llvm = self.llvm_major();
        sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
            && llvm.is_some_and(|major| LINKABLE.contains(&major))
    }

    /// Where the compiler's libraries lie.
    pub(crate) fn sysroot(self) -> Option<PathBuf> {
        Some(self.rustc(&["--print", "sysroot"])?.trim().into())
    }

    /// The version of the compiler's LLVM.
    pub(crate) fn llvm_major(self) -> Option<u32> {
        let versions = self.rustc(&["--version", "--verbose"])?;
        let llvm = versions.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        llvm.split('.').next()?.parse().ok()
    }

    /// What the compiler prints; `None` where it is not there.
    fn rustc(self, args: &[&str]) -> Option<String> {
        let mut rustc = match self {
            Self::Debian => Command::new("/usr/bin/rustc"),
            Self::Nightly => {
                let mut rustup = Command::new("rustup");
                rustup.args(["run", "nightly", "rustc"]);
                rustup
            }
        };
        let output = rustc.args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the route is, for people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Debian => "Debian's rustc-web (/usr/bin/rustc)",
            Self::Nightly => "rustup's nightly with rust-src",
        }
    }

    /// Where bpf-linker is installed: one place per route, since it must know the LLVM of the
    /// compiler whose bitcode it links.
    pub(crate) fn linker_root(self) -> PathBuf {
        let name = match self {
            Self::Debian => "debian",
            Self::Nightly => "nightly",
        };
        target_dir().join("tools").join(name)
    }

    fn cargo(self) -> Command {
        match self {
            Self::Debian => {
                let mut cargo = clean_command("/usr/bin/cargo");
                // The compiler is a stable release; -Z build-std asks for its unstable side.
                cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Self::Nightly => {
                let mut cargo = clean_command("rustup");
                cargo.args(["run", "nightly", "cargo"]);
                cargo
            }
        }
    }
}

/// Builds the XDP programs in release: the one that steers, whose object's path is returned
/// (`target/sluice-xdp.o`), and beside it that of `sluice guard` (`sluice-guard.o`), that of the tests'
/// impaired link (`impair.o`), the one that the bench measures (`sluice-xdp-bench.o`) and the generator
/// of frames (`generate.o`).
///
/// # Errors
/// When no toolchain for the BPF target is found, or when the build fails.
pub(crate) fn build_ebpf() -> Result<PathBuf> {
    let Some(route) = Route::find() else {
        bail!("no compiler for the BPF target is installed; run `cargo xtask setup`");
    };
    let linker = route.linker_root().join("bin");
    if !linker.join("bpf-linker").is_file() {
        bail!("bpf-linker is not installed in {}; run `cargo xtask setup`", linker.display());
    }
    let target = target_dir().join("bpf");
    eprintln!("build-ebpf: by {}", route.describe());
    let status = route
        .cargo()
        .current_dir(workspace())
        .args(["build", "--package", "stack-ebpf", "--bins", "--release"])
        .args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("PATH", path_with(&linker)?)
        .status()
        .context("cannot start cargo for the BPF side")?;
    if !status.success() {
        bail!("the build of the XDP program failed");
    }
    let built = target.join(TARGET).join("release");
    for beside in ["sluice-guard", "impair", "sluice-xdp-bench", "generate"] {
        place(&built.join(beside))?;
    }
    place(&built.join("sluice-xdp"))
}

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> PathBuf {
    let named = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace().join(named)
}

/// A command that does not inherit what the outer cargo was told of flags, compiler and target.
pub(crate) fn clean_command(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in INHERITED {
        command.env_remove(name);
    }
    command
}

fn path_with(first: &Path) -> Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = [first.to_owned()].into_iter().chain(env::split_paths(&rest));
    env::join_paths(all).context("PATH holds an entry that cannot be joined")
}

/// Copies an object to the place where `sluice` and the tests look for it, unless that is there already.
fn place(built: &Path) -> Result<PathBuf> {
    let name = built.file_name().context("an object has a name")?;
    let object = target_dir().join(name).with_extension("o");
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(&object).is_ok_and(|old| old == bytes) {
        return Ok(object);
    }
    // By rename, so that a program that starts meanwhile never reads half an object.
    let fresh = object.with_extension("o.new");
    fs::write(&fresh, bytes)
        .and_then(|()| fs::rename(&fresh, &object))
        .with_context(|| format!("cannot write {}", object.display()))?;
    Ok(object)
}

/// The versions of LLVM that bpf-linker can be built for.
const LINKABLE: RangeInclusive<u32> = 21..=23;
const TARGET: &str = "bpfel-unknown-none";
const RUSTFLAGS: &str = "-C debuginfo=2 -C link-arg=--btf";
const INHERITED: [&str; 9] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];
