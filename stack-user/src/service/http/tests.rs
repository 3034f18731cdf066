//! Tests of the HTTP service over a connection without TCP.

use std::sync::Arc;

use super::*;
use crate::service::fake::Rig;

struct Fixed;

impl Status for Fixed {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            uptime: Duration::from_secs(61),
            interface: "veth<0>".into(),
            listeners: vec![(80, "http".into())],
            mode: "native,copy".into(),
            queues: 2,
            states: vec![("ESTABLISHED", 1_234)],
            counters: vec![
                CounterValue { name: "quiet", help: "Nothing.", value: 0 },
                CounterValue { name: "frames_in", help: "Frames & more.", value: 7_000 },
            ],
            program: vec![("pass".into(), 3)],
            rates: vec![("frames_in", 12.0)],
            ..Snapshot::default()
        }
    }
}

fn rig_with(capacity: usize) -> Rig<Http> {
    let mut rig = Rig::new(Http::new(Arc::new(Fixed)), capacity);
    rig.accept();
    rig
}

fn rig() -> Rig<Http> {
    rig_with(1 << 20)
}

/// The whole answer to `request`, as text.
fn ask(rig: &mut Rig<Http>, request: &str) -> String {
    rig.deliver(request.as_bytes());
    String::from_utf8(rig.read_all()).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Code and fields of the answer to one request on a connection of its own, and whether it closed.
fn answer(request: &str) -> (u16, String, bool) {
    let mut rig = rig();
    let text = ask(&mut rig, request);
    let code = text["HTTP/1.1 ".len()..][..3].parse().unwrap();
    (code, text, rig.is_closed())
}

fn split(answer: &[u8]) -> (&str, &[u8]) {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    (std::str::from_utf8(&answer[..end]).unwrap(), &answer[end..])
}

#[test]
fn head_status_page_shows_escaped_facts() {
    let (code, text, closed) = answer(&get("/"));
    assert_eq!((code, closed), (200, false));
    assert!(text.contains("Content-Type: text/html; charset=utf-8\r\n"));
    for part in ["veth&lt;0&gt;", "1 min 1 s", "ESTABLISHED</td><td class=\"n\">1,234", "80=http"] {
        assert!(text.contains(part), "{part} is missing");
    }
    assert!(text.contains("<tr title=\"Frames &amp; more.\"><td>frames_in</td>"));
    assert!(text.find("frames_in</td>") < text.find("quiet</td>"), "counters at zero come last");
    assert!(!text.contains("veth<0>"));
}

#[test]
fn head_content_length_is_the_length_of_the_body() {
    for path in ["/", "/stats", "/bytes/17", "/missing"] {
        let mut rig = rig();
        rig.deliver(get(path).as_bytes());
        let answer = rig.read_all();
        let (head, body) = split(&answer);
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    }
}

#[test]
fn head_stats_is_json_with_the_same_facts() {
    let mut rig = rig();
    rig.deliver(get("/stats?x=1").as_bytes());
    let answer = rig.read_all();
    let stats: serde_json::Value = serde_json::from_slice(split(&answer).1).unwrap();
    assert_eq!(stats["counters"]["frames_in"], 7_000);
    assert_eq!(stats["states"]["ESTABLISHED"], 1_234);
    assert_eq!(stats["uptime_seconds"], 61.0);
    assert_eq!(stats["rates"]["frames_in"], 12.0);
    assert_eq!(stats["listeners"]["80"], "http");
}

#[test]
fn reply_bytes_through_a_small_send_buffer_follow_the_pattern() {
    let mut rig = rig_with(1_000);
    rig.deliver(get("/bytes/200000").as_bytes());
    let mut all = Vec::new();
    loop {
        let part = rig.read(37);
        if part.is_empty() {
            break;
        }
        all.extend(part);
    }
    let mut expected = vec![0; 200_000];
    pattern(0, &mut expected);
    assert!(split(&all).1 == expected);
    assert!(!rig.is_closed());
}

#[test]
fn head_bytes_beyond_the_limit_or_malformed_is_404() {
    assert_eq!(answer("HEAD /bytes/17179869184 HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    for path in ["/bytes/17179869185", "/bytes/", "/bytes/x", "/bytes/+1", "/bytes/-1"] {
        assert_eq!(answer(&get(path)).0, 404, "{path}");
    }
    assert_eq!(answer(&get("/bytes/99999999999999999999999")).0, 404);
}

#[test]
fn head_method_head_gets_the_fields_alone() {
    let (code, text, _) = answer("HEAD /bytes/5000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(code, 200);
    assert!(text.contains("Content-Length: 5000\r\n") && text.ends_with("\r\n\r\n"));
}

#[test]
fn head_one_byte_per_segment_is_answered() {
    let mut rig = rig();
    for byte in get("/bytes/3").bytes() {
        assert!(rig.read_all().is_empty());
        rig.deliver(&[byte]);
    }
    assert!(rig.read_all().starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn head_pipelined_requests_are_answered_in_order() {
    let requests: String = (0..50).map(|n| get(&format!("/bytes/{}", n * 1_000))).collect();
    for (capacity, piece) in [(1 << 24, usize::MAX), (777, 100), (777, usize::MAX)] {
        let mut rig = rig_with(capacity);
        let mut all = Vec::new();
        for piece in requests.as_bytes().chunks(piece.min(requests.len())) {
            rig.deliver(piece);
            all.extend(rig.read(500));
        }
        all.extend(rig.read_all());
        let mut rest = all.as_slice();
        for n in 0..50 {
            let (head, body) = split(rest);
            assert!(head.contains(&format!("Content-Length: {}\r\n", n * 1_000)), "{n}: {head}");
            rest = &body[n * 1_000..];
        }
        assert!(rest.is_empty());
        assert!(!rig.is_closed());
    }
}

#[test]
fn reply_slow_reader_leaves_pipelined_requests_unconsumed() {
    let mut rig = rig_with(100);
    rig.deliver((get("/bytes/9999") + &get("/stats")).as_bytes());
    assert_eq!(rig.unconsumed(), get("/stats").len());
    rig.read_all();
    assert_eq!(rig.unconsumed(), 0);
}

#[test]
fn head_persistence_follows_version_and_connection() {
    let ends = |request: &str| {
        let (code, text, closed) = answer(request);
        assert_eq!(code, 200);
        assert_eq!(closed, text.contains("\r\nConnection: close\r\n"), "{text}");
        (closed, text.contains("\r\nConnection: keep-alive\r\n"))
    };
    assert_eq!(ends(&get("/stats")), (false, false));
    assert_eq!(ends("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"), (true, false));
    assert_eq!(ends("GET / HTTP/1.0\r\n\r\n"), (true, false));
    assert_eq!(ends("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), (false, true));
    // RFC 9112, 9.3: close wins over keep-alive.
    assert_eq!(
        ends("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"),
        (true, false)
    );
}

#[test]
fn head_errors_have_their_code_and_close_where_framing_is_lost() {
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, true),
        ("GET  HTTP/1.1\r\n\r\n", 400, true),
        ("\x16\x03\x01\r\n", 400, true),
        ("GET /\r\n\r\n", 400, true),
        ("GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, true),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, true),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, true),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, false),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405, false),
        ("POST /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, false),
        ("POST /missing HTTP/1.1\r\nHost: a\r\n\r\n", 404, false),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405, false),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, false),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, true),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, true),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            true,
        ),
    ];
    for (request, code, closes) in cases {
        let (got, text, closed) = answer(request);
        assert_eq!((got, closed), (code, closes), "{request:?}");
        assert!(text.contains("<h1>"), "an error has a body: {request:?}");
        assert_eq!(code == 405, text.contains("Allow: GET, HEAD\r\n"));
    }
}

#[test]
fn head_absolute_target_is_understood() {
    // RFC 9112, 3.2.2: a server accepts the absolute form.
    assert_eq!(answer("GET HTTP://a:80/stats HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    assert_eq!(answer("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    assert_eq!(answer("GET http://a/missing HTTP/1.1\r\nHost: a\r\n\r\n").0, 404);
}

#[test]
fn head_echoed_path_is_escaped() {
    let (code, text, _) = answer(&get("/<script>&'"));
    assert_eq!(code, 404);
    assert!(text.contains("<code>/&lt;script&gt;&amp;&#39;</code>") && !text.contains("<script"));
}

#[test]
fn head_of_8_kib_is_answered_and_one_byte_more_refused() {
    let frame = get("/stats").len() + "X: \r\n".len();
    let request = |len: usize| {
        let field = "x".repeat(len - frame);
        format!("GET /stats HTTP/1.1\r\nHost: a\r\nX: {field}\r\n\r\n")
    };
    assert_eq!(request(HEAD_LIMIT).len(), HEAD_LIMIT);
    for piece in [1, 100, HEAD_LIMIT + 1] {
        for (len, code) in [(HEAD_LIMIT, "200"), (HEAD_LIMIT + 1, "431")] {
            let mut rig = rig();
            for part in request(len).as_bytes().chunks(piece) {
                rig.deliver(part);
            }
            let answer = String::from_utf8(rig.read_all()).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{piece} {len}: {answer}");
            assert_eq!(rig.is_closed(), code == "431");
            assert_eq!(rig.unconsumed(), 0);
        }
    }
    let fields = "X: y\r\n".repeat(65);
    assert_eq!(answer(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).0, 431);
}

#[test]
fn body_is_discarded_before_the_next_request() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n";
    let text = post.to_owned() + &"GET /stats HTTP/1.1\r\n\r\n--".repeat(2)[..40] + &get("/stats");
    for piece in [1, 7, text.len()] {
        let mut rig = rig();
        for part in text.as_bytes().chunks(piece) {
            rig.deliver(part);
        }
        let answers = String::from_utf8(rig.read_all()).unwrap();
        assert!(answers.starts_with("HTTP/1.1 405"));
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1, "{piece}: {answers}");
        assert!(!rig.is_closed());
    }
}

#[test]
fn head_expectation_is_answered_at_once_and_closes() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    let (code, _, closed) = answer(head);
    assert_eq!((code, closed), (405, true));
}

#[test]
fn head_empty_lines_before_the_request_are_ignored() {
    // RFC 9112, 2.2: at least one empty line before the request line is ignored.
    assert_eq!(answer(&format!("\r\n{}", get("/stats"))).0, 200);
}

#[test]
fn close_wait_after_the_request_still_answers() {
    let mut rig = rig_with(100);
    rig.deliver(get("/bytes/3000").as_bytes());
    rig.fin();
    assert!(!rig.is_closed());
    assert_eq!(split(&rig.read_all()).1.len(), 3000);
    assert!(rig.is_closed());
}

#[test]
fn close_wait_within_a_head_closes() {
    let mut rig = rig();
    rig.deliver(b"GET / HTT");
    rig.fin();
    assert!(rig.is_closed());
    assert!(rig.read_all().is_empty());
}

#[test]
fn head_idle_connection_closes_after_its_time() {
    let mut rig = rig();
    rig.advance(IDLE - Duration::from_nanos(1));
    assert!(!rig.is_closed());
    rig.advance(Duration::from_nanos(1));
    assert!(rig.is_closed() && rig.read_all().is_empty());
    assert!(!rig.conn.aborted);
    rig.advance(LINGER);
    assert!(rig.conn.aborted, "a peer that does not close either is reset");
}

#[test]
fn head_dribbled_head_times_out_with_408() {
    let mut rig = rig();
    for _ in 0..59 {
        rig.deliver(b"x");
        rig.advance(Duration::from_secs(1));
    }
    assert!(!rig.is_closed());
    rig.advance(Duration::from_secs(1));
    assert!(rig.read_all().starts_with(b"HTTP/1.1 408"));
    assert!(rig.is_closed());
}

#[test]
fn head_served_connection_gets_a_new_idle_time() {
    let mut rig = rig();
    for _ in 0..10 {
        rig.advance(Duration::from_secs(59));
        ask(&mut rig, &get("/stats"));
    }
    assert!(!rig.is_closed());
    rig.advance(IDLE);
    assert!(rig.is_closed());
}

#[test]
fn reply_stuck_reader_is_reset_and_a_slow_one_is_not() {
    let mut rig = rig_with(100);
    rig.deliver(get("/bytes/1000000").as_bytes());
    for _ in 0..10 {
        rig.advance(Duration::from_secs(50));
        assert_eq!(rig.read(100).len(), 100);
    }
    assert!(!rig.conn.aborted);
    rig.advance(IDLE);
    assert!(rig.conn.aborted);
}

// Closing for good while the peer may still send would reset it before it has read the reply.
#[test]
fn closing_half_until_the_peer_has_closed_too() {
    let mut rig = rig();
    rig.deliver(b"GET / HTTP/1.0\r\n\r\n");
    rig.read_all();
    assert!(rig.is_closed() && !rig.conn.forsaken);
    rig.fin();
    assert!(rig.conn.forsaken);
}

#[test]
fn closing_late_input_is_discarded() {
    let mut rig = rig();
    ask(&mut rig, "GET / HTTP/1.0\r\n\r\n");
    assert!(rig.is_closed());
    rig.deliver(&[b'x'; 100_000]);
    assert_eq!(rig.unconsumed(), 0);
}

#[test]
fn closed_connection_frees_its_state() {
    let mut rig = rig();
    rig.deliver(b"GET");
    assert_eq!(rig.service.exchanges.len(), 1);
    rig.end(CloseReason::Reset);
    assert!(rig.service.exchanges.is_empty());
    // An open that failed never had state.
    rig.service.on_closed(0, CloseReason::Refused);
}
