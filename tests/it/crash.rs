//! Killing the program at any moment and at named points, and cutting the power: what was moved is not lost, and
//! what is under the final name is never wrong.

use crate::download::{CHUNK, download, on_record};
use crate::nginx::Nginx;
use crate::origin::{Origin, Page, always, at_rate, cut_after};
use crate::world::{Content, Dice, Ended, Running, Signal, World, long};
use onward::byteset::ByteSet;
use onward::record::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that one connection's buffers may hold when a process is killed: given to the socket by the other side, and
/// never seen by the program. The system lets the sender's and the receiver's grow to what it says here (tcp(7)).
fn socket_buffers() -> u64 {
    let most = |side: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{side}")).unwrap_or_default();
        text.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(6 << 20)
    };
    most("rmem") + most("wmem")
}

/// The seed of this run's dice; `ONWARD_TEST_SEED` gives another story.
fn seed() -> u64 {
    std::env::var("ONWARD_TEST_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1)
}

/// Lets it run for `time`, then SIGKILL. `None` when it had ended by itself.
fn kill_after(mut running: Running, time: Duration) -> Option<Ended> {
    std::thread::sleep(time);
    let ended = running.has_ended();
    let killed = running.kill();
    (!ended).then_some(killed)
}

/// The promise of the whole program: twenty kills in a row at random moments, and the bill.
#[test]
fn twenty_kills_in_a_row() {
    twenty_kills("-x1");
}

/// With several connections, too.
#[test]
fn twenty_kills_of_four_connections() {
    twenty_kills("-x4");
}

/// Kills it twenty times and lets it finish. Each kill costs a second at most: of what a run said was there, all but
/// that is on record, and the next run goes on from there. Every fifth run lives long enough for that to mean much.
fn twenty_kills(connections: &str) {
    const SECOND: u64 = 16 << 20;
    let length = 256 << 20;
    let world = World::new();
    let content = Content::random(seed(), length);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let again = || world.onward(["download", "--progress", "json", connections, "--limit-rate", "16M", &url]);
    let mut dice = Dice::new(seed());
    let (mut held, mut most) = (0, 0);
    for kills in 1..=20 {
        let (low, high) = if kills % 5 == 0 { (1500, 2500) } else { (1, 500) };
        let killed = kill_after(again().start(), Duration::from_millis(dice.between(low, high)));
        let killed = killed.expect("the file was complete too early for this test");
        assert!(!world.exists("file.bin"), "an unfinished file has the final name after {kills} kills");
        let told = killed.events_called("progress");
        let number = |event: &serde_json::Value, key: &str| event[key].as_u64().unwrap();
        if let Some(first) = told.first() {
            let from = number(first, "done") - number(first, "run");
            assert!(from >= held, "it went on from {from}, and {held} were on record\n{}", killed.story());
        }
        held = on_record(&world.path("file.bin.partial.toml")).unwrap_or(0);
        let there = told.last().map_or(0, |last| number(last, "done"));
        assert!(held + SECOND >= there, "{there} were there, {held} are on record\n{}", killed.story());
        most = most.max(there);
    }
    assert!(most > 3 * SECOND, "20 runs came no further than {most}");
    let before = origin.connections() as u64;
    world.onward(["download", "--progress", "json", connections, &url]).run().exits(0);
    world.finished("file.bin", &content);
    world.holds_only(&["file.bin"]);
    // A second of the line for each kill, and what lay in the buffers of each connection that a kill has cut.
    let bound = length + 20 * SECOND + before * socket_buffers();
    let (sent, more) = (origin.sent(), origin.sent().saturating_sub(length));
    assert!(sent <= bound, "{sent} bytes moved for {length}, bound {bound}");
    crate::world::tell(&format!("20 kills {connections}: {more} bytes twice, {before} connections cut"));
}

/// The same through a real server, over TLS, with several connections.
#[test]
fn kills_over_tls() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    let content = Content::random(seed() + 1, 24 << 20);
    nginx.put("file.bin", &content);
    let again = || {
        let cacert = nginx.cacert();
        download(&world, &nginx.tls_url("/file.bin")).args(["-x3", "--limit-rate", "16M", "--cacert"]).arg(cacert)
    };
    let mut dice = Dice::new(seed());
    let most = if long() { 20 } else { 4 };
    for _ in 0..most {
        if kill_after(again().start(), Duration::from_millis(dice.between(200, 900))).is_none() {
            break;
        }
    }
    again().run().exits(0);
    world.finished("file.bin", &content);
}

