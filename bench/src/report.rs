//! The report: docs/benchmarks.md with its plots and its rows, and the README's figures.
//!
//! Owns where rows come from and which files are written. What stands in them is the business of the
//! files beside this one, which take rows of any work.

mod page;
mod parts;
mod plots;
mod readme;
mod required;
mod works;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::printer;
use crate::row::Row;

/// The options of the report.
#[derive(Debug, Args)]
pub struct Options {
    /// Files of rows, as `--json` writes them; without one micro, macro and flood run first.
    #[arg(value_name = "JSON")]
    files: Vec<PathBuf>,
    /// Short runs of micro, macro and flood, whose report goes to a temporary folder that is removed: shows that
    /// all of it works, and measures nothing.
    #[arg(long, conflicts_with = "files")]
    smoke: bool,
    /// Writes all rows to this file too, as one array of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder that is written to instead of the repository: README.md, docs/.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Gets rows, and writes the report.
///
/// # Errors
/// Where a file cannot be read or written, on Ctrl-C, and, after everything was written, where a part of
/// the measurement failed.
pub fn run(options: &Options) -> Result<()> {
    if let Some(path) = &options.json {
        printer::check_json(path)?;
    }
    // Before anything is measured: rows that mean nothing do not take the place of those of a real run.
    let temporary = Temporary::make(options.smoke)?;
    let (rows, failures) = if options.files.is_empty() {
        parts::measure(temporary.folder())?
    } else {
        (read(&options.files)?, Vec::new())
    };
    ensure!(!rows.is_empty(), "there is not a single row");
    if let Some(path) = &options.json {
        printer::write_json(path, &rows)?;
    }
    let repository = repository();
    let into = options.into.as_deref().or(temporary.folder()).unwrap_or(&repository);
    if into != repository {
        fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
        fs::copy(repository.join(README), into.join(README)).context("README.md")?;
    }
    for path in write(&rows, into)? {
        let shown = path.strip_prefix(&repository).unwrap_or(&path).display();
        eprintln!("report: wrote {shown}");
    }
    ensure!(
        failures.is_empty(),
        "the report is written, and not all went well: {}",
        failures.join("; ")
    );
    Ok(())
}

/// The rows of several files. A row that stands in two of them is taken from the later one.
fn read(files: &[PathBuf]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for file in files {
        for row in printer::read_json(file)? {
            match rows.iter_mut().find(|earlier| earlier.name() == row.name()) {
                Some(earlier) => *earlier = row,
                None => rows.push(row),
            }
        }
    }
    Ok(rows)
}

/// Writes page, plots and the README's part below `into`; which files there are now.
fn write(rows: &[Row], into: &Path) -> Result<Vec<PathBuf>> {
    let folder = into.join("docs/plots");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let plots = plots::all(rows);
    let mut written = Vec::new();
    let mut put = |path: PathBuf, text: &str| -> Result<()> {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
        Ok(())
    };
    for plot in &plots {
        let path = folder.join(plot.file);
        match &plot.svg {
            Ok(svg) => put(path, svg)?,
            // What an earlier run drew shows nothing of this one.
            Err(_) if path.exists() => fs::remove_file(&path).context("an old plot")?,
            Err(_) => {}
        }
    }
    put(into.join("docs/benchmarks.md"), &page::page(rows, &plots))?;
    put(into.join(ROWS), &printer::json(rows)?)?;
    let path = into.join(README);
    let old = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    match readme::renewed(&old, rows, &plots)? {
        Some(new) => put(path, &new)?,
        None => eprintln!("report: the README stays as it is: none of its rows was measured"),
    }
    Ok(written)
}

/// The folder of the sources that this program was built from.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A folder that is removed when dropped, or none.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn make(is_wanted: bool) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sluice-report-{}", std::process::id()));
        if is_wanted {
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(Self(is_wanted.then_some(path)))
    }

    fn folder(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_dir_all(path);
        }
    }
}

const README: &str = "README.md";
/// The rows of the page: to be compared with, and to be renewed in part.
const ROWS: &str = "docs/benchmarks.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_written_from_files_and_the_later_one_counts() {
        let folder =
            std::env::temp_dir().join(format!("sluice-report-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let row = |ours| {
            Row::measured("connect, 32 at once", "sluice", "kernel", "conn/s", &[(ours, 1.0)])
        };
        let files = [folder.join("a.json"), folder.join("b.json")];
        for (file, ours) in files.iter().zip([2.0, 3.0]) {
            printer::write_json(file, &[row(ours)]).unwrap();
        }
        // The flood of an earlier run.
        fs::create_dir_all(folder.join("docs/plots")).unwrap();
        fs::write(folder.join("docs/plots/flood.svg"), "old").unwrap();
        let options =
            Options { files: files.into(), smoke: false, json: None, into: Some(folder.clone()) };
        run(&options).unwrap();
        let page = fs::read_to_string(folder.join("docs/benchmarks.md")).unwrap();
        let readme = fs::read_to_string(folder.join(README)).unwrap();
        let rows = printer::read_json(&folder.join(ROWS));
        let has =
            ["scaling.svg", "flood.svg"].map(|file| folder.join("docs/plots").join(file).exists());
        fs::remove_dir_all(&folder).unwrap();
        assert!(page.contains("3.00 (3.00..3.00) | yes"), "{page}");
        assert_eq!(rows.unwrap(), [row(3.0)]);
        assert!(readme.contains("docs/plots/scaling.svg") && readme.contains("3.00"), "{readme}");
        assert_eq!(has, [true, false]);
    }

    #[test]
    fn temporary_folder_goes_with_its_owner() {
        let made = Temporary::make(true).unwrap();
        let path = made.folder().unwrap().to_path_buf();
        assert!(path.is_dir());
        drop(made);
        assert!(!path.exists() && Temporary::make(false).unwrap().folder().is_none());
    }
}
