//! All that is proven by running the built program, in one binary: one file a subject, and the world they share.

// The world is offered to many test files; not every word of it is in use at every moment.
#[allow(dead_code)]
mod world;
