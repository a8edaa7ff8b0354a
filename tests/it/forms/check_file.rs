//! `check-file`: "check the MD5, then send numbered chunks", held to every sentence of its description.

use super::page::{Act, Asked, Page, json};
use crate::world::{Content, Signal, World, eventually};
use onward::digest::Algorithm;
use serde_json::json as value;
use std::sync::{Arc, Mutex};

const CHUNK: u64 = 64 << 10;

/// The honest page: chunks by their index, complete when the last one says so.
#[derive(Default)]
pub struct Shelf {
    pub chunks: Vec<Vec<u8>>,
    pub complete: bool,
}

impl Shelf {
    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// What the page answers.
    pub fn answer(&mut self, asked: &Asked) -> Act {
        match asked.call() {
            "checkFile" => match (self.complete, self.chunks.len()) {
                (true, _) => json(value!({"state": 2})),
                (false, 0) => json(value!({"state": 0})),
                (false, count) => json(value!({"state": 1, "maxChuck": count - 1})),
            },
            "uploadChuncks" => {
                let index = asked.number("chunk") as usize;
                assert!(index <= self.chunks.len(), "a gap: {index}");
                self.chunks.truncate(index);
                self.chunks.push(asked.file());
                let last = asked.fields().iter().any(|(name, value)| name.trim() == "isLastChunk" && value == "true");
                self.complete |= last;
                json(value!({"ret": true, "chunk": index}))
            }
            other => panic!("nobody asked for {other}"),
        }
    }
}

pub fn honest() -> (Page, Arc<Mutex<Shelf>>) {
    let shelf = Arc::new(Mutex::new(Shelf::default()));
    let shared = shelf.clone();
    (Page::new(move |asked, _| shared.lock().unwrap().answer(asked)), shelf)
}

fn upload(world: &World, page: &Page, name: &str) -> crate::world::Onward {
    world.onward(["upload", "--dialect", "check-file", "--chunk-size", "64K", name, &page.url("/api")])
}

#[test]
fn every_byte_of_the_requests() {
    let world = World::new();
    let content = Content::random(1, 2 * CHUNK + 7);
    content.write_to(&world.path("写 a.bin"));
    let (page, shelf) = honest();
    let ended = upload(&world, &page, "写 a.bin").run();
    ended.exits(0).stdout_is(&format!("{}\n", page.url("/api")));
    assert!(shelf.lock().unwrap().complete && shelf.lock().unwrap().bytes() == content.bytes());
    let md5 = content.digest(Algorithm::Md5);
    let log = page.log();
    assert_eq!(log.len(), 4);
    let check = &log[0];
    assert_eq!((check.method.as_str(), check.path.as_str()), ("POST", "/api/checkFile"));
    assert_eq!(check.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(String::from_utf8_lossy(&check.body), format!("md5={md5}&name=%E5%86%99+a.bin"));
    for (index, sent) in log[1..].iter().enumerate() {
        assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/api/uploadChuncks"));
        let names: Vec<&str> = sent.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["fileMd5", "chunk", "isLastChunk", "fileName", "theChunk"]);
        let last = if index == 2 { "true" } else { "false" };
        let values: Vec<String> = sent.fields().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [&md5, &index.to_string(), last, "写 a.bin"]);
        let file = &sent.parts[4];
        assert_eq!(file.filename.as_deref(), Some("blob"));
        assert_eq!(file.kind.as_deref(), Some("application/octet-stream"));
        let end = ((index as u64 + 1) * CHUNK).min(content.len());
        assert!(file.bytes == content.part(index as u64 * CHUNK, end));
    }
    assert!(log[1..].iter().all(|asked| asked.connection == log[1].connection), "one connection is kept");
    world.holds_only(&["写 a.bin"]);
}

#[test]
fn the_default_chunk_is_5_mib() {
    let world = World::new();
    let content = Content::random(2, (5 << 20) + 1);
    content.write_to(&world.path("a"));
    let (page, shelf) = honest();
    world.onward(["upload", "--dialect", "check-file", "a", &page.url("/")]).run().exits(0);
    let sizes: Vec<usize> = shelf.lock().unwrap().chunks.iter().map(Vec::len).collect();
    assert_eq!(sizes, [5 << 20, 1]);
    assert_eq!(page.log()[0].path, "/checkFile");
}

#[test]
fn the_verbatim_names_end_with_a_blank() {
    let world = World::new();
    Content::random(3, 10).write_to(&world.path("a"));
    let (page, _) = honest();
    world.onward(["upload", "--dialect", "check-file-verbatim", "a", &page.url("/u")]).run().exits(0);
    let sent = &page.asked("uploadChuncks")[0];
    let names: Vec<&str> = sent.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["fileMd5", "chunk", "isLastChunk ", "fileName ", "theChunk"]);
    let body = String::from_utf8_lossy(&sent.body).into_owned();
    assert!(
        body.contains("name=\"isLastChunk \"\r\n\r\ntrue\r\n") && body.contains("name=\"fileName \"\r\n\r\na\r\n"),
        "{body}"
    );
}

