//! Where a download goes and how it gets there: folders that are missing, files in the way, proxies around which some
//! hosts are reached.

use crate::download::{CHUNK, download};
use crate::origin::{Identity, Origin, Page, always, short_206};
use crate::world::{Content, World};

#[test]
fn missing_folders_are_created_where_that_is_asked_for() {
    let world = World::new();
    let content = Content::random(1, CHUNK);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    for (args, place) in [(["-d", "a/b"], "a/b/file.bin"), (["-o", "c/d/e"], "c/d/e")] {
        download(&world, &url).args(args).run().exits(8).says("is not there").says("--create-dirs");
        assert!(origin.asked().is_empty(), "before anything is asked:\n{}", origin.story());
        download(&world, &url).args(args).arg("--create-dirs").run().exits(0);
        world.finished(place, &content);
        origin.forget_log();
    }
}

#[test]
fn a_file_that_nothing_proves_is_in_the_way() {
    let world = World::new();
    let content = Content::random(2, CHUNK);
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content).no_ranges());
    world.write("file.bin", content.bytes());
    let url = origin.url("/file.bin");
    download(&world, &url).run().exits(8).says("nothing shows that it is").says("--overwrite");
    world.write("file.bin", b"other");
    download(&world, &url).run().exits(8).says("is not what the server has now");
    download(&world, &url).arg("--no-clobber").run().exits(0);
    world.file_is("file.bin", &Content::of("other"));
    download(&world, &url).arg("--overwrite").run().exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn no_proxy_is_honoured_whoever_names_the_proxy() {
    let world = World::new();
    let content = Content::random(3, CHUNK);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = format!("http://{closed}");
    let run = |name: &str| download(&world, &url).args(["--retries", "0", "--overwrite"]).env(name, &proxy);
    run("http_proxy").run().exits(3);
    run("http_proxy").env("NO_PROXY", "127.0.0.1").run().exits(0);
    let given = |more: &str| run("NOTHING").args(["--proxy", &proxy]).env("NO_PROXY", more).run();
    given("example.org").exits(3);
    given("example.org,127.0.0.1").exits(0);
    world.finished("file.bin", &content);
}

/// The first request would take HTTP/2, those for ranges want connections of their own: where there is only HTTP/1.1,
/// one connection serves both.
#[test]
fn a_server_with_one_connection_to_give_over_tls() {
    let world = World::new();
    let content = Content::random(4, 9 * CHUNK);
    let identity = Identity::new();
    let cacert = world.write("cert.pem", &identity.cert_pem);
    let origin = Origin::start_tls(&identity);
    origin.page("/file.bin", Page::of(&content));
    origin.at_most_connections(1);
    origin.when(always(), short_206(3 * CHUNK));
    let args = ["--cacert", cacert.to_str().unwrap(), "-x1", "--retries", "4"];
    download(&world, &origin.url("/file.bin")).args(args).run().exits(0);
    world.finished("file.bin", &content);
}

/// What `openssl req -x509` makes says of itself that it is an authority; given, it is believed all the same, for its
/// names and its time.
#[test]
fn an_ordinary_self_signed_certificate_is_believed_when_it_is_given() {
    let world = World::new();
    let content = Content::random(7, CHUNK);
    let (here, elsewhere) = (["127.0.0.1"], ["elsewhere.example"]);
    let stranger = world.write("stranger.pem", Identity::authority(&here, 2100).cert_pem);
    let ask = |identity: &Identity, change: &dyn Fn(crate::world::Onward) -> crate::world::Onward| {
        let origin = Origin::start_tls(identity);
        origin.page("/file.bin", Page::of(&content));
        change(download(&world, &origin.url("/file.bin"))).args(["--overwrite", "--retries", "0"]).run()
    };
    let good = Identity::authority(&here, 2100);
    let given = world.write("cert.pem", &good.cert_pem);
    ask(&good, &|run| run.arg("--cacert").arg(&given)).exits(0);
    ask(&good, &|run| run.env("SSL_CERT_FILE", &given)).exits(0);
    ask(&good, &|run| {
        run.arg("--cacert").arg(&given).env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent")
    })
    .exits(0);
    ask(&good, &|run| run.arg("--insecure")).exits(0);
    world.finished("file.bin", &content);
    ask(&good, &|run| run.arg("--cacert").arg(&stranger))
        .exits(1)
        .says("could not be trusted")
        .never_says("OtherError");
    let (other, old) = (Identity::authority(&elsewhere, 2100), Identity::authority(&here, 2001));
    let (other_given, old_given) = (world.write("other.pem", &other.cert_pem), world.write("old.pem", &old.cert_pem));
    ask(&other, &|run| run.arg("--cacert").arg(&other_given)).exits(1).says("elsewhere.example");
    ask(&old, &|run| run.arg("--cacert").arg(&old_given)).exits(1).says_any(&["expired"]);
}

#[test]
fn without_any_certificate_http_works_and_https_says_what_is_missing() {
    let world = World::new();
    let content = Content::random(8, CHUNK);
    let (plain, secure) = (Origin::serving(&content), Origin::start_tls(&Identity::new()));
    let bare = |url: &str| {
        download(&world, url).env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent").run()
    };
    bare(&plain.url("/file.bin")).exits(0);
    bare(&secure.url("/file2.bin")).exits(8).says("CA certificates").says("--cacert");
}
