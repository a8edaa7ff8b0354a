//! Names that a server proposes for the file, hostile ones most of all.

use crate::download::download;
use crate::origin::{Origin, Page};
use crate::world::{Content, World};
use std::fmt::Write as _;

/// What stands in `Content-Disposition`.
const PROPOSED: [&str; 22] = [
    "attachment; filename=\"plain.txt\"",
    "attachment; filename=plain.txt",
    "attachment; filename=\"plain.txt\"; filename*=UTF-8''na%C3%AFve.txt",
    "attachment; filename=\"a;b.txt\"",
    "attachment; filename=\"a\\\"b.txt\"",
    "inline; FILENAME = \"upper.txt\"",
    "attachment; filename=\"../../evil.txt\"",
    "attachment; filename=\"/etc/passwd\"",
    "attachment; filename*=UTF-8''..%2F..%2Fevil.txt",
    "attachment; filename=\"..\\\\..\\\\evil.txt\"",
    "attachment; filename=\"..\"",
    "attachment; filename=\"\"",
    "attachment; filename=\".bashrc\"",
    "attachment; filename=\"-rf\"",
    "attachment; filename=\"CON.txt\"",
    "attachment; filename=\"d.partial.toml\"",
    "attachment; filename=\"x.partial\"",
    "attachment; filename*=UTF-8''%E2%80%AEtxt.exe",
    "attachment; filename*=UTF-8''line%0Abreak.txt",
    "attachment; filename*=UTF-8''nul%00.txt",
    "attachment; filename*=nonsense''x%FF.txt",
    "attachment; filename",
];

/// Downloads under each of them, and gives the table of what the files are called.
pub fn play() -> String {
    let content = Content::random(72, 10_000);
    let mut table = String::from(
        "\n## Names that a server proposes\n\nAlways exit 0, the right file, and nothing outside the folder.\n\n| `Content-Disposition` | the file's name |\n|---|---|\n",
    );
    for proposed in
        PROPOSED.iter().map(ToString::to_string).chain([format!("attachment; filename={}.iso", "n".repeat(300))])
    {
        let world = World::new();
        let origin = Origin::start();
        origin.page("/d", Page::of(&content).header("Content-Disposition", &proposed));
        download(&world, &origin.url("/d")).run().exits(0);
        let names = world.names();
        let [name] = &names[..] else { panic!("{proposed}: {names:?}") };
        world.finished(name, &content);
        let hostile = |c: char| c.is_control() || matches!(c, '/' | '\\' | '\u{200e}'..='\u{202e}');
        assert!(!name.starts_with(['.', '-']) && !name.contains(hostile) && name.len() <= 255, "{proposed}: {name:?}");
        assert!(!name.ends_with(".partial") && !name.ends_with(".partial.toml"), "{proposed}: {name:?}");
        let beside: Vec<_> =
            std::fs::read_dir(world.dir().parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(beside.len(), 2, "{proposed}: something lies outside the folder: {beside:?}");
        let short = |text: &str| match text.len() > 60 {
            true => format!("{}… ({} bytes)", &text[..40], text.len()),
            false => text.to_string(),
        };
        let _ = writeln!(table, "| `{}` | `{}` |", short(&proposed), short(name));
    }
    table
}