#[test]
fn sizes_at_the_edges() {
    for (length, chunks) in [(0, 1), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (2 * CHUNK, 2), (3 * CHUNK / 2, 2)] {
        let world = World::new();
        let content = Content::random(length, length);
        content.write_to(&world.path("a"));
        let (page, shelf) = honest();
        upload(&world, &page, "a").run().exits(0);
        let sent = page.asked("uploadChuncks");
        assert_eq!(sent.len(), chunks, "{length}");
        let flags: Vec<String> = sent.iter().map(|asked| asked.field("isLastChunk")).collect();
        assert_eq!(flags.iter().filter(|flag| *flag == "true").count(), 1);
        assert_eq!(flags.last().unwrap(), "true");
        assert_eq!(sent[0].parts.len(), 5, "an empty chunk is a chunk with all its fields");
        assert!(shelf.lock().unwrap().bytes() == content.bytes());
    }
}

#[test]
fn what_is_there_is_not_sent() {
    let world = World::new();
    let content = Content::random(4, 3 * CHUNK + 5);
    content.write_to(&world.path("a"));
    // Complete: nothing to send. `"2"` is 2 as JavaScript has it.
    for state in [value!(2), value!("2"), value!(2.0)] {
        let page = Page::new(move |_, _| json(value!({"state": state})));
        upload(&world, &page, "a").run().exits(0);
        assert_eq!(page.log().len(), 1);
    }
    // Part: from the chunk behind the highest one on.
    for (state, highest, from) in
        [(value!(1), value!(0), 1), (value!("1"), value!("1"), 2), (value!(true), value!(2), 3)]
    {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let shared = shelf.clone();
        let held = content.clone();
        shelf.lock().unwrap().chunks = (0..from).map(|index| held.part(index * CHUNK, (index + 1) * CHUNK)).collect();
        let page = Page::new(move |asked, _| match asked.call() {
            "checkFile" => json(value!({"state": state, "maxChuck": highest})),
            _ => shared.lock().unwrap().answer(asked),
        });
        upload(&world, &page, "a").run().exits(0);
        let sent: Vec<u64> = page.asked("uploadChuncks").iter().map(|asked| asked.number("chunk")).collect();
        assert_eq!(sent, (from..4).collect::<Vec<_>>());
        assert!(shelf.lock().unwrap().bytes() == content.bytes());
    }
}

#[test]
fn at_or_past_the_last_chunk_the_last_is_sent_again() {
    let world = World::new();
    let content = Content::random(5, 3 * CHUNK);
    content.write_to(&world.path("a"));
    for highest in [2, 3, 900] {
        let page = Page::new(move |asked, _| match asked.call() {
            "checkFile" => json(value!({"state": 1, "maxChuck": highest})),
            _ => json(value!({"ret": true})),
        });
        upload(&world, &page, "a").run().exits(0);
        let sent = page.asked("uploadChuncks");
        assert_eq!(sent.len(), 1, "{highest}");
        assert_eq!((sent[0].number("chunk"), sent[0].field("isLastChunk").as_str()), (2, "true"));
        assert!(sent[0].file() == content.part(2 * CHUNK, 3 * CHUNK));
    }
}

#[test]
fn stored_is_any_truthy_ret() {
    let world = World::new();
    Content::random(6, 2 * CHUNK).write_to(&world.path("a"));
    for ret in [value!(true), value!(1), value!("true"), value!("false"), value!({}), value!([])] {
        let page = Page::new(move |asked, _| match asked.call() {
            "checkFile" => Act::Say(200, "text/html", "{\"state\":\"0\"}".into()),
            _ => Act::Say(200, "text/html", value!({"ret": ret, "chunk": asked.field("chunk")}).to_string()),
        });
        upload(&world, &page, "a").run().exits(0);
        assert_eq!(page.asked("uploadChuncks").len(), 2);
    }
    for ret in [value!(false), value!(0), value!(""), value!(null)] {
        let page = Page::new(move |asked, _| match asked.call() {
            "checkFile" => json(value!({"state": 0})),
            _ => json(value!({"ret": ret, "msg": "the shelf is \u{202e}full"})),
        });
        let ended = upload(&world, &page, "a").run();
        ended.exits(6).says("the shelf is \\u{202e}full");
        assert_eq!(page.asked("uploadChuncks").len(), 1, "what failed is not tried again unasked");
        let _ = std::fs::remove_file(record(&world));
    }
}

/// The one record there is.
fn record(world: &World) -> std::path::PathBuf {
    let name = world.names().into_iter().find(|name| name.ends_with(".partial.toml"));
    world.path(&name.unwrap_or_else(|| panic!("there is no record: {:?}", world.names())))
}

