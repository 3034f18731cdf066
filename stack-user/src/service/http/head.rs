//! The head of a request: from bytes to what the service has to know (RFC 9112, sections 2 to 6).
//!
//! The grammar of lines and tokens is the crate `httparse`'s; framing and persistence are decided
//! here.

use super::reply::Code;
use super::{BODY_LIMIT, HEAD_LIMIT};

/// What the bytes received so far amount to.
pub(super) enum Outcome<'a> {
    /// Not yet a whole head.
    Partial,
    /// A head of this many bytes.
    Complete(usize, Head<'a>),
    /// Not HTTP, or not one that can be answered otherwise than by this code and a close.
    Bad(Code),
}

/// One request, without its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: Method,
    /// Path of the target, without its query; `*` and the like as they came.
    pub(super) path: &'a str,
    pub(super) version: Version,
    /// Whether the client wants the connection kept.
    pub(super) persistence: Persistence,
    /// Length of the body in bytes.
    pub(super) body: u64,
    /// Whether the client holds its body back until it hears (RFC 9110, 10.1.1).
    pub(super) expects_continue: bool,
    /// Why the request is refused whatever its target is. The connection closes after that.
    pub(super) fault: Option<Code>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    /// A method of the registry that no resource here supports.
    Known,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Keep,
    Close,
}

/// Reads the head of a request at the start of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Outcome<'_> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Outcome::Partial,
        Err(httparse::Error::TooManyHeaders) => return Outcome::Bad(Code::HeadTooLarge),
        Err(httparse::Error::Version) if names_a_version(bytes) => {
            return Outcome::Bad(Code::VersionNotSupported);
        }
        Err(_) => return Outcome::Bad(Code::BadRequest),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Outcome::Bad(Code::BadRequest);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut head = Head {
        method: method_of(method),
        path: "",
        version,
        persistence: Persistence::Keep,
        body: 0,
        expects_continue: false,
        fault: None,
    };
    let facts = Fields::of(request.headers);
    head.fault = facts.apply(&mut head).err();
    match path_of(target, method) {
        Some(path) => head.path = path,
        None => head.fault = Some(Code::BadRequest),
    }
    Outcome::Complete(len, head)
}

/// The fields of a head that say where the request ends and what follows it.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    host_is_bad: bool,
    lengths: usize,
    length: &'a [u8],
    codings: usize,
    coding: &'a [u8],
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl<'a> Fields<'a> {
    fn of(headers: &[httparse::Header<'a>]) -> Self {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = header.value.trim_ascii();
            if is("host") {
                fields.hosts += 1;
                fields.host_is_bad |= !value.iter().all(|b| is_host_byte(*b));
            } else if is("content-length") {
                fields.lengths += 1;
                fields.length = value;
            } else if is("transfer-encoding") {
                fields.codings += 1;
                fields.coding = value;
            } else if is("connection") {
                fields.close |= has_token(value, b"close");
                fields.keep_alive |= has_token(value, b"keep-alive");
            } else if is("expect") {
                fields.expects_continue |= has_token(value, b"100-continue");
            }
        }
        fields
    }

    /// Fills in what the fields say of the request; an error is the code it is refused with.
    fn apply(&self, head: &mut Head<'_>) -> Result<(), Code> {
        // RFC 9112, 9.3: close wins; 1.1 persists, 1.0 only where it asks to.
        let keeps = head.version == Version::Http11 || self.keep_alive;
        head.persistence =
            if keeps && !self.close { Persistence::Keep } else { Persistence::Close };
        // RFC 9112, 3.2: exactly one Host in 1.1; 400 for a missing, repeated or invalid one.
        let has_host = self.hosts == 1 || (self.hosts == 0 && head.version == Version::Http10);
        if !has_host || self.host_is_bad {
            return Err(Code::BadRequest);
        }
        if self.codings > 0 {
            return Err(self.coding_fault(head.version));
        }
        head.body = self.body_len()?;
        // RFC 9110, 10.1.1: a server ignores the expectation of a 1.0 client.
        head.expects_continue =
            self.expects_continue && head.body > 0 && head.version == Version::Http11;
        if head.body > BODY_LIMIT { Err(Code::ContentTooLarge) } else { Ok(()) }
    }

    /// Why a body with a transfer coding is refused.
    fn coding_fault(&self, version: Version) -> Code {
        // RFC 9112, 6.1 and 6.3: with Content-Length, or from 1.0, its end cannot be trusted.
        if self.lengths > 0 || version == Version::Http10 || self.codings > 1 {
            return Code::BadRequest;
        }
        // RFC 9110, 8.6 lets a server ask for a length; no other coding is known here.
        if self.coding.eq_ignore_ascii_case(b"chunked") {
            Code::LengthRequired
        } else {
            Code::NotImplemented
        }
    }

    fn body_len(&self) -> Result<u64, Code> {
        if self.lengths == 0 {
            return Ok(0);
        }
        if self.lengths > 1 {
            return Err(Code::BadRequest);
        }
        // Digits that do not fit are a length beyond any limit.
        digits(self.length).ok_or(Code::BadRequest).map(|len| len.unwrap_or(u64::MAX))
    }
}

/// The number that `bytes` spell: `None` unless all are digits, `Some(None)` when it overflows.
fn digits(bytes: &[u8]) -> Option<Option<u64>> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(Some(0u64), |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.and_then(|value| value.checked_mul(10)?.checked_add(digit)))
    })
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => Method::Known,
        _ => Method::Unknown,
    }
}

/// The path of a request target in any of its forms (RFC 9112, 3.2).
fn path_of<'a>(target: &'a str, method: &str) -> Option<&'a str> {
    let target = match target.split_at_checked(HTTP_SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(HTTP_SCHEME) => {
            let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
            if path.starts_with('/') { path } else { "/" }
        }
        _ => target,
    };
    let is_special = (target == "*" && method == "OPTIONS") || method == "CONNECT";
    if !target.starts_with('/') && !is_special {
        return None;
    }
    target.split('?').next()
}

/// Whether the request line ends as one of HTTP does, so that only its version is strange.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start();
    let line = &line[..line.len().min(HEAD_LIMIT)];
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
    let word = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"/?#@\\,<>\"".contains(&byte)
}

const HTTP_SCHEME: &str = "http://";
/// The most header fields of a request.
const FIELDS: usize = 64;
