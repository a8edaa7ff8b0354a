//! `onward serve` as a file server and as a door: ranges and conditions, listings, tokens, hosts and origins, TLS,
//! peers that dawdle or send nonsense, full disks; and curl, wget and aria2c resuming from it.

use crate::origin::Identity;
use crate::receiver::{Receiver, Talk, crc_field, crc_hex, key};
use crate::world::{Content, Signal, World, skip};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn content(seed: u64, len: u64) -> Vec<u8> {
    Content::random(seed, len).bytes()
}

#[test]
fn files_with_ranges_and_conditions() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(1, 100_000);
    server.put("a b.txt", &bytes);
    server.put("empty", b"");
    let mut talk = server.talk();
    let whole = talk.get("/a%20b.txt");
    assert_eq!(whole.is(200).body, bytes);
    for (name, value) in [
        ("accept-ranges", "bytes"),
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(whole.field(name), Some(value));
    }
    let (etag, date) = (whole.field("etag").unwrap().to_string(), whole.field("last-modified").unwrap().to_string());
    assert!(etag.starts_with('"'), "a strong tag: {etag}");
    let head = talk.ask("HEAD /a%20b.txt", b"");
    assert_eq!((head.is(200).field("content-length"), head.field("etag")), (Some("100000"), Some(etag.as_str())));
    let mut range = |range: &str, more: &str| talk.ask(&format!("GET /a%20b.txt\nRange: {range}{more}"), b"");
    let part = range("bytes=5-9", "");
    assert_eq!((part.is(206).field("content-range"), part.body.as_slice()), (Some("bytes 5-9/100000"), &bytes[5..10]));
    assert_eq!(range("bytes=99990-200000", "").is(206).body, bytes[99_990..]);
    assert_eq!(range("bytes=-7", "").is(206).body, bytes[99_993..]);
    assert_eq!(range("bytes=-200000", "").is(206).body, bytes);
    assert_eq!(range("bytes=100000-", "").refuses(416, "range").field("content-range"), Some("bytes */100000"));
    assert_eq!(range("bytes=0-1,5-6", "").is(200).body, bytes, "several ranges: the whole, which is legal");
    assert_eq!(range("lines=1-2", "").is(200).body, bytes);
    assert_eq!(range("bytes=9-5", "").is(200).body, bytes);
    assert_eq!(range("bytes=5-9", &format!("\nIf-Range: {etag}")).is(206).body, bytes[5..10]);
    for other in ["\"other\"", &format!("W/{etag}"), "Tue, 14 Nov 2023 22:13:20 GMT"] {
        assert_eq!(range("bytes=5-9", &format!("\nIf-Range: {other}")).is(200).body, bytes, "{other}");
    }
    let mut ask = |more: &str| talk.ask(&format!("GET /a%20b.txt{more}"), b"");
    let same = ask(&format!("\nIf-None-Match: {etag}"));
    assert_eq!((same.is(304).field("etag"), same.body.len()), (Some(etag.as_str()), 0));
    ask(&format!("\nIf-Modified-Since: {date}")).is(304);
    ask(&format!("\nIf-Match: {etag}")).is(200);
    ask("\nIf-Match: \"other\"").refuses(412, "precondition");
    ask("\nIf-Unmodified-Since: Tue, 14 Nov 2023 22:13:20 GMT").refuses(412, "precondition");
    // What is said to change tomorrow has changed by now.
    let ahead = std::time::SystemTime::now() + Duration::from_secs(86_400);
    std::fs::File::options().write(true).open(server.path("a b.txt")).unwrap().set_modified(ahead).unwrap();
    let early = talk.ask("HEAD /a%20b.txt", b"");
    assert!(early.is(200).field("date").is_some() && early.field("last-modified") == early.field("date"));
    assert_eq!(talk.get("/empty").is(200).field("content-length"), Some("0"));
    assert_eq!(talk.ask("GET /empty\nRange: bytes=0-", b"").is(200).body, b"");
    talk.get("/none").refuses(404, "not-found");
    talk.get("/a%20b.txt/").refuses(404, "not-found");
    // Another content is another tag, even of equal length and at once.
    server.put("new", content(2, 100_000));
    std::fs::rename(server.path("new"), server.path("a b.txt")).unwrap();
    assert_ne!(talk.ask("HEAD /a%20b.txt", b"").field("etag"), Some(etag.as_str()));
}

