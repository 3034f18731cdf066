//! Rows for people, as a table, and for machines, as one array of JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::row::{Config, PEER, Row};
use crate::spread::Spread;

/// Prints the rows as a table; what they were measured on stands above it.
pub fn print(rows: &[Row]) {
    print!("{}", table(rows));
}

/// The rows as one array of JSON, a line each, so that two files of them can be compared by line.
///
/// # Errors
/// When a row has no form in JSON.
pub fn json(rows: &[Row]) -> Result<String> {
    let lines: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
    let lines = lines.context("rows cannot be written as JSON")?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// Writes the rows to `path`, one array.
///
/// # Errors
/// When the file cannot be written; the message names it.
pub fn write_json(path: &Path, rows: &[Row]) -> Result<()> {
    fs::write(path, json(rows)?).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails where [`write_json`] could not write: said before minutes go into measuring.
///
/// # Errors
/// The message names the file.
pub fn check_json(path: &Path) -> Result<()> {
    let file = fs::File::options().create(true).append(true).open(path);
    file.map(|_| ()).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// When the file cannot be read or holds no rows; the message names it.
pub fn read_json(path: &Path) -> Result<Vec<Row>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("no rows in {}", path.display()))
}

/// The rows as [`print()`] shows them.
pub fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no rows\n".into();
    }
    let common = common(rows);
    let mut out = String::new();
    for (key, value) in &common {
        out += &format!("{key}: {value}\n");
    }
    let mut notes = Vec::new();
    let mut cells = vec![HEAD.map(String::from)];
    cells.extend(rows.iter().map(|row| line(row, &common, &mut notes)));
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
    });
    out.push('\n');
    for line in &cells {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let is_figure = (3..COLUMNS - 1).contains(&column);
            let cell =
                if is_figure { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            text = text + &cell + "  ";
        }
        out = out + text.trim_end() + "\n";
    }
    for (at, note) in notes.iter().enumerate() {
        out += &format!("\n[{}] {note}", at + 1);
    }
    out + if notes.is_empty() { "" } else { "\n" }
}

/// A figure with three digits that count, as people read them.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 99.95 => grouped(value.round()),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

/// What all rows say alike.
pub(crate) fn common(rows: &[Row]) -> Config {
    let rows: Vec<&Row> = rows.iter().collect();
    common_of(&rows)
}

