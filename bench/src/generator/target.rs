//! Whether frames may be sent by an interface.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::frames::Mac;
use crate::system::quiet;

/// An interface that frames may be sent by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
}

/// Looks the interface up. It has to be a veth, or the one that the user says is theirs.
///
/// # Errors
/// Where it is not there, or not allowed.
pub(super) fn check(iface: &str, owned: Option<&str>) -> Result<Link> {
    let text = shown(iface, quiet)?;
    read(&text, iface, owned)
}

/// The same check where `ip` is run by the caller, in another namespace.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_interface(
    iface: &str,
    owned: Option<&str>,
    ip: impl FnOnce(&str) -> Result<String>,
) -> Result<()> {
    let text = shown(iface, ip)?;
    read(&text, iface, owned).map(|_| ())
}

/// What `ip` says of an interface. Its name becomes words of a command and lines of pktgen's files.
fn shown(iface: &str, ip: impl FnOnce(&str) -> Result<String>) -> Result<String> {
    let is_name = !iface.is_empty() && !iface.contains(char::is_whitespace);
    ensure!(is_name, "`{iface}` is no name of an interface");
    ip(&format!("ip -json -details link show dev {iface}"))
}

/// What `ip` says of a link.
#[derive(Deserialize)]
struct Shown {
    ifindex: u32,
    address: Option<String>,
    linkinfo: Option<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    info_kind: Option<String>,
}

fn read(text: &str, iface: &str, owned: Option<&str>) -> Result<Link> {
    let shown: Vec<Shown> = serde_json::from_str(text).context("what `ip` says")?;
    let shown = shown.into_iter().next().with_context(|| format!("no interface {iface}"))?;
    let kind = shown.linkinfo.and_then(|info| info.info_kind);
    ensure!(
        kind.as_deref() == Some("veth") || owned == Some(iface),
        "{iface} is no veth: frames with forged sources do not belong on a network of others; \
         if it is yours, say --i-own-this-network {iface}"
    );
    let address = shown.address.with_context(|| format!("{iface} has no link-layer address"))?;
    Ok(Link { index: shown.ifindex, mac: address.parse::<Mac>()?.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VETH: &str = r#"[{"ifindex":7,"ifname":"v","address":"02:00:00:00:00:0a",
        "linkinfo":{"info_kind":"veth"}}]"#;
    const WIRE: &str = r#"[{"ifindex":2,"ifname":"eth0","address":"02:00:00:00:00:01"}]"#;
    const BRIDGE: &str = r#"[{"ifindex":3,"ifname":"br0","address":"02:00:00:00:00:01",
        "linkinfo":{"info_kind":"bridge"}}]"#;

    #[test]
    fn veth_is_taken() {
        let link = read(VETH, "v", None).unwrap();
        assert_eq!((link.index, link.mac), (7, [2, 0, 0, 0, 0, 10]));
    }

    #[test]
    fn anything_else_is_refused_unless_it_is_named() {
        for (text, name) in [(WIRE, "eth0"), (BRIDGE, "br0")] {
            for owned in [None, Some("eth1"), Some("")] {
                let error = read(text, name, owned).unwrap_err().to_string();
                assert!(error.contains("--i-own-this-network"), "{error}");
            }
            assert!(read(text, name, Some(name)).is_ok());
        }
    }
}
