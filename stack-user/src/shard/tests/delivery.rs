//! How packets are carried: Differentiated Services and TTL.

use super::raw::{ACK, FIN, Raw, Says, syn};
use crate::tables::listeners::Accepts;
use crate::tcp::Setting;

// RFC 9293 3.9.1.9 (MUST-48, SHLD-21, SHLD-22, SHLD-23) and 3.9.2 (MUST-49).
#[test]
fn established_packets_carry_what_the_configuration_and_then_the_user_say() {
    let (mut raw, listener) = Raw::listening(
        |listener| listener.accepts = Accepts::OnCall,
        |config| {
            config.tcp.traffic_class = 0x28;
            config.tcp.hop_limit = 7;
        },
    );
    let syn_ack = raw.open(1000);
    assert_eq!(syn_ack.carried, (0x28, 7));
    let id = raw.shard.accept(listener, raw.now).expect("one waits");
    let send = |raw: &mut Raw, settings: &[Setting]| {
        let now = raw.now;
        raw.shard.with(id, now, |conn| {
            for setting in settings {
                assert_eq!(conn.configure(*setting), Ok(()));
            }
            conn.configure(Setting::NoDelay(true)).expect("any connection may");
            conn.send(b"text");
        });
        let sent = raw.sent();
        sent.iter().map(|hears| hears.carried).collect::<Vec<_>>()
    };
    assert_eq!(send(&mut raw, &[]), [(0x28, 7)]);
    assert_eq!(send(&mut raw, &[Setting::TrafficClass(0xb8)]), [(0xb8, 7)]);
    assert_eq!(send(&mut raw, &[Setting::HopLimit(255)]), [(0xb8, 255)]);
    assert_eq!(send(&mut raw, &[]), [(0xb8, 255)], "it stays");
    // What has no connection of its own is the configuration's.
    let rst = raw.answer(Says { flags: FIN.union(ACK), ..syn(2000) });
    assert_eq!(rst.carried, (0x28, 7));
}
