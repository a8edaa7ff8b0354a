//! Being let in: cookies that servers set and users give, and logins whose form the server chooses. Whatever is
//! secret stays with its origin, off the screen and out of the record.

use crate::download::{CHUNK, download};
use crate::origin::{Ask, Identity, Origin, Page, When, always, at, field, from, redirect, so_that, status};
use crate::servers::{Server, system};
use crate::world::{Content, Ended, World};
use onward::digest::{Algorithm, Hasher};
use std::collections::HashMap;

/// Requests whose Cookie does not hold `pair`.
fn without_cookie(pair: &'static str) -> When {
    Box::new(move |ask| !ask.header("cookie").is_some_and(|value| value.split("; ").any(|one| one == pair)))
}

fn both(a: When, b: When) -> When {
    crate::origin::both(a, b)
}

#[test]
fn a_login_hop_sets_a_cookie_and_leads_back() {
    let world = World::new();
    let content = Content::random(1, 6 * CHUNK);
    let origin = Origin::serving(&content);
    origin.page("/consent", Page::of(&Content::of("")));
    origin.when(both(at("/file.bin"), without_cookie("ok=SECRET")), redirect(302, "/consent"));
    origin
        .when(at("/consent"), redirect(302, "/file.bin"))
        .when(at("/consent"), field("Set-Cookie", "ok=SECRET; Path=/"));
    let ended = download(&world, &origin.url("/file.bin")).args(["-v", "-x3"]).run();
    ended.exits(0).never_says("SECRET");
    world.finished("file.bin", &content);
    assert_eq!(origin.asked().iter().filter(|asked| asked.status == 302).count(), 2, "{}", origin.story());
}

#[test]
fn a_cookie_that_leads_nowhere_is_still_a_loop() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(1, 100));
    origin.when(always(), redirect(302, "/file.bin")).when(always(), field("Set-Cookie", "ok=SECRET; Path=/"));
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(1).says("loop of redirects").never_says("SECRET");
    assert_eq!(origin.asked().len(), 2, "{}", origin.story());
}

#[test]
fn a_login_in_a_redirect_is_used_there_and_shown_nowhere() {
    let world = World::new();
    let content = Content::random(4, 6 * CHUNK);
    let (near, far) = (Origin::start(), Origin::serving(&content));
    near.page("/file.bin", Page::of(&Content::of("")));
    near.when(always(), redirect(302, far.url("/file.bin").replace("http://", "http://me:S%45CRET@")));
    let stranger: When = Box::new(|ask| ask.header("authorization") != Some("Basic bWU6U0VDUkVU"));
    far.when(stranger, status(401, "WWW-Authenticate: Basic realm=\"x\""));
    let ended = download(&world, &near.url("/file.bin")).args(["-vv", "-x2", "-u", "you:HIDDEN"]).run();
    ended.exits(0).never_says("SECRET").never_says("S%45CRET").never_says("HIDDEN");
    world.finished("file.bin", &content);
    let told = |origin: &Origin| {
        origin
            .asked()
            .iter()
            .filter_map(|asked| asked.ask.header("authorization").map(String::from))
            .collect::<Vec<_>>()
    };
    assert!(
        told(&far).iter().all(|value| value == "Basic bWU6U0VDUkVU")
            && told(&near).iter().all(|value| !value.contains("bWU6"))
    );
}

/// A record may come out of an archive: it gets no login that it does not ask for.
#[test]
fn a_record_gets_no_token_that_it_does_not_ask_for() {
    let world = World::new();
    let content = Content::random(5, 6 * CHUNK);
    let origin = Origin::serving(&content);
    crate::download::half_done(&world, &origin.url("/file.bin"), &content);
    origin.forget_log();
    let ended =
        world.onward(["resume"]).env("ONWARD_TOKEN", "SECRET").args(["-b", "a=SECRET", "-H", "X-Key: SECRET"]).run();
    ended.exits(0).says("header:authorization").says("not sent for").never_says("SECRET");
    world.finished("file.bin", &content);
    assert!(!origin.asked().is_empty());
    let told = |name: &str| origin.asked().iter().any(|asked| asked.ask.header(name).is_some());
    assert!(!told("authorization") && !told("cookie") && !told("x-key"), "{}", origin.story());
}

