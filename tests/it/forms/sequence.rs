//! `form-sequence`: chunks posted in order to one endpoint that appends them and can say nothing about them.

use super::page::{Act, Asked, Page};
use crate::world::{Content, Onward, Signal, World, eventually};
use std::sync::{Arc, Mutex};

const CHUNK: u64 = 1 << 10;

/// The honest page: it appends what comes.
pub type Pile = Arc<Mutex<Vec<u8>>>;

fn fine() -> Act {
    Act::Say(200, "text/html; charset=utf-8", "{\"status\":200,\"message\":\"ok\"}".into())
}

fn piles(pile: &Pile) -> impl Fn(&Asked) -> Act + Send + 'static {
    let pile = pile.clone();
    move |asked| {
        pile.lock().unwrap().extend(asked.file());
        fine()
    }
}

pub fn honest() -> (Page, Pile) {
    let pile = Pile::default();
    let append = piles(&pile);
    (Page::new(move |asked, _| append(asked)), pile)
}

fn upload(world: &World, page: &Page) -> Onward {
    world.onward(["upload", "--dialect", "form-sequence", "--chunk-size", "1K", "a", &page.url("/up.php")])
}

fn flags(page: &Page) -> Vec<(String, String)> {
    page.log().iter().map(|asked| (asked.field("isLastChunk"), asked.field("isFirstUpload"))).collect()
}

fn all(flags: &[(&str, &str)]) -> Vec<(String, String)> {
    flags.iter().map(|(last, first)| (last.to_string(), first.to_string())).collect()
}

fn has_record(world: &World) -> bool {
    world.names().iter().any(|name| name.ends_with(".partial.toml"))
}

#[test]
fn every_byte_of_the_requests() {
    let world = World::new();
    let content = Content::random(1, 2 * CHUNK + 7);
    content.write_to(&world.path("a"));
    let (page, pile) = honest();
    upload(&world, &page).run().exits(0).stdout_is(&format!("{}\n", page.url("/up.php")));
    assert!(*pile.lock().unwrap() == content.bytes());
    assert_eq!(flags(&page), all(&[("0", "1"), ("0", "0"), ("1", "0")]));
    for sent in page.log() {
        assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/up.php"));
        let names: Vec<&str> = sent.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["theFile", "fileName", "totalSize", "isLastChunk", "isFirstUpload"]);
        assert_eq!(sent.parts[0].filename.as_deref(), Some("blob"));
        assert_eq!((sent.field("fileName").as_str(), sent.number("totalSize")), ("a", content.len()));
    }
    assert!(page.log().iter().all(|asked| asked.connection == 0), "one connection is kept");
    world.holds_only(&["a"]);
}

#[test]
fn sizes_at_the_edges() {
    for (length, count) in [(0, 1), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (3 * CHUNK, 3)] {
        let world = World::new();
        let content = Content::random(length, length);
        content.write_to(&world.path("a"));
        let (page, pile) = honest();
        upload(&world, &page).run().exits(0);
        let seen = flags(&page);
        assert_eq!(seen.len(), count, "{length}");
        assert_eq!((seen[0].1.as_str(), seen[count - 1].0.as_str()), ("1", "1"), "{length}");
        assert_eq!(seen.iter().filter(|(last, _)| last == "1").count(), 1);
        assert!(*pile.lock().unwrap() == content.bytes());
    }
}

#[test]
fn its_default_chunk_is_not_the_pages_1_kib() {
    let world = World::new();
    Content::random(2, (1 << 20) + 1).write_to(&world.path("a"));
    let (page, _) = honest();
    world.onward(["upload", "--dialect", "form-sequence", "a", &page.url("/")]).run().exits(0);
    assert_eq!(page.log().iter().map(|asked| asked.file().len()).collect::<Vec<_>>(), [1 << 20, 1]);
}

