//! Congestion control: how much may be in flight.

mod new_reno;

pub use new_reno::{NewReno, Reaction};

/// How the window grows and how far it falls; chosen for each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 5681 with RFC 6582.
    NewReno,
    /// RFC 9438, as Linux's default.
    #[default]
    Cubic,
}

impl Algorithm {
    /// The name that TCP_CONGESTION has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "reno",
            Self::Cubic => "cubic",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::NewReno, Self::Cubic].into_iter().find(|algorithm| algorithm.name() == name)
    }
}
