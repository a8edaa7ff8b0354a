//! Uploads through forms: each dialect against a page that is scripted from its wire facts, and the command around
//! them.

mod check_file;
mod command;
// Not every word of it is in use at every moment.
#[allow(dead_code)]
mod page;
mod sequence;
