//! Killed in mid-upload and resumed, by every dialect whose server is not at hand: against a page that does what its
//! documents say. The content is compared, and the bytes that came are counted.

use super::page::{Act, Asked, Page, json};
use super::real::{SIZE, killed_and_resumed, kills};
use super::unsure::blueimp;
use crate::world::{Content, World, tell};
use serde_json::json as value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const CHUNK: u64 = 256 << 10;

/// What a page has.
#[derive(Default)]
struct Store {
    /// Chunks by their number.
    chunks: BTreeMap<u64, Vec<u8>>,
    /// The file.
    pile: Vec<u8>,
    /// The bytes of all chunks that came whole, those that came twice included.
    came: u64,
}

impl Store {
    fn keep(&mut self, asked: &Asked, field: &str) {
        self.came += asked.file().len() as u64;
        self.chunks.insert(asked.number(field), asked.file());
    }

    fn append(&mut self, asked: &Asked) {
        self.came += asked.file().len() as u64;
        self.pile.extend(asked.file());
    }

    fn join(&mut self) {
        self.pile = self.chunks.values().flatten().copied().collect();
    }

    /// Whether as many chunks are there as `field` says.
    fn is_whole(&self, asked: &Asked, field: &str) -> bool {
        self.chunks.len() as u64 == asked.number(field)
    }
}

/// Kills and resumes an upload to a page that answers as `answer` says.
fn outlives_kills(dialect: &str, answer: fn(&Asked, &mut Store) -> Act) {
    let world = World::new();
    let content = Content::random(SIZE, SIZE);
    let store: Arc<Mutex<Store>> = Arc::default();
    let shared = store.clone();
    let page = Page::new(move |asked, _| answer(asked, &mut shared.lock().unwrap()));
    killed_and_resumed(&world, dialect, &page.url("/up"), &content);
    let store = store.lock().unwrap();
    assert!(store.pile == content.bytes(), "{dialect}: {} of {SIZE} bytes", store.pile.len());
    let over = store.came - SIZE;
    tell(&format!("{dialect}: {over} bytes came over the {SIZE} of the file"));
    // Chunks that came and were not recorded at each kill, three at most, and a last one sent again for its answer's sake.
    assert!(over <= (kills() * 3 + 2) * CHUNK, "{dialect}: {over} bytes too many");
}

#[test]
fn simple_uploader_outlives_kills() {
    outlives_kills("simple-uploader", |asked, store| match (asked.call(), asked.method.as_str()) {
        ("merge", _) => {
            store.join();
            json(value!({"code": 0}))
        }
        (_, "GET") => json(value!({"uploaded": store.chunks.keys().collect::<Vec<_>>()})),
        _ => {
            store.keep(asked, "chunkNumber");
            json(value!({"result": true, "needMerge": store.is_whole(asked, "totalChunks"), "tempName": "t"}))
        }
    });
}

#[test]
fn dropzone_outlives_kills() {
    outlives_kills("dropzone", |asked, store| {
        store.keep(asked, "dzchunkindex");
        if store.is_whole(asked, "dztotalchunkcount") {
            store.join();
        }
        Act::Say(200, "text/plain", "fine".into())
    });
}

#[test]
fn blueimp_outlives_kills() {
    outlives_kills("blueimp", |asked, store| {
        let before = store.pile.len();
        let act = blueimp(asked, &mut store.pile, "big.bin");
        store.came += (store.pile.len() - before) as u64;
        act
    });
}

#[test]
fn filepond_outlives_kills() {
    outlives_kills("filepond", |asked, store| match asked.method.as_str() {
        "POST" => Act::Say(201, "text/plain", "id".into()),
        "HEAD" => Act::Tell(200, vec![("Upload-Offset", store.pile.len().to_string())], String::new()),
        _ => {
            assert_eq!(asked.headers["upload-offset"], store.pile.len().to_string());
            store.append(asked);
            Act::Say(204, "text/plain", String::new())
        }
    });
}

#[test]
fn webuploader_a_outlives_kills() {
    outlives_kills("webuploader-a", |asked, store| match asked.call() {
        "checkfile" => json(value!({"code": 0, "result": false})),
        "checkchunk" => json(value!({"code": 0, "result": store.chunks.contains_key(&asked.number("chunk"))})),
        "mergechunks" => {
            store.join();
            json(value!({"code": 0}))
        }
        _ => {
            store.keep(asked, "chunk");
            json(value!({"code": 0}))
        }
    });
}

#[test]
fn webuploader_b_outlives_kills() {
    outlives_kills("webuploader-b", |asked, store| match asked.call() {
        "register" => json(value!({"success": true})),
        "checkchunk" => {
            let chunk = store.chunks.get(&asked.number("chunk"));
            let there = chunk.is_some_and(|chunk| chunk.len() as u64 == asked.number("chunkSize"));
            json(value!({"success": true, "ifExist": there}))
        }
        "mergechunks" => {
            store.join();
            json(value!({"success": true}))
        }
        _ => {
            store.keep(asked, "chunk");
            json(value!({"success": true}))
        }
    });
}

#[test]
fn laravel_outlives_kills() {
    outlives_kills("laravel-chunk-upload", |asked, store| {
        store.keep(asked, "resumableChunkNumber");
        let last = asked.field("resumableChunkNumber") == asked.field("resumableTotalChunks");
        if last {
            assert!(store.is_whole(asked, "resumableTotalChunks"), "the last one before all others");
            store.join();
        }
        json(value!({"done": 1, "status": true}))
    });
}
