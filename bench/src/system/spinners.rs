//! Spinners at idle priority on the CPUs of server and client, while they are held.

use std::process::Command;

use anyhow::Result;

use super::bed::Room;
use super::process::Process;
use crate::tools;

/// Starts them. They bear the lowest nice value too, so that the kernel counts their time apart from
/// that of the client.
pub(super) fn start(room: &Room) -> Result<Vec<Process>> {
    let mut cpus = vec![room.places.server, room.places.client];
    cpus.dedup();
    let start = |cpu: usize| {
        let mut command = Command::new("nice");
        command.env("PATH", tools::path());
        command.args(["-n", "19", "chrt", "--idle", "0"]).arg(&room.tools.bench);
        Process::start("a spinner", command.args(["spin", "--cpu", &cpu.to_string()]))
    };
    cpus.into_iter().map(start).collect()
}
