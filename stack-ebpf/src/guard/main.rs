//! The guard: the front line before listeners of the kernel, which keep serving in a flood of SYNs.
//!
//! Owns the maps, the access to packets and the calls into the kernel. What is decided stands in the
//! library, in the same place as for Sluice's own listeners.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

/// The program exists for the BPF target alone; on the host this keeps the workspace buildable.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program;
