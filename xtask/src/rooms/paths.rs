//! Reads the paths (`a::b::{c, d}`) that a Rust source names, without its comments, strings and
//! tests.
//!
//! Knows tokens and brackets only. Which paths are allowed is the business of the parent module.

/// Every path of at least two parts, spread out at braces, with its line. Also single names at the
/// start of a `use`.
pub(super) fn paths(text: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = without_tests(tokens(text));
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new() };
    while reader.at < tokens.len() {
        let is_use = reader.at > 0 && tokens[reader.at - 1].text == "use";
        let first = reader.found.len();
        reader.path(&[]);
        if !is_use {
            let kept: Vec<_> =
                reader.found.drain(first..).filter(|(_, path)| path.len() > 1).collect();
            reader.found.extend(kept);
        }
    }
    reader.found
}

/// A name, `::`, or a single other character.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Walks over the tokens.
struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<(usize, Vec<String>)>,
}

impl Reader<'_> {
    fn text(&self) -> &str {
        self.tokens.get(self.at).map_or("", |token| &token.text)
    }

    /// Reads one path that begins here, or steps over one token.
    fn path(&mut self, prefix: &[String]) {
        let line = self.tokens[self.at].line;
        let mut path = prefix.to_vec();
        while let Some(token) = self.tokens.get(self.at) {
            if !token.is_name() && token.text != "*" {
                self.at += usize::from(path.len() == prefix.len());
                return;
            }
            path.push(token.text.clone());
            self.at += 1;
            if self.text() != "::" {
                break;
            }
            self.at += 1;
            if self.text() == "{" {
                self.at += 1;
                return self.group(&path);
            }
            // A turbofish ends what names a module.
            if self.text() == "<" {
                break;
            }
        }
        self.found.push((line, path));
    }

    /// Reads what stands between braces after `prefix::`.
    fn group(&mut self, prefix: &[String]) {
        loop {
            match self.text() {
                "" => return,
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                // The new name is no path.
                "as" => self.at += 2,
                _ => self.path(prefix),
            }
        }
    }
}

/// The tokens without every item that stands behind `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..].iter().map(|token| token.text.as_str());
        if here.take(MARK.len()).eq(MARK) {
            at = end_of_item(&tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The place after the item that begins at `at`: after its `;` or its outermost `}`.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            ";" if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Splits the source, leaving out white space, comments, strings and characters.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' | 'b' | 'c' if raw_hashes(&chars, at).is_some() => end_of_raw(&chars, at),
            '\'' => end_of_quote(&chars, at),
            c if c.is_whitespace() => at + 1,
            c if c.is_alphanumeric() || c == '_' => {
                let rest = &chars[at..];
                let end = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                tokens.push(Token { line, text: rest[..end].iter().collect() });
                at + end
            }
            ':' if chars.get(at + 1) == Some(&':') => {
                tokens.push(Token { line, text: "::".into() });
                at + 2
            }
            c => {
                tokens.push(Token { line, text: c.into() });
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
