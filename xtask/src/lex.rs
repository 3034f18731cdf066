//! Splits a Rust source into names, marks and comments.
//!
//! Knows as much of the language as finding strings and comments takes, and no grammar.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a keyword or a number.
    Name,
    /// `::`, or a single other character.
    Mark,
    /// A comment with its slashes; a comment to the end of the line is one for each line.
    Comment,
}

/// A token and the line in which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    /// Whether it is a name or keyword, and no number.
    pub(crate) fn begins_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Splits the source, leaving out white space, strings and characters.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut push = |kind, line, text| tokens.push(Token { kind, line, text });
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if matches!(chars.get(at + 1), Some('/' | '*')) => {
                let is_line = chars[at + 1] == '/';
                let find = if is_line { end_of_line } else { end_of_comment };
                let end = find(&chars, at).min(chars.len());
                push(Kind::Comment, line, chars[at..end].iter().collect());
                end
            }
            '"' => end_of_string(&chars, at),
            'r' | 'b' | 'c' if raw_hashes(&chars, at).is_some() => end_of_raw(&chars, at),
            '\'' => end_of_quote(&chars, at),
            c if c.is_whitespace() => at + 1,
            c if c.is_alphanumeric() || c == '_' => {
                let rest = &chars[at..];
                let end = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                push(Kind::Name, line, rest[..end].iter().collect());
                at + end
            }
            ':' if chars.get(at + 1) == Some(&':') => {
                push(Kind::Mark, line, "::".into());
                at + 2
            }
            c => {
                push(Kind::Mark, line, c.into());
                at + 1
            }
        };
        let end = end.min(chars.len());
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n)
}

/// Block comments nest.
fn end_of_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0usize;
    let mut here = at;
    while here < chars.len() {
        match (chars[here], chars.get(here + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                here += 1;
                continue;
            }
        }
        here += 2;
        if depth == 0 {
            return here;
        }
    }
    here
}

fn end_of_string(chars: &[char], at: usize) -> usize {
    let mut here = at + 1;
    while here < chars.len() && chars[here] != '"' {
        here += if chars[here] == '\\' { 2 } else { 1 };
    }
    here + 1
}

/// How many hashes a raw string that begins here has; `None` where none begins.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    if at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') {
        return None;
    }
    let letters = chars[at..].iter().take(2).take_while(|c| ['r', 'b', 'c'].contains(c)).count();
    if !chars[at..at + letters].contains(&'r') {
        return None;
    }
    let rest = &chars[at + letters..];
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

fn end_of_raw(chars: &[char], at: usize) -> usize {
    let hashes = raw_hashes(chars, at).unwrap_or(0);
    let mut here = at + chars[at..].iter().position(|c| *c == '"').unwrap_or(0) + 1;
    while here < chars.len() {
        let is_end = chars[here] == '"'
            && chars[here + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        here += 1;
        if is_end {
            return here + hashes;
        }
    }
    here
}

/// A character ends at its second quote; a lifetime is only its quote.
fn end_of_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let rest = chars.get(at + 3..).unwrap_or_default();
            at + 4 + rest.iter().position(|c| *c == '\'').unwrap_or(rest.len())
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}
