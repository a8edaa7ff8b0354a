//! All that is proven by running the built program, in one binary: one file a subject, and the world they share.

// A test may write a file without ceremony, and ask whether one is there.
#![allow(clippy::disallowed_methods)]

mod access;
mod adopt;
mod checksum_file;
mod crash;
mod download;
mod download_attacks;
mod download_bodies;
mod download_doubts;
mod download_evidence;
mod download_faults;
mod download_h2;
mod download_mirrors;
mod download_offers;
mod download_pipe;
mod download_sidecar;
mod expired_links;

mod cli;
mod clients;
mod fault_rows;
// The world and its servers are offered to many test files; not every word of them is in use at every moment.
#[allow(dead_code)]
mod faults;
mod fileservers;
mod forms;
#[allow(dead_code)]
mod growing_peer;
mod handshake;
#[allow(dead_code)]
mod nginx;
#[allow(dead_code)]
mod origin;
mod patch;
#[allow(dead_code)]
mod peer;
mod places;
mod plain_put;
mod probe;
mod receiver;
mod remote;
mod report;
mod serve;
mod serve_ietf;
mod serve_tus;
#[allow(dead_code)]
mod servers;
mod sharing;
#[allow(dead_code)]
mod shelf_peer;
mod status;
mod stopping;
mod tus_servers;
mod upload;
mod upload_growing;
mod upload_peer;
#[allow(dead_code)]
mod world;