/// A length that nobody knows, killed: nothing can be resumed without ranges, and nothing wrong comes of it.
#[test]
fn kills_without_ranges() {
    let world = World::new();
    let content = Content::random(seed() + 2, 3 << 20);
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content).no_ranges());
    let url = origin.url("/file.bin");
    let mut dice = Dice::new(seed());
    for _ in 0..3 {
        kill_after(
            download(&world, &url).args(["--limit-rate", "3M"]).start(),
            Duration::from_millis(dice.between(300, 800)),
        );
        assert!(!world.exists("file.bin"));
    }
    download(&world, &url).run().exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn kills_at_named_points() {
    let content = Content::random(31, 2 << 20);
    let mut reached = BTreeSet::new();
    for point in ["data-synced", "sidecar-replaced", "published"] {
        for nth in 1..=4 {
            let world = World::new();
            let origin = Origin::serving(&content);
            let url = origin.url("/file.bin");
            let ended =
                download(&world, &url).args(["--limit-rate", "1500k"]).crash_at(&format!("{point}:{nth}")).run();
            let killed = ended.code().is_none();
            if killed {
                ended.died_of(Signal::KILL);
                reached.insert((point, nth));
            }
            if world.exists("file.bin") {
                world.file_is("file.bin", &content);
            }
            let held = on_record(&world.path("file.bin.partial.toml")).unwrap_or(0);
            origin.forget_log();
            let again = download(&world, &url).args(if killed { &[][..] } else { &["--overwrite"] }).run();
            again.exits(0);
            world.finished("file.bin", &content);
            world.holds_only(&["file.bin"]);
            if killed {
                let sent = origin.sent();
                assert!(
                    sent <= content.len() - held,
                    "{point}:{nth}: {held} were held, {sent} came\n{}",
                    origin.story()
                );
            }
        }
    }
    for point in ["data-synced", "sidecar-replaced", "published"] {
        assert!(reached.contains(&(point, 1)), "{point} was never passed: {reached:?}");
    }
}

/// After the rename and before anything else: the file is complete, and no body byte moves again.
#[test]
fn killed_after_publishing() {
    let world = World::new();
    let content = Content::random(32, 2 << 20);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let ended = download(&world, &url).args(["--limit-rate", "2M"]).crash_at("published").run();
    ended.died_of(Signal::KILL);
    world.file_is("file.bin", &content);
    assert!(world.exists("file.bin.partial.toml"), "{:?}", world.names());
    origin.forget_log();
    download(&world, &url).run().exits(0);
    world.finished("file.bin", &content);
    assert_eq!(origin.sent(), 0, "{}", origin.story());
    world.holds_only(&["file.bin"]);
}

