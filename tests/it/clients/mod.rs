//! Upload clients that others wrote, against `onward serve`: tus-js-client, tuspy and Uppy, cut in the middle, the
//! server killed and started again, and going on where they were.

use crate::faults::{Fate, Proxy};
use crate::receiver::{Receiver, tree};
use crate::servers;
use crate::world::{Content, World, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const SIZE: u64 = 12 << 20;
/// Where the first run is cut, as bytes on the wire.
const CUT: u64 = 5 << 20;
/// So much of it has arrived for certain.
const KEPT: u64 = 3 << 20;

/// A world with a file to be sent, a server, and a proxy before it.
struct Scene {
    world: World,
    file: PathBuf,
    bytes: Vec<u8>,
    server: Receiver,
    proxy: Proxy,
}

impl Scene {
    fn set() -> Self {
        let world = World::new();
        let content = Content::random(31, SIZE);
        let file = world.path("data.bin");
        content.write_to(&file);
        let server = Receiver::start(&world);
        let proxy = Proxy::before(server.address.parse().unwrap());
        Self { world, file, bytes: content.bytes(), server, proxy }
    }

    /// Bytes of unfinished uploads, as `onward status` lists them.
    fn listed(&self) -> u64 {
        let status = self.world.onward(["status", "--json"]).arg(&self.server.root).run();
        let lines = String::from_utf8_lossy(&status.stdout).into_owned();
        let done = |line: &str| serde_json::from_str::<Value>(line).unwrap()["done"].as_u64().unwrap_or(0);
        lines.lines().map(done).sum()
    }

    /// SIGKILL, and a new server in its place.
    fn replace_server(self) -> Self {
        self.server.kill();
        let server = Receiver::start(&self.world);
        self.proxy.lead_to([server.address.parse().unwrap()]);
        Self { server, ..self }
    }

    fn told(&self, more: Value) -> Value {
        let mut told = json!({
            "endpoint": self.proxy.url("/"),
            "file": self.file,
            "store": self.world.path("urls"),
            "options": {},
        });
        for (key, value) in more.as_object().unwrap() {
            told[key] = value.clone();
        }
        told
    }

    #[track_caller]
    fn arrived(&self) {
        assert!(self.server.read("data.bin") == self.bytes, "the content differs");
        let names: Vec<String> = tree(&self.server.root).into_iter().filter(|name| !name.starts_with('.')).collect();
        assert_eq!(names, ["data.bin"]);
    }

    /// The first run is cut as `fates` say, the server killed, and the second sends about the rest.
    #[track_caller]
    fn cut_and_resumed(self, fates: &[Fate], run: impl Fn(&Self) -> Value) {
        self.proxy.next(fates.iter().copied());
        let cut = run(&self);
        assert!(cut["error"].is_string(), "it was cut: {cut}");
        // What has arrived is listed; a kill at once would take the last second of it.
        eventually("the server lists what has arrived", || (self.listed() >= KEPT).then_some(()));
        let scene = self.replace_server();
        scene.proxy.next([Fate::fine()]);
        let before = scene.proxy.up();
        let done = run(&scene);
        assert!(done["error"].is_null(), "{done}\n{}", scene.server.told());
        let sent = scene.proxy.up() - before;
        assert!(sent < SIZE - KEPT / 2, "{sent} of {SIZE} bytes were sent the second time: {done}");
        scene.arrived();
    }
}

/// Runs a client, whose last line is JSON.
#[track_caller]
fn last_line(mut command: Command) -> Value {
    let run = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name)
}

#[track_caller]
fn node(scene: &Scene, npm: &Path, name: &str, told: Value) -> Value {
    let mut command = Command::new("node");
    command.arg(script(name)).arg(npm).arg(scene.told(told).to_string()).current_dir(scene.world.dir());
    last_line(command)
}

#[test]
fn tus_js_client_resumes() {
    let Some(npm) = servers::node("tus-js-client") else { return };
    Scene::set().cut_and_resumed(&[Fate::cut_upload_after(CUT)], |scene| node(scene, &npm, "tus_js.cjs", json!({})));
}

#[test]
fn tus_js_client_resumes_by_the_ietfs_drafts() {
    let Some(npm) = servers::node("tus-js-client") else { return };
    for protocol in ["ietf-draft-03", "ietf-draft-05"] {
        let options = json!({"options": {"protocol": protocol}});
        Scene::set()
            .cut_and_resumed(&[Fate::cut_upload_after(CUT)], |scene| node(scene, &npm, "tus_js.cjs", options.clone()));
    }
}

#[test]
fn tus_js_client_sends_parts_in_parallel() {
    let Some(npm) = servers::node("tus-js-client") else { return };
    let scene = Scene::set();
    let options = json!({"options": {"parallelUploads": 3, "removeFingerprintOnSuccess": true}});
    let done = node(&scene, &npm, "tus_js.cjs", options);
    assert!(done["error"].is_null(), "{done}");
    scene.arrived();
    // Parts and file, cut in the middle.
    let scene = Scene::set();
    let options = json!({"options": {"parallelUploads": 2, "chunkSize": 1 << 20}});
    scene.cut_and_resumed(&[Fate::cut_upload_after(CUT)], |scene| node(scene, &npm, "tus_js.cjs", options.clone()));
}

#[test]
fn tus_js_client_in_its_other_ways() {
    let Some(npm) = servers::node("tus-js-client") else { return };
    for options in [
        json!({"options": {"uploadDataDuringCreation": true}}),
        json!({"options": {"uploadLengthDeferred": true, "chunkSize": 5_000_000}, "stream": true}),
        json!({"options": {"overridePatchMethod": true, "chunkSize": 5_000_000}}),
        json!({"options": {"uploadDataDuringCreation": true, "protocol": "ietf-draft-05"}}),
    ] {
        let scene = Scene::set();
        let done = node(&scene, &npm, "tus_js.cjs", options.clone());
        assert!(done["error"].is_null(), "{options}: {done}");
        scene.arrived();
    }
}

#[test]
fn tuspy_resumes() {
    let Some(python) = servers::python("tus", "python") else { return };
    for checksum in [false, true] {
        let run = |scene: &Scene| {
            let mut command = Command::new(&python);
            let told = scene.told(json!({"chunk": 2 << 20, "checksum": checksum}));
            command.arg(script("tuspy.py")).arg(told.to_string()).current_dir(scene.world.dir());
            last_line(command)
        };
        // A connection for each request: the creation, two chunks, and one that is cut.
        let fates = [Fate::fine(), Fate::fine(), Fate::fine(), Fate::cut_upload_after(1 << 20)];
        Scene::set().cut_and_resumed(&fates, run);
    }
}

#[test]
fn uppy_goes_on_after_a_cut() {
    let Some(npm) = servers::node("@uppy/tus") else { return };
    let scene = Scene::set();
    scene.proxy.next([Fate::cut_upload_after(CUT), Fate::fine()]);
    let options = json!({"options": {"retryDelays": [0, 200, 400, 800, 1600]}});
    let done = node(&scene, &npm, "uppy.mjs", options);
    assert_eq!((&done["ok"], &done["error"]), (&json!(1), &Value::Null), "{done}");
    scene.arrived();
    let up = scene.proxy.up();
    assert!(up < SIZE + (4 << 20), "{up} bytes were sent for {SIZE}");
}
