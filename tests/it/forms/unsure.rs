//! What nobody can know must not be taken for known: foreign bytes under the file's name, answers that never came, and
//! failures that may have come behind the append.

use super::page::{Act, Asked, Page, json};
use super::sequence::honest;
use crate::world::{Content, World};
use serde_json::json as value;
use std::sync::{Arc, Mutex};

const CHUNK: u64 = 64 << 10;

fn upload(world: &World, dialect: &str, url: &str) -> crate::world::Onward {
    world.onward(["upload", "--dialect", dialect, "--chunk-size=64K", "a.bin", url])
}

fn source(world: &World, length: u64) -> Content {
    let content = Content::random(length, length);
    content.write_to(&world.path("a.bin"));
    content
}

/// blueimp's sample over one pile: it appends where the offset fits, and begins another file where it does not.
pub fn blueimp(asked: &Asked, pile: &mut Vec<u8>, name: &str) -> Act {
    if asked.method == "GET" {
        return json(value!({"file": if pile.is_empty() { value!(null) } else { value!({"size": pile.len()}) }}));
    }
    let fits = asked.headers["content-range"].starts_with(&format!("bytes {}-", pile.len()));
    if fits {
        pile.extend(asked.file());
    }
    json(value!({"files": [{"name": if fits { name } else { "a (1).bin" }, "size": pile.len()}]}))
}

#[test]
fn a_foreign_file_is_no_progress_of_ours() {
    for foreign in [100_000, 300_000] {
        let world = World::new();
        source(&world, 300_000);
        let pile = Arc::new(Mutex::new(vec![b'X'; foreign]));
        let shared = pile.clone();
        let page = Page::new(move |asked, _| blueimp(asked, &mut shared.lock().unwrap(), "a.bin"));
        upload(&world, "blueimp", &page.url("/up")).run().exits(8).says("were not sent from here");
        assert!(page.log().iter().all(|asked| asked.method == "GET"));
        assert!(*pile.lock().unwrap() == vec![b'X'; foreign]);
    }
}

#[test]
fn our_own_bytes_are_progress_though_the_answer_was_lost() {
    let world = World::new();
    let content = source(&world, 300_000);
    let pile: Arc<Mutex<Vec<u8>>> = Arc::default();
    let shared = pile.clone();
    let page = Page::new(move |asked, before| {
        let act = blueimp(asked, &mut shared.lock().unwrap(), "a.bin");
        if before == 2 { Act::Lose } else { act }
    });
    upload(&world, "blueimp", &page.url("/up")).run().exits(0);
    assert!(*pile.lock().unwrap() == content.bytes());
}

#[test]
fn another_name_is_another_file() {
    let world = World::new();
    source(&world, 300_000);
    let page = Page::new(|asked, _| match asked.method.as_str() {
        "GET" => json(value!({"file": null})),
        _ => json(value!({"files": [{"name": "a (1).bin"}]})),
    });
    upload(&world, "blueimp", &page.url("/up")).run().exits(6).says("a (1).bin");
    assert_eq!(page.log().len(), 2);
}

#[test]
fn a_failure_behind_the_append_is_not_repeated() {
    let world = World::new();
    source(&world, 200_000);
    let (page, pile) = honest();
    let shared = pile.clone();
    page.now(move |asked, before| {
        shared.lock().unwrap().extend(asked.file());
        let (status, body) = if before == 1 { (500, "{\"message\":\"boom\"}") } else { (200, "{\"status\":200}") };
        Act::Say(status, "text/html", body.into())
    });
    upload(&world, "form-sequence", &page.url("/up")).run().exits(10).says("--assume stored").says("boom");
    assert_eq!(page.log().len(), 2);
}

