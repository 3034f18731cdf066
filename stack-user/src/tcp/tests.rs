//! Tests of a connection as a whole.