/// Neither an inode that is used again nor a modification time that was set back makes two contents one.
#[test]
fn a_tag_is_of_one_content_only() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    let mut talk = server.talk();
    let mut tags = Vec::new();
    for version in 0..8 {
        let bytes = format!("version {version}");
        let more = json!({"if_exists": "replace", "modified": "2023-11-14T22:13:20Z"});
        let upload = talk.begin("/", "f", 9, 9, more).is(201).upload();
        talk.chunk(&upload, 0, bytes.as_bytes()).is(204);
        talk.complete(&upload, bytes.as_bytes()).is(201);
        let answer = talk.get("/f");
        assert_eq!(answer.is(200).body, bytes.as_bytes());
        assert!(answer.field("repr-digest").is_some(), "what is known of the file is of this version: {}", answer.head);
        tags.push(answer.field("etag").unwrap().to_string());
    }
    let time = std::fs::metadata(server.path("f")).unwrap().modified().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(server.path("f")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"VERSION", 0).unwrap();
    file.set_modified(time).unwrap();
    let answer = talk.ask(&format!("GET /f\nRange: bytes=2-\nIf-Range: {}", tags[7]), b"");
    assert_eq!((answer.is(200).body.as_slice(), answer.field("repr-digest")), (b"VERSION 7".as_slice(), None));
    tags.push(answer.field("etag").unwrap().to_string());
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 9, "{tags:?}");
}

#[test]
fn a_listing_is_plain_and_escaped() {
    let world = World::new();
    let server = Receiver::start(&world);
    server.put("<b>&\"'.txt", b"x");
    server.put("sub/in ner", b"x");
    server.put("f.partial", b"x");
    server.put("f.partial.toml", b"x");
    std::os::unix::fs::symlink("/etc", server.path("etc")).unwrap();
    let top = server.ask("GET /");
    let page = String::from_utf8(top.is(200).body.clone()).unwrap();
    assert_eq!(top.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;.txt") && page.contains("href=\"./sub/\""), "{page}");
    for hidden in ["<b>", ".onward", "partial", "etc", "../"] {
        assert!(!page.contains(hidden), "{hidden} in {page}");
    }
    assert_eq!(server.ask("GET /sub").is(301).field("location"), Some("/sub/"));
    let sub = String::from_utf8(server.ask("GET /sub/").is(200).body.clone()).unwrap();
    assert!(sub.contains("href=\"../\"") && sub.contains("href=\"./in%20ner\""), "{sub}");
    assert_eq!(server.ask("GET /sub/in%20ner").is(200).body, b"x");
    for private in
        ["/.onward/", "/.onward/uploads", "/f.partial", "/f.partial.toml", "/etc/", "/etc/passwd", "/F.PARTIAL"]
    {
        server.ask(&format!("GET {private}")).refuses(404, "not-found");
    }
}

#[test]
fn paths_that_lead_nowhere() {
    let world = World::new();
    world.write("secret", "s");
    let server = Receiver::start(&world);
    server.put("f", b"x");
    std::os::unix::fs::symlink(world.path("secret"), server.path("out")).unwrap();
    for path in [
        "/../here/secret",
        "/..%2fhere/secret",
        "/%2e%2e/here/secret",
        "/sub/../../here/secret",
        "/./f",
        "//f",
        "/f%00",
        "/f%2f",
        "/%",
        "/%zz",
        "/out",
        "/\\..\\work\\secret",
        "/..\\work\\secret",
        "/%c0%ae%c0%ae/here/secret",
        "/....//f",
        "//evil.example/",
        "/%2fetc/passwd",
        "/f/../f",
    ] {
        server.ask(&format!("GET {path}")).refuses(404, "not-found");
    }
}