/// The same of rows that lie apart.
pub(crate) fn common_of(rows: &[&Row]) -> Config {
    let Some((first, others)) = rows.split_first() else { return Config::new() };
    let is_common =
        |key: &String, value: &String| others.iter().all(|row| row.config.get(key) == Some(value));
    let pairs = settings(first).filter(|(key, value)| is_common(key, value));
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What a row says of where and how, without the peer's figures, which have their own column.
pub(crate) fn settings(row: &Row) -> impl Iterator<Item = (&String, &String)> {
    row.config.iter().filter(|(key, _)| !PEER.contains(&key.as_str()))
}

/// What a row says beyond `common`, as one sentence; nothing where that is all.
pub(crate) fn note(row: &Row, common: &Config) -> Option<String> {
    let own = settings(row).filter(|(key, _)| !common.contains_key(*key));
    let own: Vec<String> = own.map(|(key, value)| format!("{key}: {value}")).collect();
    (!own.is_empty()).then(|| own.join("; "))
}

/// The cells of a row. The last one says what is missing, and which of `notes`, to which one may be
/// added, holds the settings that are not common.
fn line(row: &Row, common: &Config, notes: &mut Vec<String>) -> [String; COLUMNS] {
    let none = || "-".to_string();
    let median = row.spread().map_or_else(none, |s| format!("{} {}", figure(s.median), row.unit));
    let ratio = match row.ratio_spread() {
        Some(s) => format!("{} ({})", figure(s.median), range(s)),
        None if row.absent.is_some() => "absent".into(),
        None => none(),
    };
    let note = note(row, common).map(|own| {
        let at = notes.iter().position(|note| *note == own).unwrap_or(notes.len());
        if at == notes.len() {
            notes.push(own);
        }
        format!("[{}]", at + 1)
    });
    let last: Vec<String> = row.absent.as_deref().map(in_short).into_iter().chain(note).collect();
    [
        row.work.clone(),
        row.subject.clone(),
        row.peer.clone().unwrap_or_else(none),
        median,
        row.spread().map_or_else(none, range),
        row.peer_spread().map_or_else(none, |s| figure(s.median)),
        ratio,
        last.join(" "),
    ]
}

/// The beginning of what is missing: a verifier says why in thousands of lines, which the JSON has.
pub(crate) fn in_short(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    let begins: String = line.chars().take(MOST_SAID).collect();
    if begins.len() == why.len() { begins } else { begins + " [...]" }
}

/// From the least to the greatest.
pub(crate) fn range(spread: Spread) -> String {
    format!("{}..{}", figure(spread.min), figure(spread.max))
}

/// A whole number with a space before every three digits.
fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let (sign, digits) = plain.strip_prefix('-').map_or(("", &plain[..]), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Characters of what a table says of a missing row.
const MOST_SAID: usize = 200;
const COLUMNS: usize = 8;
const HEAD: [&str; COLUMNS] =
    ["work", "subject", "peer", "median", "min..max", "peer's", "subject/peer", "notes"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let at = |row: Row| row.with_setting("kernel", "6.18");
        vec![
            at(Row::measured("lookup", "ours", "theirs", "ns", &[(10.0, 20.0), (12.0, 20.0)]))
                .with_setting("entries", 1_000),
            at(Row::absent("http", "ours", "nginx", "req/s", "nginx is missing (package nginx)")),
            at(Row::alone("memory", "ours", "B", &[1_234_567.0])),
        ]
    }

    #[test]
    fn table_shows_figures_spread_ratio_and_what_is_not_common() {
        let text = table(&rows());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "kernel: 6.18");
        let lookup: Vec<&str> = lines[3].split_whitespace().collect();
        let cells = ["lookup", "ours", "theirs", "11.0", "ns", "10.0..12.0"];
        assert_eq!(lookup[..6], cells);
        assert_eq!(lines.last(), Some(&"[1] entries: 1000"));
        assert_eq!(lookup[6..], ["20.0", "0.55", "(0.50..0.60)", "[1]"]);
    }

    #[test]
    fn settings_that_some_rows_share_are_said_once() {
        let row = |work: &str, mtu| Row::alone(work, "o", "ns", &[1.0]).with_setting("mtu", mtu);
        let text = table(&[row("a", 1500), row("b", 3498), row("c", 1500)]);
        let marks: Vec<&str> =
            text.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(marks[1..], ["[1]", "[2]", "[1]", "1500", "3498"]);
    }

    #[test]
    fn absent_row_is_marked_and_shows_no_zero() {
        let text = table(&rows());
        let line = text.lines().find(|line| line.starts_with("http")).unwrap();
        assert!(line.contains("absent  nginx is missing (package nginx)"), "{line}");
        assert!(!line.contains('0'), "{line}");
    }

    #[test]
    fn row_that_is_absent_for_a_long_reason_shows_its_beginning() {
        let why = format!("the program was refused\n{}", "insn\n".repeat(20_000));
        let text = table(&[Row::absent("verdict", "ours", "XDP_PASS", "ns", &why)]);
        assert!(text.contains("absent  the program was refused [...]\n"), "{text}");
    }

    #[test]
    fn row_alone_shows_no_ratio_and_is_not_absent() {
        let text = table(&rows());
        let line = text.lines().find(|line| line.starts_with("memory")).unwrap();
        assert!(line.contains("1 234 567 B") && !line.contains("absent"), "{line}");
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown = [0.0, 0.00042, 0.0123, 0.5, 9.994, 9.996, 99.96, 1_234.4, -1_000.0].map(figure);
        let want = ["0", "4.2e-4", "0.0123", "0.50", "9.99", "10.0", "100", "1 234", "-1 000"];
        assert_eq!(shown, want);
    }

    #[test]
    fn file_that_cannot_be_written_is_named() {
        let error = check_json(Path::new("/no/such/folder/rows.json")).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /no/such/folder/rows.json");
    }

    #[test]
    fn json_file_is_one_array_and_reads_back() {
        let path = std::env::temp_dir().join(format!("sluice-rows-{}.json", std::process::id()));
        write_json(&path, &rows()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let back = read_json(&path);
        fs::remove_file(&path).unwrap();
        assert!(text.starts_with('['));
        assert_eq!(text.lines().count(), rows().len() + 2);
        assert_eq!(back.unwrap(), rows());
    }

    #[test]
    fn file_without_rows_is_named() {
        let error = read_json(Path::new("/nowhere/rows.json")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/rows.json"));
    }

    #[test]
    fn no_rows_are_said_to_be_none() {
        assert_eq!(table(&[]), "no rows\n");
    }
}
