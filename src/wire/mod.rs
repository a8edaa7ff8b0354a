//! The wire's grammar: fields and documents read into values and printed from them, both directions, no I/O.
//!
//! Everything here is fed by strangers: a parser answers with a value or refuses, it never panics and never guesses.
//! Client and server share these rooms, so that they cannot drift.

pub mod auth;
pub mod checksum_file;
pub mod content_range;
pub mod cookies;
pub mod dialect;
pub mod digest_fields;
pub mod disposition;
pub mod filename;
pub mod handshake;
pub mod mask;
pub mod media_type;
pub mod multipart;
pub mod names;
pub mod netrc;
pub mod percent;
pub mod range;
pub mod retry_after;
pub mod rufh;
pub mod tus;
pub mod up2k;
pub mod validator;
