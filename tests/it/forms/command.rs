//! `onward dialects` and the flags around them.

use super::page::{Act, Page};
use super::{check_file, sequence};
use crate::world::{Content, Ended, World};

fn said(ended: &Ended) -> String {
    String::from_utf8(ended.stdout.clone()).unwrap()
}

#[test]
fn dialects_are_listed_printed_and_checked() {
    let world = World::new();
    let listed = world.onward(["dialects"]).run();
    listed.exits(0);
    for name in ["check-file", "check-file-verbatim", "form-sequence", "resumable", "laravel-chunk-upload"] {
        assert!(said(&listed).lines().any(|line| line.starts_with(&format!("{name} "))), "{}", said(&listed));
        let shown = world.onward(["dialects", "show", name]).run();
        shown.exits(0);
        world.write("one.toml", &shown.stdout);
        world
            .onward(["dialects", "check", "one.toml"])
            .run()
            .exits(0)
            .stdout_is(&format!("one.toml: sound, the dialect {name}\n"));
    }
    world.onward(["dialects", "show", "nothing"]).run().exits(2).says("check-file");
}

#[test]
fn every_slip_is_told_with_its_line() {
    let world = World::new();
    world.write("bad.toml", "dialect = 1\nname = \"x\"\n\n[chunks]\nsiez = 1\norder = \"sideways\"\n\n[send]\nindex = { n = \"{idx}\" }\nok = {}\n");
    let ended = world.onward(["dialects", "check", "bad.toml"]).run();
    ended.exits(2);
    for word in ["bad.toml:5: \\\"siez\\\" means nothing", "bad.toml:6:", "bad.toml:8:", "bad.toml:9:", "bad.toml:10:"]
    {
        let word = word.replace("\\\"", "\"");
        assert!(said(&ended).contains(&word), "{word}: {}", said(&ended));
    }
    world.write("worse.toml", "dialect = 1\nname = \n");
    world
        .onward(["dialects", "check", "worse.toml"])
        .run()
        .exits(2)
        .stdout_is("worse.toml:2: string values must be quoted, expected literal string\n");
    world.write("a", "a");
    world
        .onward(["upload", "--dialect", "bad.toml", "a", "http://127.0.0.1:1/"])
        .run()
        .exits(2)
        .says("cannot be read: line 5");
}

#[test]
fn a_pasted_request_becomes_a_draft_without_its_secrets() {
    let world = World::new();
    let paste = "curl 'https://h/up' \\\n  -H 'Authorization: Bearer topsecret' -b 'sid=topsecret' \\\n  -F fileMd5=25f9 -F chunk=0 -F \
                 isLastChunk=false -F fileName=a -F _token=topsecret -F 'theChunk=@blob'\n";
    let ended = world.onward(["dialects", "from-curl"]).stdin(paste).run();
    ended.exits(0).never_says("topsecret");
    assert!(!said(&ended).contains("topsecret"), "{}", said(&ended));
    for word in ["try `onward upload --dialect check-file", "-b 'sid=…'", "-F _token=…", "Authorization"] {
        assert!(said(&ended).contains(word), "{word}: {}", said(&ended));
    }
    world.write("draft.toml", &ended.stdout);
    world.onward(["dialects", "check", "draft.toml"]).run().exits(0);
    world.onward(["dialects", "from-curl", "draft.toml"]).run().exits(2).says("does not begin with `curl`");
}

#[test]
fn ones_own_dialect_is_found_by_name_and_kept_in_the_record() {
    let world = World::new();
    let content = Content::random(1, 5000);
    content.write_to(&world.path("a"));
    let mine = said(&world.onward(["dialects", "show", "form-sequence"]).run())
        .replace("theFile", "myFile")
        .replace("\"1MiB\"", "\"1KiB\"");
    std::fs::create_dir_all(world.home().join(".config/onward/dialects")).unwrap();
    std::fs::write(world.home().join(".config/onward/dialects/mine.toml"), &mine).unwrap();
    assert!(said(&world.onward(["dialects"]).run()).contains("mine"));
    let page = Page::new(|_, before| match before {
        2 => Act::Say(200, "text/html", "{\"status\":1}".into()),
        _ => Act::Say(200, "text/html", "{\"status\":200}".into()),
    });
    let args = ["upload", "--dialect", "mine", "a", &page.url("/")];
    world.onward(args).run().exits(6);
    assert_eq!(page.log()[0].parts[0].name, "myFile");
    // Changed since: the old plan is not gone on with by it, but as it was begun.
    std::fs::write(world.home().join(".config/onward/dialects/mine.toml"), mine.replace("myFile", "other")).unwrap();
    world.onward(args).run().exits(2).says("another wording");
    world
        .onward(["upload", "--dialect", "check-file", "a", &page.url("/")])
        .run()
        .exits(2)
        .says("was begun by the dialect mine");
    std::fs::remove_file(world.home().join(".config/onward/dialects/mine.toml")).unwrap();
    world.onward(["resume"]).run().exits(0);
    assert_eq!(page.log().len(), 6);
    assert_eq!(page.log()[5].parts[0].name, "myFile");
}