#[test]
fn stored_is_2xx_and_status_200_and_all_else_failed() {
    let cases: [(u16, &str, &str, i32, &str); 5] = [
        (200, "text/html", "{\"status\":500,\"message\":\"disk is full\"}", 6, "disk is full"),
        (200, "application/json", "{\"status\":\"200\"}", 6, "failed"),
        (200, "text/html", "status 200, says the page", 6, "does not know"),
        (200, "text/html", "", 6, "failed"),
        (400, "text/html", "{\"status\":200}", 6, "answered 400"),
    ];
    for (status, kind, body, code, word) in cases {
        let world = World::new();
        Content::random(3, 5 * CHUNK).write_to(&world.path("a"));
        let page = Page::new(move |_, before| match before {
            0 => fine(),
            _ => Act::Say(status, kind, body.into()),
        });
        let ended = upload(&world, &page).arg("--retries=0").run();
        ended.exits(code).says(word);
        assert_eq!(page.log().len(), 2);
        // It failed, so it is not there, and the next run sends that one.
        let (page_log, pile) = (page, Pile::default());
        let append = piles(&pile);
        page_log.now(move |asked, _| append(asked));
        world.onward(["resume"]).run().exits(0);
        assert_eq!(flags(&page_log), all(&[("0", "1"), ("0", "0"), ("0", "0"), ("1", "0")]));
        assert!(*pile.lock().unwrap() == Content::random(3, 5 * CHUNK).part(CHUNK, 5 * CHUNK));
    }
}

#[test]
fn only_the_last_chunk_is_left() {
    let world = World::new();
    let content = Content::random(4, 3 * CHUNK);
    content.write_to(&world.path("a"));
    let (page, pile) = honest();
    let append = piles(&pile);
    page.now(move |asked, before| match before {
        2 => Act::Say(200, "text/html", "{\"status\":503}".into()),
        _ => append(asked),
    });
    upload(&world, &page).run().exits(6);
    let append = piles(&pile);
    page.now(move |asked, _| append(asked));
    upload(&world, &page).run().exits(0);
    assert_eq!(flags(&page), all(&[("1", "1")]), "the page would start over; the record knows better");
    assert!(*pile.lock().unwrap() == content.bytes());
    // Finished earlier: again from the front.
    pile.lock().unwrap().clear();
    let append = piles(&pile);
    page.now(move |asked, _| append(asked));
    upload(&world, &page).run().exits(0);
    assert_eq!(flags(&page), all(&[("0", "1"), ("0", "0"), ("1", "0")]));
    assert!(*pile.lock().unwrap() == content.bytes());
}

/// A page that takes `count` chunks, reads the next, and never answers; whether it keeps that one is `kept`.
fn silent_after(page: &Page, pile: &Pile, count: usize, kept: bool, act: fn() -> Act) {
    let append = piles(pile);
    page.now(move |asked, before| match before {
        n if n < count => append(asked),
        _ => {
            if kept {
                append(asked);
            }
            act()
        }
    });
}

#[test]
fn a_chunk_of_unknown_fate_is_never_repeated_blindly() {
    for kept in [true, false] {
        let world = World::new();
        let content = Content::random(5, 6 * CHUNK);
        content.write_to(&world.path("a"));
        let (page, pile) = honest();
        silent_after(&page, &pile, 3, kept, || Act::Lose);
        let ended = upload(&world, &page).run();
        ended.exits(10).says("--assume stored").says("--restart");
        assert_eq!(page.log().len(), 4);
        // Neither the same command nor a plain resume guesses.
        let append = piles(&pile);
        page.now(move |asked, _| append(asked));
        upload(&world, &page).run().exits(10);
        world.onward(["resume"]).run().exits(10).says("--assume stored");
        assert_eq!(page.log().len(), 0);
        let word = if kept { "stored" } else { "lost" };
        world.onward(["resume", "--assume", word, "a"]).run().exits(0);
        assert_eq!(page.log().len(), if kept { 2 } else { 3 });
        assert!(*pile.lock().unwrap() == content.bytes(), "{word}");
        world.holds_only(&["a"]);
    }
}

#[test]
fn the_first_chunk_of_unknown_fate() {
    let world = World::new();
    let content = Content::random(6, 3 * CHUNK);
    content.write_to(&world.path("a"));
    let (page, pile) = honest();
    silent_after(&page, &pile, 0, true, || Act::Lose);
    upload(&world, &page).run().exits(10);
    assert!(has_record(&world), "the mark is kept");
    let append = piles(&pile);
    page.now(move |asked, _| append(asked));
    upload(&world, &page).run().exits(10);
    pile.lock().unwrap().clear();
    world.onward(["resume", "--restart", "a"]).run().exits(0);
    assert!(*pile.lock().unwrap() == content.bytes());
}