/// Old data makes way and comes back: killed at any step of it, once or twice over, no byte of it is lost while nothing
/// longer is there, and once the file is finished nothing of it is left.
#[test]
fn kills_around_what_is_parked() {
    let content = Content::random(34, 1 << 20);
    let old = vec![7; 300_000];
    let mut reached = BTreeSet::new();
    for (point, nothing_comes) in
        [("parking", false), ("parked", false), ("parking", true), ("withdrawing", true), ("withdrawn", true)]
    {
        for second in ["parking", "parked", "withdrawing", "withdrawn"] {
            let what = format!("{point}, then {second}, nothing comes: {nothing_comes}");
            let world = World::new();
            world.write("file.bin.partial", old.clone());
            let origin = Origin::serving(&content);
            let url = origin.url("/file.bin");
            if nothing_comes {
                origin.when(always(), cut_after(0));
            }
            let run = || download(&world, &url).args(["-x1", "--retries", "0"]);
            run().crash_at(point).run().died_of(Signal::KILL);
            let again = run().crash_at(second).run();
            reached.extend(again.code().is_none().then_some(second));
            if world.exists("file.bin") {
                again.exits(0);
            } else {
                let there = ["file.bin.partial", "file.bin.old.partial"].map(|name| {
                    let path = world.path(name);
                    path.exists() && std::fs::read(&path).unwrap() == old
                });
                assert!(there.contains(&true), "{what}: the old data is gone: {:?}", world.names());
                origin.honest_again();
                run().run().exits(0);
            }
            world.finished("file.bin", &content);
            assert_eq!(world.names(), ["file.bin"], "{what}");
        }
    }
    assert_eq!(reached.len(), 4, "only these were reached the second time: {reached:?}");
}

/// One line of the disk log.
#[derive(Debug, Clone)]
pub enum Step {
    Create {
        inode: u64,
        path: PathBuf,
    },
    /// A file without a name.
    Unnamed {
        inode: u64,
    },
    Link {
        inode: u64,
        path: PathBuf,
    },
    Write {
        inode: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    Length {
        inode: u64,
        length: u64,
    },
    Syncing {
        inode: u64,
    },
    Synced {
        inode: u64,
    },
    MakeDir {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
}

pub fn read_log(text: &str, dir: &Path) -> Vec<Step> {
    let path = |p: &str| {
        let p = Path::new(p);
        p.strip_prefix(dir).unwrap_or(p).components().filter(|c| c.as_os_str() != ".").collect::<PathBuf>()
    };
    let step = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        Some(match words[0] {
            "create" if words[2].is_empty() => Step::Unnamed { inode: number(1) },
            "link" => Step::Link { inode: number(1), path: path(words[2]) },
            "create" => Step::Create { inode: number(1), path: path(words[2]) },
            "write" => Step::Write { inode: number(1), at: number(2), bytes: onward::digest::unhex(words[3]).unwrap() },
            "length" => Step::Length { inode: number(1), length: number(2) },
            "syncing" => Step::Syncing { inode: number(1) },
            "synced" => Step::Synced { inode: number(1) },
            "mkdir" => Step::MakeDir { path: path(words[1]) },
            "syncdir" => Step::SyncDir { path: path(words[1]) },
            "rename" => Step::Rename { from: path(words[2]), to: path(words[3]) },
            "remove" => Step::Remove { path: path(words[1]) },
            other => panic!("the disk log says {other:?}, which this test does not know"),
        })
    };
    one_number_a_file(text.lines().filter_map(step).collect())
}

/// An inode's number is given again once its file is gone, while a stale name on the disk may still lead to the old
/// one: a number that comes again gets a high half of its own.
fn one_number_a_file(mut steps: Vec<Step>) -> Vec<Step> {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for step in &mut steps {
        if let Step::Create { inode, .. } | Step::Unnamed { inode } = step {
            *times.entry(*inode).or_default() += 1;
        }
        if let Step::Create { inode, .. }
        | Step::Unnamed { inode }
        | Step::Link { inode, .. }
        | Step::Write { inode, .. }
        | Step::Length { inode, .. }
        | Step::Syncing { inode }
        | Step::Synced { inode } = step
        {
            *inode |= times.get(inode).unwrap_or(&0) << 48;
        }
    }
    steps
}

/// What of the unsynced survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Luck {
    /// Nothing: no name and no byte that was not synced.
    None,
    /// Names do (a journal), bytes do not.
    Names,
    /// Names do, and of the bytes those that the dice say.
    Some(u64),
    /// All of it; only the boot is another.
    All,
}

