//! Uploads through forms: each dialect against a page that is scripted from its wire facts, and the command around
//! them.

mod check_file;
mod command;
mod killed;
mod others;
pub mod page;
mod real;
mod sequence;
mod unsure;
