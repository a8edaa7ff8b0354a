//! The other dialects, each against a page scripted from its library's wire facts.

use super::page::{Act, Asked, Page, json};
use crate::faults::{Fate, Proxy};
use crate::world::{Content, World};
use serde_json::json as value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const CHUNK: u64 = 64 << 10;

/// Chunks by their number, as most pages keep them.
type Shelf = Arc<Mutex<BTreeMap<u64, Vec<u8>>>>;

fn whole(shelf: &Shelf) -> Vec<u8> {
    shelf.lock().unwrap().values().flatten().copied().collect()
}

fn numbers(sent: &[Asked], field: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = sent.iter().map(|asked| asked.number(field)).collect();
    numbers.sort_unstable();
    numbers
}

/// Sends a file of `length` bytes to a page that keeps chunks by `field` and answers as `answer` says.
fn sent(
    dialect: &str,
    length: u64,
    field: &'static str,
    answer: impl Fn(&Asked) -> Act + Send + 'static,
) -> (World, Page, Content) {
    let world = World::new();
    let content = Content::random(length, length);
    content.write_to(&world.path("写 a.mp4"));
    let shelf = Shelf::default();
    let shared = shelf.clone();
    let page = Page::new(move |asked, _| {
        if asked.parts.iter().any(|part| part.filename.is_some()) && !asked.field(field).is_empty() {
            shared.lock().unwrap().insert(asked.number(field), asked.file());
        }
        answer(asked)
    });
    world.onward(["upload", "--dialect", dialect, "--chunk-size=64K", "写 a.mp4", &page.url("/up")]).run().exits(0);
    assert!(whole(&shelf) == content.bytes(), "{dialect}");
    (world, page, content)
}

#[test]
fn resumable_puts_its_fields_into_query_and_form() {
    let (_, page, content) =
        sent("resumable", 3 * CHUNK + 9, "resumableChunkNumber", |asked| match asked.method.as_str() {
            "GET" => Act::Say(404, "text/plain", String::new()),
            _ => Act::Say(200, "text/plain", "ok".into()),
        });
    let log = page.log();
    assert_eq!(numbers(&log, "resumableChunkNumber"), [1, 2, 3]);
    for asked in &log {
        assert_eq!(asked.query, asked.fields());
        let expected = [
            ("resumableChunkNumber", asked.field("resumableChunkNumber")),
            ("resumableTotalChunks", "3".into()),
            ("resumableChunkSize", CHUNK.to_string()),
            ("resumableCurrentChunkSize", asked.file().len().to_string()),
            ("resumableTotalSize", content.len().to_string()),
            ("resumableType", "video/mp4".into()),
            ("resumableIdentifier", format!("{}-amp4", content.len())),
            ("resumableFilename", "写 a.mp4".into()),
            ("resumableRelativePath", "写 a.mp4".into()),
        ];
        assert_eq!(asked.query, expected.map(|(name, value)| (name.to_string(), value)));
        assert_eq!(asked.parts.last().unwrap().filename.as_deref(), Some("写 a.mp4"));
    }
}

#[test]
fn flow_has_its_fields_in_the_form_alone() {
    let (_, page, _) = sent("flow", 2 * CHUNK, "flowChunkNumber", |_| Act::Say(200, "text/plain", String::new()));
    assert!(page.log().iter().all(|asked| asked.query.is_empty() && asked.field("flowTotalChunks") == "2"));
}

#[test]
fn simple_uploader_asks_once_and_merges() {
    let (_, page, content) =
        sent("simple-uploader", 2 * CHUNK + 1, "chunkNumber", |asked| match (asked.call(), asked.method.as_str()) {
            ("merge", _) => json(value!({"ok": true})),
            (_, "GET") => json(value!({"uploaded": []})),
            _ => json(value!({"result": true, "needMerge": asked.number("chunkNumber") == 2, "tempName": "t-7"})),
        });
    let merge = &page.asked("merge")[0];
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&merge.body).unwrap(),
        value!({"tempName": "t-7", "fileName": "写 a.mp4"})
    );
    let first = &page.log()[0];
    assert_eq!(
        (first.method.as_str(), first.field("identifier")),
        ("GET", content.digest(onward::digest::Algorithm::Md5))
    );
    // All of it is there: nothing is sent.
    let world = World::new();
    Content::random(1, 10).write_to(&world.path("a"));
    let page = Page::new(|_, _| json(value!({"skipUpload": true})));
    world.onward(["upload", "--dialect=simple-uploader", "a", &page.url("/")]).run().exits(0);
    assert_eq!(page.log().len(), 1);
}

