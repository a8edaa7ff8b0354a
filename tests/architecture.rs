//! Reads `src/` and holds the house to its plan: who may know whom, which room may touch the disk, the network and
//! the screen, and that every file says why it exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by layer, the ground floor first. A room may use the rooms below it; on the ground floor also each
/// other, as long as there is no cycle.
const LAYERS: [&[&str]; 6] = [
    &["plan", "record", "digest", "wire", "fault", "event", "byteset", "chunk", "units"],
    &["net", "disk"],
    &["source", "remote", "partial", "memory"],
    &["engine", "serve"],
    &["cli", "config", "report"],
    &["commands", "main"],
];

/// Steps sideways that are allowed, each with its reason.
const SIDEWAYS: [(&str, &str, &str); 4] = [
    ("remote", "memory", "what a file server has proven is not tried on it again for every file"),
    ("net", "disk", "a certificate that cannot be read fails as every other file does"),
    ("main", "commands", "main dispatches"),
    ("config", "cli", "settings are resolved from the parsed flags, among others"),
];

/// Words that only the named rooms may write outside of tests, and why.
const RESERVED: [(&[&str], &[&str], &str); 6] = [
    (&["reqwest"], &["net"], "the HTTP client is known in one place"),
    (&["hyper", "hyper_util", "tokio_rustls"], &["net", "serve"], "HTTP's own library is known to its two ends"),
    (&["indicatif"], &["report"], "bars are drawn in one place"),
    (
        &["println!", "print!", "eprintln!", "eprint!", "io::stdout", "io::stderr", "stdout()", "stderr()"],
        &["report"],
        "only report/ writes messages",
    ),
    (
        &[
            "fs::write",
            "File::create",
            "File::create_new",
            "fs::rename",
            "fs::remove_file",
            "fs::remove_dir",
            "fs::remove_dir_all",
            "fs::create_dir",
            "fs::create_dir_all",
            "fs::copy",
            "fs::hard_link",
            "fs::set_permissions",
            "DirBuilder",
            "renameat",
            "renameat_with",
            "linkat",
            "unlinkat",
            "mkdirat",
            "fsync",
            "fdatasync",
            "fallocate",
            "ftruncate",
            "pwrite",
            "pwritev",
        ],
        &["disk"],
        "the disk is written in one place",
    ),
    (
        &[
            ".write(true)",
            ".append(true)",
            ".create(true)",
            ".create_new(true)",
            ".truncate(true)",
            ".set_len(",
            ".sync_all(",
            ".sync_data(",
            ".write_all_at(",
            ".write_at(",
            ".set_permissions(",
            ".remove_file(",
            ".create_dir(",
            ".create_dir_all(",
            ".rename(",
            ".hard_link(",
        ],
        &["disk"],
        "the disk is written in one place",
    ),
];

/// One source file: its room, its path for messages, and its code without comments and without its tests.
struct Source {
    room: String,
    path: String,
    text: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 5, "src/ was not found at {}", root.display());
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let inside = file.strip_prefix(&root).unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let text = fs::read_to_string(&file).unwrap();
            Source {
                room: first.trim_end_matches(".rs").to_string(),
                path: format!("src/{}", inside.display()),
                code: bare(&text),
                text,
            }
        })
        .collect()
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            // A test module too long for its file is a `tests.rs` or `tests/` beside it: not part of the house.
            continue;
        }
        if path.is_dir() {
            walk(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The code alone: without comments, and without the test module, which closes a file here.
fn bare(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" && opens_tests(lines.clone()) {
            break;
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        let cut = line.find(" // ").unwrap_or(line.len());
        code.push_str(&line[..cut]);
        code.push('\n');
    }
    code
}

/// Whether a module with a body comes next; comments and attributes may stand before it.
fn opens_tests<'a>(mut lines: impl Iterator<Item = &'a str>) -> bool {
    let next = lines.find(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("#["));
    next.is_some_and(|line| line.contains("mod ") && line.trim_end().ends_with('{'))
}

/// The rooms that a file names: `crate::room`, `crate::{room, room::thing}`, and `onward::room` in `main.rs`.
fn rooms_named(source: &Source) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let mut prefixes = vec!["crate::"];
    if source.room == "main" {
        prefixes.push("onward::");
    }
    if source.path == format!("src/{}.rs", source.room) {
        prefixes.push("super::");
    }
    for prefix in prefixes {
        for (at, _) in source.code.match_indices(prefix) {
            let before = source.code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let rest = &source.code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => rooms.extend(firsts(group)),
                None => rooms.extend(ident(rest)),
            }
        }
    }
    rooms
}