#[test]
fn what_is_given_for_one_server_goes_to_no_second_one() {
    let world = World::new();
    let content = Content::random(6, 1000);
    let (one, two) = (Origin::serving(&content), Origin::start());
    two.page("/two.bin", Page::of(&content));
    let both = || download(&world, &one.url("/file.bin")).arg(two.url("/two.bin"));
    for given in [&["-u", "me:SECRET"][..], &["-H", "Authorization: Bearer SECRET"], &["-b", "a=SECRET"]] {
        both().args(given).run().exits(2).says("one server").never_says("SECRET");
    }
    both().env("ONWARD_TOKEN", "SECRET").run().exits(2).says("ONWARD_TOKEN").never_says("SECRET");
    assert!(one.asked().is_empty() && two.asked().is_empty(), "{}\n{}", one.story(), two.story());
    both().run().exits(0);
}

#[test]
fn cookies_stay_with_their_origin() {
    let world = World::new();
    let content = Content::random(2, 3 * CHUNK);
    let (near, far) = (Origin::start(), Origin::serving(&content));
    near.page("/file.bin", Page::of(&Content::of("")));
    near.when(always(), redirect(302, far.url("/file.bin"))).when(always(), field("Set-Cookie", "set=S1; Path=/"));
    let ended = download(&world, &near.url("/file.bin")).args(["-b", "given=S2; other=S3"]).run();
    ended.exits(0).never_says("S1").never_says("S2");
    world.finished("file.bin", &content);
    assert_eq!(near.asked()[0].ask.header("cookie"), Some("given=S2; other=S3"));
    assert!(far.asked().iter().all(|asked| asked.ask.header("cookie").is_none()), "{}", far.story());
}

#[test]
fn a_cookie_file_says_where_each_goes_and_resume_wants_it_again() {
    let world = World::new();
    let content = Content::random(3, 20 * CHUNK);
    let (near, far) = (Origin::start(), Origin::serving(&content));
    near.page("/file.bin", Page::of(&Content::of("")));
    near.when(always(), redirect(302, far.url_by_name("/file.bin")));
    far.when(without_cookie("sid=SECRET"), status(403, ""));
    world.write(
        "cookies.txt",
        "# Netscape HTTP Cookie File\n#HttpOnly_localhost\tFALSE\t/\tFALSE\t0\tsid\tSECRET\nexample.org\tTRUE\t/\tFALSE\t0\tx\ty\n",
    );
    download(&world, &near.url("/file.bin")).run().exits(6);
    far.when(Box::new(|ask| ask.header("range") != Some("bytes=0-")), status(503, ""));
    far.when(always(), crate::origin::cut_after(5 * CHUNK));
    let cut = download(&world, &near.url("/file.bin")).args(["-b", "cookies.txt", "--retries", "0", "-x1"]).run();
    cut.exits(3).never_says("SECRET");
    assert!(near.asked().iter().all(|asked| asked.ask.header("cookie").is_none()), "{}", near.story());
    let record = world.text("file.bin.partial.toml");
    assert!(record.contains("header:cookie") && !record.contains("SECRET"), "{record}");
    far.honest_again();
    far.when(without_cookie("sid=SECRET"), status(403, ""));
    world.onward(["resume"]).run().exits(6).says("-b");
    world.onward(["resume", "-b", "cookies.txt"]).run().exits(0);
    world.finished("file.bin", &content);
    world.onward(["download", "-b", "nothing-here", &near.url("/file.bin")]).run().exits(8);
    world.write("page.html", "<html>\nno cookies\n");
    world.onward(["download", "-b", "page.html", &near.url("/file.bin")]).run().exits(2).says("Netscape");
}

