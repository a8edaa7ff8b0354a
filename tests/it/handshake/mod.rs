//! Every rule of the chunk-index handshake, by raw requests: our own client is not the oracle here.

mod begin;
mod join;
mod names;
mod pieces;
mod trouble;

use crate::receiver::{Receiver, Talk, crc_field, crc_hex, field_of, hash, key, tree};
use crate::world::{Content, World, eventually};
use onward::byteset::ByteSet;
use onward::digest::{Algorithm, hex};
use onward::wire::handshake::{Id, proof};
use serde_json::{Value, json};
use std::time::Duration;

const CHUNK: u64 = 64 << 10;

fn content(seed: u64, len: u64) -> Vec<u8> {
    Content::random(seed, len).bytes()
}

/// Sends all of `bytes` as whole chunks of [`CHUNK`].
#[track_caller]
fn send_all(talk: &mut Talk, upload: &str, bytes: &[u8]) {
    for (index, chunk) in bytes.chunks(CHUNK as usize).enumerate() {
        talk.chunk(upload, index as u64, chunk).is(204);
    }
}

/// Uploads `bytes` as `name`, from *begin* to *finish*.
#[track_caller]
fn store(server: &Receiver, name: &str, bytes: &[u8], more: Value) {
    let mut talk = server.talk();
    let upload = talk.begin("/", name, bytes.len() as u64, CHUNK, more).is(201).upload();
    send_all(&mut talk, &upload, bytes);
    talk.complete(&upload, bytes).is(201);
}

fn md5(bytes: &[u8]) -> String {
    hash(Algorithm::Md5, bytes).hex()
}

/// The proof for the offer of a status document.
fn prove(offer: &Value, bytes: &[u8]) -> Value {
    let nonce = Id::parse(offer["nonce"].as_str().unwrap()).unwrap();
    let mut hasher = proof(&nonce);
    for range in ByteSet::parse(offer["ranges"].as_str().unwrap()).unwrap().runs() {
        hasher.update(&bytes[range.start as usize..range.end as usize]);
    }
    json!({"md5": md5(bytes), "nonce": nonce.to_string(), "proof": hex(&hasher.finish().bytes)})
}