#[test]
fn the_server_says_which_chunk_comes_next() {
    let world = World::new();
    let content = Content::random(7, 4 * CHUNK);
    content.write_to(&world.path("a"));
    // It has more than was sent: what it names is passed over. A missing number means the one just sent, and the last
    // chunk's is not looked at.
    let page = Page::new(|asked, _| match (asked.call(), asked.field("chunk").as_str()) {
        ("checkFile", _) => json(value!({"state": 0})),
        (_, "0") => json(value!({"ret": true, "chunk": 1})),
        (_, "2") => json(value!({"ret": true})),
        _ => json(value!({"ret": 1, "chunk": 77})),
    });
    upload(&world, &page, "a").run().exits(0);
    let sent: Vec<u64> = page.asked("uploadChuncks").iter().map(|asked| asked.number("chunk")).collect();
    assert_eq!(sent, [0, 2, 3]);
    // Once it may stand still.
    let page = Page::new(|asked, before| match asked.call() {
        "checkFile" => json(value!({"state": 0})),
        _ if before == 2 => json(value!({"ret": true, "chunk": 0})),
        _ => json(value!({"ret": true, "chunk": asked.number("chunk")})),
    });
    upload(&world, &page, "a").run().exits(0);
    let sent: Vec<u64> = page.asked("uploadChuncks").iter().map(|asked| asked.number("chunk")).collect();
    assert_eq!(sent, [0, 1, 1, 2, 3]);
}

#[test]
fn numbers_that_cannot_be_are_errors() {
    for (told, word) in [
        (value!(4), "which is none"),
        (value!(-1), "which is none"),
        (value!("x"), "which is none"),
        (value!(0), "again"),
    ] {
        let world = World::new();
        Content::random(8, 4 * CHUNK).write_to(&world.path("a"));
        let page = Page::new(move |asked, _| match (asked.call(), asked.field("chunk").as_str()) {
            ("checkFile", _) => json(value!({"state": 0})),
            (_, "0") => json(value!({"ret": true, "chunk": 0})),
            _ => json(value!({"ret": true, "chunk": told})),
        });
        let ended = upload(&world, &page, "a").run();
        ended.exits(1).says(word);
        assert!(page.asked("uploadChuncks").len() <= 3, "not for ever");
    }
}

#[test]
fn answers_that_are_none() {
    let world = World::new();
    Content::random(9, 10).write_to(&world.path("a"));
    let said = |status: u16, kind: &'static str, body: &'static str, code: i32, word: &str| {
        let page = Page::new(move |_, _| Act::Say(status, kind, body.into()));
        let ended = world.onward(["upload", "--retries", "0", "--dialect", "check-file", "a", &page.url("/")]).run();
        ended.exits(code).says(word);
    };
    said(200, "text/html", "<html>log in</html>", 6, "does not know");
    said(200, "application/json", "{\"state\":7,\"msg\":\"odd\"}", 6, "odd");
    said(404, "text/plain", "", 7, "answered 404");
    said(403, "application/json", "{\"msg\":\"not you\"}", 6, "not you");
    said(503, "text/plain", "", 3, "answered 503");
    said(302, "text/plain", "", 6, "redirects");
}

/// Killed after eleven of its chunks, and resumed. `blank` ends two names of fields on the wire.
fn outlives_a_kill(dialect: &str, blank: &str) {
    let world = World::new();
    let content = Content::random(10, 20 * CHUNK + 99);
    content.write_to(&world.path("a"));
    let (page, shelf) = honest();
    let shared = shelf.clone();
    page.now(move |asked, _| match shared.lock().unwrap() {
        shelf if shelf.chunks.len() == 11 => Act::Hang,
        mut shelf => shelf.answer(asked),
    });
    let url = page.url("/u");
    let mut running = world.onward(["upload", "--dialect", dialect, "--chunk-size=64K", "a", &url]).start();
    eventually("the twelfth chunk", || (page.asked("uploadChuncks").len() == 12).then_some(()));
    assert!(!running.has_ended());
    running.kill().died_of(Signal::KILL);
    assert!(world.exists("a") && record(&world).exists());
    let status = world.onward(["status"]).run();
    status.exits(0);
    assert!(status.story().contains("upload"));
    let shared = shelf.clone();
    page.now(move |asked, _| shared.lock().unwrap().answer(asked));
    world.onward(["resume"]).run().exits(0);
    let sent = page.asked("uploadChuncks");
    assert_eq!(sent.iter().map(|asked| asked.number("chunk")).collect::<Vec<_>>(), (11..21).collect::<Vec<_>>());
    let names = ["isLastChunk", "fileName"].map(|name| format!("{name}{blank}"));
    assert!(sent.iter().all(|asked| names.iter().all(|name| asked.parts.iter().any(|part| part.name == *name))));
    assert!(shelf.lock().unwrap().complete && shelf.lock().unwrap().bytes() == content.bytes());
    world.holds_only(&["a"]);
}