#[test]
fn a_base_path_for_a_reverse_proxy() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--base-path", "/files"]).start();
    assert!(server.url.ends_with("/files/"), "{}", server.url);
    server.put("f", b"abc");
    assert_eq!(server.ask("GET /files/f").is(200).body, b"abc");
    server.ask("GET /f").refuses(404, "not-found");
    server.ask("GET /filesf").refuses(404, "not-found");
    let mut talk = server.talk();
    let upload = talk.begin("/files/", "g", 3, 3, json!({})).is(201).upload();
    assert!(upload.starts_with("/files/.onward/uploads/"), "{upload}");
    talk.chunk(&upload, 0, b"xyz").is(204);
    assert_eq!(talk.complete(&upload, b"xyz").is(201).field("location"), Some("/files/g"));
}

#[test]
fn one_way_servers() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--read-only"]).start();
    server.put("f", b"abc");
    assert_eq!(server.ask("GET /f").is(200).body, b"abc");
    server.begin("g", 1, 1, json!({})).refuses(403, "forbidden");
    assert!(!server.path(".onward").exists(), "a reader writes nothing");
    drop(server);
    let server = Receiver::setup(&world).args(["--upload-only"]).start();
    for path in ["/", "/f", "/none"] {
        server.ask(&format!("GET {path}")).refuses(403, "forbidden");
        server.ask(&format!("HEAD {path}")).is(403);
    }
    let upload = server.begin("g", 3, 3, json!({})).is(201).upload();
    server.talk().chunk(&upload, 0, b"xyz").is(204);
    server.talk().complete(&upload, b"xyz").is(201);
    // What cannot be read cannot be guessed at by its digest either.
    let md5 = crate::receiver::hash(onward::digest::Algorithm::Md5, b"abc").hex();
    server.begin("f", 3, 3, json!({"md5": md5})).refuses(409, "exists");
    // Nor by its length; of what one has sent oneself that is no secret.
    let told = |name: &str, head: &str| {
        let refused = server.talk().ask(&format!("POST /{head}\nContent-Type: application/json"), name.as_bytes());
        refused.is(409).json()["size"].clone()
    };
    let begin =
        |name: &str| json!({"key": crate::receiver::key(), "name": name, "size": 1, "chunk_size": 1}).to_string();
    assert_eq!((told(&begin("f"), ""), told(&begin("g"), "")), (json!(null), json!(3)));
}

/// Two servers would take each other's uploads for what a dead one has left.
#[test]
fn one_server_takes_uploads_for_a_folder() {
    let world = World::new();
    let server = Receiver::start(&world);
    let second = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_onward"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-ends"]).args(args).arg(&server.root);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    };
    let refused = second(&[]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(9), "{told}");
    assert!(told.contains("takes uploads") && told.contains("--read-only"), "{told}");
    assert_ne!(second(&["--read-only"]).status.code(), Some(9));
    // A lock that a kill has left is no obstacle.
    server.kill();
    Receiver::start(&world);
}

#[test]
fn every_path_wants_the_token() {
    let world = World::new();
    let server = Receiver::setup(&world).env("ONWARD_SERVE_TOKEN", "se:cret").start();
    server.put("f", b"abc");
    let upload = "/.onward/uploads/00000000000000000000000000000000";
    let refused = |talk: &mut Talk| {
        for head in [
            "GET /",
            "GET /f",
            "HEAD /f",
            "GET /none",
            "OPTIONS /",
            "OPTIONS *",
            "POST /",
            "PUT /x",
            "DELETE /f",
            "PATCH /f",
            "FOO /",
            &format!("GET {upload}"),
            &format!("PUT {upload}/0"),
            &format!("POST {upload}/complete"),
            "GET /.onward/",
        ] {
            let answer = talk.ask(head, b"");
            answer.is(401);
            let offers: Vec<&str> = answer.head.lines().filter(|line| line.starts_with("www-authenticate")).collect();
            assert_eq!(offers.len(), 2, "{head}: {}", answer.head);
        }
    };
    refused(&mut server.talk());
    refused(&mut server.talk().with("Authorization: Bearer wrong"));
    // "any:se" is the beginning of the token only.
    refused(&mut server.talk().with("Authorization: Basic YW55OnNl"));
    for good in ["Bearer se:cret", "Basic YW55OnNlOmNyZXQ=", "basic OnNlOmNyZXQ="] {
        let mut talk = server.talk().with(&format!("Authorization: {good}"));
        assert_eq!(talk.get("/f").is(200).body, b"abc");
        talk.get(upload).refuses(404, "unknown-upload");
    }
}

