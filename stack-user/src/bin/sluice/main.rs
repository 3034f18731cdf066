//! The command line of Sluice: reads the options, runs, and turns errors into exit codes.
//!
//! Exit code 0 is an orderly end, 2 is something that the user has to change (nothing was changed on
//! the machine), 1 is a failure later on.

mod block;
mod capabilities;
mod cli;
mod client;
mod plan;
mod serve;
mod setup;
mod signals;
mod transport;

use std::io::IsTerminal;
use std::process::ExitCode;

use sluice::control::Refusal;
use tracing_subscriber::EnvFilter;

use crate::cli::Action;

fn main() -> ExitCode {
    let action = match cli::parse() {
        Ok(action) => action,
        Err(cli::Stop::Shown) => return ExitCode::SUCCESS,
        Err(cli::Stop::Refused(refusal)) => return fail(&refusal.into()),
    };
    start_log();
    let done = match action {
        Action::Run(options) => serve::run(&options),
        Action::Client(options) => client::run(*options),
        Action::Block(options) => block::run(&options),
        Action::Pass(options) => serve::pass(&options),
    };
    done.map_or_else(|err| fail(&err), |()| ExitCode::SUCCESS)
}

fn fail(err: &anyhow::Error) -> ExitCode {
    if let Some(refusal) = err.downcast_ref::<Refusal>() {
        eprintln!("error: {refusal}");
        return ExitCode::from(2);
    }
    eprintln!("error: {err:#}");
    ExitCode::FAILURE
}

/// Logs go to standard error, at the level that `RUST_LOG` names, else `info`.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