/// The first names of a `{…}` group whose brace is open.
fn firsts(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && depth == 0 && !c.is_whitespace() => {
                names.extend(ident(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn ident(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Whether `code` holds `word` as a word of its own.
fn says(code: &str, word: &str) -> bool {
    let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        let starts = !word.starts_with(|c: char| c.is_alphanumeric()) || !part_of_name(code[..at].chars().next_back());
        let ends =
            !word.ends_with(|c: char| c.is_alphanumeric()) || !part_of_name(code[at + word.len()..].chars().next());
        starts && ends
    })
}

fn no_complaints(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_room_has_its_layer() {
    let strangers = sources()
        .iter()
        .filter(|s| s.room != "lib" && layer(&s.room).is_none())
        .map(|s| format!("{}: the room `{}` is not in the layer table", s.path, s.room))
        .collect();
    no_complaints(strangers);
}

#[test]
fn arrows_point_down() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|s| s.room != "lib") {
        let Some(own) = layer(&source.room) else { continue };
        for named in rooms_named(source) {
            let Some(other) = layer(&named) else { continue };
            let sideways = SIDEWAYS.iter().any(|(from, to, _)| *from == source.room && *to == named);
            let ground_floor = own == 0 && other == 0;
            if named != source.room && other >= own && !ground_floor && !sideways {
                complaints
                    .push(format!("{}: `{}` (layer {own}) uses `{named}` (layer {other})", source.path, source.room));
            }
        }
    }
    no_complaints(complaints);
}

#[test]
fn no_cycle_between_rooms() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|s| s.room != "lib") {
        let named = rooms_named(source).into_iter().filter(|room| layer(room).is_some() && *room != source.room);
        uses.entry(source.room.clone()).or_default().extend(named);
    }
    // Take away rooms that use nothing that is left; what cannot be taken away is a cycle.
    loop {
        let free: Vec<String> =
            uses.iter().filter(|(_, to)| to.iter().all(|t| !uses.contains_key(t))).map(|(r, _)| r.clone()).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|room| drop(uses.remove(room)));
    }
    assert!(uses.is_empty(), "rooms that use each other in a circle: {uses:#?}");
}

#[test]
fn reserved_words_stay_in_their_rooms() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (words, rooms, why) in RESERVED {
            if rooms.contains(&source.room.as_str()) {
                continue;
            }
            for word in words.iter().filter(|word| says(&source.code, word)) {
                complaints.push(format!("{}: `{word}` belongs to {rooms:?}: {why}", source.path));
            }
        }
    }
    no_complaints(complaints);
}

#[test]
fn every_file_says_why_it_exists() {
    let silent = sources()
        .iter()
        .filter(|s| !s.text.starts_with("//! "))
        .map(|s| format!("{}: does not open with `//!`", s.path))
        .collect();
    no_complaints(silent);
}

#[test]
fn nothing_is_called_by_what_it_is_not() {
    let mut complaints = Vec::new();
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            if ["util", "utils", "helper", "helpers", "manager", "common", "misc"].contains(&part) {
                complaints.push(format!("{}: `{part}` says nothing about what is inside", source.path));
            }
        }
    }
    no_complaints(complaints);
}

/// The reader itself: a rule that never fires proves nothing.
#[test]
fn the_reader_sees_what_it_must() {
    let text = "//! why\nuse crate::{fault::Fault, byteset::{self, ByteSet}};\n// crate::net::x\nfn f() { crate::disk::sync() }\n#[cfg(test)]\nmod tests {\n use crate::serve::x;\n}\n";
    let source =
        Source { room: "engine".into(), path: "src/engine/mod.rs".into(), text: text.into(), code: bare(text) };
    let named: Vec<String> = rooms_named(&source).into_iter().collect();
    assert_eq!(named, ["byteset", "disk", "fault"]);
    assert!(says("let f = File::create(p)", "File::create") && says("x.sync_all()?", ".sync_all("));
    assert!(!says("use hyperfine::x", "hyper") && says("use hyper::x", "hyper"));
}
