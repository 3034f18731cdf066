//! Judges what was found, and renders docs/rfc-compliance.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::list::{Asked, Deviation, anchor};

/// What was found of one requirement.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Places in the code: file and item.
    pub code: BTreeSet<(String, String)>,
    /// Tests: file and function.
    pub tests: BTreeSet<(String, String)>,
    /// Places that stand beside neither: file and line.
    pub lost: Vec<(String, usize)>,
}

/// How a requirement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Done,
    /// Done but for a recorded deviation.
    DoneBut,
    Deviates,
    Open,
}

impl Standing {
    fn of(found: &Found, deviates: bool) -> Self {
        match (!found.code.is_empty() && !found.tests.is_empty(), deviates) {
            (true, false) => Self::Done,
            (true, true) => Self::DoneBut,
            (false, true) => Self::Deviates,
            (false, false) => Self::Open,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DoneBut => "done, with a deviation",
            Self::Deviates => "deviation",
            Self::Open => "not done",
        }
    }
}

/// All that is asked, with what was found of it.
pub(super) struct Report {
    pub asked: Vec<Asked>,
    pub found: BTreeMap<String, Found>,
    pub deviations: Vec<Deviation>,
}

impl Report {
    fn found(&self, asked: &Asked) -> Found {
        self.found.get(&asked.id).cloned().unwrap_or_default()
    }

    fn deviation(&self, asked: &Asked) -> Option<&Deviation> {
        self.deviations.iter().find(|deviation| deviation.ids.contains(&asked.id))
    }

    pub(super) fn standing(&self, asked: &Asked) -> Standing {
        Standing::of(&self.found(asked), self.deviation(asked).is_some())
    }

    /// A line for each requirement that is neither met nor a recorded deviation.
    pub(super) fn failures(&self) -> Vec<String> {
        let is_open = |asked: &&Asked| self.standing(asked) == Standing::Open;
        let required = self.asked.iter().filter(|asked| asked.is_required());
        required.filter(is_open).map(|asked| self.failure(asked)).collect()
    }

    fn failure(&self, asked: &Asked) -> String {
        let found = self.found(asked);
        let mut line = format!("{} ({}: {}):", asked.id, asked.section, asked.words);
        match (found.code.is_empty(), found.tests.is_empty()) {
            (true, true) => line += " neither code nor a test names it",
            (true, false) => line += " a test names it, no code does",
            _ => line += " code names it, no test does",
        }
        for (file, at) in found.lost {
            let _ = write!(line, "; {file}:{at} stands above no test");
        }
        line
    }

    /// How many of the ids that begin with one of `kinds` stand so.
    fn count(&self, kinds: &[&str], standing: Standing) -> usize {
        self.rows(kinds).filter(|asked| self.standing(asked) == standing).count()
    }

    fn rows(&self, kinds: &[&str]) -> impl Iterator<Item = &Asked> {
        let is_one = move |asked: &&Asked| kinds.iter().any(|kind| asked.id.starts_with(kind));
        self.asked.iter().filter(is_one)
    }

    /// The page.
    pub(super) fn render(&self) -> String {
        let mut page = String::from(HEAD);
        for (name, kinds) in TABLES {
            let done = self.count(kinds, Standing::Done);
            let but = self.count(kinds, Standing::DoneBut);
            let deviates = self.count(kinds, Standing::Deviates);
            let open = self.count(kinds, Standing::Open);
            let all = self.rows(kinds).count();
            let _ = writeln!(page, "| {name} | {all} | {done} | {but} | {deviates} | {open} |");
        }
        for (name, kinds) in TABLES {
            let _ = writeln!(page, "\n## {name}\n");
            let second = if kinds == ["CM-"] { "Topic" } else { "Section" };
            let _ = writeln!(page, "| Id | {second} | Asked | Standing | Code | Tests |");
            page += "|---|---|---|---|---|---|\n";
            for asked in self.rows(kinds) {
                self.row(&mut page, asked);
            }
        }
        page += "\n## Deviations\n\n| What | From |\n|---|---|\n";
        for Deviation { title, from, .. } in &self.deviations {
            let _ = writeln!(page, "| [{title}](decisions.md#{}) | {from} |", anchor(title));
        }
        page
    }

    fn row(&self, page: &mut String, asked: &Asked) {
        let found = self.found(asked);
        let mut standing = self.standing(asked).name().to_string();
        if let Some(deviation) = self.deviation(asked) {
            standing = format!("[{standing}](decisions.md#{})", anchor(&deviation.title));
        }
        let (code, tests) = (places(&found.code), places(&found.tests));
        let Asked { id, section, words } = asked;
        let _ = writeln!(page, "| {id} | {section} | {words} | {standing} | {code} | {tests} |");
    }
}

/// Items by file: `file: a, b`.
fn places(places: &BTreeSet<(String, String)>) -> String {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, item) in places {
        files.entry(file).or_default().push(item);
    }
    let shown = files.into_iter().map(|(file, items)| {
        let items: Vec<_> =
            items.into_iter().filter(|item| !item.is_empty()).map(|i| format!("`{i}`")).collect();
        if items.is_empty() { file.to_string() } else { format!("{file}: {}", items.join(", ")) }
    });
    shown.collect::<Vec<_>>().join("<br>")
}

/// The tables and the ids that they hold.
const TABLES: [(&str, &[&str]); 3] = [
    ("MUST and SHOULD of RFC 9293", &["MUST-", "SHLD-"]),
    ("MAY and RECOMMENDED of RFC 9293", &["MAY-", "REC-"]),
    ("Features of connection management", &["CM-"]),
];

const HEAD: &str = "\
# What is asked of TCP, and where it is done

Made by `cargo xtask rfc` from the comments that name a requirement beside code and beside tests;
not edited by hand. `cargo xtask rfc --check`, a part of `cargo xtask ci`, fails where this page is
stale, or where a MUST, a SHOULD or a feature has neither code with a test nor a recorded deviation.
The ids are those of RFC 9293, Appendix B; files lie below `stack-user/src` where no other folder is
named.

| | Asked | Done | Done, with a deviation | Deviation | Not done |
|---|---|---|---|---|---|
";