/// A file's bytes as the program saw them, and as the disk has them.
#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    disk: Vec<u8>,
    /// What a sync that runs now will have made safe: the bytes, and how many of the unsynced writes.
    syncing: Option<(Vec<u8>, usize)>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

/// The folder after the first `steps` of the log and a power cut: names with their inode and bytes.
pub fn after_power_cut(steps: &[Step], luck: Luck) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut inodes: BTreeMap<u64, Inode> = BTreeMap::new();
    let (mut names, mut names_on_disk) = (BTreeMap::<PathBuf, u64>::new(), BTreeMap::new());
    // Folders whose own name no sync has made safe: what lies in them is lost with it.
    let mut fresh_folders: Vec<PathBuf> = Vec::new();
    for step in steps {
        match step {
            Step::Create { inode, path } => {
                inodes.insert(*inode, Inode::default());
                names.insert(path.clone(), *inode);
            }
            Step::Unnamed { inode } => drop(inodes.insert(*inode, Inode::default())),
            Step::Link { inode, path } => drop(names.insert(path.clone(), *inode)),
            Step::Write { inode, at, bytes } => {
                let file = inodes.entry(*inode).or_default();
                put(&mut file.now, *at, bytes);
                file.unsynced.push((*at, bytes.clone()));
            }
            Step::Length { inode, length } => {
                inodes.entry(*inode).or_default().now.resize(*length as usize, 0);
            }
            Step::Syncing { inode } => {
                let file = inodes.entry(*inode).or_default();
                file.syncing = Some((file.now.clone(), file.unsynced.len()));
            }
            Step::Synced { inode } => {
                let file = inodes.entry(*inode).or_default();
                let (bytes, writes) = file.syncing.take().expect("a sync that began");
                file.disk = bytes;
                file.unsynced.drain(..writes);
            }
            Step::MakeDir { path } => fresh_folders.push(path.clone()),
            Step::SyncDir { path } => {
                names_on_disk = names.clone();
                fresh_folders.retain(|folder| folder.parent() != Some(path));
            }
            Step::Rename { from, to } => {
                let inode = names.remove(from).expect("a name that is there");
                names.insert(to.clone(), inode);
            }
            Step::Remove { path } => drop(names.remove(path)),
        }
    }
    let mut names = if luck == Luck::None { names_on_disk } else { names };
    if luck == Luck::None {
        names.retain(|path, _| !fresh_folders.iter().any(|folder| path.starts_with(folder)));
    }
    // What lies in the state folder is only a memory; the transfer's own folder is what is judged.
    let here = names.into_iter().filter(|(path, _)| path.is_relative());
    here.map(|(path, inode)| (path, (inode, left_of(&inodes[&inode], luck)))).collect()
}

fn left_of(file: &Inode, luck: Luck) -> Vec<u8> {
    match luck {
        Luck::All => file.now.clone(),
        Luck::None | Luck::Names => file.disk.clone(),
        Luck::Some(seed) => {
            let mut bytes = file.disk.clone();
            bytes.resize(file.now.len(), 0);
            let mut dice = Dice::new(seed);
            for (at, written) in file.unsynced.iter().filter(|_| dice.between(0, 2) == 0) {
                put(&mut bytes, *at, written);
            }
            bytes
        }
    }
}

fn put(into: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[at as usize..end].copy_from_slice(bytes);
}

/// Writes the folder down, with the record's boot id and inodes as they would be on the machine that comes up again.
pub fn rebuild(world: &World, folder: &BTreeMap<PathBuf, (u64, Vec<u8>)>) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let mut renumbered = Vec::new();
    for (path, (inode, bytes)) in folder {
        let place = world.dir().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, bytes).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
        renumbered.push((*inode, std::fs::metadata(&place).unwrap().ino()));
    }
    for (path, (_, bytes)) in folder.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "toml")) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let text = text.replace(onward::disk::boot_id(), "ffffffff-ffff-ffff-ffff-ffffffffffff");
        // In one pass: an old number may be another file's new one.
        let renumber = |line: &str| {
            let old = line.strip_prefix("inode = ").and_then(|n| n.parse::<u64>().ok());
            let new = renumbered.iter().find(|(number, _)| Some(number & 0xFFFF_FFFF_FFFF) == old);
            new.map_or(format!("{line}\n"), |(_, new)| format!("inode = {new}\n"))
        };
        let text: String = text.lines().map(renumber).collect();
        std::fs::write(world.dir().join(path), text).unwrap();
    }
}

