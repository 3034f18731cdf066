//! The status as JSON.

use serde_json::{Map, Value, json};

use super::status::Snapshot;

/// One object with the facts of `snapshot`; times in seconds, rates per second.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let addresses: Vec<String> = snapshot.addresses.iter().map(ToString::to_string).collect();
    let counters = snapshot.counters.iter().map(|counter| (counter.name, counter.value));
    let mut text = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": snapshot.uptime.as_secs_f64(),
        "interface": snapshot.interface,
        "addresses": addresses,
        "listeners": object(snapshot.listeners.iter().map(|(port, name)| (port, name.as_str()))),
        "mode": snapshot.mode,
        "queues": snapshot.queues,
        "states": object(snapshot.states.iter().copied()),
        "counters": object(counters),
        "program": object(snapshot.program.iter().map(|(name, value)| (name, *value))),
        "rates": object(snapshot.rates.iter().copied()),
    })
    .to_string();
    text.push('\n');
    text
}

fn object<K: ToString, V: Into<Value>>(entries: impl Iterator<Item = (K, V)>) -> Value {
    Value::Object(
        entries.map(|(key, value)| (key.to_string(), value.into())).collect::<Map<_, _>>(),
    )
}
