//! Everything that can be wrong with what an earlier run left behind: the record, the data, the remote. Each ends in
//! the right file or a clear error; never in a wrong file, never with a good one lost.

use crate::download::{download, half_done, on_record};
use crate::origin::{Origin, Page, always, ignore_if_range, stall_after};
use crate::world::{Content, Ended, World, eventually};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

const LEN: u64 = 4 << 20;
const DATA: &str = "file.bin.partial";
const SIDECAR: &str = "file.bin.partial.toml";

/// A download that was killed half-way, and the content it is of.
struct Half {
    world: World,
    origin: Origin,
    content: Content,
    held: u64,
}

impl Half {
    fn new() -> Self {
        let (world, content) = (World::new(), Content::random(20, LEN));
        let origin = Origin::serving(&content);
        let held = half_done(&world, &origin.url("/file.bin"), &content);
        origin.forget_log();
        Self { world, origin, content, held }
    }

    fn again(&self) -> Ended {
        download(&self.world, &self.origin.url("/file.bin")).run()
    }

    /// The next run ends in the right file.
    #[track_caller]
    fn mends(&self) -> Ended {
        let ended = self.again();
        ended.exits(0);
        self.world.finished("file.bin", &self.content);
        ended
    }

    /// The next run refuses clearly, and touches neither the data nor the record.
    #[track_caller]
    fn refuses(&self, code: i32, words: &[&str]) {
        let before = (self.world.read(DATA), self.world.read(SIDECAR));
        let ended = self.again();
        ended.exits(code).says_any(words);
        assert!(
            before == (self.world.read(DATA), self.world.read(SIDECAR)),
            "something was changed\n{}",
            ended.story()
        );
        assert!(!self.world.exists("file.bin"));
    }

    /// Changes the text of the record, keeping its mode.
    #[track_caller]
    fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = self.world.text(SIDECAR);
        let changed = change(text.clone());
        assert_ne!(text, changed, "the edit changed nothing");
        std::fs::write(self.world.path(SIDECAR), changed).unwrap();
    }

    fn data(&self) -> std::fs::File {
        std::fs::OpenOptions::new().read(true).write(true).open(self.world.path(DATA)).unwrap()
    }
}

#[test]
fn the_record_reads_as_promised() {
    let half = Half::new();
    let text = half.world.text(SIDECAR);
    assert!(text.starts_with("# onward: an unfinished download. Continue with `onward resume file.bin`"), "{text}");
    for line in ["version = 1", "kind = \"download\"", "file = \"file.bin\"", "length = 4194304", "chunk_size = 65536"]
    {
        assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
    }
    assert!(text.contains(&half.origin.url("/file.bin")) && text.contains("\\\"v1\\\"") || text.contains("'\"v1\"'"));
    let mode = |name| std::fs::metadata(half.world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(SIDECAR), mode(DATA)), (0o600, 0o600));
    let ended = half.mends();
    assert_eq!(ended.event("resumed")["offset"].as_u64(), Some(half.held), "{}", ended.story());
    assert_ne!(mode("file.bin"), 0o600, "the finished file has the umask's mode");
}

#[test]
fn record_missing() {
    let half = Half::new();
    std::fs::remove_file(half.world.path(SIDECAR)).unwrap();
    half.mends();
}

