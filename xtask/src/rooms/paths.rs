//! Reads the paths (`a::b::{c, d}`) that a Rust source names, without its comments, strings and
//! tests.
//!
//! Knows tokens and brackets only. Which paths are allowed is the business of the parent module.

use crate::lex::{self, Kind, Token};

/// Every path of at least two parts, spread out at braces, with its line. Also single names at the
/// start of a `use`.
pub(super) fn paths(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut tokens = lex::tokens(text);
    tokens.retain(|token| token.kind != Kind::Comment);
    let tokens = without_tests(tokens);
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
            if !token.begins_name() && token.text != "*" {
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
