//! `cargo xtask rfc`: which requirement is met where, and which test shows it.
//!
//! Owns the walk over the sources and the verdict; [`source`] reads comments, [`list`] what is asked,
//! [`report`] makes docs/rfc-compliance.md. A comment names a requirement as
//! `// RFC 9293 3.8.3 (MUST-23): ...`, or a feature of connection management as `// CM-2.c: ...`.

mod list;
mod report;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use self::report::Report;
use self::source::Side;
use crate::{cmd, rooms};

/// Writes the page, or with `check` compares it and judges what it says.
///
/// # Errors
/// When a comment names what does not exist; with `check` also when the page is stale or a
/// requirement is not met. The message names each.
pub(crate) fn rfc(check: bool) -> Result<()> {
    let report = collect()?;
    let page = report.render();
    let path = cmd::root().join(PAGE);
    let failures = report.failures();
    if !check {
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        let mut out = io::stdout().lock();
        writeln!(out, "{PAGE}: {} of {} open", failures.len(), required(&report))?;
        for failure in failures {
            writeln!(out, "    {failure}")?;
        }
        return Ok(());
    }
    if !failures.is_empty() {
        bail!(
            "{} of {} requirements have neither code with a test nor a line `{}` in {DECISIONS}:\n{}",
            failures.len(),
            required(&report),
            list::MARK,
            failures.join("\n")
        );
    }
    if fs::read_to_string(&path).unwrap_or_default() != page {
        bail!("{PAGE} is stale; type: cargo xtask rfc");
    }
    Ok(())
}

fn required(report: &Report) -> usize {
    report.asked.iter().filter(|asked| asked.is_required()).count()
}

/// Reads the lists, the deviations and every source.
fn collect() -> Result<Report> {
    let mut report = Report {
        asked: list::all()?,
        found: BTreeMap::new(),
        deviations: list::deviations(&fs::read_to_string(cmd::root().join(DECISIONS))?)?,
    };
    let mut wrong = Vec::new();
    for deviation in &report.deviations {
        for id in deviation.ids.iter().filter(|id| !is_asked(&report, id)) {
            wrong.push(format!("{DECISIONS}, `{}`: there is no {id}", deviation.title));
        }
    }
    for room in ROOMS {
        let dir = cmd::root().join(room);
        for file in rooms::rust_files(&dir)? {
            let text = fs::read_to_string(&file)?;
            let name = file.strip_prefix(cmd::root()).unwrap_or(&file).display().to_string();
            add(&mut report, &name, &text, &mut wrong);
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(report)
}

fn is_asked(report: &Report, id: &str) -> bool {
    report.asked.iter().any(|asked| asked.id == id)
}

/// Adds what the file `name` says.
fn add(report: &mut Report, name: &str, text: &str, wrong: &mut Vec<String>) {
    let shown = name.strip_prefix("stack-user/").unwrap_or(name);
    let shown = shown.strip_prefix("src/").unwrap_or(shown);
    for mention in source::mentions(text, is_for_tests(name)) {
        let place = (shown.to_string(), mention.item);
        for id in mention.ids {
            if !is_asked(report, &id) {
                wrong.push(format!("{name}:{}: there is no {id}", mention.line));
                continue;
            }
            if !mention.cites && !id.starts_with("CM-") {
                let line = mention.line;
                wrong.push(format!("{name}:{line}: write `RFC 9293 <section> ({id})`"));
            }
            let found = report.found.entry(id).or_default();
            match mention.side {
                Side::Code => _ = found.code.insert(place.clone()),
                Side::Test => _ = found.tests.insert(place.clone()),
                Side::Neither => found.lost.push((name.to_string(), mention.line)),
            }
        }
    }
}

/// Whether a file is built for tests alone.
fn is_for_tests(name: &str) -> bool {
    let path = Path::new(name);
    let is_tests = |part: &str| part == "tests" || part == "grid" || part.ends_with("_tests");
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut folders = path.parent().into_iter().flatten().filter_map(|part| part.to_str());
    is_tests(stem) || folders.any(is_tests)
}

/// Where the sources lie.
const ROOMS: [&str; 3] = ["stack-ebpf", "stack-user/src", "stack-user/tests"];
const PAGE: &str = "docs/rfc-compliance.md";
const DECISIONS: &str = "docs/decisions.md";

#[cfg(test)]
mod tests;