/// What must be true of any folder that a power cut leaves, before anybody looks at it. Gives the durable bytes.
#[track_caller]
fn check_claims(folder: &BTreeMap<PathBuf, (u64, Vec<u8>)>, content: &Content, what: &str) -> u64 {
    if let Some((_, bytes)) = folder.get(Path::new("file.bin")) {
        assert!(*bytes == content.bytes(), "{what}: the final name holds a wrong file of {} bytes", bytes.len());
        return content.len();
    }
    let Some((_, text)) = folder.get(Path::new("file.bin.partial.toml")) else { return 0 };
    let record = Record::from_toml(&String::from_utf8_lossy(text))
        .unwrap_or_else(|e| panic!("{what}: the record is damaged: {e}\n{}", String::from_utf8_lossy(text)));
    let durable = record.durable();
    let empty = (0, Vec::new());
    let (_, data) = folder.get(Path::new("file.bin.partial")).unwrap_or(&empty);
    for run in durable.runs() {
        let there = data.get(run.start as usize..run.end as usize);
        assert!(
            there == Some(&content.part(run.start, run.end)[..]),
            "{what}: the record claims {run:?} and the disk does not have it"
        );
    }
    durable.len()
}

/// A run whose every change to the disk was logged.
fn logged_run(origin: &Origin, content: &Content, args: &[&str]) -> Vec<Step> {
    let world = World::new();
    let log = world.beside("disk.log");
    let rate = (content.len() * 2 / 3).to_string();
    let ended = world
        .onward(["download", "--chunk-size", "16KiB", "--limit-rate", &rate, &origin.url("/file.bin")])
        .args(args)
        .env("ONWARD_DISK_LOG", &log)
        .run();
    ended.exits(0);
    let text = std::fs::read_to_string(&log).unwrap();
    read_log(&text, &world.dir())
}

/// The same for a file that is small enough to have no name before it is finished.
#[test]
fn power_cuts_of_a_small_file() {
    let content = Content::random(35, 5000);
    let origin = Origin::serving(&content);
    let world = World::new();
    let log = world.beside("disk.log");
    download(&world, &origin.url("/file.bin")).env("ONWARD_DISK_LOG", &log).run().exits(0);
    world.holds_only(&["file.bin"]);
    let steps = read_log(&std::fs::read_to_string(&log).unwrap(), &world.dir());
    assert!(steps.iter().any(|step| matches!(step, Step::Link { .. })), "{steps:?}");
    for cut in 0..=steps.len() {
        for luck in [Luck::None, Luck::Names, Luck::Some(seed() + cut as u64), Luck::All] {
            let folder = after_power_cut(&steps[..cut], luck);
            let named = steps[..cut].iter().position(|step| matches!(step, Step::Link { .. }));
            let there = folder.get(Path::new("file.bin")).map(|(_, bytes)| bytes.as_slice());
            assert!(there.is_none_or(|bytes| bytes == content.bytes()), "{cut} {luck:?}");
            assert!(there.is_none() || named.is_some());
            assert!(folder.keys().all(|name| name == Path::new("file.bin")), "{cut} {luck:?}: {folder:?}");
        }
    }
    let last = after_power_cut(&steps, Luck::None);
    assert!(last.contains_key(Path::new("file.bin")), "it was told as done, and a power cut takes it");
}