#[test]
fn foreign_hosts_and_origins() {
    let world = World::new();
    let server =
        Receiver::setup(&world).args(["--cors", "https://app.example", "--allow-host", "files.example"]).start();
    server.put("f", b"abc");
    let own = format!("http://{}", server.address);
    server.ask("GET /f\nHost: evil.example").refuses(421, "foreign-host");
    server.ask("GET /f\nHost: 127.0.0.1.evil.example").refuses(421, "foreign-host");
    server.ask("GET /f\nHost: files.example").is(200);
    server.ask("GET http://evil.example/f").refuses(421, "foreign-host");
    for foreign in ["https://evil.example", "null", "http://localhost:1"] {
        for head in ["GET /f", "POST /", "OPTIONS /"] {
            server.ask(&format!("{head}\nOrigin: {foreign}")).refuses(403, "foreign-origin");
        }
    }
    server.ask(&format!("GET /f\nOrigin: {own}")).is(200);
    let allowed = server.ask("GET /f\nOrigin: https://app.example");
    assert_eq!(allowed.is(200).field("access-control-allow-origin"), Some("https://app.example"));
    let preflight = server.ask("OPTIONS /f\nOrigin: https://app.example\nAccess-Control-Request-Method: PUT");
    assert!(preflight.is(204).field("access-control-allow-methods").is_some_and(|methods| methods.contains("PUT")));
    let foreign = server.ask("OPTIONS /f\nOrigin: https://evil.example\nAccess-Control-Request-Method: PUT");
    assert_eq!(foreign.refuses(403, "foreign-origin").field("access-control-allow-origin"), None);
    // Whatever the protocols of a page's uploader need.
    let sendable = preflight.field("access-control-allow-headers").unwrap().to_ascii_lowercase();
    for field in ["tus-resumable", "upload-offset", "upload-metadata", "upload-complete", "authorization"] {
        assert!(sendable.split(", ").any(|one| one == field), "{field} in {sendable}");
    }
    let methods = preflight.field("access-control-allow-methods").unwrap();
    assert!(["HEAD", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
    let create = "POST /\nOrigin: https://app.example\nTus-Resumable: 1.0.0\nUpload-Length: 1";
    let readable = server.ask(create).is(201).field("access-control-expose-headers").unwrap().to_ascii_lowercase();
    for field in ["location", "upload-offset", "upload-expires", "tus-resumable", "upload-limit"] {
        assert!(readable.split(", ").any(|one| one == field), "{field} in {readable}");
    }
    // All pages of the world, but only with a token.
    world.onward(["serve", "--listen", "127.0.0.1:0", "--cors", "*"]).run().exits(2).says("token");
    // A preflight carries no token, and tells nothing but what may be sent.
    drop(server);
    let server = Receiver::setup(&world).args(["--cors", "https://app.example"]).env("ONWARD_SERVE_TOKEN", "t").start();
    server.ask("OPTIONS /f\nOrigin: https://app.example\nAccess-Control-Request-Method: PUT").is(204);
    server.ask("OPTIONS /f\nOrigin: https://app.example").is(401);
}

#[test]
fn other_machines_need_a_token() {
    let world = World::new();
    world.onward(["serve", "--listen", "0.0.0.0:0"]).run().exits(2).says("token");
    let server = Receiver::setup(&world).args(["--listen", "0.0.0.0:0"]);
    let server = server.env("ONWARD_SERVE_TOKEN", "t").start();
    assert!(
        server.told().contains("unencrypted") || {
            std::thread::sleep(Duration::from_millis(300));
            server.told().contains("unencrypted")
        }
    );
}

#[test]
fn it_says_why_it_cannot_start() {
    let world = World::new();
    world.onward(["serve", "nowhere", "--listen", "127.0.0.1:0"]).run().exits(8).says("nowhere");
    let server = Receiver::start(&world);
    world.onward(["serve", "--listen", &server.address]).run().exits(8).says("listen");
    world
        .onward(["serve", "--listen", "127.0.0.1:0", "--tls-cert", "none", "--tls-key", "none"])
        .run()
        .exits(8)
        .says("none");
}

#[test]
fn a_stop_is_prompt_and_clean() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::new();
        let server = Receiver::start(&world);
        let upload = server.begin("f", 6, 3, json!({})).is(201).upload();
        server.talk().chunk(&upload, 0, b"abc").is(204);
        let mut idle = server.talk();
        idle.get("/").is(200);
        let began = Instant::now();
        server.signal(signal);
        server.wait();
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}: an idle connection holds nothing up", began.elapsed());
        let folder = world.beside("served/.onward/uploads");
        let sidecar = crate::receiver::tree(&folder).into_iter().find(|name| name.ends_with(".toml")).unwrap();
        let text = std::fs::read_to_string(folder.join(sidecar)).unwrap();
        assert!(text.contains("[stamp]"), "closed cleanly, so that nothing needs proof: {text}");
    }
}

