//! Finds where a Rust source names requirements: in comments, beside code or beside a test.
//!
//! A comment belongs to the item that it stands above, or to the function in which it stands. What
//! the names mean is the business of the parent module.

use crate::lex::{self, Kind, Token};

/// A comment that names requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// The line in which the comment begins.
    pub line: usize,
    /// The ids it names, each once.
    pub ids: Vec<String>,
    /// The item it belongs to; empty for the file as a whole.
    pub item: String,
    pub side: Side,
    /// Whether it says `RFC 9293`, which the ids of that RFC need.
    pub cites: bool,
}

/// What a comment stands beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Code,
    Test,
    /// Something that only tests use, and that is no test.
    Neither,
}

/// Every mention in `text`. `is_test_file` where the file is built for tests alone.
pub(super) fn mentions(text: &str, is_test_file: bool) -> Vec<Mention> {
    let mut reader = Reader {
        tokens: &lex::tokens(text),
        at: 0,
        scopes: Vec::new(),
        depth: 0,
        opening: None,
        waiting: Vec::new(),
        is_test_file,
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

/// A pair of braces that is open.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// The item whose braces they are; empty for a block.
    name: String,
    is_fn: bool,
    /// A test, or a module for tests alone.
    is_test: bool,
    /// The parentheses and brackets around it.
    depth: usize,
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    scopes: Vec<Scope>,
    /// Open parentheses and brackets.
    depth: usize,
    /// The item whose braces come next.
    opening: Option<Scope>,
    /// Comments whose item is not known yet: line and text.
    waiting: Vec<(usize, String)>,
    is_test_file: bool,
    found: Vec<Mention>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match (token.kind, token.text.as_str()) {
                (Kind::Comment, _) => self.comment(),
                (_, "#") => {
                    // Attributes of a statement or an expression say nothing of a test.
                    let is_test = self.attributes();
                    self.item(is_test);
                }
                (_, "{") => {
                    self.settle("");
                    self.scopes.push(self.opening.take().unwrap_or_default());
                    self.at += 1;
                }
                (_, "}") => {
                    self.settle("");
                    self.scopes.pop();
                    self.at += 1;
                }
                (_, ";") => {
                    // Not the one in `[u8; 4]`.
                    let depth = self.depth;
                    self.opening.take_if(|scope| scope.depth >= depth);
                    self.at += 1;
                }
                _ => self.item(false),
            }
        }
        self.settle("");
    }

    /// Takes a comment: joins it to the one in the line before.
    fn comment(&mut self) {
        let (line, text) = (self.tokens[self.at].line, self.tokens[self.at].text.as_str());
        self.at += 1;
        if text.starts_with("//!") {
            self.waiting.push((line, text.into()));
            let next = self.tokens.get(self.at);
            if next.is_none_or(|next| !next.text.starts_with("//!")) {
                let all = self.waiting.drain(..).collect();
                self.note(all, "");
            }
            return;
        }
        self.waiting.push((line, text.into()));
    }

    /// Steps over attributes and the comments among them; whether one of them is `#[test]`, or marks
    /// what is built for tests alone.
    fn attributes(&mut self) -> bool {
        let mut is_test = false;
        while let Some(token) = self.tokens.get(self.at) {
            if token.kind == Kind::Comment {
                self.comment();
                continue;
            }
            if token.text != "#" {
                break;
            }
            let from = self.at;
            let mut depth = 0usize;
            while let Some(token) = self.tokens.get(self.at) {
                self.at += 1;
                match token.text.as_str() {
                    "[" => depth += 1,
                    "]" => depth -= 1,
                    _ => {}
                }
                if depth == 0 && token.text == "]" {
                    break;
                }
            }
            let names: Vec<_> = self.tokens[from..self.at]
                .iter()
                .filter(|token| token.kind == Kind::Name)
                .collect();
            is_test |= matches!(names[..], [name] if name.text == "test");
            is_test |= matches!(names[..], [cfg, name] if cfg.text == "cfg" && name.text == "test");
        }
        is_test
    }

    /// Looks at what begins here: an item opens a scope and takes the comments that wait.
    fn item(&mut self, is_test: bool) {
        let Some(token) = self.tokens.get(self.at) else { return };
        let word = token.text.as_str();
        if ["{", "}", ";", "#"].contains(&word) || token.kind == Kind::Comment {
            return;
        }
        self.at += 1;
        let next = self.tokens.get(self.at).filter(|next| next.begins_name());
        let name = next.map_or("", |next| next.text.as_str()).to_string();
        let depth = self.depth;
        match word {
            "(" | "[" => {
                self.settle("");
                self.depth += 1;
            }
            ")" | "]" => {
                self.settle("");
                self.depth = depth.saturating_sub(1);
            }
            // What stands before the word that tells the item.
            "pub" | "unsafe" | "async" | "extern" | "default" => {
                self.visibility();
                self.item(is_test);
            }
            "const" if ["fn", "unsafe"].contains(&name.as_str()) => self.item(is_test),
            "fn" if !name.is_empty() => {
                self.settle_in(&name, is_test);
                self.opening = Some(Scope { name, is_fn: true, is_test, depth });
            }
            "mod" | "struct" | "enum" | "trait" | "union" if !name.is_empty() => {
                self.settle(&name);
                self.opening = Some(Scope { name, is_fn: false, is_test, depth });
            }
            "const" | "static" | "type" if !name.is_empty() => self.settle(&name),
            "impl" => self.settle(""),
            _ if self.waiting.is_empty() => {}
            _ => {
                // A field, a variant, or a line of a function.
                let name = if token.begins_name() { word.to_string() } else { String::new() };
                let owner = self.scopes.last().map_or("", |scope| &scope.name);
                let name = match owner {
                    "" => name,
                    owner => format!("{owner}::{name}"),
                };
                self.settle(&name);
            }
        }
    }

    /// Steps over the parentheses of `pub(crate)`.
    fn visibility(&mut self) {
        if self.tokens.get(self.at).is_some_and(|token| token.text == "(") {
            while self.tokens.get(self.at).is_some_and(|token| token.text != ")") {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    /// The comments that wait belong to a function that begins here.
    fn settle_in(&mut self, name: &str, is_test: bool) {
        let waiting: Vec<_> = self.waiting.drain(..).collect();
        self.scopes.push(Scope { name: name.into(), is_fn: true, is_test, depth: self.depth });
        self.note(waiting, name);
        self.scopes.pop();
    }

    /// The comments that wait belong to `name`, or to the function around it.
    fn settle(&mut self, name: &str) {
        let waiting: Vec<_> = self.waiting.drain(..).collect();
        self.note(waiting, name);
    }

    fn note(&mut self, comments: Vec<(usize, String)>, name: &str) {
        for (line, text) in blocks(comments) {
            let ids = ids(&text);
            if ids.is_empty() {
                continue;
            }
            let test = self.scopes.iter().find(|scope| scope.is_fn && scope.is_test);
            let function = test.or_else(|| self.scopes.iter().rfind(|scope| scope.is_fn));
            let item = function.map_or(name, |scope| &scope.name).to_string();
            let is_for_tests = self.is_test_file || self.scopes.iter().any(|scope| scope.is_test);
            let side = match (test.is_some(), is_for_tests) {
                (true, _) => Side::Test,
                (false, true) => Side::Neither,
                (false, false) => Side::Code,
            };
            self.found.push(Mention { line, ids, item, side, cites: text.contains("RFC 9293") });
        }
    }
}

/// Joins comments in lines that follow each other.
fn blocks(comments: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, usize, String)> = Vec::new();
    for (line, text) in comments {
        let text = text.trim_start_matches(['/', '!', '*']).trim();
        match blocks.last_mut() {
            Some((_, last, block)) if *last + 1 == line => {
                *last = line;
                block.push(' ');
                block.push_str(text);
            }
            _ => blocks.push((line, line, text.to_string())),
        }
    }
    blocks.into_iter().map(|(first, _, text)| (first, text)).collect()
}

/// The ids that `text` names, each once and in order; `MUST-24 to MUST-29` and `MUST-24 to 29` name
/// all between.
pub(super) fn ids(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let id = if before.is_alphanumeric() || before == '-' { None } else { id_at(rest) };
        let Some((kind, number, len)) = id else {
            before = first;
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[len..];
        before = '0';
        let last = range_end(kind, rest).filter(|_| kind != "CM");
        let single = [number.to_string()];
        let numbers: Vec<String> = match (number.parse::<u16>(), last) {
            (Ok(from), Some(to)) if from < to => (from..=to).map(|n| n.to_string()).collect(),
            _ => single.to_vec(),
        };
        for number in numbers {
            let id = format!("{kind}-{number}");
            if !found.contains(&id) {
                found.push(id);
            }
        }
    }
    found
}

/// The id at the start of `text`: kind, number, and the octets of both.
fn id_at(text: &str) -> Option<(&'static str, &str, usize)> {
    let kind = KINDS.into_iter().find(|kind| text.starts_with(kind))?;
    let number = text[kind.len()..].strip_prefix('-')?;
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let mut len = digits;
    if kind == "CM" {
        let bytes = number.as_bytes();
        let has_letter = bytes.get(len) == Some(&b'.')
            && bytes.get(len + 1).is_some_and(u8::is_ascii_lowercase)
            && !bytes.get(len + 2).is_some_and(u8::is_ascii_alphanumeric);
        if !has_letter {
            return None;
        }
        len += 2;
    }
    Some((kind, &number[..len], kind.len() + 1 + len))
}

/// The number after ` to `, where a range of ids of this kind goes on.
fn range_end(kind: &str, rest: &str) -> Option<u16> {
    let rest = rest.strip_prefix(" to ")?;
    let rest = rest.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

/// What an id may begin with.
const KINDS: [&str; 5] = ["MUST", "SHLD", "MAY", "REC", "CM"];