#[test]
fn record_truncated() {
    let half = Half::new();
    let (text, data) = (half.world.text(SIDECAR), half.world.read(DATA));
    for cut in (0..text.len()).step_by(text.len() / 12 + 1).chain([text.len() - 1]) {
        let _ = std::fs::remove_file(half.world.path("file.bin"));
        std::fs::write(half.world.path(DATA), &data).unwrap();
        std::fs::write(half.world.path(SIDECAR), &text[..cut]).unwrap();
        for name in [DATA, SIDECAR] {
            std::fs::set_permissions(half.world.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        half.mends();
    }
}

#[test]
fn record_of_garbage() {
    for garbage in [&b"\x00\xff\xfe garbage \x80"[..], b"", b"[[[[", &[b'a'; 100_000]] {
        let half = Half::new();
        std::fs::write(half.world.path(SIDECAR), garbage).unwrap();
        half.mends();
    }
}

#[test]
fn record_of_a_newer_version() {
    let half = Half::new();
    half.edit(|text| text.replace("version = 1", "version = 2"));
    half.refuses(8, &["newer", "version"]);
    half.edit(|text| text.replace("version = 2", "version = 1"));
    half.mends();
}

#[test]
fn record_of_another_url() {
    let half = Half::new();
    let other = Content::random(99, LEN);
    half.origin.page("/other/file.bin", Page::of(&other).etag("\"other\""));
    let before = half.world.read(DATA);
    let ended = download(&half.world, &half.origin.url("/other/file.bin")).run();
    match ended.code() {
        Some(0) => half.world.finished("file.bin", &other),
        _ => {
            ended.says_any(&["url", "another"]);
            assert!(half.world.read(DATA) == before, "the data of the other transfer was touched\n{}", ended.story());
            half.mends();
        }
    }
}

/// The same ETag at another URL proves nothing: `"v1"` may be anybody's.
#[test]
fn another_url_with_the_same_etag_is_not_mixed() {
    let half = Half::new();
    let other = Content::random(98, LEN);
    half.origin.page("/other/file.bin", Page::of(&other));
    let ended = download(&half.world, &half.origin.url("/other/file.bin")).run();
    if half.world.exists("file.bin") {
        half.world.file_is("file.bin", &other);
    } else {
        assert_ne!(ended.code(), Some(0), "{}", ended.story());
    }
}

#[test]
fn record_that_others_could_have_written() {
    for mode in [0o644, 0o660, 0o602] {
        let half = Half::new();
        std::fs::set_permissions(half.world.path(SIDECAR), std::fs::Permissions::from_mode(mode)).unwrap();
        half.refuses(8, &["mode", "somebody"]);
    }
    if rustix::process::geteuid().is_root() {
        let half = Half::new();
        std::os::unix::fs::chown(half.world.path(SIDECAR), Some(12345), None).unwrap();
        half.refuses(8, &["another user", "somebody"]);
    }
}

#[test]
fn record_behind_a_symlink() {
    let half = Half::new();
    std::fs::rename(half.world.path(SIDECAR), half.world.path("elsewhere")).unwrap();
    symlink("elsewhere", half.world.path(SIDECAR)).unwrap();
    let before = half.world.read("elsewhere");
    let ended = half.again();
    assert!(half.world.read("elsewhere") == before, "written through a symlink\n{}", ended.story());
    if half.world.exists("file.bin") {
        half.world.file_is("file.bin", &half.content);
    }
}

#[test]
fn data_behind_a_symlink_is_not_followed() {
    let half = Half::new();
    std::fs::write(half.world.path("victim"), vec![b'v'; LEN as usize]).unwrap();
    std::fs::remove_file(half.world.path(DATA)).unwrap();
    symlink("victim", half.world.path(DATA)).unwrap();
    let ended = half.again();
    assert!(half.world.read("victim").iter().all(|b| *b == b'v'), "written through a symlink\n{}", ended.story());
    if half.world.exists("file.bin") {
        half.world.file_is("file.bin", &half.content);
    }
}

#[test]
fn record_of_another_file() {
    for name in ["../file.bin", "/etc/passwd", "other.bin", ""] {
        let half = Half::new();
        half.edit(|text| text.replace("file = \"file.bin\"", &format!("file = \"{name}\"")));
        half.mends();
        half.world.holds_only(&["file.bin"]);
    }
}

#[test]
fn record_that_claims_too_much() {
    let half = Half::new();
    // All chunks done, with sums from nowhere: the bytes do not bear it out.
    half.edit(|text| {
        let mut record = onward::record::Record::from_toml(&text).unwrap();
        record.done = onward::byteset::ByteSet::parse("0-63").unwrap();
        record.done_sums = vec![0; 64];
        record.within.clear();
        record.recent.clear();
        record.to_toml()
    });
    half.mends();
}

#[test]
fn record_without_sums() {
    let half = Half::new();
    half.edit(|text| {
        let mut record = onward::record::Record::from_toml(&text).unwrap();
        record.done = onward::byteset::ByteSet::parse("0-63").unwrap();
        record.done_sums.clear();
        record.within.clear();
        record.recent.clear();
        record.to_toml()
    });
    half.mends();
}

#[test]
fn record_with_another_length() {
    for length in [LEN - 1, LEN + 1, LEN * 2, 1 << 40] {
        let half = Half::new();
        half.edit(|text| text.replace("length = 4194304", &format!("length = {length}")));
        half.mends();
    }
}

#[test]
fn record_of_an_earlier_boot() {
    let half = Half::new();
    half.edit(|text| text.replace(onward::disk::boot_id(), "00000000-0000-0000-0000-000000000000"));
    half.mends();
}

#[test]
fn data_missing() {
    let half = Half::new();
    std::fs::remove_file(half.world.path(DATA)).unwrap();
    let ended = half.mends();
    ended.says_any(&["gone", "missing", "restarted"]);
    let told = ended.events_called("warning");
    assert_eq!(told.iter().filter(|event| event["text"].as_str().unwrap().contains("is gone")).count(), 1, "{told:?}");
}

#[test]
fn data_shorter() {
    for keep in [0, 1, LEN / 5, LEN - 1] {
        let half = Half::new();
        half.data().set_len(keep).unwrap();
        half.mends();
    }
}

#[test]
fn data_longer() {
    let half = Half::new();
    half.data().write_all_at(b"more than there should be", LEN).unwrap();
    half.mends();
}

#[test]
fn data_with_a_flipped_byte() {
    let half = Half::new();
    let file = half.data();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 12_345).unwrap();
    file.write_all_at(&[!byte[0]], 12_345).unwrap();
    half.mends();
    assert!(half.origin.sent() < LEN, "only the damaged chunk is fetched again\n{}", half.origin.story());
}

/// A byte flipped by a disk: neither size nor mtime tell.
#[test]
fn data_with_a_flipped_byte_and_its_old_time() {
    let half = Half::new();
    let file = half.data();
    let times = file.metadata().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 54_321).unwrap();
    file.write_all_at(&[!byte[0]], 54_321).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    half.mends();
}