#[test]
fn nonsense_is_answered_or_dropped() {
    let world = World::new();
    let server = Receiver::start(&world);
    server.put("f", b"abc");
    let long = "x".repeat(70_000);
    let many = "A: b\r\n".repeat(200);
    let nonsense: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").into_bytes(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_vec(),
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n".to_vec(),
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec(),
        b"GET /f HTTP/1.1\r\nHost: localhost\r\nRange: \xff\r\nIf-Range: \xff\r\nIf-Match: \xff\r\n\r\n".to_vec(),
    ];
    for bytes in &nonsense {
        let mut talk = server.talk();
        talk.raw(bytes);
        talk.shut();
        let reply = talk.rest();
        let text = String::from_utf8_lossy(&reply);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.0 4"),
            "{:?}: {text}",
            &bytes[..bytes.len().min(60)]
        );
    }
    // Pipelined requests are answered in their order.
    let mut talk = server.talk();
    talk.raw(b"GET /f HTTP/1.1\r\nHost: localhost\r\n\r\nGET /none HTTP/1.1\r\nHost: localhost\r\n\r\nGET /f HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(talk.answer(false).is(200).body, b"abc");
    talk.answer(false).is(404);
    assert_eq!(talk.answer(false).is(200).body, b"abc");
    // HTTP/1.0 too.
    talk = server.talk();
    talk.raw(b"GET /f HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(String::from_utf8_lossy(&talk.rest()).ends_with("\r\n\r\nabc"));
    assert!(!server.told().contains("panicked"), "{}", server.told());
}

#[test]
fn a_refusal_is_seen_although_the_body_is_still_coming() {
    let world = World::new();
    let server = Receiver::setup(&world).env("ONWARD_SERVE_TOKEN", "t").start();
    let body = vec![7; 4 << 20];
    let mut talk = server.talk();
    talk.ask("POST /", &body).refuses(401, "unauthorized");
    // And the connection goes on, in step.
    talk.ask("POST /", &body).refuses(401, "unauthorized");
    // Whoever asks before sending is told before sending.
    let mut polite = server.talk();
    polite.send("POST /\nExpect: 100-continue\nContent-Length: 4000000", b"");
    polite.answer(false).refuses(401, "unauthorized");
}

#[test]
fn dawdlers_are_cut_off() {
    let world = World::new();
    let server = Receiver::start(&world);
    let began = Instant::now();
    let mut slow = server.talk();
    slow.raw(b"GET / HTTP/1.1\r\nHost: loc");
    let mut silent = server.talk();
    // A head that never ends keeps nobody else out.
    let mut others: Vec<Talk> = (0..100).map(|_| server.talk()).collect();
    others.iter_mut().for_each(|other| other.raw(b"GET / HTTP/1.1\r\n"));
    server.ask("GET /").is(200);
    assert!(slow.is_closed() && silent.is_closed());
    let took = began.elapsed();
    assert!(Duration::from_secs(20) < took && took < Duration::from_secs(45), "{took:?}");
}

#[test]
fn tls_and_http_2() {
    let world = World::new();
    let identity = Identity::new();
    world.write("cert.pem", &identity.cert_pem);
    world.write("key.pem", &identity.key_pem);
    let server = Receiver::setup(&world).args(["--tls-cert", "cert.pem", "--tls-key", "key.pem"]).start();
    let bytes = content(3, 3_000_000);
    server.put("f", &bytes);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let Some(_) = version("curl") else { return };
    let url = server.url("f").replace("127.0.0.1", "localhost");
    for (version, told) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let out = world.path("out");
        let curl = Command::new("curl")
            .args(["-sS", "--cacert", "cert.pem", version, "-w", "%{http_version} %{http_code}", "-r", "1000-", "-o"])
            .arg(&out)
            .arg(&url)
            .current_dir(world.dir())
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&curl.stdout),
            format!("{told} 206"),
            "{}",
            String::from_utf8_lossy(&curl.stderr)
        );
        assert_eq!(std::fs::read(&out).unwrap(), bytes[1000..]);
    }
    // An upload by HTTP/2, and requests that HTTP/1 cannot even say.
    let begin = json!({"key": key(), "name": "g", "size": bytes.len(), "chunk_size": bytes.len()}).to_string();
    let base = server.url.replace("127.0.0.1", "localhost");
    let base = base.trim_end_matches('/');
    let curl = |args: &[&str]| {
        let out = Command::new("curl")
            .args(["-sS", "--http2", "--cacert", "cert.pem"])
            .args(args)
            .current_dir(world.dir())
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    };
    let status: serde_json::Value = serde_json::from_str(&curl(&["-d", &begin, &format!("{base}/")])).unwrap();
    let upload = format!("{base}{}", status["upload"].as_str().unwrap());
    world.write("piece", &bytes);
    let digest = format!("Content-Digest: {}", crc_field(&bytes));
    let put = curl(&["-T", "piece", "-H", &digest, "-w", "%{http_version} %{http_code}", &format!("{upload}/0")]);
    assert_eq!(put, "2 204");
    let complete = json!({"digests": {"crc64nvme": crc_hex(&bytes)}}).to_string();
    let done = curl(&["-d", &complete, "-w", "%{http_code}", &format!("{upload}/complete")]);
    assert!(done.ends_with("201"), "{done}");
    assert_eq!(server.read("g"), bytes);
    let foreign = curl(&["-H", "Host: evil.example", "-w", "%{http_code}", &format!("{base}/f")]);
    assert!(foreign.ends_with("421"), "{foreign}");
    // Plain HTTP to the TLS port, and a handshake that never ends, disturb nobody.
    let mut plain = server.talk();
    plain.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let _ = plain.rest();
    let mut stuck = server.talk();
    stuck.raw(b"\x16\x03\x01");
    assert!(curl(&["-w", "%{http_code}", "-o", "/dev/null", &url]).ends_with("200"));
    assert!(!server.told().contains("panicked"), "{}", server.told());
}