#[test]
fn a_gateway_that_gives_up_leaves_it_unknown() {
    let world = World::new();
    Content::random(7, 3 * CHUNK).write_to(&world.path("a"));
    let (page, pile) = honest();
    silent_after(&page, &pile, 1, true, || Act::Say(504, "text/html", String::new()));
    upload(&world, &page).run().exits(10);
}

#[test]
fn killed_in_mid_chunk_and_resumed() {
    let world = World::new();
    let content = Content::random(8, 40 * CHUNK);
    content.write_to(&world.path("a"));
    let (page, pile) = honest();
    silent_after(&page, &pile, 17, true, || Act::Hang);
    let running = upload(&world, &page).start();
    eventually("the eighteenth chunk", || (page.log().len() == 18).then_some(()));
    running.kill().died_of(Signal::KILL);
    let append = piles(&pile);
    page.now(move |asked, _| append(asked));
    // What had been answered is known in spite of the kill, and what had not is known to be unknown.
    world.onward(["resume"]).run().exits(10);
    world.onward(["resume", "--assume=stored", "a"]).run().exits(0);
    assert_eq!(page.log().len(), 22);
    assert_eq!(page.log()[0].field("isFirstUpload"), "1", "once in every run");
    assert!(*pile.lock().unwrap() == content.bytes());
}

#[test]
fn nothing_has_left_where_nobody_listens() {
    let world = World::new();
    Content::random(9, 3 * CHUNK).write_to(&world.path("a"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/up");
    let args = ["upload", "--retries=1", "--dialect", "form-sequence", "a", &url];
    world.onward(args).run().exits(3);
    world.onward(args).run().exits(3);
}

#[test]
fn the_stall_limit_is_the_users_where_one_is_given() {
    let world = World::new();
    Content::random(10, 2 * CHUNK).write_to(&world.path("a"));
    let (page, pile) = honest();
    silent_after(&page, &pile, 1, false, || Act::Hang);
    let ended = upload(&world, &page).args(["--stall-timeout=1s", "--connect-timeout=10m"]).run();
    ended.exits(10).says("sent nothing for 1s");
}

/// Once a chunk is stored, the others cannot be smaller: what can be done is said.
#[test]
fn a_later_chunk_that_is_too_large() {
    let world = World::new();
    Content::random(1, 3 * CHUNK).write_to(&world.path("a"));
    let page = Page::new(|_, before| match before {
        0 => fine(),
        _ => Act::Say(413, "text/plain", String::new()),
    });
    upload(&world, &page).run().exits(6).says("413").says("--restart --chunk-size 512");
}

/// Nothing in its requests numbers a chunk, so chunks have the length that the line likes, up to the one that was asked for.
#[test]
fn its_chunks_grow_with_the_line() {
    const MIB: usize = 1 << 20;
    let world = World::new();
    let content = Content::random(9, 24 * MIB as u64 + 7);
    content.write_to(&world.path("a"));
    let (page, pile) = honest();
    world.onward(["upload", "--dialect=form-sequence", "--chunk-size=5000001", "a", &page.url("/u")]).run().exits(0);
    assert!(*pile.lock().unwrap() == content.bytes());
    let log = page.log();
    let sizes: Vec<usize> = log.iter().map(|asked| asked.file().len()).collect();
    assert_eq!(sizes[0], MIB, "before anything is known of the line");
    assert_eq!(sizes.iter().max(), Some(&5_000_001), "{sizes:?}");
    let flags = |field: &str| log.iter().map(|asked| asked.number(field)).collect::<Vec<_>>();
    let (mut first, mut last) = (vec![0; log.len()], vec![0; log.len()]);
    (first[0], last[log.len() - 1]) = (1, 1);
    assert_eq!((flags("isFirstUpload"), flags("isLastChunk")), (first, last));
}
