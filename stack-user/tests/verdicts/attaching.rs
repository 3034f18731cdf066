//! Attaching to interfaces of a namespace of the test's own, and what is said when it fails.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use sluice::control::attached::attached;
use sluice::control::error::AttachError;
use sluice::control::program::{Mode, ModeWanted, Program, attach_pass, object_path};

use crate::kernel::Kernel;

#[test]
#[ignore = "needs root and the BPF object"]
fn veth_auto_attaches_natively_until_dropped() {
    namespace();
    let program = Kernel::unconfigured().program;
    let held = program.attach(INTERFACE, ModeWanted::Auto).unwrap();
    assert_eq!(held.mode, Mode::Native);
    let attachment = attached(index()).unwrap();
    assert_eq!(attachment.name.as_deref(), Some("sluice_xdp"));
    drop(held);
    assert_eq!(attached(index()), None);
}

#[test]
#[ignore = "needs root and the BPF object"]
fn attachment_outlives_its_program() {
    namespace();
    let held = Kernel::unconfigured().program.attach(INTERFACE, ModeWanted::Native).unwrap();
    assert!(attached(index()).is_some());
    drop(held);
}

#[test]
#[ignore = "needs root and the BPF object"]
fn taken_interface_names_the_other_program() {
    namespace();
    let _held = attach_pass(&object_path().unwrap(), INTERFACE).unwrap();
    let program = Kernel::unconfigured().program;
    for wanted in [ModeWanted::Auto, ModeWanted::Native, ModeWanted::Generic] {
        let error = program.attach(INTERFACE, wanted).unwrap_err();
        let AttachError::Taken { by: Some(other), .. } = &error else { panic!("{error}") };
        assert_eq!(other.name.as_deref(), Some("sluice_pass"), "{error}");
    }
}

#[test]
#[ignore = "needs root and the BPF object"]
fn driver_without_xdp_auto_attaches_generically_and_says_why() {
    namespace();
    let program = Kernel::unconfigured().program;
    refused(&program, "lo", ModeWanted::Native);
    let held = program.attach("lo", ModeWanted::Auto).unwrap();
    assert_eq!(held.mode, Mode::Generic);
    assert!(held.native_refused.is_some());
}

#[test]
#[ignore = "needs root and the BPF object"]
fn large_mtu_native_is_refused_with_its_reason() {
    namespace();
    for interface in [INTERFACE, "peer"] {
        ip(&["link", "set", interface, "mtu", "9000"]);
    }
    let program = Kernel::unconfigured().program;
    let error = refused(&program, INTERFACE, ModeWanted::Native);
    assert!(error.contains("MTU"), "{error}");
    assert_eq!(program.attach(INTERFACE, ModeWanted::Auto).unwrap().mode, Mode::Generic);
}

#[test]
#[ignore = "needs root and the BPF object"]
fn unknown_interface_is_named() {
    namespace();
    let error = Kernel::unconfigured().program.attach("nowhere", ModeWanted::Auto).unwrap_err();
    assert!(
        matches!(error, AttachError::NoInterface { .. }) && error.to_string().contains("nowhere")
    );
}

fn refused(program: &Program, interface: &str, wanted: ModeWanted) -> String {
    let error = program.attach(interface, wanted).unwrap_err();
    assert!(matches!(error, AttachError::Mode { .. }), "{error}");
    error.to_string()
}

/// Takes this thread into a network namespace of its own, with [`INTERFACE`] as one end of a veth
/// pair; it ends with the thread, and the interfaces with it.
fn namespace() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip(&["link", "add", INTERFACE, "type", "veth", "peer", "name", "peer"]);
}

fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
}

fn index() -> u32 {
    nix::net::if_::if_nametoindex(INTERFACE).unwrap()
}

const INTERFACE: &str = "uplink";
