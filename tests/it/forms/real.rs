//! Form dialects against the servers that come with the libraries: killed in mid-upload and resumed, the right content
//! at the server, by digest there.

use crate::servers::{Server, node, python, system};
use crate::world::{Content, Signal, World, eventually, long, tell};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Not a whole number of chunks.
pub const SIZE: u64 = (6 << 20) + 54_321;

/// So much is in the record when it is killed.
const KEPT: u64 = 1 << 20;

/// A file of this folder.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/forms").join(name)
}

/// What the record says that the server holds, in bytes.
fn recorded(world: &World) -> u64 {
    let status = world.onward(["status", "--json"]).run();
    serde_json::from_slice::<serde_json::Value>(&status.stdout).ok().and_then(|line| line["done"].as_u64()).unwrap_or(0)
}

/// Uploads under a rate, is killed once parts are there, ten times in a long run, and resumed to the end. Gives how many
/// bytes the last run sent.
pub fn killed(world: &World, dialect: &str, url: &str, content: &Content) -> u64 {
    content.write_to(&world.path("big.bin"));
    let slowly = ["--limit-rate=1M", "--progress=json"];
    let args = ["upload", "--dialect", dialect, "--chunk-size=256K", "big.bin", url];
    for kill in 0..kills() {
        let kept = KEPT + kill * (KEPT / 4);
        let run = if kill == 0 { world.onward(args) } else { world.onward(["resume"]) };
        let mut running = run.args(slowly).start();
        eventually("the record of a part", || (recorded(world) >= kept).then_some(()));
        assert!(!running.has_ended(), "it was over before it could be killed");
        running.kill().died_of(Signal::KILL);
    }
    let ended = world.onward(["resume", "--progress=json"]).run();
    ended.exits(0);
    let moved = ended.event("done")["moved"].as_u64().unwrap();
    tell(&format!("{dialect}: killed {} times, then {moved} of {SIZE} bytes", kills()));
    world.holds_only(&["big.bin"]);
    moved
}

/// How often an upload is killed.
pub fn kills() -> u64 {
    if long() { 10 } else { 1 }
}

/// The same where what was recorded need not be sent again.
pub fn killed_and_resumed(world: &World, dialect: &str, url: &str, content: &Content) {
    let moved = killed(world, dialect, url, content);
    assert!(moved <= SIZE - KEPT, "{moved} of {SIZE} bytes were sent after the kill");
}

fn samples(world: &World) -> Option<Server> {
    let modules = node("resumablejs").filter(|_| node("@flowjs/flow.js").is_some())?;
    let folder = world.beside("samples");
    std::fs::create_dir_all(&folder).unwrap();
    Some(Server::start(&world.beside("samples.log"), |address| {
        let mut command = Command::new("node");
        command.arg(here("samples.cjs")).args([&modules, &folder]).arg(address.port().to_string());
        command
    }))
}

/// What a sample server gives out under an id.
fn given_out(server: &Server, path: &str) -> Vec<u8> {
    let world = World::new();
    world.onward(["download", "-o", "got", &server.url(path)]).run().exits(0);
    world.read("got")
}

#[test]
fn resumable_js_and_flow_js_by_their_own_samples() {
    let world = World::new();
    let Some(server) = samples(&world) else { return };
    for dialect in ["resumable", "flow"] {
        let content = Content::random(SIZE, SIZE);
        killed_and_resumed(&world, dialect, &server.url(&format!("/{dialect}")), &content);
        let got = given_out(&server, &format!("/{dialect}/{SIZE}-bigbin"));
        assert!(got == content.bytes(), "{dialect}: {} bytes", got.len());
        // The last chunk is up to twice as long, and one chunk may be all there is.
        for length in [1, 100_000, 262_144, 262_145, 524_288, 600_000] {
            let small = Content::random(length, length);
            small.write_to(&world.path("small"));
            let url = server.url(&format!("/{dialect}"));
            world.onward(["upload", "--dialect", dialect, "--chunk-size=256K", "small", &url]).run().exits(0);
            assert!(given_out(&server, &format!("/{dialect}/{length}-small")) == small.bytes(), "{dialect}: {length}");
        }
        std::fs::remove_file(world.path("small")).unwrap();
    }
}

