//! The bodies of the fuzz targets on a stable compiler: over every file of the committed corpora, and
//! over random bytes.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[test]
fn corpora_find_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, _) in targets::TARGETS {
        let folder = root.join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{folder:?} is empty");
        for file in files {
            let data = fs::read(&file).unwrap();
            let report = OnFailure(format!("cargo xtask fuzz {name} {}", file.display()));
            targets::run(name, &data);
            drop(report);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // No packet in any order panics, loops, leaks an entry or makes memory grow.
    #[test]
    fn random_frames_leave_nothing(data in prop::collection::vec(any::<u8>(), 0..4_000)) {
        targets::run("shard", &data);
    }

    #[test]
    fn random_operations_keep_a_connection_sound(
        data in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        targets::run("tcb", &data);
    }

    #[test]
    fn random_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..200)) {
        for (name, _) in targets::TARGETS {
            targets::run(name, &data);
        }
    }
}

/// Prints how to repeat what failed when it is dropped by a panic.
struct OnFailure(String);

impl Drop for OnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this failure:\n  {}", self.0);
        }
    }
}
