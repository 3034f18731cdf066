//! Options that are refused, and options that come back from the command line as they went.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn parse(line: &str) -> Result<Options> {
    let line = format!("generate {line} --iface veth1 --mac 02:00:00:00:00:01");
    let options = Line::try_parse_from(line.split_whitespace())?.options;
    options.check()?;
    Ok(options)
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for line in [
        "syn",
        "sin --to 10.0.0.1:80",
        "syn --to 10.0.0.1",
        "syn --to 10.0.0.1:80 --seconds 0",
        "syn --to 10.0.0.1:80 --seconds 601",
        "syn --to 10.0.0.1:80 --seconds NaN",
        "syn --to 10.0.0.1:80 --frames 0",
        "syn --to 10.0.0.1:80 --burst 0",
        "syn --to 10.0.0.1:80 --burst 257",
        "syn --to 10.0.0.1:80 --size 73",
        "udp --to 10.0.0.1:80 --size 1515",
        "syn --to 10.0.0.1:80 --from 2001:db8::/64",
        "syn --to [2001:db8::1]:80",
        "syn --to 10.0.0.1:80 --rate 100000001",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn order_says_what_the_options_ask() {
    let order = parse("mixed --to 10.0.0.1:80 --rate 200000 --burst 8").unwrap().order();
    assert_eq!((order.length, order.templates, order.mask), (74, 4, 0x1_ffff));
    assert_eq!(order.interval, 5_000 * generate::PARTS);
    assert_eq!(order.burst, 7 * order.interval);
    let order = parse("udp --to 10.0.0.1:80 --size 1500").unwrap().order();
    assert_eq!((order.length, order.templates, order.interval), (1_500, 1, 0));
}

#[test]
fn arguments_give_the_same_options() {
    let line = "tcp --to 10.0.0.1:80 --rate 5 --burst 3 --seconds 0.5 --frames 9 --seed 4 --size 99 \
                --cpu 1 --i-own-this-network eth0 --from 10.1.0.0/16";
    let options = parse(line).unwrap();
    let again = Line::try_parse_from(["generate".into()].into_iter().chain(options.arguments()));
    assert_eq!(format!("{:?}", again.unwrap().options), format!("{options:?}"));
}

#[test]
fn rate_is_of_the_time_between_frames_and_none_of_no_time() {
    assert_eq!(Report { sent: 100, seconds: 0.5, ..Report::default() }.rate(), 200.0);
    assert_eq!(Report { sent: 1, ..Report::default() }.rate(), 0.0);
}
