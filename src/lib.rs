//! `onward` moves big files in chunks and never loses what it has moved.
// In the library only: a test may fail loudly.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may write a file without ceremony"))]
#![warn(clippy::unwrap_used, clippy::panic, clippy::too_many_lines)]

pub mod byteset;
pub mod chunk;
pub mod cli;
pub mod commands;
pub mod config;
pub mod digest;
pub mod disk;
pub mod engine;
pub mod event;
pub mod fault;
pub mod memory;
pub mod net;
pub mod partial;
pub mod plan;
pub mod record;
pub mod remote;
pub mod report;
pub mod serve;
pub mod source;
pub mod units;
pub mod wire;