#[test]
fn a_full_disk_is_507_and_keeps_what_is_there() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--min-free", "900T"]).start();
    server.begin("f", 10, 10, json!({})).refuses(507, "no-space");
    drop(server);
    let server = Receiver::start(&world);
    server.begin("f", 1 << 60, 1 << 50, json!({})).is(413);
    server.begin("f", 1 << 45, 4 << 30, json!({})).refuses(507, "no-space");
    assert_eq!(crate::receiver::tree(&server.path(".onward/uploads")), Vec::<String>::new());
    drop(server);
    let Some(small) = SmallDisk::mount(&world) else { return };
    let server = Receiver::setup_at(&world, "small").args(["--min-free", "0"]).start();
    let chunk = 1 << 20;
    let bytes = content(4, 6 * chunk);
    // Two that fit alone, not together.
    let one = server.begin("one", 6 * chunk, chunk, json!({})).is(201).upload();
    let two = server.begin("two", 6 * chunk, chunk, json!({})).is(201).upload();
    let mut talk = server.talk();
    for index in 0..6 {
        talk.chunk(&one, index, &bytes[(index * chunk) as usize..][..chunk as usize]).is(204);
    }
    let mut full = None;
    for index in 0..6 {
        let answer = server.talk().chunk(&two, index, &bytes[(index * chunk) as usize..][..chunk as usize]);
        if answer.status != 204 {
            answer.refuses(507, "no-space");
            full = Some(index);
            break;
        }
    }
    let full = full.expect("8 MiB cannot hold 12");
    let have = talk.get(&two).is(200).json()["have"].clone();
    assert_eq!(have, json!(if full == 1 { "0".to_string() } else { format!("0-{}", full - 1) }));
    // Room is made; it goes on.
    talk.ask(&format!("DELETE {one}"), b"").is(204);
    for index in full..6 {
        talk.chunk(&two, index, &bytes[(index * chunk) as usize..][..chunk as usize]).is(204);
    }
    talk.complete(&two, &bytes).is(201);
    assert_eq!(server.read("two"), bytes);
    drop(server);
    drop(small);
}