#[test]
fn killed_and_resumed_from_the_record_alone() {
    outlives_a_kill("check-file", "");
}

#[test]
fn verbatim_killed_and_resumed() {
    outlives_a_kill("check-file-verbatim", " ");
}

#[test]
fn a_lost_answer_is_settled_by_asking() {
    let world = World::new();
    let content = Content::random(11, 4 * CHUNK);
    content.write_to(&world.path("a"));
    let (page, shelf) = honest();
    let (shared, mut lost) = (shelf.clone(), false);
    page.now(move |asked, _| {
        let act = shared.lock().unwrap().answer(asked);
        let now = asked.field("chunk") == "2" && !lost;
        lost |= now;
        if now { Act::Lose } else { act }
    });
    upload(&world, &page, "a").run().exits(0);
    let sent: Vec<u64> = page.asked("uploadChuncks").iter().map(|asked| asked.number("chunk")).collect();
    assert_eq!((sent, page.asked("checkFile").len()), (vec![0, 1, 2, 3], 2));
    assert!(shelf.lock().unwrap().bytes() == content.bytes());
}

#[test]
fn the_md5_is_kept_and_known_to_be_another_when_the_file_changed() {
    let world = World::new();
    let content = Content::random(12, 4 * CHUNK);
    content.write_to(&world.path("a"));
    let (page, shelf) = honest();
    let shared = shelf.clone();
    page.now(move |asked, _| match asked.field("chunk").as_str() {
        "2" => json(value!({"ret": false, "msg": "later"})),
        _ => shared.lock().unwrap().answer(asked),
    });
    let first = upload(&world, &page, "a").arg("--progress=json").run();
    first.exits(6);
    assert!(!first.events_called("hashing").is_empty(), "hashing shows itself");
    let text = std::fs::read_to_string(record(&world)).unwrap();
    assert!(text.contains(&format!("identity = \"md5:{}\"", content.digest(Algorithm::Md5))), "{text}");
    // The same content again: no hashing, and it goes on.
    let second = upload(&world, &page, "a").arg("--progress=json").run();
    second.exits(6);
    assert!(second.events_called("hashing").is_empty(), "{}", second.story());
    // Another content: its own MD5, from the first chunk on.
    let other = content.flipped(3);
    other.write_to(&world.path("a"));
    shelf.lock().unwrap().chunks.clear();
    let shared = shelf.clone();
    page.now(move |asked, _| shared.lock().unwrap().answer(asked));
    upload(&world, &page, "a").run().exits(0);
    let sent = page.asked("uploadChuncks");
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|asked| asked.field("fileMd5") == other.digest(Algorithm::Md5)));
    assert!(shelf.lock().unwrap().bytes() == other.bytes());
}

#[test]
fn hashing_that_was_killed_goes_on() {
    let world = World::new();
    let content = Content::sparse(13, 700 << 20);
    content.write_to(&world.path("a"));
    let (page, _) = honest();
    let mut running =
        world.onward(["upload", "--dialect", "check-file", "--progress=json", "a", &page.url("/")]).start();
    running.wait_for_such("hashing", |event| event["done"].as_u64() >= Some(200 << 20));
    eventually("the saved state", || {
        let name = world.names().into_iter().find(|name| name.ends_with(".partial.toml"))?;
        std::fs::read_to_string(world.path(&name)).ok().filter(|text| text.contains("[prefix.md5]"))
    });
    if running.has_ended() {
        return;
    }
    running.kill();
    let mut again = world.onward(["resume", "--progress=json"]).start();
    let first = again.wait_for("hashing");
    assert!(first["done"].as_u64() >= Some(64 << 20), "it begins where it was: {first}");
    again.kill();
}

#[test]
fn a_413_halves_the_chunk_until_it_fits() {
    let world = World::new();
    let content = Content::random(14, 300 << 10);
    content.write_to(&world.path("a"));
    let (page, shelf) = honest();
    let shared = shelf.clone();
    page.now(move |asked, _| match asked.file().len() > 40 << 10 && asked.call() != "checkFile" {
        true => Act::Say(413, "text/html", "<h1>413</h1>".into()),
        false => shared.lock().unwrap().answer(asked),
    });
    let ended = world.onward(["upload", "--dialect", "check-file", "--chunk-size=128K", "a", &page.url("/")]).run();
    ended.exits(0).says("refuses larger requests");
    let sizes: Vec<usize> = shelf.lock().unwrap().chunks.iter().map(Vec::len).collect();
    assert_eq!(sizes[..9], [32 << 10; 9]);
    assert!(shelf.lock().unwrap().bytes() == content.bytes());
}
