//! The XDP program: parse, classify, then pass, drop or redirect.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

/// The program exists for the BPF target alone; on the host this keeps the workspace buildable.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
