//! Replies: which one a request gets, its head, and how far it has been sent.

use std::fmt::Write as _;
use std::ops::Range;

use super::head::{Head, Method, Persistence, Version};
use super::pattern::pattern_at;
use super::status::Status;
use super::{json, page};

/// A reply on its way out: text first, then bytes of the pattern.
#[derive(Debug)]
pub(super) struct Reply {
    /// The head, with the body where that is text.
    text: Vec<u8>,
    /// How much of `text` was sent.
    sent: usize,
    /// Offsets of the pattern still to be sent.
    bytes: Range<u64>,
    pub(super) then: Then,
}

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    KeepOpen,
    Close,
}

/// The status codes that are used (RFC 9110, section 15; 431 is of RFC 6585).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    LengthRequired,
    ContentTooLarge,
    HeadTooLarge,
    NotImplemented,
    VersionNotSupported,
}

/// A body that is not text of a reply's own.
enum Body {
    Text(&'static str, String),
    Pattern(u64),
}

impl Reply {
    /// The answer to a whole request head.
    pub(super) fn to(head: &Head<'_>, status: &dyn Status) -> Self {
        let must_close =
            head.fault.is_some() || head.expects_continue || head.persistence == Persistence::Close;
        let then = if must_close { Then::Close } else { Then::KeepOpen };
        let (code, body) = match head.fault {
            Some(fault) => (fault, error_body(fault, "")),
            None => resource(head, status),
        };
        Self::new(code, body, head, then)
    }

    /// The answer to what is not a request that can be read; the connection closes after it.
    pub(super) fn refusal(code: Code) -> Self {
        let head = Head {
            method: Method::Unknown,
            path: "",
            version: Version::Http11,
            persistence: Persistence::Close,
            body: 0,
            expects_continue: false,
            fault: Some(code),
        };
        Self::new(code, error_body(code, ""), &head, Then::Close)
    }

    fn new(code: Code, body: Body, head: &Head<'_>, then: Then) -> Self {
        let (media, len) = match &body {
            Body::Text(media, text) => (*media, text.len() as u64),
            Body::Pattern(len) => ("application/octet-stream", *len),
        };
        let mut text = String::with_capacity(256);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "HTTP/1.1 {}\r\nServer: sluice\r\nContent-Type: {media}\r\nContent-Length: {len}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            code.line()
        );
        if media == HTML {
            text.push_str(CONTENT_POLICY);
        }
        if code == Code::MethodNotAllowed {
            text.push_str("Allow: GET, HEAD\r\n");
        }
        // RFC 9112, 9.3 and 9.6; a 1.0 client is told that its wish was heard (appendix C.2.2).
        match (then, head.version) {
            (Then::Close, _) => text.push_str("Connection: close\r\n"),
            (Then::KeepOpen, Version::Http10) => text.push_str("Connection: keep-alive\r\n"),
            (Then::KeepOpen, Version::Http11) => {}
        }
        text.push_str("\r\n");
        let mut bytes = 0..0;
        // RFC 9110, 9.3.2: the answer to HEAD has the fields of GET's and no content.
        if head.method != Method::Head {
            match body {
                Body::Text(_, content) => text.push_str(&content),
                Body::Pattern(len) => bytes = 0..len,
            }
        }
        Self { text: text.into_bytes(), sent: 0, bytes, then }
    }

    /// What is to be sent next; `None` when all is sent.
    pub(super) fn next_part(&self) -> Option<&[u8]> {
        if self.sent < self.text.len() {
            return Some(&self.text[self.sent..]);
        }
        let left = self.bytes.end - self.bytes.start;
        let part = pattern_at(self.bytes.start);
        (left > 0).then(|| &part[..part.len().min(usize::try_from(left).unwrap_or(usize::MAX))])
    }

    /// Notes that `len` bytes of the last part were sent.
    pub(super) fn advance(&mut self, len: usize) {
        if self.sent < self.text.len() {
            self.sent += len;
        } else {
            self.bytes.start += len as u64;
        }
    }
}

impl Code {
    /// Code and reason phrase.
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::LengthRequired => "411 Length Required",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// What the reader of an error can do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::BadRequest => "The request is malformed.",
            Self::NotFound => {
                "There are /, /stats and /bytes/N, where N is a number of bytes up to 17179869184."
            }
            Self::MethodNotAllowed => "Use GET or HEAD.",
            Self::RequestTimeout => "The request did not arrive whole within a minute.",
            Self::LengthRequired => "Send the body with a Content-Length.",
            Self::ContentTooLarge => "A request body may have 1 MiB at most.",
            Self::HeadTooLarge => "A request head may have 8 KiB and 64 fields at most.",
            Self::NotImplemented => "The method or the transfer coding is not known here.",
            Self::VersionNotSupported => "HTTP/1.0 and HTTP/1.1 are spoken here.",
        }
    }
}

/// What the target of a well-formed request holds.
fn resource(head: &Head<'_>, status: &dyn Status) -> (Code, Body) {
    let is_read = matches!(head.method, Method::Get | Method::Head);
    if head.method == Method::Unknown {
        return (Code::NotImplemented, error_body(Code::NotImplemented, ""));
    }
    let body = match head.path {
        "/" if is_read => Body::Text(HTML, page::render(&status.snapshot())),
        "/stats" if is_read => Body::Text("application/json", json::render(&status.snapshot())),
        path => match bytes_len(path) {
            Some(len) if is_read => Body::Pattern(len),
            // `*` and CONNECT's authority name no resource but are met by a method that is not had.
            None if path.starts_with('/') && path != "/" && path != "/stats" => {
                return (Code::NotFound, error_body(Code::NotFound, path));
            }
            _ => return (Code::MethodNotAllowed, error_body(Code::MethodNotAllowed, "")),
        },
    };
    (Code::Ok, body)
}

/// N of `/bytes/N`.
fn bytes_len(path: &str) -> Option<u64> {
    let number = path.strip_prefix("/bytes/")?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|len| is_number && *len <= BYTES_LIMIT)
}

fn error_body(code: Code, path: &str) -> Body {
    Body::Text(HTML, page::error(code.line(), path, code.advice()))
}

/// The most bytes that `/bytes/N` gives: 16 GiB.
const BYTES_LIMIT: u64 = 16 << 30;
const HTML: &str = "text/html; charset=utf-8";
/// The pages load nothing and run nothing.
const CONTENT_POLICY: &str =
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n";