#[test]
fn dropzone_counts_from_zero_under_one_uuid() {
    let (_, page, _) = sent("dropzone", 2 * CHUNK + 1, "dzchunkindex", |_| Act::Say(201, "text/plain", "fine".into()));
    let log = page.log();
    assert_eq!(numbers(&log, "dzchunkindex"), [0, 1, 2]);
    assert!(
        log.iter().all(|asked| asked.field("dzuuid") == log[0].field("dzuuid") && asked.field("dzuuid").len() == 36)
    );
    assert!(log.iter().all(|asked| asked.headers["x-requested-with"] == "XMLHttpRequest"));
    assert_eq!(log.last().unwrap().number("dzchunkindex"), 2, "the last one last");
}

#[test]
fn plupload_begins_anew_under_another_name() {
    let world = World::new();
    let content = Content::random(3, 3 * CHUNK);
    content.write_to(&world.path("a.bin"));
    let piles: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let shared = piles.clone();
    let page = Page::new(move |asked, before| {
        shared.lock().unwrap().entry(asked.field("name")).or_default().extend(asked.file());
        if before == 1 {
            Act::Lose
        } else {
            Act::Say(200, "text/html", r#"{"jsonrpc":"2.0","result":null,"id":"id"}"#.into())
        }
    });
    let ended = world.onward(["upload", "--dialect=plupload", "--chunk-size=64K", "a.bin", &page.url("/")]).run();
    ended.exits(0).says("sent anew");
    let (first, last) = (page.log()[0].field("name"), page.log().last().unwrap().field("name"));
    assert!(first != last && last.ends_with(".bin"), "{first} {last}");
    assert!(piles.lock().unwrap()[&last] == content.bytes());
    page.now(|_, _| Act::Say(200, "text/html", r#"{"jsonrpc":"2.0","error":{"code":101,"message":"no room"}}"#.into()));
    world.onward(["upload", "--dialect=plupload", "a.bin", &page.url("/")]).run().exits(6).says("no room");
}

#[test]
fn blueimp_goes_by_content_range() {
    let world = World::new();
    let content = Content::random(4, 5 * CHUNK + 3);
    content.write_to(&world.path("a b.bin"));
    let pile: Arc<Mutex<Vec<u8>>> = Arc::default();
    let shared = pile.clone();
    let page = Page::new(move |asked, _| {
        let mut pile = shared.lock().unwrap();
        if asked.method == "GET" {
            assert_eq!(asked.query, [("file".to_string(), "a b.bin".to_string())]);
            return json(value!({"file": {"name": "a b.bin", "size": pile.len()}}));
        }
        let range = format!("bytes {}-{}/{}", pile.len(), pile.len() + asked.file().len() - 1, 5 * CHUNK + 3);
        assert_eq!(asked.headers["content-range"], range);
        assert_eq!(asked.headers["content-disposition"], "attachment; filename=\"a%20b.bin\"");
        assert_eq!(asked.parts[0].name, "files[]");
        pile.extend(asked.file());
        json(value!({"files": [{"name": "a b.bin", "size": pile.len()}]}))
    });
    world.onward(["upload", "--dialect=blueimp", "--chunk-size=64K", "a b.bin", &page.url("/")]).run().exits(0);
    assert!(*pile.lock().unwrap() == content.bytes());
    page.now(|asked, _| match asked.method.as_str() {
        "GET" => json(value!({"file": null})),
        _ => json(value!({"files": [{"error": "too big"}]})),
    });
    world.onward(["upload", "--dialect=blueimp", "a b.bin", &page.url("/")]).run().exits(6).says("too big");
}

#[test]
fn filepond_is_given_an_id_and_asked_by_it() {
    let world = World::new();
    let content = Content::random(5, 3 * CHUNK + 3);
    content.write_to(&world.path("写.bin"));
    let pile: Arc<Mutex<Vec<u8>>> = Arc::default();
    let shared = pile.clone();
    let page = Page::new(move |asked, _| {
        let mut pile = shared.lock().unwrap();
        match asked.method.as_str() {
            "POST" => {
                assert_eq!(
                    (asked.field("filepond").as_str(), asked.headers["upload-length"].as_str()),
                    ("{}", "196611")
                );
                Act::Say(201, "text/plain", "id 7\n".into())
            }
            "HEAD" => Act::Tell(200, vec![("Upload-Offset", pile.len().to_string())], String::new()),
            "PATCH" => {
                assert_eq!(asked.query, [("patch".to_string(), "id 7".to_string())]);
                assert_eq!(asked.headers["upload-offset"], pile.len().to_string());
                assert_eq!(asked.headers["upload-name"], "%E5%86%99.bin");
                assert_eq!(asked.headers["content-type"], "application/offset+octet-stream");
                pile.extend(&asked.body);
                Act::Say(204, "text/plain", String::new())
            }
            other => panic!("{other}"),
        }
    });
    world.onward(["upload", "--dialect=filepond", "--chunk-size=64K", "写.bin", &page.url("/process")]).run().exits(0);
    assert!(*pile.lock().unwrap() == content.bytes());
}

#[test]
fn fine_uploader_renames_restarts_and_ends() {
    let world = World::new();
    let content = Content::random(6, 3 * CHUNK);
    content.write_to(&world.path("a"));
    let page = Page::new(|asked, before| match asked.call() {
        "success" => json(value!({"success": true})),
        _ if before == 0 => json(value!({"success": false, "reset": true})),
        _ if asked.field("qquuid") != "renamed" => json(value!({"success": true, "newUuid": "renamed"})),
        _ => json(value!({"success": true})),
    });
    world.onward(["upload", "--dialect=fine-uploader", "-x1", "--chunk-size=64K", "a", &page.url("/u")]).run().exits(0);
    let log = page.log();
    // The next chunk may be on its way before the answer to the first is there.
    let first = log[0].field("qquuid");
    let anew = log.iter().map(|asked| asked.field("qquuid")).any(|id| !id.is_empty() && id != first && id != "renamed");
    assert!(anew, "a reset is a new upload");
    let end = &page.asked("success")[0];
    assert_eq!((end.field("qquuid").as_str(), end.number("qqtotalparts")), ("renamed", 3));
    page.now(|_, _| json(value!({"success": false, "preventRetry": true, "error": "never"})));
    world.onward(["upload", "--dialect=fine-uploader", "a", &page.url("/u")]).run().exits(6).says("never");
}

/// `qqresume` is said once a run, by the first request, and only where an earlier run's chunk was stored.
#[test]
fn fine_uploader_says_that_it_resumes() {
    let world = World::new();
    Content::random(6, 5 * CHUNK).write_to(&world.path("a"));
    let fails_at = |failing: u64| {
        move |asked: &Asked, _: usize| match asked.call() {
            "u" if asked.number("qqpartindex") >= failing => {
                json(value!({"success": false, "preventRetry": true, "error": "later"}))
            }
            _ => json(value!({"success": true})),
        }
    };
    let page = Page::new(fails_at(0));
    let args = ["upload", "--dialect=fine-uploader", "-x1", "--chunk-size=64K", "a", &page.url("/u")];
    let upload = || world.onward(args).run();
    upload().exits(6);
    page.now(fails_at(3));
    upload().exits(6);
    assert!(page.log().iter().all(|asked| asked.field("qqresume").is_empty()), "nothing of it was stored before");
    page.now(fails_at(u64::MAX));
    upload().exits(0);
    // Two chunks may be under way: which of them arrives first is the network's affair.
    let mut chunks = page.asked("u");
    chunks.sort_by_key(|asked| asked.number("qqpartindex"));
    let resumed: Vec<String> = chunks.iter().map(|asked| asked.field("qqresume")).collect();
    assert_eq!(resumed[0], "true");
    assert!(resumed.len() > 1 && resumed[1..].iter().all(String::is_empty), "{resumed:?}");
}

#[test]
fn webuploader_a_checks_and_merges() {
    let (world, page, content) = sent("webuploader-a", 2 * CHUNK + 1, "chunk", |asked| match asked.call() {
        "checkfile" | "checkchunk" => json(value!({"code": 0, "result": false})),
        _ => json(value!({"code": 0})),
    });
    let md5 = content.digest(onward::digest::Algorithm::Md5);
    assert_eq!(numbers(&page.asked("uploadchunk"), "chunk"), [0, 1, 2]);
    let merge = &page.asked("mergechunks")[0];
    assert_eq!((merge.field("fileMd5"), merge.number("chunkTotal")), (md5, 3));
    page.now(|_, _| json(value!({"code": 0, "result": true})));
    world.onward(["upload", "--dialect=webuploader-a", "写 a.mp4", &page.url("/up")]).run().exits(0);
    assert_eq!(page.log().len(), 1, "it is there already");
    page.now(|_, _| json(value!({"code": 1, "message": "quota"})));
    world.onward(["upload", "--dialect=webuploader-a", "写 a.mp4", &page.url("/up")]).run().exits(6).says("quota");
}

#[test]
fn webuploader_b_registers_with_five_fields() {
    let (_, page, content) =
        sent("webuploader-b", CHUNK + 1, "chunk", |_| json(value!({"success": true, "ifExist": false})));
    for call in ["register", "mergechunks"] {
        let asked = &page.asked(call)[0];
        let names: Vec<String> = asked.fields().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["fileMd5", "fileName", "fileSize", "mimetype", "fileExt"]);
        assert_eq!((asked.number("fileSize"), asked.field("fileExt").as_str()), (content.len(), "mp4"));
    }
}

#[test]
fn laravel_gets_the_last_chunk_last() {
    let (_, page, _) = sent("laravel-chunk-upload", 12 * CHUNK + 5, "resumableChunkNumber", |asked| {
        json(value!({"done": asked.number("resumableChunkNumber") * 100 / 12}))
    });
    let log = page.log();
    assert_eq!((log.len(), log[11].number("resumableChunkNumber")), (12, 12));
    assert_eq!(log[11].file().len() as u64, CHUNK + 5, "its tail is merged");
}

/// A server that refuses a chunk by its length and closes at once, with most of it unread, is heard, not taken for a
/// broken connection.
#[test]
fn a_413_is_heard_although_the_chunk_is_still_on_its_way() {
    use std::io::{BufRead, BufReader, Read, Write};
    const MOST: u64 = 3 << 20;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/up", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut from = BufReader::new(stream.try_clone()?);
                loop {
                    let mut length = 0;
                    for line in from.by_ref().lines() {
                        let line = line?.to_ascii_lowercase();
                        length = line.strip_prefix("content-length: ").map_or(length, |told| told.parse().unwrap());
                        if line.is_empty() {
                            break;
                        }
                    }
                    let status = if length > MOST { "413 Too Large" } else { "200 OK" };
                    if length <= MOST {
                        std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink())?;
                    }
                    // In one piece: what still waits to be sent is lost when a socket with unread bytes is closed.
                    (&stream).write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes())?;
                    if length > MOST || length == 0 {
                        return Ok(());
                    }
                }
            });
        }
    });
    let world = World::new();
    Content::random(1, 24 << 20).write_to(&world.path("a"));
    let args = ["upload", "--dialect", "dropzone", "--chunk-size", "24M", "--retries", "2", "a", &url];
    world.onward(args).run().exits(0).says("refuses larger requests");
    world.holds_only(&["a"]);
}

