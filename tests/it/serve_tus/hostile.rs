//! tus from clients that lie, guess and reach for what is not theirs.

use super::{TYPE, create, named, offset, part, patch, talk};
use crate::receiver::{Receiver, Talk, tree};
use crate::world::World;

#[test]
fn uploads_of_others_are_nobodys() {
    let world = World::new();
    let tokens = world.beside("tokens");
    std::fs::write(&tokens, "ann:a\nbob:b\n").unwrap();
    let server = Receiver::setup(&world).args(["--token-file", tokens.to_str().unwrap()]).start();
    let (mut ann, mut bob) =
        (talk(&server).with("Authorization: Bearer a"), talk(&server).with("Authorization: Bearer b"));
    let theirs = create(&mut ann, "f", 3);
    let piece = part(&mut ann, b"abc");
    bob.ask(&format!("HEAD {theirs}"), b"").is(404);
    patch(&mut bob, &theirs, 0, b"xyz").is(404);
    bob.ask(&format!("DELETE {theirs}"), b"").is(404);
    let join = format!("POST /\nUpload-Concat: final;{piece}\n{}", named("stolen"));
    bob.ask(&join, b"").refuses(404, "unknown-upload");
    assert!(!server.path("stolen").exists());
    patch(&mut ann, &theirs, 0, b"abc").is(204);
    talk(&server).ask(&format!("HEAD {theirs}"), b"").is(401);
    // Nor are they those of another protocol.
    ann.ask(&format!("GET {theirs}"), b"").is(405);
    ann.ask(&format!("PUT {theirs}/0\nContent-Digest: sha-256=:AA==:"), b"x").refuses(404, "unknown-upload");
    ann.ask(&format!("POST {theirs}/complete"), b"{}").is(404);
}

#[test]
fn versions_and_methods() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server);
    let upload = create(&mut talk, "f", 6);
    for version in ["Tus-Resumable: 0.2.2", "Tus-Resumable: 1.0.1", "Tus-Resumable: ", "X: y"] {
        let bytes = format!("{TYPE}\nUpload-Offset: 0\n{version}");
        for head in [format!("POST /\nUpload-Length: 1\n{}\n{version}", named("g")), format!("PATCH {upload}\n{bytes}")]
        {
            let refused = server.talk().ask(&head, b"");
            assert_eq!(refused.is(412).field("tus-version"), Some("1.0.0"), "{head}");
        }
        server.talk().ask(&format!("HEAD {upload}\n{version}"), b"").is(412);
    }
    let overridden = |talk: &mut Talk, method: &str, more: &str, bytes: &[u8]| {
        talk.ask(&format!("POST {upload}\nX-HTTP-Method-Override: {method}\n{more}"), bytes)
    };
    let more = format!("{TYPE}\nUpload-Offset: 0");
    assert_eq!(overridden(&mut talk, "PATCH", &more, b"abc").is(204).field("upload-offset"), Some("3"));
    assert_eq!(overridden(&mut talk, "head", "", b"").is(200).field("upload-offset"), Some("3"));
    overridden(&mut talk, "GET", "", b"").is(405);
    talk.ask(&format!("POST {upload}"), b"").is(405);
    assert_eq!(talk.ask(&format!("GET {upload}"), b"").is(405).field("allow"), Some("HEAD, PATCH, DELETE, OPTIONS"));
    overridden(&mut talk, "DELETE", "", b"").is(204);
    talk.ask(&format!("HEAD {upload}"), b"").is(404);
}

