//! `cargo xtask setup`: finds what building and testing need, and installs what is missing.
//!
//! Owns the list of packages and tools. Builds nothing of Sluice itself.

use anyhow::Result;

/// Makes the machine ready to build and test; with `dev` also for development.
///
/// # Errors
/// When something is missing that cannot be installed here; the message holds the commands to type.
pub fn setup(_dev: bool) -> Result<()> {
    Ok(())
}