/// How much a "yes, I have it" is worth is told to people, to scripts and to logs, and nothing but content is "verified".
#[test]
fn what_is_there_already_is_told_with_what_that_rests_on() {
    let world = World::new();
    Content::random(3, 10).write_to(&world.path("a"));
    let page = Page::new(|_, _| json(value!({"there": true})));
    let text = |table: &str| {
        format!(
            "dialect = 1\nname = \"k\"\n[identity]\nid = \"{{md5}}\"\nhash = {{ algo = \"md5\" }}\n{table}\n\
             instant = {{ json = {{ there = true }} }}\n[send]\nfile = {{ field = \"f\" }}\nok = {{ status = \"2xx\" }}\n"
        )
    };
    for (trust, proof, said) in [
        ("", "exists", "all of it was there, by its name alone: no content was compared"),
        ("trust = \"exists\"\n", "exists", "by its name alone"),
        ("trust = \"size\"\n", "size", "all of it was there, by its size: no content was compared"),
        ("trust = \"hash\"\n", "md5", "all of it was there, md5 verified"),
    ] {
        let have = "[have]\nmode = \"offset\"\nat = \"json:n\"\n";
        for asked in [format!("[create]\n{trust}"), format!("{have}{trust}")] {
            let dialect = world.beside("k.toml");
            std::fs::write(&dialect, text(&asked)).unwrap();
            let upload = || world.onward(["upload", "a", &page.url("/u"), "--dialect"]).arg(&dialect);
            let plain = upload().run();
            plain.exits(0).says(said);
            assert_eq!(plain.stderr.contains("verified"), proof == "md5", "{}", plain.stderr);
            assert_eq!(upload().arg("--progress=json").run().exits(0).event("done")["proof"], proof, "{asked}");
        }
    }
}