#[test]
fn a_record_of_another_wording_is_not_followed() {
    let world = World::new();
    Content::random(2, 3000).write_to(&world.path("a"));
    let (page, _) = sequence::honest();
    page.now(|_, _| Act::Say(200, "text/html", "{\"status\":1}".into()));
    let args = ["upload", "--dialect", "form-sequence", "--chunk-size=1K", "a", &page.url("/")];
    page.now(|_, before| Act::Say(200, "text/html", format!("{{\"status\":{}}}", if before == 0 { 200 } else { 1 })));
    world.onward(args).run().exits(6);
    let name = world.names().into_iter().find(|name| name.ends_with(".partial.toml")).unwrap();
    let text = world.text(&name);
    let digest = text.lines().find(|line| line.starts_with("digest = ")).unwrap();
    std::fs::write(world.path(&name), text.replace(digest, "digest = \"00\"")).unwrap();
    world.onward(["resume"]).run().exits(1).says("another wording");
}

#[test]
fn fields_and_cookies_go_along_and_are_asked_for_again() {
    let world = World::new();
    let content = Content::random(3, 200 << 10);
    content.write_to(&world.path("a"));
    let (page, shelf) = check_file::honest();
    let shared = shelf.clone();
    page.now(move |asked, before| match before {
        2 => super::page::json(serde_json::json!({"ret": false, "msg": "later"})),
        _ => shared.lock().unwrap().answer(asked),
    });
    let url = page.url("/");
    let args = [
        "upload",
        "--dialect=check-file",
        "--chunk-size=64K",
        "-F",
        "_token=hush",
        "-F",
        "folder=x y",
        "-b",
        "sid=hush",
        "a",
        &url,
    ];
    world.onward(args).run().exits(6).never_says("hush");
    for asked in page.log() {
        assert_eq!((asked.field("_token").as_str(), asked.field("folder").as_str()), ("hush", "x y"), "{}", asked.path);
        assert_eq!(asked.headers["cookie"], "sid=hush");
    }
    let parts: Vec<String> = page.asked("uploadChuncks")[0].parts.iter().map(|part| part.name.clone()).collect();
    assert_eq!(
        parts,
        ["fileMd5", "chunk", "isLastChunk", "fileName", "_token", "folder", "theChunk"],
        "the file stays last"
    );
    let name = world.names().into_iter().find(|name| name.ends_with(".partial.toml")).unwrap();
    assert!(!world.text(&name).contains("hush"));
    world.onward(["resume"]).run().exits(6).says("-b");
    world.onward(["resume", "-b", "sid=hush"]).run().exits(6).says("-F '_token=…'");
    let shared = shelf.clone();
    page.now(move |asked, _| shared.lock().unwrap().answer(asked));
    world.onward(["resume", "-b", "sid=hush", "-F", "_token=hush", "-F", "folder=x y"]).run().exits(0);
    assert!(shelf.lock().unwrap().bytes() == content.bytes());
}

#[test]
fn several_files_go_to_one_endpoint_and_one_is_forgotten() {
    let world = World::new();
    Content::random(4, 10).write_to(&world.path("a"));
    Content::random(5, 10).write_to(&world.path("b"));
    let (page, _) = check_file::honest();
    page.now(|asked, _| match asked.call() {
        "checkFile" => super::page::json(serde_json::json!({"state": 0})),
        _ if asked.field("fileName") == "b" => super::page::json(serde_json::json!({"ret": 0, "msg": "no b"})),
        _ => super::page::json(serde_json::json!({"ret": 1})),
    });
    world.onward(["upload", "--dialect", "check-file", "a", "b", &page.url("/x")]).run().exits(6).says("no b");
    let mut names: Vec<String> = page.asked("uploadChuncks").iter().map(|asked| asked.field("fileName")).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    world.onward(["upload", "--dialect", "check-file", "--name", "c d.bin", "a", &page.url("/x")]).run().exits(0);
    assert_eq!(page.log().last().unwrap().field("fileName"), "c d.bin");
    world.onward(["cancel", "b"]).run().exits(0);
    world.holds_only(&["a", "b"]);
}