#[test]
fn data_replaced_by_something_else() {
    let half = Half::new();
    std::fs::remove_file(half.world.path(DATA)).unwrap();
    std::fs::create_dir(half.world.path(DATA)).unwrap();
    let ended = half.again();
    ended.exits(8).says("file.bin.partial");
    std::fs::remove_dir(half.world.path(DATA)).unwrap();
    half.mends();
}

#[test]
fn data_of_a_stranger_is_not_destroyed_before_the_new_is_there() {
    let world = World::new();
    let content = Content::random(21, LEN);
    let origin = Origin::serving(&content);
    world.write(DATA, "what another program left here");
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn another_file_of_that_name_is_left_alone() {
    let world = World::new();
    let content = Content::random(25, LEN);
    let origin = Origin::serving(&content);
    world.write("file.bin.old.partial", "the user's own");
    download(&world, &origin.url("/file.bin")).run().exits(0);
    world.finished("file.bin", &content);
    assert_eq!(world.read("file.bin.old.partial"), b"the user's own");
}

#[test]
fn a_download_does_not_take_the_data_of_another_in_the_same_run() {
    let world = World::new();
    let (short, long) = (Content::random(26, 1000), Content::random(27, LEN));
    let origin = Origin::serving(&short);
    origin.page("/x", Page::of(&short));
    origin.page("/x.old", Page::of(&long).etag("\"long\""));
    let slowly = ["--limit-rate", "4M"];
    download(&world, &origin.url("/x")).arg(origin.url("/x.old")).args(slowly).run().exits(0);
    world.finished("x", &short);
    world.finished("x.old", &long);
}

/// The names come with the answers: --overwrite is for what was there before this command.
#[test]
fn two_that_turn_out_to_have_one_name_do_not_overwrite_each_other() {
    let world = World::new();
    let origin = Origin::start();
    let both = [Content::random(28, 1000), Content::random(29, 1000)];
    for (path, content) in ["/a", "/b"].iter().zip(&both) {
        let page = Page::of(content).header("Content-Disposition", "attachment; filename=\"same.txt\"");
        origin.page(path, page.etag(&format!("\"{path}\"")));
    }
    let ended = download(&world, &origin.url("/a")).arg(origin.url("/b")).arg("--overwrite").run();
    ended.exits(8).says("of this very command").stdout_is("same.txt\n");
    let failed = ended.event("failed")["id"].as_u64().unwrap();
    world.finished("same.txt", &both[1 - failed as usize]);
}

/// Whoever made the file may go on writing to it after it was checked.
#[test]
fn data_that_somebody_else_planted() {
    let half = Half::new();
    std::fs::hard_link(half.world.path(DATA), half.world.path("another")).unwrap();
    half.refuses(8, &["hard link"]);
    std::fs::remove_file(half.world.path("another")).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(half.world.path(DATA), Some(12345), None).unwrap();
        half.refuses(8, &["another user"]);
        std::os::unix::fs::chown(half.world.path(DATA), Some(0), None).unwrap();
    }
    half.mends();
}

