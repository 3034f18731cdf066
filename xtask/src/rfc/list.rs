//! What is asked: the requirements of RFC 9293, the features of connection management, and the
//! deviations that docs/decisions.md records.

use anyhow::{Context, Result, bail};

use super::source;

/// One thing that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub id: String,
    /// The section of RFC 9293, or the feature's topic.
    pub section: String,
    pub words: String,
}

impl Asked {
    /// Whether it has to be met, or its absence explained.
    pub(super) fn is_required(&self) -> bool {
        ["MUST-", "SHLD-", "CM-"].iter().any(|kind| self.id.starts_with(kind))
    }
}

/// Reads a list of lines `id | section | words`.
pub(super) fn asked(text: &str) -> Result<Vec<Asked>> {
    let mut all: Vec<Asked> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.splitn(3, " | ").map(String::from);
        let (Some(id), Some(section), Some(words)) = (parts.next(), parts.next(), parts.next())
        else {
            bail!("not `id | section | words`: {line}");
        };
        if source::ids(&id) != [id.as_str()] {
            bail!("not an id: {id}");
        }
        if all.iter().any(|asked| asked.id == id) {
            bail!("twice in the list: {id}");
        }
        all.push(Asked { id, section, words });
    }
    Ok(all)
}

/// Where Sluice does not do what is asked, on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deviation {
    /// The heading of its section.
    pub title: String,
    pub ids: Vec<String>,
    /// What it deviates from, as written.
    pub from: String,
}

/// The deviations in docs/decisions.md: paragraphs that begin with [`MARK`], each in a section that
/// gives the reason.
pub(super) fn deviations(text: &str) -> Result<Vec<Deviation>> {
    let mut all = Vec::new();
    for section in text.split("\n## ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        let mut has_reason = false;
        let mut found = Vec::new();
        for paragraph in body.split("\n\n").map(|paragraph| paragraph.trim()) {
            let Some(from) = paragraph.strip_prefix(MARK) else {
                has_reason |= !paragraph.is_empty();
                continue;
            };
            let from = from.split_whitespace().collect::<Vec<_>>().join(" ");
            let ids = source::ids(&from);
            found.push(Deviation { title: title.trim().into(), ids, from });
        }
        if !found.is_empty() && !has_reason {
            bail!("docs/decisions.md, `{}`: a deviation without its reason", title.trim());
        }
        all.extend(found);
    }
    Ok(all)
}

/// GitHub's anchor for a heading.
pub(super) fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Both lists, in their order.
pub(super) fn all() -> Result<Vec<Asked>> {
    let mut all = asked(include_str!("requirements.txt")).context("rfc/requirements.txt")?;
    all.extend(asked(include_str!("features.txt")).context("rfc/features.txt")?);
    Ok(all)
}

/// How the line of a deviation begins.
pub(super) const MARK: &str = "Deviates from:";