/// What a server that logs in by Digest keeps: RFC 7616, written down again from the other side.
struct Doorman {
    algorithm: &'static str,
    nonce: fn(&Ask) -> &'static str,
}

const NAME: &str = "ann";
const PASSWORD: &str = "hush:hush";

impl Doorman {
    fn hash(&self, text: &str) -> String {
        let algorithm = if self.algorithm.starts_with("SHA") { Algorithm::Sha256 } else { Algorithm::Md5 };
        let mut hasher = Hasher::new(algorithm);
        hasher.update(text.as_bytes());
        hasher.finish().hex()
    }

    fn lets_in(&self, ask: &Ask) -> bool {
        let Some(fields) = ask.header("authorization").and_then(|value| value.strip_prefix("Digest ")) else {
            return false;
        };
        let fields: HashMap<&str, &str> =
            fields.split(", ").filter_map(|one| one.split_once('=')).map(|(k, v)| (k, v.trim_matches('"'))).collect();
        let mut secret = self.hash(&format!("{NAME}:vault:{PASSWORD}"));
        if self.algorithm.ends_with("-sess") {
            secret = self.hash(&format!("{secret}:{}:{}", fields["nonce"], fields["cnonce"]));
        }
        let request = self.hash(&format!("{}:{}", ask.method, ask.target));
        let (nonce, count, own) = (fields["nonce"], fields["nc"], fields["cnonce"]);
        let response = self.hash(&format!("{secret}:{nonce}:{count}:{own}:auth:{request}"));
        nonce == (self.nonce)(ask)
            && fields["uri"] == ask.target
            && fields["username"] == NAME
            && fields["response"] == response
    }

    /// Lets this origin admit nobody else.
    fn guards(self, origin: &Origin) {
        let Self { algorithm, nonce } = self;
        origin.when(
            Box::new(move |ask| !self.lets_in(ask)),
            so_that(move |ask, answer| {
                let stale = ask.header("authorization").is_some_and(|value| !value.contains((nonce)(ask)));
                answer.status = 401;
                answer.content = Content::of("who are you?\n");
                (answer.start, answer.end) = (0, 13);
                answer.set("Content-Length", "13");
                answer.unset("Content-Range");
                let challenge = format!(
                    "Basic realm=\"vault\", Digest realm=\"vault\", qop=\"auth,auth-int\", algorithm={algorithm}, \
                     nonce=\"{}\", opaque=\"o\", stale={stale}",
                    nonce(ask)
                );
                answer.set("WWW-Authenticate", challenge);
            }),
        );
    }
}

fn login(world: &World, url: &str) -> Ended {
    download(world, url).args(["-u", &format!("{NAME}:{PASSWORD}"), "-x3"]).run()
}

#[test]
fn digest_login_by_every_hash() {
    for algorithm in ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"] {
        let world = World::new();
        let content = Content::random(4, 6 * CHUNK);
        let origin = Origin::serving(&content);
        Doorman { algorithm, nonce: |_| "first" }.guards(&origin);
        login(&world, &origin.url("/file.bin?a=b,c")).exits(0).never_says("hush");
        world.finished("file.bin", &content);
        for asked in origin.asked() {
            let told = asked.ask.header("authorization").unwrap_or_default();
            assert!(!told.starts_with("Basic"), "{algorithm}: the password went out in clear:\n{}", origin.story());
        }
        assert_eq!(origin.asked().iter().filter(|asked| asked.status == 401).count(), 1, "{}", origin.story());
    }
}