/// A folder that PHP's own server serves, with a package's sample in it.
fn php(world: &World, package: &str, sample: &str) -> Option<(Server, PathBuf)> {
    let program = system("php")?;
    let modules = node(package)?;
    let folder = world.beside(package);
    std::fs::create_dir_all(folder.join("tmp")).unwrap();
    let text = std::fs::read_to_string(modules.join("node_modules").join(package).join(sample)).unwrap();
    // The sample stops at once until somebody has read it.
    let text: String =
        text.lines().filter(|line| !line.starts_with("die(\"Make sure")).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("upload.php"), text).unwrap();
    let server = Server::start(&world.beside("php.log"), |address| {
        let mut command = Command::new(&program);
        let tmp = format!("upload_tmp_dir={}", folder.join("tmp").display());
        command.args(["-d", &tmp, "-d", "upload_max_filesize=64M", "-d", "post_max_size=64M", "-S"]);
        command.arg(address.to_string()).current_dir(&folder);
        command
    });
    Some((server, folder))
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// The one file below a folder.
fn only_file(folder: &Path) -> Vec<u8> {
    let files = files(folder);
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::read(&files[0]).unwrap()
}

#[test]
fn plupload_by_its_own_sample_which_appends() {
    let world = World::new();
    let Some((server, folder)) = php(&world, "plupload", "examples/upload.php") else { return };
    let content = Content::random(3, 900_000);
    content.write_to(&world.path("a.bin"));
    let url = server.url("/upload.php");
    world.onward(["upload", "--dialect=plupload", "--chunk-size=100K", "a.bin", &url]).run().exits(0);
    assert!(only_file(&folder.join("tmp/plupload")) == content.bytes());
}

#[test]
fn plupload_killed_in_mid_chunk_begins_anew() {
    let world = World::new();
    let Some((server, folder)) = php(&world, "plupload", "examples/upload.php") else { return };
    let content = Content::random(7, SIZE);
    let moved = killed(&world, "plupload", &server.url("/upload.php"), &content);
    assert!(moved <= SIZE, "{moved}");
    // Nobody can say whether the chunk was appended: what lies there of the killed runs is left alone.
    let whole = files(&folder.join("tmp/plupload")).into_iter().filter(|file| file.extension().unwrap() == "bin");
    assert_eq!(whole.filter(|file| std::fs::read(file).unwrap() == content.bytes()).count(), 1);
}

#[test]
fn a_sample_that_only_complains_has_stored_nothing() {
    let world = World::new();
    let (page, _) = super::sequence::honest();
    page.now(|_, _| {
        super::page::Act::Say(200, "text/html", "Make sure that you enable some form of authentication".into())
    });
    Content::random(4, 10).write_to(&world.path("a"));
    for dialect in ["plupload", "blueimp", "fine-uploader", "laravel-chunk-upload"] {
        world.onward(["upload", "--dialect", dialect, "a", &page.url("/")]).run().exits(6).says("does not know");
    }
}

#[test]
fn webuploader_by_its_own_sample() {
    let world = World::new();
    let Some((server, folder)) = php(&world, "webuploader", "server/fileupload.php") else { return };
    let plupload = String::from_utf8(world.onward(["dialects", "show", "plupload"]).run().stdout).unwrap();
    world.write("webuploader.toml", plupload.replace("repeat = \"append\"", "repeat = \"safe\""));
    std::fs::rename(world.path("webuploader.toml"), world.beside("webuploader.toml")).unwrap();
    let content = Content::random(5, SIZE);
    let dialect = world.beside("webuploader.toml");
    killed_and_resumed(&world, dialect.to_str().unwrap(), &server.url("/upload.php"), &content);
    assert!(only_file(&folder.join("upload")) == content.bytes());
}