/// A page repeats what it was sent; the line on stdout is the only one with a secret in it.
#[test]
fn a_pages_words_are_told_without_what_was_given() {
    let world = World::new();
    Content::random(1, 100).write_to(&world.path("a"));
    let page = Page::new(|asked, _| {
        let (token, own) = (asked.field("token"), asked.field("own"));
        let words = format!("no {token}, {own}, {} here", asked.headers["authorization"]);
        Act::Say(400, "application/json", serde_json::json!({"message": words}).to_string())
    });
    let url = page.url("/up.php?token=query-hush");
    let upload = || {
        let args = ["upload", "--dialect", "form-sequence", "--progress", "json", "-F", "own=field-hush"];
        world.onward(args).args(["-H", "Authorization: Bearer head-hush", "a", &url]).run()
    };
    upload().exits(6).says("no ***, ***, *** here").never_says("hush");
    page.now(|_, _| Act::Say(200, "text/html", "{\"status\":200}".into()));
    let ended = upload();
    ended.exits(0).stdout_is(&format!("{url}\n"));
    assert_eq!(ended.event("done")["url"], page.url("/up.php?token=***"));
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}

/// A dialect's `{env.NAME}`: sent in any shape and place, shown in none, asked for by its name, and given to no dialect
/// that only a record has.
#[test]
fn variables_of_a_dialect_are_secrets() {
    let world = World::new();
    Content::random(7, 200 << 10).write_to(&world.path("a"));
    let text = "dialect = 1\nname = \"k\"\n[all]\nmessage = \"json:said\"\n[send]\nquery = { t = \"{env.PAGE_KEY}\" }\n\
                headers = { X-Key = \"{env.PAGE_KEY|b64}\" }\nindex = { n = \"{index}\", k = \"{env.PAGE_KEY}\" }\n\
                file = { field = \"f\" }\nok = { json = { fine = true } }\n";
    let dialect = world.beside("k.toml");
    std::fs::write(&dialect, text).unwrap();
    let page = Page::new(|asked, before| {
        assert_eq!((asked.field("t"), asked.field("k")), ("key hush".into(), "key hush".into()));
        assert_eq!(asked.headers["x-key"], "a2V5IGh1c2g=");
        let said = format!("no {}, {}", asked.field("k"), asked.headers["x-key"]);
        super::page::json(serde_json::json!({"fine": before == 0, "said": said}))
    });
    let args = ["upload", "-vv", "--chunk-size=64K", "--connections=1", "a", &page.url("/u"), "--dialect"];
    let upload = || world.onward(args).arg(&dialect);
    upload().run().exits(2).says("PAGE_KEY, which is not set");
    assert_eq!(page.log().len(), 0);
    let ended = upload().env("PAGE_KEY", "key hush").run();
    ended.exits(6).says("no ***, ***").never_says("hush").never_says("a2V5").never_says("key+").never_says("key%20");
    let name = world.names().into_iter().find(|name| name.ends_with(".partial.toml")).unwrap();
    assert!(world.text(&name).contains("\"env:PAGE_KEY\"") && !world.text(&name).contains("hush"));
    let sent = page.log().len();
    world
        .onward(["resume"])
        .env("PAGE_KEY", "key hush")
        .run()
        .exits(6)
        .says("env:PAGE_KEY")
        .says("set the variable PAGE_KEY");
    // A record that does not say so may be planted.
    std::fs::write(world.path(&name), world.text(&name).replace("\"env:PAGE_KEY\"", "")).unwrap();
    world.onward(["resume"]).env("PAGE_KEY", "key hush").run().exits(2).says("wants the variable PAGE_KEY");
    assert_eq!(page.log().len(), sent);
    page.now(|_, _| super::page::json(serde_json::json!({"fine": true})));
    upload().env("PAGE_KEY", "key hush").run().exits(0).says("resumed at");
}