/// A tmpfs of 8 MiB, where mounting is allowed.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(world: &World) -> Option<Self> {
        let at = world.beside("small");
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&at).output();
        match mounted.is_ok_and(|done| done.status.success()) {
            true => Some(Self(at)),
            false => {
                let _ = std::io::Write::write_all(
                    &mut std::io::stderr(),
                    b"SKIPPED: the small disk: mounting is not allowed here\n",
                );
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Whether a tool is there; says visibly that it is not.
fn version(tool: &str) -> Option<()> {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        skip(&format!("{tool} is not installed"));
    }
    there.then_some(())
}

/// A file of which `held` bytes are there already, and what the tool makes of it.
fn resumes(tool: &str, args: impl Fn(&str, &Path) -> Vec<String>) {
    let Some(()) = version(tool) else { return };
    let world = World::new();
    let server = Receiver::setup(&world).env("ONWARD_SERVE_TOKEN", "se:cret").start();
    let bytes = content(5, 5_000_000);
    server.put("dir name/f.bin", &bytes);
    let out = world.path("f.bin");
    for held in [0, 2_000_000] {
        std::fs::write(&out, &bytes[..held]).unwrap();
        if held == 0 {
            std::fs::remove_file(&out).unwrap();
        }
        let run = Command::new(tool)
            .args(args(&server.url("dir%20name/f.bin"), &out))
            .current_dir(world.dir())
            .env_clear()
            .env("HOME", world.home())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{tool}: {told}");
        assert!(std::fs::read(&out).unwrap() == bytes, "{tool} from {held}: {told}");
        std::fs::remove_file(&out).unwrap();
    }
}

#[test]
fn curl_resumes() {
    resumes("curl", |url, out| {
        let out = out.to_string_lossy();
        ["-sS", "-f", "-u", "me:se:cret", "-C", "-", "-o", &out, url].map(str::to_string).to_vec()
    });
}

#[test]
fn wget_resumes() {
    resumes("wget", |url, out| {
        let out = out.to_string_lossy();
        ["-nv", "--user=me", "--password=se:cret", "-c", "-O", &out, url].map(str::to_string).to_vec()
    });
}

#[test]
fn aria2c_resumes() {
    resumes("aria2c", |url, out| {
        let (dir, name) = (out.parent().unwrap().to_string_lossy(), out.file_name().unwrap().to_string_lossy());
        let args = [
            "--http-user=me",
            "--http-passwd=se:cret",
            "--http-auth-challenge=true",
            "-c",
            "-x4",
            "-k1M",
            "-q",
            "-d",
            &dir,
            "-o",
            &name,
            url,
        ];
        args.map(str::to_string).to_vec()
    });
}