#[test]
fn fine_uploader_by_a_django_package() {
    let world = World::new();
    let Some(python) = python("forms", "python") else { return };
    let folder = world.beside("fine");
    std::fs::create_dir_all(&folder).unwrap();
    let server = Server::start(&world.beside("fine.log"), |address| {
        let mut command = Command::new(&python);
        command.arg(here("fine_uploader.py")).arg(&folder).arg(address.port().to_string());
        command
    });
    // This site has the call that ends an upload at a place of its own.
    let shown = String::from_utf8(world.onward(["dialects", "show", "fine-uploader"]).run().stdout).unwrap();
    let dialect = world.beside("fine.toml");
    std::fs::write(&dialect, shown.replace("url = \"success\"", "query = { done = \"1\" }")).unwrap();
    let content = Content::random(6, SIZE);
    killed_and_resumed(&world, dialect.to_str().unwrap(), &server.url("/fine"), &content);
    assert!(only_file(&folder.join("media/uploads")) == content.bytes());
}

#[test]
fn filepond_by_a_django_package() {
    let world = World::new();
    let Some(python) = python("filepond", "python") else { return };
    let folder = world.beside("pond");
    std::fs::create_dir_all(folder.join("tmp")).unwrap();
    let server = Server::start(&world.beside("pond.log"), |address| {
        let mut command = Command::new(&python);
        command.arg(here("filepond.py")).arg(&folder).arg(address.port().to_string());
        command
    });
    // This package has a place for each call.
    let shown = String::from_utf8(world.onward(["dialects", "show", "filepond"]).run().stdout).unwrap();
    let places = shown.replace("[create]\n", "[create]\nurl = \"process/\"\n");
    let dialect = world.beside("pond.toml");
    std::fs::write(&dialect, places.replace("query = { patch = \"{cap.id}\" }", "url = \"patch/{cap.id}\"")).unwrap();
    let content = Content::random(8, SIZE);
    killed_and_resumed(&world, dialect.to_str().unwrap(), &server.url("/fp"), &content);
    assert!(only_file(&folder.join("tmp")) == content.bytes());
}

#[test]
fn blueimp_by_a_django_package() {
    let world = World::new();
    let Some(python) = python("forms", "python") else { return };
    let folder = world.beside("chunked");
    std::fs::create_dir_all(&folder).unwrap();
    let server = Server::start(&world.beside("chunked.log"), |address| {
        let mut command = Command::new(&python);
        command.arg(here("blueimp.py")).arg(&folder).arg(address.port().to_string());
        command
    });
    let (url, content) = (server.url("/up"), Content::random(9, SIZE));
    killed_and_resumed(&world, "django-chunked-upload", &url, &content);
    std::fs::remove_file(world.path("big.bin")).unwrap();
    let small: Vec<Content> = [0, 1, 65_536, 150_000].into_iter().map(|length| Content::random(10, length)).collect();
    for content in &small {
        content.write_to(&world.path("small"));
        let args = ["upload", "--dialect=django-chunked-upload", "--chunk-size=64K", "small", &url];
        world.onward(args).run().exits(0);
    }
    // One upload for each file, each complete (2), and its content.
    let states = String::from_utf8(given_out(&server, "/states")).unwrap();
    let expected: Vec<(&str, &Content)> =
        std::iter::once(("big.bin", &content)).chain(small.iter().map(|content| ("small", content))).collect();
    assert_eq!(states.lines().count(), expected.len(), "{states}");
    for (line, (name, content)) in states.lines().zip(expected) {
        let mut words = line.splitn(3, ' ');
        assert_eq!((words.next(), words.next()), (Some(name), Some("2")), "{states}");
        assert!(std::fs::read(words.next().unwrap()).unwrap() == content.bytes(), "{line}");
    }
}
