//! The loops: what is missing is asked for, moved, recorded, until nothing is missing.
pub mod meter;
pub mod pace;
pub mod retry;
pub mod spans;
mod stop;

pub use stop::Stop;
