//! What the kernel of a namespace has counted of its TCP.

use std::fs;

use anyhow::{Context, Result};

use crate::topology::Namespace;

/// Counts since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// SYNs that were sent again since nobody answered them.
    pub(super) syns_again: u64,
    /// Segments of any kind that were sent again, those SYNs among them.
    pub(super) segments_again: u64,
}

impl Counters {
    /// As they are now.
    pub(super) fn read(namespace: &Namespace) -> Result<Self> {
        namespace.inside(|| {
            // That of the thread: /proc/net shows the namespace of the process's first one.
            let of = |name: &str| {
                let path = format!("/proc/thread-self/net/{name}");
                fs::read_to_string(&path).context(path)
            };
            let (netstat, snmp) = (of("netstat")?, of("snmp")?);
            Ok(Self {
                syns_again: value(&netstat, "TcpExt:", "TCPSynRetrans").context("TCPSynRetrans")?,
                segments_again: value(&snmp, "Tcp:", "RetransSegs").context("RetransSegs")?,
            })
        })
    }

    /// What was counted since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            syns_again: self.syns_again.saturating_sub(earlier.syns_again),
            segments_again: self.segments_again.saturating_sub(earlier.segments_again),
        }
    }
}

/// A count of such a file: a line of names, then one of values, both behind the group's name.
fn value(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|one| one == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_stands_below_its_name_in_its_own_group() {
        let text = "TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 3 7\n\
                    MPTcpExt: TCPSynRetrans\nMPTcpExt: 9\n";
        assert_eq!(value(text, "TcpExt:", "TCPSynRetrans"), Some(7));
        assert_eq!(value(text, "TcpExt:", "NoSuchCount"), None);
        assert_eq!(value("Tcp: RetransSegs\n", "Tcp:", "RetransSegs"), None);
    }

    #[test]
    fn counts_are_those_since() {
        let at = |syns_again, segments_again| Counters { syns_again, segments_again };
        assert_eq!(at(5, 9).since(at(2, 9)), at(3, 0));
    }
}
