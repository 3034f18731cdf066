//! The import check on sources made for it.

use super::*;

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// The sentences for a file of `module` with the source `text`.
fn found(module: &[&str], text: &str) -> Vec<String> {
    let modules = strings(&[PURE, &["datapath", "control", "api", "observe"]].concat());
    bad_imports(&strings(module), text, &modules)
        .into_iter()
        .map(|(line, what)| format!("{line}: {what}"))
        .collect()
}

#[test]
fn import_of_a_room_above_is_allowed() {
    assert!(
        found(&["tcp"], "use crate::time::Instant;\nuse crate::wire::{Addr, tcp as seg};")
            .is_empty()
    );
    assert!(found(&["shard"], "use crate::service::Service;").is_empty());
}

#[test]
fn import_of_a_room_below_is_noticed() {
    let bad = found(&["wire", "tcp"], "\nuse crate::tcp::Tcb;");
    assert_eq!(bad, ["2: room `wire` must not import room `tcp`"]);
    assert_eq!(found(&["tables"], "fn f() { crate::service::f() }").len(), 1);
}

#[test]
fn import_of_an_io_room_is_noticed() {
    assert_eq!(found(&["shard"], "use crate::datapath::Umem;").len(), 1);
    assert_eq!(found(&["counters"], "use crate::observe;").len(), 1);
}

#[test]
fn import_inside_a_group_is_noticed() {
    let text = "use crate::{\n    time::Instant,\n    shard::{Shard, Route},\n};";
    assert_eq!(
        found(&["tcp"], text),
        [
            "3: room `tcp` must not import room `shard`",
            "3: room `tcp` must not import room `shard`"
        ]
    );
}

#[test]
fn import_by_super_is_noticed_at_the_root_alone() {
    assert_eq!(found(&["wire"], "use super::tcp::Tcb;").len(), 1);
    assert_eq!(found(&["wire", "ipv4"], "use super::super::tcp::Tcb;").len(), 1);
    assert!(found(&["wire", "ipv4"], "use super::tcp::Segment;").is_empty());
}

#[test]
fn clocks_sockets_and_threads_are_noticed() {
    for text in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::time;",
        "use std::time::*;",
        "use std::fs;",
        "let t = std::thread::spawn(f);",
        "use std::net::{IpAddr, TcpStream};",
        "use rand::Rng;",
        "use rand;",
    ] {
        assert_eq!(found(&["wheel"], text).len(), 1, "{text}");
    }
}

#[test]
fn plain_values_of_std_are_allowed() {
    assert!(found(&["wheel"], "use std::time::Duration;\nuse std::net::IpAddr;").is_empty());
    assert!(found(&["wheel"], "use core::net::*;\nuse std::collections::*;").is_empty());
    assert!(found(&["wheel"], "let rand = aya + 1; rand.f()").is_empty());
}

#[test]
fn tests_comments_and_strings_are_left_out() {
    let text = r##"
        // use crate::shard::Shard;
        /* use crate::shard /* nested */ ::Shard; */
        const A: &str = "crate::shard";
        const B: &str = r#"crate::"shard"#;
        const C: char = '"';
        fn f<'a>(x: &'a str) {}
        #[cfg(test)]
        mod tests { use crate::shard::Shard; fn g() { std::thread::yield_now(); } }
    "##;
    assert!(found(&["wire"], text).is_empty());
    assert!(found(&["wire", "tests"], "use crate::shard::Shard;").is_empty());
    // What follows the tests is read again.
    assert_eq!(found(&["wire"], &format!("{text}\nuse crate::shard::Shard;")).len(), 1);
}

#[test]
fn rooms_that_are_not_pure_are_left_alone() {
    assert!(
        found(&["datapath", "clock"], "use std::time::Instant;\nuse crate::shard::Shard;")
            .is_empty()
    );
}

#[test]
fn files_name_their_modules() {
    assert_eq!(module_path(Path::new("tcp/input/ack.rs")), ["tcp", "input", "ack"]);
    assert_eq!(module_path(Path::new("wire/mod.rs")), ["wire"]);
    assert!(module_path(Path::new("lib.rs")).is_empty());
}

#[test]
fn the_rooms_as_they_stand_are_in_order() {
    check().unwrap();
}