/// The power is cut after every single change to the disk of one whole run.
#[test]
fn power_cuts() {
    let content = Content::random(33, 600_000);
    for args in [&["-x1"][..], &["-x3"]] {
        let origin = Origin::serving(&content);
        let steps = logged_run(&origin, &content, args);
        let synced = steps.iter().filter(|step| matches!(step, Step::Synced { .. })).count();
        assert!(synced >= 4, "only {synced} syncs in the log: too few to prove anything");
        let mut seen = BTreeSet::new();
        for cut in 0..=steps.len() {
            for luck in [Luck::None, Luck::Names, Luck::Some(seed() + cut as u64), Luck::All] {
                let folder = after_power_cut(&steps[..cut], luck);
                let what = format!("{args:?}: power cut after step {cut} of {}, luck {luck:?}", steps.len());
                let durable = check_claims(&folder, &content, &what);
                if worth_resuming(&mut seen, &folder, luck, &steps[..cut]) {
                    resume_from(&folder, &origin, &content, durable, &what);
                }
            }
        }
        assert!(seen.len() > 10, "only {} different folders", seen.len());
    }
}

/// Each different folder is resumed once; with random luck only some are, since nearly all differ.
fn worth_resuming(
    seen: &mut BTreeSet<u64>,
    folder: &BTreeMap<PathBuf, (u64, Vec<u8>)>,
    luck: Luck,
    steps: &[Step],
) -> bool {
    let state: Vec<u8> = folder
        .iter()
        .flat_map(|(path, (_, bytes))| [path.to_string_lossy().as_bytes(), &bytes.len().to_be_bytes(), bytes].concat())
        .collect();
    let fresh = seen.insert(onward::digest::Crc::of(&state).sum);
    let by_dice = matches!(luck, Luck::Some(_) | Luck::All);
    let turning = !matches!(steps.last(), Some(Step::Write { bytes, .. }) if bytes.len() > 4096);
    fresh && (!by_dice || long() || (turning && steps.len().is_multiple_of(3)))
}

#[track_caller]
fn resume_from(
    folder: &BTreeMap<PathBuf, (u64, Vec<u8>)>,
    origin: &Origin,
    content: &Content,
    durable: u64,
    what: &str,
) {
    let world = World::new();
    rebuild(&world, folder);
    origin.forget_log();
    let ended = world.onward(["download", "--chunk-size", "16KiB", &origin.url("/file.bin")]).run();
    assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.story());
    world.finished("file.bin", content);
    // A file that is complete, with its memory lost, is compared with what the server has by a few ranges.
    let complete = folder.contains_key(Path::new("file.bin"));
    let (sent, bound) = (origin.sent(), if complete { 2 * content.len() } else { content.len() - durable });
    assert!(sent <= bound, "{what}: {durable} bytes were safe, {sent} came again\n{}", ended.story());
}

/// Bytes that the record of a running transfer calls durable are those that a sync has covered, whatever the rate.
#[test]
fn claims_hold_while_many_bytes_arrive() {
    let content = Content::random(34, 3_000_000);
    let world = World::new();
    let origin = Origin::serving(&content);
    origin.when(always(), at_rate(1_500_000));
    let log = world.beside("disk.log");
    download(&world, &origin.url("/file.bin")).args(["-x2"]).env("ONWARD_DISK_LOG", &log).run().exits(0);
    let steps = read_log(&std::fs::read_to_string(&log).unwrap(), &world.dir());
    let mut claimed = ByteSet::new();
    for cut in 0..=steps.len() {
        if matches!(
            steps.get(cut.wrapping_sub(1)),
            Some(Step::Rename { .. } | Step::SyncDir { .. } | Step::Remove { .. })
        ) {
            let folder = after_power_cut(&steps[..cut], Luck::Names);
            let durable = check_claims(&folder, &content, &format!("after step {cut}"));
            claimed.insert(onward::chunk::ByteRange::new(0, durable));
        }
    }
    assert!(claimed.len() > CHUNK, "no record ever claimed anything");
}
