//! Tests of the collector and of its verdict.

use std::collections::BTreeMap;

use super::list::{Deviation, anchor, asked, deviations};
use super::report::{Found, Report, Standing};
use super::source::{Mention, Side, ids, mentions};
use super::*;

fn only(text: &str) -> Mention {
    let mut all = mentions(text, false);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn place(text: &str) -> (String, Side) {
    let mention = only(text);
    (mention.item, mention.side)
}

#[test]
fn ids_are_found_in_lists_and_ranges_and_not_inside_words() {
    assert_eq!(ids("RFC 9293 3.8.3 (MUST-20, SHLD-9): x"), ["MUST-20", "SHLD-9"]);
    assert_eq!(
        ids("MUST-51 to MUST-53, SHLD-1 to 2."),
        ["MUST-51", "MUST-52", "MUST-53", "SHLD-1", "SHLD-2"]
    );
    assert_eq!(
        ids("CM-10.d and CM-2.a, REC-1; MUST-1 and MUST-1"),
        ["CM-10.d", "CM-2.a", "REC-1", "MUST-1"]
    );
    assert!(ids("XMUST-1, A-MUST-2, MUST-, CM-1, CM-1.ab, must-1").is_empty());
}

#[test]
fn comment_above_a_function_belongs_to_it() {
    let code = (String::from("check"), Side::Code);
    assert_eq!(place("// MUST-1\nfn check() {}"), code);
    assert_eq!(place("/// MUST-1\n#[inline]\npub(crate) const fn check(a: [u8; 2]) {}"), code);
    assert_eq!(place("impl X {\n/// (MUST-1)\npub fn check(&self) {}\n}"), code);
}

#[test]
fn comment_inside_a_function_belongs_to_it_although_blocks_lie_between() {
    let text = "fn other() { if a { b } }\nfn check(x: [u8; 4]) -> u8 {\n let a = { 1 };\n \
                match a {\n // MUST-1\n 1 => 2,\n }\n}";
    assert_eq!(place(text), ("check".into(), Side::Code));
    assert_eq!(place("fn check() {\n let s = \"{\"; // MUST-1\n}"), ("check".into(), Side::Code));
}

#[test]
fn comment_above_other_items_and_inside_them_is_code() {
    assert_eq!(place("/// MUST-1\npub const LIMIT: u8 = 1;").0, "LIMIT");
    assert_eq!(place("pub struct A {\n /// MUST-1\n pub b: u8,\n}").0, "A::b");
    assert_eq!(place("enum A {\n // MUST-1\n B,\n}").0, "A::B");
    assert_eq!(place("//! MUST-1\n\nuse a;\nfn b() {}").0, "");
}

#[test]
fn comment_above_a_test_or_inside_it_is_a_test() {
    let test = (String::from("a_b_c"), Side::Test);
    assert_eq!(place("// MUST-1\n#[test]\nfn a_b_c() {}"), test);
    assert_eq!(place("// MUST-1\n#[test]\n#[ignore = \"root\"]\nfn a_b_c() {}"), test);
    assert_eq!(place("#[test]\n// MUST-1\nfn a_b_c() {}"), test);
    assert_eq!(place("#[test]\nfn a_b_c() {\n let f = || {\n // MUST-1\n};\n}"), test);
    let property = "proptest! {\n // MUST-1\n #[test]\n fn a_b_c(x in 0..3) {}\n}";
    assert_eq!(place(property), test);
}

#[test]
fn comment_beside_what_only_tests_use_is_neither() {
    let module = "#[cfg(test)]\nmod tests {\n// MUST-1\nfn bench() {}\n}";
    assert_eq!(place(module), ("bench".into(), Side::Neither));
    let all = mentions("// MUST-1\nfn bench() {}\n// MUST-2\n#[test]\nfn a() {}", true);
    assert_eq!(all.iter().map(|found| found.side).collect::<Vec<_>>(), [Side::Neither, Side::Test]);
    // The module ends with its brace.
    let after = "#[cfg(test)]\nmod tests {\nfn bench() {}\n}\n// MUST-1\nfn code() {}";
    assert_eq!(place(after), ("code".into(), Side::Code));
    assert_eq!(place("#[cfg(test)]\nmod tests;\n// MUST-1\nfn code() {}").1, Side::Code);
}

#[test]
fn lines_of_a_comment_are_read_together_and_strings_are_not_read() {
    let mention = only("// RFC 9293 3.1 (MUST-6,\n// MUST-7): both.\nfn a() {}");
    assert_eq!((mention.line, mention.cites), (1, true));
    assert_eq!(mention.ids, ["MUST-6", "MUST-7"]);
    assert!(mentions("fn a() { b(\"// MUST-1\"); c(r#\"MUST-2\"#); }", false).is_empty());
    let two = mentions("// RFC 9293 (MUST-1)\n\n// MUST-2\nfn a() {}", false);
    assert_eq!(two.iter().map(|found| found.cites).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn files_of_tests_are_known_by_their_place() {
    for name in ["stack-user/tests/sim/a.rs", "stack-user/src/tcp/tests.rs", "x/config_tests.rs"] {
        assert!(is_for_tests(name), "{name}");
    }
    assert!(!is_for_tests("stack-user/src/tcp/input/ack.rs"));
}

/// The requirement text is RFC 9293's: 69 MUST, 31 SHLD, 18 MAY, one REC.
#[test]
fn list_holds_every_id_of_the_appendix_once() {
    let all = list::all().expect("the lists are well formed");
    for (kind, count) in [("MUST", 69), ("SHLD", 31), ("MAY", 18), ("REC", 1)] {
        let of_kind: Vec<_> =
            all.iter().filter(|a| a.id.split('-').next() == Some(kind)).map(|a| &a.id).collect();
        let wanted: Vec<_> = (1..=count).map(|n| format!("{kind}-{n}")).collect();
        assert_eq!(of_kind, wanted.iter().collect::<Vec<_>>());
    }
    // Eleven topics, each lettered without a gap.
    for topic in 1..=11 {
        let prefix = format!("CM-{topic}.");
        let letters: String = all.iter().filter_map(|a| a.id.strip_prefix(&prefix)).collect();
        assert!(!letters.is_empty() && ('a'..='z').collect::<String>().starts_with(&letters));
    }
}

#[test]
fn list_with_a_wrong_line_is_refused() {
    assert!(asked("MUST-1 | 3.1").is_err());
    assert!(asked("MUST | 3.1 | x").is_err());
    assert!(asked("MUST-1 | 3.1 | x\nMUST-1 | 3.2 | y").is_err());
}

#[test]
fn deviation_needs_its_reason() {
    let text =
        "# Decisions\n\n## One\n\nBecause.\n\nDeviates from: MUST-51 to MUST-52,\nRFC 1 2.\n";
    let found = deviations(text).expect("it has a reason");
    assert_eq!(
        found,
        [Deviation {
            title: "One".into(),
            ids: vec!["MUST-51".into(), "MUST-52".into()],
            from: "MUST-51 to MUST-52, RFC 1 2.".into(),
        }]
    );
    assert!(deviations("# D\n\n## One\n\nDeviates from: MUST-51\n").is_err());
    assert_eq!(anchor("A RST, in `TIME-WAIT`"), "a-rst-in-time-wait");
}

fn report(code: bool, test: bool, deviates: bool) -> Report {
    let mut found = Found::default();
    let at = || (String::from("tcp/a.rs"), String::from("check"));
    found.code.extend(code.then(at));
    found.tests.extend(test.then(at));
    let asked = asked("MUST-1 | 3.1 | Unsigned.").expect("well formed");
    let deviation =
        Deviation { title: "One".into(), ids: vec!["MUST-1".into()], from: "MUST-1".into() };
    let deviations = if deviates { vec![deviation] } else { Vec::new() };
    Report { asked, found: BTreeMap::from([("MUST-1".into(), found)]), deviations }
}

#[test]
fn requirement_without_code_or_test_fails_by_name_unless_it_deviates() {
    for (code, test, said) in
        [(true, false, "no test"), (false, true, "no code"), (false, false, "neither")]
    {
        let failures = report(code, test, false).failures();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].starts_with("MUST-1 (3.1: Unsigned.)") && failures[0].contains(said));
        assert!(report(code, test, true).failures().is_empty());
    }
    let done = report(true, true, false);
    assert!(done.failures().is_empty());
    assert_eq!(done.standing(&done.asked[0]), Standing::Done);
    assert!(
        done.render().contains(
            "| MUST-1 | 3.1 | Unsigned. | done | tcp/a.rs: `check` | tcp/a.rs: `check` |"
        )
    );
    let but = report(true, true, true);
    assert_eq!(but.standing(&but.asked[0]), Standing::DoneBut);
}

#[test]
fn unknown_id_and_one_without_its_rfc_are_told_with_their_place() {
    let mut report = report(true, true, false);
    let mut wrong = Vec::new();
    add(&mut report, "stack-user/src/a.rs", "fn b() {}\n// MUST-1, MUST-99\nfn a() {}", &mut wrong);
    assert_eq!(
        wrong,
        [
            "stack-user/src/a.rs:2: write `RFC 9293 <section> (MUST-1)`",
            "stack-user/src/a.rs:2: there is no MUST-99"
        ]
    );
}