#[test]
fn requests_that_cannot_be() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1M"]).start();
    let mut talk = talk(&server);
    let f = named("f");
    for (status, fields) in [
        (400, f.clone()),
        (400, format!("{f}\nUpload-Length: -1")),
        (400, format!("{f}\nUpload-Length: 1.0")),
        (400, format!("{f}\nUpload-Length: ")),
        (400, format!("{f}\nUpload-Length: 99999999999999999999")),
        (413, format!("{f}\nUpload-Length: 1048577")),
        (413, format!("{f}\nUpload-Length: 18446744073709551615")),
        (400, format!("{f}\nUpload-Length: 1\nUpload-Defer-Length: 1")),
        (400, format!("{f}\nUpload-Defer-Length: 2")),
        (400, format!("{f}\nUpload-Length: 1\nUpload-Length: 2")),
        (400, format!("{f}\nUpload-Length: 1\n{f}")),
        (400, "Upload-Length: 1\nUpload-Metadata: filename !!!".into()),
        (400, "Upload-Length: 1\nUpload-Metadata: filename YQ==,filename Yg==".into()),
        (400, "Upload-Length: 1\nUpload-Metadata: ,".into()),
        (400, "Upload-Length: 1\nUpload-Concat: whole".into()),
        (400, "Upload-Length: 1\nUpload-Concat: partial;/x".into()),
    ] {
        talk.ask(&format!("POST /\n{fields}"), b"").is(status);
    }
    for folder in ["/../x/", "/.onward/x", "/a/.onward/", "/.ssh/", "/%00/", "/a%2fb/"] {
        let status = talk.ask(&format!("POST {folder}\nUpload-Length: 1\n{f}"), b"").status;
        assert!(status == 400 || status == 404, "{folder}: {status}");
    }
    let upload = create(&mut talk, "f", 10);
    let mut ask = |fields: &str| talk.ask(&format!("PATCH {upload}\n{fields}"), b"abc").status;
    assert_eq!(ask("Upload-Offset: 0\nContent-Type: text/plain"), 415);
    assert_eq!(ask("Upload-Offset: 0"), 415);
    assert_eq!(ask(&format!("Upload-Offset: 0\n{TYPE}\n{TYPE}")), 415);
    assert_eq!(ask(TYPE), 400);
    for bad in ["-1", "x", "", "0x0", "+0", "0, 0", "1e1", "99999999999999999999"] {
        assert_eq!(ask(&format!("Upload-Offset: {bad}\n{TYPE}")), 400, "{bad}");
    }
    assert_eq!(ask(&format!("Upload-Offset: 0\nUpload-Offset: 0\n{TYPE}")), 400);
    assert_eq!(ask(&format!("Upload-Offset: 0\nUpload-Length: 11\n{TYPE}")), 400);
    // Longer than it said, announced or not.
    patch(&mut talk, &upload, 0, b"hello world").is(400);
    let head = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0\nTransfer-Encoding: chunked");
    talk.ask(&head, b"7\r\nabcdefg\r\n7\r\nhijklmn\r\n0\r\n\r\n").is(400);
    // It is not complete by such a request, whatever of it is kept.
    assert!(offset(&mut super::talk(&server), &upload).is_some_and(|held| held < 10));
    assert_eq!(tree(&server.root).into_iter().filter(|name| !name.starts_with(".onward")).count(), 0);
}

#[test]
fn names_are_made_safe() {
    let world = World::new();
    std::fs::create_dir(world.beside("secret")).unwrap();
    let server = Receiver::start(&world);
    std::os::unix::fs::symlink(world.beside("secret"), server.path("out")).unwrap();
    let mut talk = talk(&server);
    for (told, name) in [
        ("../../etc/passwd", "passwd"),
        ("/abs/olute", "olute"),
        ("a\\b\\c.txt", "c.txt"),
        (".bashrc", "bashrc"),
        ("x.partial.toml", "x.partial.toml_"),
        ("写真 1.jpg", "写真 1.jpg"),
        ("a\u{202e}b", "ab"),
    ] {
        let made = talk.ask(&format!("POST /\nUpload-Length: 1\n{}\n{TYPE}", named(told)), b"x");
        made.is(201);
        assert_eq!(server.read(name), b"x", "{told}");
    }
    let before = tree(&server.root).len();
    talk.ask(&format!("POST /\nUpload-Length: 1\n{TYPE}"), b"x").is(201);
    assert_eq!(tree(&server.root).iter().filter(|name| name.starts_with("upload-")).count(), 1);
    assert!(tree(&server.root).len() > before);
    talk.ask(&format!("POST /out/\nUpload-Length: 1\n{}\n{TYPE}", named("f")), b"x").refuses(400, "bad-name");
    assert_eq!(tree(&world.beside("secret")), Vec::<String>::new());
}

#[test]
fn a_taken_name_is_not_replaced_unless_both_sides_say_so() {
    let world = World::new();
    let server = Receiver::start(&world);
    server.put("f", b"old");
    let asks = format!("{},overwrite dHJ1ZQ==", named("f"));
    for metadata in [named("f"), asks.clone()] {
        talk(&server).ask(&format!("POST /\nUpload-Length: 3\n{metadata}"), b"").refuses(409, "exists");
    }
    // Two uploads of one name: the second to complete is told, and never says that it is complete.
    let mut talk = talk(&server);
    let (one, two) = (create(&mut talk, "g", 3), create(&mut talk, "g", 3));
    patch(&mut talk, &one, 0, b"one").is(204);
    patch(&mut talk, &two, 0, b"two").refuses(409, "name-taken");
    talk.ask(&format!("HEAD {two}"), b"").is(409);
    assert_eq!(server.read("g"), b"one");
    std::fs::rename(server.path("g"), server.path("h")).unwrap();
    assert_eq!(offset(&mut talk, &two), Some(3), "the name is free: it is complete now");
    assert_eq!(server.read("g"), b"two");
    drop(server);
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    let mut talk = super::talk(&server);
    talk.ask(&format!("POST /\nUpload-Length: 3\n{}", named("f")), b"").refuses(409, "exists");
    talk.ask(&format!("POST /\nUpload-Length: 3\n{asks}\n{TYPE}"), b"new").is(201);
    assert_eq!(server.read("f"), b"new");
}
