//! A network or a host as operators write it: `A/LEN`, or `A` alone.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::wire::Addr;

/// All addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    addr: Addr,
    len: u8,
}

impl Prefix {
    /// The addresses whose first `len` of 128 bits are those of `addr`; `None` where `addr` has more.
    pub fn new(addr: Addr, len: u8) -> Option<Self> {
        let prefix = Self { addr, len };
        (len <= 128 && prefix.network() == addr).then_some(prefix)
    }

    /// The first of its addresses.
    pub const fn addr(&self) -> Addr {
        self.addr
    }

    /// How many bits count, over the 128 of an address: an IPv4 /24 is 120.
    pub const fn bits(&self) -> u8 {
        self.len
    }

    fn network(&self) -> Addr {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
        Addr((u128::from_be_bytes(self.addr.0) & mask).to_be_bytes())
    }
}

/// The bits that all addresses of a family have in common.
const fn before(addr: &Addr) -> u8 {
    if addr.is_v4() { 96 } else { 0 }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let ip: IpAddr =
            addr.parse().map_err(|_| format!("`{addr}` is no IP address: give A/LEN or A"))?;
        let addr = Addr::from(ip);
        if addr.is_v4() != ip.is_ipv4() {
            return Err(format!("{ip} is a mapped IPv4 address: give {addr}"));
        }
        let (before, most) = (before(&addr), 128 - before(&addr));
        let len: u8 = match len {
            None => most,
            Some(len) => len
                .parse()
                .ok()
                .filter(|number| *number <= most && len.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| format!("`{len}` is no length of a prefix: give 0 to {most}"))?,
        };
        let prefix = Self { addr, len: before + len };
        match prefix.network() {
            network if network == addr => Ok(prefix),
            network => Err(format!("{text} has bits behind its prefix: give {network}/{len}")),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len - before(&self.addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_as_it_was_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "::/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        for (host, shown) in [("10.1.2.3", "10.1.2.3/32"), ("fe80::1", "fe80::1/128")] {
            assert_eq!(host.parse::<Prefix>().unwrap().to_string(), shown);
        }
        let prefix: Prefix = "10.0.0.0/8".parse().unwrap();
        assert_eq!((prefix.addr().to_string(), prefix.bits()), ("10.0.0.0".into(), 104));
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_what_to_give() {
        for (text, word) in [
            ("", "no IP address"),
            ("10.0.0", "no IP address"),
            ("eth0", "no IP address"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.0.0.1/24", "give 10.0.0.0/24"),
            ("2001:db8::1/64", "give 2001:db8::/64"),
            ("1.2.3.4/0", "give 0.0.0.0/0"),
            ("::ffff:1.2.3.4", "give 1.2.3.4"),
        ] {
            let error = text.parse::<Prefix>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn prefix_has_nothing_behind_its_length() {
        let addr = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
        assert!(Prefix::new(addr("10.0.0.0"), 104).is_some());
        assert!(Prefix::new(addr("10.0.0.1"), 104).is_none());
        assert!(Prefix::new(addr("::"), 129).is_none() && Prefix::new(addr("::"), 0).is_some());
    }
}
