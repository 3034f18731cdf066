//! Tests of the options' grammar.

use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};

fn v6(last: u16) -> Addr {
    IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)).into()
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> Addr {
    Ipv4Addr::new(a, b, c, d).into()
}

fn listen(text: &str) -> ListenSpec {
    text.parse().unwrap()
}

#[test]
fn listen_with_and_without_address_is_read_and_shown_alike() {
    let spec = listen("10.0.0.1:8080=http");
    let expected =
        ListenSpec { addr: Some(v4(10, 0, 0, 1)), port: 8080, service: ServiceKind::Http };
    assert_eq!(spec, expected);
    assert_eq!(listen("[2001:db8::1]:8080=http"), ListenSpec { addr: Some(v6(1)), ..expected });
    for text in ["7=echo", "10.0.0.1:8080=http", "19=chargen", "[2001:db8::1]:80=http"] {
        assert_eq!(listen(text).to_string(), text);
    }
}

#[test]
fn listen_malformed_is_refused() {
    for text in [
        "http",
        "80",
        "80=ftp",
        "70000=echo",
        "0=echo",
        "+80=echo",
        "x:80=echo",
        "2001:db8::1:80=echo",
        "[10.0.0.1]:80=echo",
        "[2001:db8::1:80=echo",
        "=echo",
    ] {
        assert!(text.parse::<ListenSpec>().is_err(), "{text}");
    }
}

#[test]
fn listeners_of_the_same_port_and_address_are_refused() {
    assert!(check_listeners(&[listen("80=http"), listen("80=echo")]).is_err());
    assert!(check_listeners(&[listen("80=http"), listen("10.0.0.1:80=echo")]).is_ok());
    assert!(check_listeners(&ListenSpec::DEFAULT).is_ok());
}

#[test]
fn connect_without_port_is_refused() {
    assert!("10.0.0.2=echo".parse::<ConnectSpec>().is_err());
    let spec: ConnectSpec = "10.0.0.2:9=discard".parse().unwrap();
    assert_eq!((spec.addr, spec.port, spec.service), (v4(10, 0, 0, 2), 9, ServiceKind::Discard));
}

#[test]
fn port_range_upside_down_or_alone_is_refused() {
    assert!("2000-1000".parse::<PortRange>().is_err());
    assert!("1000".parse::<PortRange>().is_err());
    assert!("0-10".parse::<PortRange>().is_err());
}

#[test]
fn port_range_parts_cover_it_without_overlap() {
    let range: PortRange = "1000-1010".parse().unwrap();
    let parts: Vec<_> = (0..3).map(|index| range.part(index, 3).unwrap()).collect();
    assert_eq!(parts, [1000..=1002, 1003..=1005, 1006..=1010]);
    assert_eq!(range.part(0, 12), None);
    let all: PortRange = "1-65535".parse().unwrap();
    assert_eq!(all.part(0, 1), Some(1..=65535));
}

#[test]
fn port_range_overlap_is_by_a_common_port() {
    let range = |text: &str| text.parse::<PortRange>().unwrap();
    assert!(range("10-20").overlaps(&range("20-30")));
    assert!(!range("10-20").overlaps(&range("21-30")));
    assert!(range("10-20").overlaps(&range("12-13")));
}

#[test]
fn local_ports_with_a_listener_or_too_few_are_refused() {
    let range: PortRange = "75-85".parse().unwrap();
    assert!(check_local_ports(range, &ListenSpec::DEFAULT, 1).is_err());
    assert!(check_local_ports(range, &ListenSpec::DEFAULT[..2], 1).is_ok());
    assert!(check_local_ports(range, &ListenSpec::DEFAULT[..2], 12).is_err());
}

#[test]
fn own_addr_malformed_is_refused() {
    for text in [
        "10.0.0.300/24",
        "10.0.0.9/33",
        "10.0.0.9",
        "10.0.0.9/0",
        "127.0.0.1/8",
        "::1/64",
        "ff02::1/64",
        "2001:db8::9/129",
        "2001:db8::9/0",
    ] {
        assert!(text.parse::<OwnAddr>().is_err(), "{text}");
    }
}

#[test]
fn own_addr_on_link_is_by_prefix() {
    let own: OwnAddr = "10.0.1.9/24".parse().unwrap();
    assert!(own.is_on_link(v4(10, 0, 1, 200)));
    assert!(!own.is_on_link(v4(10, 0, 2, 9)) && !own.is_on_link(v6(9)));
    assert_eq!((own.network(), own.to_string()), (v4(10, 0, 1, 0), "10.0.1.9/24".into()));
    let own: OwnAddr = "2001:db8::9/64".parse().unwrap();
    assert!(own.is_on_link(v6(0xffff)) && !own.is_on_link(v4(10, 0, 1, 9)));
    assert!(own.is_on_link(IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)).into()));
    let elsewhere = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 9));
    assert!(!own.is_on_link(elsewhere.into()));
    assert_eq!((own.network(), own.to_string()), (v6(0), "2001:db8::9/64".into()));
}

#[test]
fn endpoint_of_either_family_is_read_and_shown_alike() {
    for text in ["10.0.0.2:9", "[2001:db8::2]:9"] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
}

#[test]
fn cpu_list_ranges_are_unrolled() {
    assert_eq!("0,2-3".parse(), Ok(CpuList(vec![0, 2, 3])));
    for text in ["0-x", "", "3-2", "4096", "0,"] {
        assert!(text.parse::<CpuList>().is_err(), "{text}");
    }
}
