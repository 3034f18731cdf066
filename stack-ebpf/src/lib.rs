//! The contract between the XDP program and user space: map names, keys and values.
//!
//! Owns every type that crosses the border. Knows neither aya nor the host's libraries.
#![no_std]
#![forbid(unsafe_code)]
