//! What the counters say, for people and programs.