#[test]
fn a_digest_nonce_that_grows_old_is_renewed() {
    let world = World::new();
    let content = Content::random(5, 12 * CHUNK);
    let origin = Origin::serving(&content);
    Doorman { algorithm: "SHA-256", nonce: |ask| if ask.nth > 2 { "second" } else { "first" } }.guards(&origin);
    origin.when(Box::new(|ask| ask.nth <= 2), crate::origin::cut_after(3 * CHUNK));
    login(&world, &origin.url("/file.bin")).exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn a_wrong_password_is_refused_at_once() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(5, 100));
    Doorman { algorithm: "MD5", nonce: |_| "first" }.guards(&origin);
    let ended = download(&world, &origin.url("/file.bin")).args(["-u", "ann:wrong"]).run();
    ended.exits(6).says("not taken").never_says("wrong");
    assert_eq!(origin.asked().len(), 2, "{}", origin.story());
    download(&world, &origin.url("/file.bin")).run().exits(6).says("log in with -u");
}

#[test]
fn basic_is_shown_to_those_who_ask_for_it() {
    let world = World::new();
    let content = Content::random(6, 3 * CHUNK);
    let origin = Origin::serving(&content);
    let stranger = || -> When { Box::new(|ask| ask.header("authorization") != Some("Basic YW5uOnBX")) };
    origin.when(stranger(), status(401, "WWW-Authenticate: Basic realm=\"x\""));
    download(&world, &origin.url("/file.bin")).args(["-u", "ann:pW"]).run().exits(0).never_says("pW");
    world.finished("file.bin", &content);
    assert!(origin.asked()[0].ask.header("authorization").is_none());
    // A server that hides what strangers may not see is told who we are as well.
    let hiding = Origin::serving(&content);
    hiding.when(stranger(), status(404, ""));
    download(&world, &hiding.url("/file.bin")).args(["-u", "ann:pW", "-o", "again"]).run().exits(0);
    world.finished("again", &content);
}

#[test]
fn logins_that_are_not_spoken_are_named() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(6, 100));
    origin.when(from(1), status(401, "WWW-Authenticate: Negotiate, NTLM"));
    let ended = download(&world, &origin.url("/file.bin")).args(["-u", "ann:pW"]).run();
    ended.exits(6).says("NTLM").never_says("pW");
    assert!(origin.asked().iter().all(|asked| asked.ask.header("authorization").is_none()), "{}", origin.story());
    let odd = Origin::serving(&Content::random(6, 100));
    odd.when(from(1), status(401, "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256"));
    download(&world, &odd.url("/file.bin")).args(["-u", "ann:pW"]).run().exits(6).says("does not speak");
    assert!(odd.asked().iter().all(|asked| asked.ask.header("authorization").is_none()), "{}", odd.story());
}

/// A large body is not sent only to learn how to log in, and is sent again where it had to be.
#[test]
fn bodies_log_in_by_digest_too() {
    use onward::net::{Access, Body, Net, Options, Request};
    let origin = Origin::start();
    for path in ["/large", "/small"] {
        origin.page(path, Page::of(&Content::of("taken")));
    }
    Doorman { algorithm: "SHA-256", nonce: |_| "first" }.guards(&origin);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (path, size) in [("/large", 1 << 20), ("/small", 100)] {
            let mut url = origin.url(path).replace("http://", "http://ann:hush%3Ahush@").parse().unwrap();
            let access = Access::new(&mut url, http::HeaderMap::new());
            let request = Request::new(http::Method::PUT, url).body(Body::Bytes(vec![7; size].into()));
            let answer = Net::new(Options::default()).ask(&request, &access).await.unwrap();
            assert_eq!(answer.status, 200, "{}", origin.story());
        }
    });
    let methods: Vec<String> = origin.asked().iter().map(|asked| asked.ask.method.clone()).collect();
    assert_eq!(methods, ["HEAD", "PUT", "PUT", "PUT"], "{}", origin.story());
}

