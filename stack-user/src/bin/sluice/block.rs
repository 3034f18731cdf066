//! `sluice block`: what a Sluice that runs does not listen to.
//!
//! It changes the maps of the XDP program on the interface: the process that serves there has nothing to
//! do with it, and need not be well.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::{Args, Subcommand};

use sluice::control::Refusal;
use sluice::control::blocks::Blocks;
use sluice::control::prefix::Prefix;

use crate::setup::refuse;

/// The options of `sluice block`.
#[derive(Debug, Args)]
pub(crate) struct BlockOptions {
    #[command(subcommand)]
    change: Change,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// From now on nothing that comes from there is heard, not even of connections that are open.
    Add(Named),
    /// Takes entries off the list, as they were added: a network does not let its parts go.
    Remove(Named),
    /// Prints the list, a network on each line.
    List(Place),
}

#[derive(Debug, Args)]
struct Place {
    /// The interface that is served.
    #[arg(long, value_name = "IFACE")]
    iface: String,
}

#[derive(Debug, Args)]
struct Named {
    #[command(flatten)]
    place: Place,
    /// Networks or hosts of either family, such as 192.0.2.0/24 or 2001:db8::1.
    #[arg(value_name = "CIDR", required = true)]
    prefixes: Vec<Prefix>,
}

pub(crate) fn run(options: &BlockOptions) -> Result<()> {
    match &options.change {
        Change::Add(named) => blocks(&named.place)?.add(&named.prefixes).map_err(refuse),
        Change::Remove(named) => remove(named),
        Change::List(place) => {
            let list = blocks(place)?.list().map_err(refuse)?;
            let lines: String = list.iter().map(|prefix| format!("{prefix}\n")).collect();
            // Nobody may be reading.
            let _ = std::io::stdout().write_all(lines.as_bytes());
            Ok(())
        }
    }
}

fn blocks(place: &Place) -> Result<Blocks> {
    Blocks::of_interface(&place.iface).map_err(refuse)
}

/// Removes all that are there; then refuses where one was not.
fn remove(named: &Named) -> Result<()> {
    let mut blocks = blocks(&named.place)?;
    let mut missing = Vec::new();
    for prefix in &named.prefixes {
        if !blocks.remove(*prefix).map_err(refuse)? {
            missing.push(prefix.to_string());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let iface = &named.place.iface;
    let what = format!("{} is not on the block list of {iface}", missing.join(", "));
    Err(Refusal::new(what, format!("`sluice block list --iface {iface}` shows what is")).into())
}

/// The entries of a file: one on each line, empty lines and what follows `#` left out.
pub(crate) fn read(file: &Path) -> Result<Vec<Prefix>, Refusal> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| {
        Refusal::new(format_args!("--block-list {shown}: {error}"), "give a file that can be read")
    })?;
    parse(&text).map_err(|(line, error)| {
        Refusal::new(format_args!("{shown}, line {line}: {error}"), "give a network on each line")
    })
}

fn parse(text: &str) -> Result<Vec<Prefix>, (usize, String)> {
    let lines = (1..).zip(text.lines());
    let entries = lines.map(|(number, line)| {
        (number, line.split_once('#').map_or(line, |(entry, _)| entry).trim())
    });
    entries
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(number, entry)| entry.parse().map_err(|error| (number, error)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_an_entry_on_each_line() {
        let text = "# by hand\n\n10.0.0.0/8\n  2001:db8::1 # a scanner\n";
        let shown: Vec<_> = parse(text).unwrap().iter().map(Prefix::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "2001:db8::1/128"]);
        assert_eq!(parse("10.0.0.0/8\n\n10.0.0.1/8").unwrap_err().0, 3);
    }
}