#[test]
fn a_server_that_always_fails_there_is_given_up() {
    let world = World::new();
    source(&world, 2 * CHUNK);
    let page = Page::new(|asked, _| match asked.number("chunk") {
        0 => Act::Say(200, "text/html", r#"{"jsonrpc":"2.0"}"#.into()),
        _ => Act::Say(500, "text/html", String::new()),
    });
    upload(&world, "plupload", &page.url("/up")).run().exits(10);
    assert_eq!(page.log().len(), 12, "begun anew five times");
}

#[test]
fn an_answer_that_cannot_be_read_leaves_the_mark() {
    let world = World::new();
    source(&world, 200_000);
    let (page, _) = honest();
    page.now(|_, before| match before {
        1 => Act::Say(200, "text/html", format!("{{\"status\":200,\"x\":\"{}\"}}", "x".repeat(5 << 20))),
        _ => Act::Say(200, "text/html", "{\"status\":200}".into()),
    });
    upload(&world, "form-sequence", &page.url("/up")).run().exits(10);
    world.onward(["resume"]).run().exits(10);
    assert_eq!(page.log().len(), 2);
}

#[test]
fn without_retries_an_unknown_outcome_is_one_at_once() {
    let world = World::new();
    source(&world, 200_000);
    let (page, _) = honest();
    page.now(|_, before| match before {
        1 => Act::Lose,
        _ => Act::Say(200, "text/html", "{\"status\":200}".into()),
    });
    upload(&world, "form-sequence", &page.url("/up")).arg("--retries=0").run().exits(10);
}

#[test]
fn an_upload_gone_after_its_last_part_is_not_sent_twice() {
    let world = World::new();
    source(&world, 2 * CHUNK);
    let held = Arc::new(Mutex::new(0));
    let shared = held.clone();
    let page = Page::new(move |asked, _| {
        let mut held = shared.lock().unwrap();
        match asked.method.as_str() {
            "POST" => Act::Say(200, "text/plain", "id".into()),
            "HEAD" if *held == 2 * CHUNK => Act::Say(404, "text/plain", String::new()),
            "HEAD" => Act::Tell(200, vec![("Upload-Offset", held.to_string())], String::new()),
            _ => {
                *held += asked.body.len() as u64;
                if *held == 2 * CHUNK { Act::Lose } else { Act::Say(204, "text/plain", String::new()) }
            }
        }
    });
    let url = page.url("/p");
    upload(&world, "filepond", &url).run().exits(10).says("complete or lost");
    upload(&world, "filepond", &url).run().exits(10);
    assert_eq!(page.asked("p").iter().filter(|asked| asked.method == "POST").count(), 1);
    world.onward(["resume", "--assume=stored", "a.bin"]).run().exits(0);
    assert_eq!(page.asked("p").iter().filter(|asked| asked.method == "POST").count(), 1);
    world.holds_only(&["a.bin"]);
}

#[test]
fn never_said_complete_stays_so() {
    let world = World::new();
    source(&world, 100_000);
    let page = Page::new(|_, _| json(value!({"uploaded": false})));
    let text = "dialect = 1\nname = \"k\"\n[send]\nindex = { n = \"{index}\" }\nfile = { field = \"f\" }\n\
                ok = { json = { uploaded = false } }\ndone = { json = { uploaded = true } }\n";
    let dialect = world.beside("k.toml");
    std::fs::write(&dialect, text).unwrap();
    for _ in 0..2 {
        upload(&world, dialect.to_str().unwrap(), &page.url("/up")).run().exits(10).says("never said");
    }
}

#[test]
fn a_merge_that_failed_with_200_is_no_success() {
    let world = World::new();
    source(&world, 100_000);
    let page = Page::new(|asked, _| match (asked.call(), asked.method.as_str()) {
        ("merge", _) => json(value!({"code": 1, "message": "merge failed"})),
        (_, "GET") => json(value!({"uploaded": []})),
        _ => json(value!({"result": true, "needMerge": true, "tempName": "t"})),
    });
    upload(&world, "simple-uploader", &page.url("/up")).run().exits(6).says("merge failed");
}

#[test]
fn whatever_else_a_test_answers_means_send_it() {
    for (dialect, statuses) in [("flow", [400, 206, 500]), ("resumable", [202, 205, 503])] {
        for status in statuses {
            let world = World::new();
            source(&world, 3 * CHUNK);
            let page = Page::new(move |asked, before| match asked.method.as_str() {
                "GET" => Act::Say(status, "text/plain", String::new()),
                _ if before == 0 => Act::Lose,
                _ => Act::Say(200, "text/plain", String::new()),
            });
            upload(&world, dialect, &page.url("/up")).run().exits(0);
            assert!(page.log().iter().any(|asked| asked.method == "GET"), "{dialect} {status}: it asks");
        }
    }
}

/// A page of simple-uploader's, and how often it was told to merge. The answer to the `lost`th chunk gets lost; whether it
/// asks for the end when that one comes again is `asks`.
fn merging(lost: usize, asks: bool) -> (Page, Arc<Mutex<usize>>) {
    let merges: Arc<Mutex<usize>> = Arc::default();
    let shared = merges.clone();
    let (mut held, mut sent) = (std::collections::BTreeSet::new(), 0);
    let page = Page::new(move |asked, _| match (asked.call(), asked.method.as_str()) {
        ("merge", _) => {
            *shared.lock().unwrap() += 1;
            json(value!({"code": 0}))
        }
        (_, "GET") => json(value!({"uploaded": held.iter().collect::<Vec<_>>()})),
        _ => {
            held.insert(asked.number("chunkNumber"));
            sent += 1;
            let whole = asks && held.len() as u64 == asked.number("totalChunks");
            if sent == lost {
                return Act::Lose;
            }
            json(value!({"result": true, "needMerge": whole, "tempName": "t"}))
        }
    });
    (page, merges)
}

#[test]
fn the_chunk_that_completes_the_file_is_sent_again_for_its_answer() {
    for lost in [1, 4] {
        let world = World::new();
        source(&world, 4 * CHUNK);
        let (page, merges) = merging(lost, true);
        upload(&world, "simple-uploader", &page.url("/u")).run().exits(0);
        assert_eq!(*merges.lock().unwrap(), 1, "lost {lost}");
    }
}

#[test]
fn a_merge_that_nobody_asked_for_after_a_lost_answer_is_unknown() {
    let world = World::new();
    source(&world, 4 * CHUNK);
    let (page, merges) = merging(4, false);
    upload(&world, "simple-uploader", &page.url("/u")).run().exits(10).says("never asked");
    assert_eq!(*merges.lock().unwrap(), 0);
}

/// A page of WebUploader's whose first merge works and is not heard of, and every further one fails. Whether the file is
/// there, it tells by `checkfile`, if `tells`.
fn merged_unheard(page: &Page, first: fn() -> Act, tells: bool) {
    let (mut chunks, mut merged) = (std::collections::BTreeSet::new(), false);
    page.now(move |asked, _| match asked.call() {
        "checkfile" => json(value!({"code": 0, "result": merged && tells})),
        "checkchunk" => json(value!({"code": 0, "result": chunks.contains(&asked.number("chunk"))})),
        "mergechunks" if merged => json(value!({"code": 1, "message": "no such temp folder"})),
        "mergechunks" => {
            merged = true;
            chunks.clear();
            first()
        }
        _ => {
            chunks.insert(asked.number("chunk"));
            json(value!({"code": 0}))
        }
    });
}

#[test]
fn an_end_of_unknown_outcome_is_looked_up() {
    let unheard: [fn() -> Act; 3] =
        [|| Act::Lose, || Act::Say(504, "text/html", String::new()), || Act::Say(500, "text/html", String::new())];
    for first in unheard {
        let world = World::new();
        source(&world, 3 * CHUNK);
        let (page, _) = honest();
        merged_unheard(&page, first, true);
        upload(&world, "webuploader-a", &page.url("/u")).run().exits(0);
        assert_eq!((page.asked("mergechunks").len(), page.asked("uploadchunk").len()), (1, 3));
    }
}

#[test]
fn an_end_of_unknown_outcome_that_fails_when_repeated_stays_unknown() {
    let world = World::new();
    source(&world, 3 * CHUNK);
    let (page, _) = honest();
    merged_unheard(&page, || Act::Lose, false);
    upload(&world, "webuploader-a", &page.url("/u")).run().exits(10).says("no such temp folder");
    assert_eq!(page.asked("mergechunks").len(), 2);
    // The next run knows it too: it sends nothing again.
    world.onward(["resume"]).run().exits(10).says("no such temp folder");
    assert_eq!((page.asked("mergechunks").len(), page.asked("uploadchunk").len()), (3, 3));
}

#[test]
fn an_end_that_failed_in_the_server_is_repeated() {
    let world = World::new();
    source(&world, 3 * CHUNK);
    let mut ends = 0;
    let page = Page::new(move |asked, _| match asked.call() {
        "success" if ends == 0 => {
            ends += 1;
            Act::Say(500, "text/html", String::new())
        }
        _ => json(value!({"success": true})),
    });
    upload(&world, "fine-uploader", &page.url("/u")).run().exits(0);
    assert_eq!(page.asked("success").len(), 2);
}

#[test]
fn an_upload_that_its_first_answer_names_loses_nothing_but_that() {
    for lost in 0..4 {
        // Which of the answers gets lost: the first one names the upload.
        let world = World::new();
        let content = source(&world, 2 * CHUNK + 9);
        let piles: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (shared, mut whole) = (piles.clone(), false);
        let page = Page::new(move |asked, before| {
            let mut piles = shared.lock().unwrap();
            let number =
                if asked.field("upload_id").is_empty() { piles.len() } else { asked.number("upload_id") as usize };
            let act = match asked.call() {
                "" => {
                    whole = true;
                    json(value!({}))
                }
                _ if whole => {
                    let detail = value!({"detail": "Upload has already been marked as \"complete\""}).to_string();
                    Act::Say(400, "application/json", detail)
                }
                _ => {
                    let count = piles.len().max(number + 1);
                    piles.resize(count, Vec::new());
                    let pile = &mut piles[number];
                    if asked.headers["content-range"].starts_with(&format!("bytes {}-", pile.len())) {
                        pile.extend(asked.file());
                        json(value!({"upload_id": number.to_string(), "offset": pile.len()}))
                    } else {
                        assert!(asked.file().is_empty(), "a chunk that does not fit");
                        Act::Say(400, "application/json", value!({"offset": pile.len()}).to_string())
                    }
                }
            };
            if before == lost { Act::Lose } else { act }
        });
        upload(&world, "django-chunked-upload", &page.url("/up")).run().exits(0);
        let piles = piles.lock().unwrap();
        assert!(*piles.last().unwrap() == content.bytes(), "lost {lost}");
        assert_eq!(piles.len(), if lost == 0 { 2 } else { 1 }, "lost {lost}");
        assert_eq!(page.log().iter().filter(|asked| asked.call().is_empty()).count(), 1, "lost {lost}");
    }
}

/// Fine Uploader cannot be asked whether the file is there: an end that was not heard of stays unknown, whatever comes after.
#[test]
fn an_end_that_cannot_be_looked_up_stays_unknown() {
    for (again, said) in
        [(500, "answered 500"), (401, "log in with -u"), (403, "log in with -u"), (429, "answered 429")]
    {
        let world = World::new();
        source(&world, 3 * CHUNK);
        let mut ends = 0;
        let page = Page::new(move |asked, _| match asked.call() {
            "success" => {
                ends += 1;
                if ends == 1 { Act::Lose } else { Act::Say(again, "text/html", String::new()) }
            }
            _ => json(value!({"success": true})),
        });
        upload(&world, "fine-uploader", &page.url("/u"))
            .arg("--retries=2")
            .run()
            .exits(10)
            .says("is not known")
            .says(said);
        let asked = page.log().len();
        world.onward(["resume", "--retries=0"]).run().exits(10).says("is not known").says("--assume stored");
        assert_eq!(page.log().len(), asked + 1, "only the end is asked for again");
        world.onward(["resume", "--assume=stored", "a.bin"]).run().exits(0);
        assert_eq!(page.log().len(), asked + 1);
        world.holds_only(&["a.bin"]);
    }
}

/// A known end is none of unknown outcome: it is had by asking.
#[test]
fn to_assume_an_end_that_was_never_asked_for_changes_nothing() {
    let world = World::new();
    source(&world, 3 * CHUNK);
    let page = Page::new(|asked, _| match asked.call() {
        "success" => Act::Say(401, "text/html", String::new()),
        _ => json(value!({"success": true})),
    });
    upload(&world, "fine-uploader", &page.url("/u")).run().exits(6);
    world.onward(["resume", "--assume=stored", "a.bin"]).run().exits(6).says("--assume changes nothing");
}
