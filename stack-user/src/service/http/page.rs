//! The status page and the error pages as HTML: self-contained, without script.
//!
//! Everything that is not a literal of this file goes through [`Escaped`].

use std::fmt::{self, Write as _};

use super::status::Snapshot;
use crate::time::Duration;

/// The status page.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut page = String::with_capacity(16 * 1024);
    page.push_str(HEAD);
    // Writing to a String does not fail.
    let _ = summary(&mut page, snapshot)
        .and_then(|()| states(&mut page, snapshot))
        .and_then(|()| counters(&mut page, snapshot))
        .and_then(|()| program(&mut page, snapshot));
    page.push_str(FOOT);
    page
}

/// The page of an error: `path` is the client's own text, or empty.
pub(super) fn error(line: &str, path: &str, advice: &str) -> String {
    let (line, advice) = (Escaped(line), Escaped(advice));
    let subject = if path.is_empty() { "" } else { ": " };
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{line}</title>\n\
         <h1>{line}</h1>\n<p>{advice}{subject}<code>{}</code></p></html>\n",
        Escaped(path)
    )
}

fn summary(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let addresses: Vec<String> = snapshot.addresses.iter().map(ToString::to_string).collect();
    let listeners: Vec<String> =
        snapshot.listeners.iter().map(|(port, name)| format!("{port}={name}")).collect();
    let rates = [
        ("Received", format!("{}, {}", bits(snapshot, "bytes_in"), frames(snapshot, "frames_in"))),
        ("Sent", format!("{}, {}", bits(snapshot, "bytes_out"), frames(snapshot, "frames_out"))),
    ];
    let facts = [
        ("Up for", uptime(snapshot.uptime)),
        ("Interface", snapshot.interface.clone()),
        ("Queues", snapshot.queues.to_string()),
        ("Mode", snapshot.mode.clone()),
        ("Addresses", addresses.join(", ")),
        ("Listeners", listeners.join(", ")),
    ];
    page.push_str("<table class=\"facts\">\n");
    for (name, value) in facts.iter().chain(&rates) {
        writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", Escaped(value))?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn states(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    page.push_str("<h2>Connections</h2>\n<table>\n<tr><th>State</th><th>Count</th></tr>\n");
    for (name, count) in &snapshot.states {
        row(page, &[], name, &[&Grouped(*count)])?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn counters(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    page.push_str(
        "<h2>Counters</h2>\n<table>\n<tr><th>Name</th><th>Value</th><th>Per second</th></tr>\n",
    );
    // What has happened comes first, each part in the counters' own order.
    let all = snapshot.counters.iter();
    let some = all.clone().filter(|counter| counter.value > 0);
    for counter in some.chain(all.filter(|counter| counter.value == 0)) {
        let zero = if counter.value == 0 { " class=\"zero\"" } else { "" };
        let rate = Grouped(snapshot.rate(counter.name).round() as u64);
        row(page, &[zero, counter.help], counter.name, &[&Grouped(counter.value), &rate])?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn program(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    if snapshot.program.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>XDP program</h2>\n<table>\n<tr><th>Name</th><th>Value</th></tr>\n");
    for (name, value) in &snapshot.program {
        let zero = if *value == 0 { " class=\"zero\"" } else { "" };
        row(page, &[zero], name, &[&Grouped(*value)])?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// One line of a table. `attributes` is nothing, or a class, or a class and a title.
fn row(
    page: &mut String,
    attributes: &[&str],
    name: &str,
    values: &[&dyn fmt::Display],
) -> fmt::Result {
    write!(page, "<tr{}", attributes.first().unwrap_or(&""))?;
    if let Some(title) = attributes.get(1) {
        write!(page, " title=\"{}\"", Escaped(title))?;
    }
    write!(page, "><td>{}</td>", Escaped(name))?;
    for value in values {
        write!(page, "<td class=\"n\">{value}</td>")?;
    }
    page.push_str("</tr>\n");
    Ok(())
}

/// `3 d 2 h 1 min 0 s`, without the leading parts that are zero.
fn uptime(up: Duration) -> String {
    let seconds = up.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let parts: Vec<String> =
        parts[first..].iter().map(|(count, unit)| format!("{count} {unit}")).collect();
    parts.join(" ")
}

/// The rate of a counter of bytes, in bits per second with a decimal prefix.
fn bits(snapshot: &Snapshot, name: &str) -> String {
    let mut rate = snapshot.rate(name) * 8.0;
    for unit in ["bit/s", "kbit/s", "Mbit/s"] {
        if rate < 1_000.0 {
            return format!("{rate:.1} {unit}");
        }
        rate /= 1_000.0;
    }
    format!("{rate:.2} Gbit/s")
}

fn frames(snapshot: &Snapshot, name: &str) -> String {
    format!("{} frames/s", Grouped(snapshot.rate(name).round() as u64))
}

/// A number with its thousands apart: `12,345`.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// Text that HTML shows as it is, also inside a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Sluice</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .75rem; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid #8884; }
th { font-weight: 600; }
.facts th { width: 9rem; }
th:not(:first-child), .n { text-align: right; font-variant-numeric: tabular-nums; }
.facts td { text-align: left; }
.zero { opacity: .45; }
footer { margin-top: 1.5rem; font-size: .85rem; opacity: .7; }
</style>
</head>
<body>
<h1>Sluice</h1>
"#;

const FOOT: &str = "<footer>Refreshes every five seconds. The same as JSON: \
                    <a href=\"/stats\">/stats</a>.</footer>\n</body>\n</html>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_markup_is_shown_and_not_run() {
        let text = Escaped("<a href=\"x\" id='y'>&").to_string();
        assert_eq!(text, "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn grouped_numbers_are_split_by_threes() {
        let shown = |n| Grouped(n).to_string();
        assert_eq!((shown(0), shown(999)), ("0".into(), "999".into()));
        assert_eq!((shown(1000), shown(1_234_567)), ("1,000".into(), "1,234,567".into()));
    }

    #[test]
    fn uptime_leaves_out_leading_zeros() {
        assert_eq!(uptime(Duration::ZERO), "0 s");
        assert_eq!(uptime(Duration::from_secs(3_600)), "1 h 0 min 0 s");
        assert_eq!(uptime(Duration::from_secs(90_061)), "1 d 1 h 1 min 1 s");
    }

    #[test]
    fn bits_choose_their_prefix() {
        let shown = |rate| bits(&Snapshot { rates: vec![("b", rate)], ..Snapshot::default() }, "b");
        assert_eq!(shown(10.0), "80.0 bit/s");
        assert_eq!(shown(125_000_000.0), "1.00 Gbit/s");
    }
}