#[test]
fn the_remote_changed_between_two_runs() {
    let half = Half::new();
    let new = Content::random(22, LEN);
    half.origin.page("/file.bin", Page::of(&new).etag("\"v2\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT"));
    let refused = download(&half.world, &half.origin.url("/file.bin")).arg("--no-restart").run();
    refused.exits(4).says_any(&["changed"]);
    assert_eq!(on_record(&half.world.path(SIDECAR)), Some(half.held), "--no-restart keeps what is there");
    let ended = half.again();
    ended.exits(0);
    assert!(!ended.events_called("restarted").is_empty(), "it does not say so\n{}", ended.story());
    half.world.finished("file.bin", &new);
    half.world.holds_only(&["file.bin"]);
}

#[test]
fn the_remote_changed_and_the_server_ignores_if_range() {
    let half = Half::new();
    let new = Content::random(23, LEN);
    half.origin.page("/file.bin", Page::of(&new).etag("\"v2\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT"));
    half.origin.when(always(), ignore_if_range());
    let ended = half.again();
    ended.exits(0);
    half.world.finished("file.bin", &new);
}

#[test]
fn the_remote_became_shorter_or_longer() {
    for len in [0, 1, LEN / 8, LEN - 1, LEN + 1, LEN * 2] {
        let half = Half::new();
        let new = Content::random(24, len);
        half.origin.page("/file.bin", Page::of(&new).etag("\"v2\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT"));
        half.again().exits(0);
        half.world.finished("file.bin", &new);
    }
}

#[test]
fn the_remote_is_gone_and_what_is_there_is_kept() {
    let half = Half::new();
    let url = half.origin.url("/file.bin");
    drop(Origin::start());
    half.origin.when(always(), crate::origin::status(404, ""));
    let ended = download(&half.world, &url).run();
    ended.exits(7);
    assert!(on_record(&half.world.path(SIDECAR)).unwrap() >= half.held, "{}", ended.story());
    half.origin.honest_again();
    half.mends();
    assert!(half.origin.sent() <= LEN - half.held, "{}", half.origin.story());
}

/// A line that falls silent after its first bytes: they are on record all the same, and a kill does not take them.
#[test]
fn what_came_before_a_silence_is_on_record() {
    let (world, content) = (World::new(), Content::random(31, LEN));
    let origin = Origin::serving(&content);
    let arrived = 256 << 10;
    origin.when(always(), stall_after(arrived));
    let running = download(&world, &origin.url("/file.bin")).args(["-x", "1", "--stall-timeout", "10m"]).start();
    let held = eventually("all that has arrived on record", || on_record(&world.path(SIDECAR)).filter(|n| *n > 0));
    assert_eq!(held, arrived);
    running.kill();
    origin.honest_again();
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(0);
    world.finished("file.bin", &content);
    assert_eq!(ended.event("done")["already"], arrived, "{}", ended.story());
}