#[test]
fn from_https_to_http_only_where_that_is_allowed() {
    let world = World::new();
    let content = Content::random(7, 2 * CHUNK);
    let identity = Identity::new();
    let cacert = world.write("cert.pem", &identity.cert_pem);
    let (safe, plain) = (Origin::start_tls(&identity), Origin::serving(&content));
    safe.page("/file.bin", Page::of(&Content::of("")));
    safe.when(always(), redirect(302, plain.url("/file.bin")));
    let run = |more: &[&str]| {
        let args = ["--cacert", cacert.to_str().unwrap(), "-H", "X-Key: SECRET", "-u", "ann:SECRET"];
        download(&world, &safe.url("/file.bin")).args(args).args(more).run()
    };
    run(&[]).exits(6).says("from https to http").says("--allow-downgrade").never_says("SECRET");
    assert!(plain.asked().is_empty(), "{}", plain.story());
    run(&["--allow-downgrade"]).exits(0);
    world.finished("file.bin", &content);
    for asked in plain.asked() {
        let told = ["x-key", "authorization", "cookie"].map(|name| asked.ask.header(name).is_some());
        assert_eq!(told, [false; 3], "{}", plain.story());
    }
}

/// Apache's own Digest, both ways.
#[test]
fn apache_lets_in_by_digest() {
    let world = World::new();
    let Some(program) = system("apache2") else { return };
    let folder = world.beside("apache-digest");
    let root = folder.join("www/dav");
    std::fs::create_dir_all(&root).unwrap();
    for path in [folder.parent().unwrap(), &folder, &folder.join("www"), &root] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let user = if rustix::process::geteuid().is_root() { "User nobody\nGroup nogroup" } else { "" };
    let modules = ["mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_digest", "dav", "dav_fs"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let mut secret = Hasher::new(Algorithm::Md5);
    secret.update(format!("{NAME}:vault:{PASSWORD}").as_bytes());
    std::fs::write(folder.join("users"), format!("{NAME}:vault:{}\n", secret.finish().hex())).unwrap();
    let server = Server::start(&world.beside("apache-digest.log"), |address| {
        let at = folder.display();
        let text = format!(
            "ServerName localhost\nServerRoot {at}\nListen {address}\nPidFile {at}/pid\nErrorLog {at}/error.log\n\
             DefaultRuntimeDir {at}\n{modules}{user}\nDocumentRoot {at}/www\nDavLockDB {at}/www/locks\n<Location />\n\
             Dav On\nAuthType Digest\nAuthName vault\nAuthDigestProvider file\nAuthUserFile {at}/users\n\
             Require valid-user\n</Location>\n"
        );
        std::fs::write(folder.join("conf"), text).unwrap();
        let mut command = std::process::Command::new(&program);
        command.arg("-f").arg(folder.join("conf")).arg("-DFOREGROUND");
        command
    });
    let content = Content::random(8, 3 << 20);
    content.write_to(&world.path("up.bin"));
    let who = format!("{NAME}:{PASSWORD}");
    let url = server.url("/dav/up.bin");
    world.onward(["upload", "-u", &who, "up.bin", &url]).run().exits(0).never_says("hush");
    crate::world::same(&root.join("up.bin"), &content);
    world.onward(["download", "-u", &who, "-o", "down.bin", "-x4", &url]).run().exits(0);
    world.finished("down.bin", &content);
    world.onward(["download", "-u", "ann:wrong", "-o", "no", &url]).run().exits(6).says("not taken");
}

/// A proxy that cannot be used is refused: going without it would show the request to whom it was to be hidden from.
#[test]
fn a_bad_proxy_is_not_gone_around() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(31, 1000));
    for proxy in ["foo bar", "http://", "socks9://127.0.0.1:1", "127.0.0.1:1"] {
        let ended = world.onward(["download", "--retries", "0", "--proxy", proxy, &origin.url("/f")]).run();
        assert_ne!(ended.code(), Some(0), "{proxy}\n{}", ended.story());
        assert!(origin.asked().is_empty(), "{proxy}: {}", origin.story());
    }
}
