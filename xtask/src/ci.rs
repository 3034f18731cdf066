//! `cargo xtask ci`: what has to hold before a change is taken, in the order of its cost.
//!
//! Owns the list of the checks; [`crate::rooms`] holds those that are our own.

use std::process::ExitCode;

use anyhow::Result;

use crate::{bench, cmd, deep, ebpf, rfc, rooms, setup, test};

/// Runs every check, then exactly `cargo xtask test`.
pub(crate) fn ci() -> Result<ExitCode> {
    println!("== formatting");
    cmd::check(cmd::cargo().args(["fmt", "--all", "--check"]))?;
    println!("== rooms and lengths of files");
    rooms::check()?;
    println!("== what is asked of TCP");
    rfc::rfc(true)?;

    // The C libraries come first: lints of the default features build against them.
    setup::setup(false)?;
    ebpf::build_ebpf()?;
    println!("== lints");
    // The bench needs the feature, which would bring it to the library too.
    for features in [&[][..], &["--no-default-features", "--exclude", "bench"]] {
        let mut clippy = cmd::cargo();
        clippy.args(["clippy", "--workspace", "--exclude", "stack-ebpf", "--all-targets"]);
        cmd::check(clippy.args(features).args(["--", "-D", "warnings"]))?;
    }
    let mut scripts = cmd::cargo();
    scripts.args(["clippy", "--package", "stack-user", "--all-targets", "--no-default-features"]);
    cmd::check(scripts.args(["--features", "packetdrill", "--", "-D", "warnings"]))?;
    let mut contract = cmd::cargo();
    contract.args([
        "clippy",
        "--package",
        "stack-ebpf",
        "--lib",
        "--tests",
        "--",
        "-D",
        "warnings",
    ]);
    cmd::check(&mut contract)?;

    println!("== documentation");
    let mut doc = cmd::cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps", "--workspace"]);
    cmd::check(doc.args(["--exclude", "stack-ebpf", "--document-private-items"]))?;
    let mut doc = cmd::cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps", "--package", "stack-ebpf"]);
    cmd::check(doc.arg("--lib"))?;

    println!("== interleavings");
    deep::loom()?;
    println!("== AddressSanitizer");
    deep::asan_where_possible()?;

    // Without them a row is absent, and a test is skipped.
    setup::peers()?;
    println!("== the bench, for a moment");
    bench::smoke()?;

    test::test(&test::Options::default())
}
