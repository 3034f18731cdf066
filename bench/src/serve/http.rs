//! The little of HTTP that a measurement asks for: `GET /bytes/N`, kept alive by HTTP/1.1 alone.

/// What became of the bytes given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// Bytes of complete requests.
    pub(super) consumed: usize,
    /// Whether the connection ends after the replies.
    pub(super) ends: bool,
}

/// Appends the replies to all complete requests in `data`.
pub(super) fn answer(data: &[u8], replies: &mut Vec<u8>) -> Answered {
    let mut consumed = 0;
    while let Some(len) = data[consumed..].windows(4).position(|four| four == b"\r\n\r\n") {
        let head = &data[consumed..consumed + len];
        consumed += len + 4;
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let (method, path, version) = (words.next(), words.next(), words.next());
        let bytes = path.and_then(|path| path.strip_prefix("/bytes/")?.parse::<usize>().ok());
        let (Some("GET"), Some(bytes)) = (method, bytes.filter(|bytes| *bytes <= MOST)) else {
            replies.extend_from_slice(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return Answered { consumed, ends: true };
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
        );
        replies.extend_from_slice(head.as_bytes());
        replies.resize(replies.len() + bytes, b'x');
        if version != Some("HTTP/1.1") {
            return Answered { consumed, ends: true };
        }
    }
    Answered { consumed, ends: false }
}

/// The longest body.
const MOST: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(data: &str) -> (Answered, String) {
        let mut replies = Vec::new();
        let answered = answer(data.as_bytes(), &mut replies);
        (answered, String::from_utf8(replies).unwrap())
    }

    #[test]
    fn pipelined_requests_are_answered_and_the_rest_is_kept() {
        let one = "GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n";
        let (answered, text) = replies(&format!("{one}{one}GET /by"));
        assert_eq!(answered, Answered { consumed: 2 * one.len(), ends: false });
        assert_eq!(text.matches("Content-Length: 3\r\n\r\nxxx").count(), 2);
    }

    #[test]
    fn old_version_ends_the_connection() {
        let (answered, text) = replies("GET /bytes/1 HTTP/1.0\r\n\r\n");
        assert!(answered.ends && text.ends_with("\r\n\r\nx"));
    }

    #[test]
    fn what_is_not_there_is_404_and_ends() {
        for path in ["/", "/bytes/", "/bytes/-1", "/bytes/99999999999"] {
            let (answered, text) = replies(&format!("GET {path} HTTP/1.1\r\n\r\n"));
            assert!(answered.ends && text.starts_with("HTTP/1.1 404"), "{path}");
        }
    }

    #[test]
    fn half_a_request_waits() {
        let (answered, text) = replies("GET /bytes/3 HTTP/1.1\r\nHost");
        assert_eq!((answered, text.len()), (Answered { consumed: 0, ends: false }, 0));
    }
}
