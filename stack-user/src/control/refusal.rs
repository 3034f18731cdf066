//! What the user has to change: the one line that ends a run with exit code 2.

use core::fmt;

/// A demand that cannot be met, with what to do about it; nothing was changed on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal that reads `what is wrong: what to do`.
    pub fn new(what: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self(format!("{what}: {remedy}"))
    }
}

impl fmt::Display for Refusal {
    /// One line, whatever the causes hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.split_whitespace();
        if let Some(first) = words.next() {
            f.write_str(first)?;
        }
        words.try_for_each(|word| write!(f, " {word}"))
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_several_lines_shows_one() {
        let refusal = Refusal::new("cannot load:\n  the verifier says no", "use a newer kernel");
        let shown = "cannot load: the verifier says no: use a newer kernel";
        assert_eq!(refusal.to_string(), shown);
    }
}