/// A part counts whole or not at all: one that would take much longer than ten seconds is given up for smaller ones before
/// anything is stored, and the host's rate is remembered for the next file.
#[test]
fn parts_are_kept_under_ten_seconds_of_the_measured_rate() {
    const MIB: u64 = 1 << 20;
    let world = World::new();
    let content = Content::random(8, 64 * MIB + 1);
    content.write_to(&world.path("a"));
    let shelf = Shelf::default();
    let shared = shelf.clone();
    let page = Page::new(move |asked, _| {
        shared.lock().unwrap().insert(asked.number("dzchunkindex"), asked.file());
        Act::Say(200, "text/plain", "fine".into())
    });
    let to = page.url("").trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::before(to);
    proxy.next([Fate::fine().at_rate(MIB), Fate::fine()]);
    let url = proxy.url("/up");
    let upload = || world.onward(["upload", "-v", "--dialect=dropzone", "--chunk-size=64M", "a", &url]);
    upload().run().exits(0).says("parts of 64.0 MiB take too long");
    assert!(whole(&shelf) == content.bytes());
    let largest = shelf.lock().unwrap().values().map(|chunk| chunk.len() as u64).max().unwrap();
    assert!(largest <= 32 * MIB, "{largest}");
    let known = std::fs::read_to_string(world.home().join(".local/state/onward/hosts.jsonl")).unwrap();
    assert!(known.contains("\"upload\":"), "{known}");
    // Somebody has seen it take 1 MiB a second.
    let line: serde_json::Value = serde_json::from_str(known.lines().last().unwrap()).unwrap();
    let mut line = line.as_object().unwrap().clone();
    line.insert("upload".into(), MIB.into());
    std::fs::write(world.home().join(".local/state/onward/hosts.jsonl"), format!("{}\n", value!(line))).unwrap();
    shelf.lock().unwrap().clear();
    upload().run().exits(0);
    assert!(whole(&shelf) == content.bytes());
    let largest = shelf.lock().unwrap().values().map(|chunk| chunk.len() as u64).max().unwrap();
    assert_eq!(largest, 8 * MIB, "ten seconds of 1 MiB/s");
}
