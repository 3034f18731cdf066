//! Runs are what output would have made, one segment after the other.

use super::*;
use crate::tcp::own::Switch;
use crate::wire::run::MOST_TEXT;

const PSH: Flags = Flags::PSH;

/// The runs that leave now: their headers with all of the text, and their form.
fn runs(bench: &mut Bench) -> Vec<(Vec<u8>, Written)> {
    let (mut all, mut out, now) = (Vec::new(), [0; MAX_HEADER], bench.now);
    while let Some(run) = bench.env(|tcb, env| tcb.poll_run((&mut out, usize::MAX), env, now)) {
        let mut pieces = [&[][..]; MOST_PIECES];
        let n = bench.tcb.run_text(&run, &bench.pool, &mut pieces);
        let bytes = [&[&out[..run.head]], &pieces[..n]].concat().concat();
        assert_eq!(bytes.len(), run.head + run.text);
        all.push((bytes, run));
    }
    all
}

/// Two connections in the same state, with a window of `segments`, 200 of which wait.
fn pair(segments: u32) -> [Bench; 2] {
    [(); 2].map(|()| {
        let stamps = Some(Timestamps { value: 1, echo: 0 });
        let scale = Some(7);
        let options = Options {
            sack_permitted: true,
            timestamps: stamps,
            window_scale: scale,
            ..Options::NONE
        };
        let mut bench = Bench::open_as(Config::default(), options);
        bench.now = Instant::from_millis(10);
        bench.send(&[1; 1448 * 10]);
        bench.sent();
        bench.now = Instant::from_millis(20);
        while bench.tcb.cc.window().cwnd() < segments {
            let text: Vec<u8> = (0..1448 * 200).map(|n| (n % 251) as u8).collect();
            bench.send(&text);
            acknowledge(&mut bench);
            bench.sent();
            bench.now = bench.now + Duration::from_millis(10);
        }
        bench.send(&[7; 1448 * 400]);
        acknowledge(&mut bench);
        bench
    })
}

fn acknowledge(bench: &mut Bench) {
    let (seq, ack) = (bench.tcb.rcv.nxt.0, bench.tcb.snd.nxt.0);
    let timestamps = Some(Timestamps { value: 2, echo: bench.tcb.stamps.value(bench.now) });
    let options = Options { timestamps, ..Options::NONE };
    bench.arrive(Segment { options, window: 0xffff, ..segment(seq, ack, ACK, &[]) });
}

#[test]
fn established_runs_are_the_segments_that_output_makes() {
    let [mut whole, mut single] = pair(100);
    assert!(whole.tcb.has_run());
    let mut all = Vec::new();
    for (bytes, run) in runs(&mut whole) {
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.checksum, 0, "left to whoever cuts");
        for (n, text) in packet.payload.chunks(run.size).enumerate() {
            let is_last = n + 1 == run.count;
            all.push(Sent {
                seq: packet.seq.wrapping_add((n * run.size) as u32),
                ack: packet.ack,
                flags: if is_last { packet.flags } else { ACK },
                window: packet.window,
                urgent: packet.urgent,
                options: packet.options,
                text: text.to_vec(),
            });
        }
    }
    assert!(all.len() > 60, "{} segments in runs", all.len());
    all.extend(whole.sent());
    assert_eq!(all, single.sent());
    assert_eq!(whole.tcb.flight.len(), single.tcb.flight.len());
    assert_eq!(whole.counters.values(), single.counters.values());
    assert_eq!(whole.tcb.rare.pushed, single.tcb.rare.pushed);
    assert_eq!(whole.tcb.rare.sent_at, single.tcb.rare.sent_at);
}

#[test]
fn established_run_ends_with_psh_or_what_ip_can_say() {
    let [mut bench, _] = pair(100);
    for (bytes, Written { text, count, .. }) in runs(&mut bench) {
        let flags = Packet::parse(&bytes).unwrap().flags;
        assert!(text <= MOST_TEXT && text.div_ceil(1448) == count);
        assert!(flags.contains(PSH) || count == MOST_TEXT / 1448, "{count} segments, {flags:?}");
    }
}

// What is lost goes first, each segment for itself, and so does what is owed besides.
#[test]
fn established_with_something_else_to_say_has_no_run() {
    let [mut bench, _] = pair(100);
    assert!(bench.tcb.has_run());
    bench.tcb.switches.set(Switch::OwesRst, true);
    assert!(!bench.tcb.has_run());
    bench.tcb.switches.set(Switch::OwesRst, false);
    bench.sent();
    bench.wait();
    assert!(bench.tcb.recovery.is_some() && !bench.tcb.has_run());
}

#[test]
fn established_few_segments_are_no_run() {
    let mut bench = Bench::open();
    bench.send(&[1; 2 * MSS as usize + 100]);
    assert!(!bench.tcb.has_run());
    bench.send(&[1; MSS as usize]);
    assert!(bench.tcb.has_run());
    bench.acknowledge(2 * MSS);
    assert!(!bench.tcb.has_run(), "the window holds two");
}

#[test]
fn fin_wait_1_fin_leaves_behind_the_run() {
    let mut bench = Bench::open();
    bench.send(&[1; 5 * MSS as usize]);
    bench.close();
    let all = runs(&mut bench);
    assert_eq!((all.len(), all[0].1.text, all[0].1.count), (1, 4 * MSS as usize, 4));
    let last = bench.sent();
    assert_eq!(last.len(), 1);
    assert!(last[0].flags.contains(Flags::FIN) && last[0].text.len() == MSS as usize);
}

// Text that was lent lies in other pieces than copies do, and goes the same ways.
#[test]
fn established_lent_text_leaves_in_runs_and_again_as_it_was() {
    static LENT: [u8; 20_000] = [8; 20_000];
    let mut bench = Bench::open();
    bench.send(&[7; 1000]);
    assert_eq!(bench.env(|tcb, env| tcb.send_static(&LENT, env)), LENT.len());
    bench.send(&[9; 1000]);
    let all = runs(&mut bench);
    let expected = [&[7; 1000][..], &LENT, &[9; 1000]].concat();
    let sent: Vec<u8> = all.iter().flat_map(|(bytes, run)| bytes[run.head..].to_vec()).collect();
    assert!(!sent.is_empty() && expected.starts_with(&sent));
    bench.wait();
    let again = bench.sent();
    assert_eq!(again[0].text, expected[..MSS.into()]);
}
