//! Whatever a server, a proxy or a network does to a download: the right bytes or a clear refusal, and what it cost.
//!
//! The rows of [`crate::fault_rows`] are the faults; [`every_fault`] runs them all, for downloads that begin and for
//! such that go on after a kill, and holds the committed `tests/faults.md` to what came of them.

mod names;
mod stories;
mod table;

use crate::download::{download, on_record};
use crate::fault_rows::{Fault, LEN, Must, Stage, all};
use crate::origin::{always, silent_from};
use crate::world::{Content, Onward, World, eventually};
use onward::digest::Algorithm;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use table::{Cell, Table};

/// The file's name in each row.
const NAME: &str = "file.bin";
/// Rows that run at once: they mostly wait.
const WORKERS: usize = 6;

/// The complaint that more bytes moved than may.
const TOO_MUCH: &str = "% are allowed to move";

/// Whether the download begins or goes on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum How {
    Fresh,
    Resumed,
}

#[test]
fn every_fault() {
    let chapters = all();
    let mut work: Vec<(usize, usize, How)> = Vec::new();
    for (c, chapter) in chapters.iter().enumerate() {
        for (f, fault) in chapter.faults.iter().enumerate() {
            work.extend(fault.fresh.map(|_| (c, f, How::Fresh)));
            work.extend(fault.resumed.map(|_| (c, f, How::Resumed)));
        }
    }
    let only = std::env::var("ONWARD_TEST_FAULT").ok();
    let named =
        |(c, f, _): &(usize, usize, How)| only.as_ref().is_none_or(|w| chapters[*c].faults[*f].what.contains(w));
    work.retain(named);
    work.reverse();
    let (work, table) = (Mutex::new(work), Mutex::new(Table::new(&chapters)));
    let complaints = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((c, f, how)) = work.lock().unwrap().pop() else { return };
                    let fault = &chapters[c].faults[f];
                    let (cell, complaint) = play(fault, how);
                    table.lock().unwrap().put(c, f, how, cell);
                    if let Some(why) = complaint {
                        complaints.lock().unwrap().push_str(&format!("\n### {} ({how:?}): {why}\n", fault.what));
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{complaints}");
    if only.is_none() {
        table.into_inner().unwrap().check(&names::play());
    }
}

/// Runs one row: what came of it, and what is wrong with that. What it cost is the best of three: on a busy machine a
/// second connection may take over bytes that the kernel has already taken for the first.
fn play(fault: &Fault, how: How) -> (Cell, Option<String>) {
    let mut played = play_once(fault, how);
    for _ in 0..2 {
        if !played.1.as_ref().is_some_and(|why| why.contains(TOO_MUCH)) {
            break;
        }
        played = play_once(fault, how);
    }
    played
}

fn play_once(fault: &Fault, how: How) -> (Cell, Option<String>) {
    match catch_unwind(AssertUnwindSafe(|| Play::new(fault, how).run())) {
        Ok(played) => played,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            (Cell::default(), Some(text))
        }
    }
}

/// A row on its stage.
struct Play<'a> {
    fault: &'a Fault,
    how: How,
    world: World,
    stage: Stage,
    /// What an earlier run left, in bytes.
    held: u64,
}

impl<'a> Play<'a> {
    fn new(fault: &'a Fault, how: How) -> Self {
        let (world, stage) = (World::new(), Stage::new());
        (fault.server)(&stage);
        Self { fault, how, world, stage, held: 0 }
    }

    fn run(mut self) -> (Cell, Option<String>) {
        if self.how == How::Resumed {
            self.held = self.interrupted();
            let sidecar = self.world.path(&format!("{NAME}.partial.toml"));
            (self.fault.disk)(&self.world.path(&format!("{NAME}.partial")), &sidecar);
            self.stage.honest(self.fault.server);
        }
        (self.fault.script)(&self.stage);
        self.stage.origin.forget_log();
        self.stage.elsewhere.forget_log();
        let right = self.stage.right();
        let ended = self.command(&right).run();
        let sent = self.stage.origin.sent() + self.stage.elsewhere.sent();
        let percent = (self.held + sent) * 100 / LEN;
        let must = match self.how {
            How::Fresh => self.fault.fresh,
            How::Resumed => self.fault.resumed,
        };
        let must = must.expect("only rows that must come to something are run");
        let code = ended.code().unwrap_or(-1);
        let restarted = !ended.events_called("restarted").is_empty();
        let story = format!(
            "{must:?}, {} held, {percent} % moved\n{}\nrequests:\n{}elsewhere:\n{}",
            self.held,
            ended.story(),
            self.stage.origin.story(),
            self.stage.elsewhere.story()
        );
        let judged = match must {
            Must::Finish(most) | Must::Renew(most) => self.finished(code, &right).and_then(|()| match percent {
                _ if percent > most => Err(format!("{most} {TOO_MUCH}, {percent} % did")),
                _ if matches!(must, Must::Renew(_)) && !restarted => Err("it does not say that it started over".into()),
                _ => Ok(()),
            }),
            Must::Refuse(wanted) => self.refused(code, wanted, restarted),
        };
        let outcome = match (code, must) {
            (0, Must::Renew(_)) => "the new file",
            (0, _) => "the right file",
            (5, _) => "refused, set aside",
            _ => "refused, bytes kept",
        };
        (Cell { outcome, code, percent }, judged.err().map(|why| format!("{why}\n{story}")))
    }

    fn command(&self, right: &Content) -> Onward {
        let digest = right.digest(Algorithm::Sha256);
        let args = self.fault.args.iter().map(|arg| arg.replace("{sha256}", &digest));
        download(&self.world, &self.stage.origin.url(self.fault.path)).args(["-o", NAME]).args(args)
    }

    /// A run of the same download that is killed with a good part of it on record.
    fn interrupted(&self) -> u64 {
        let url = self.stage.origin.url(self.fault.path);
        // Slow enough to get a record, and never through, however busy the machine is.
        for origin in [&self.stage.origin, &self.stage.elsewhere] {
            origin.when(always(), silent_from(LEN * 6 / 10));
        }
        let rate = (LEN * 3 / 2).to_string();
        let running = download(&self.world, &url).args(["-o", NAME, "--limit-rate", &rate]).start();
        let sidecar = self.world.path(&format!("{NAME}.partial.toml"));
        eventually("a good part of it on record", || on_record(&sidecar).filter(|held| *held >= LEN / 3));
        running.kill();
        on_record(&sidecar).expect("the record of a killed run")
    }

    fn finished(&self, code: i32, right: &Content) -> Result<(), String> {
        if self.world.exists(NAME) {
            self.world.file_is(NAME, right);
        }
        match code {
            0 if self.world.names() == [NAME] => Ok(()),
            0 => Err(format!("left {:?}", self.world.names())),
            _ => Err("did not finish".into()),
        }
    }

    /// Refused as it must be; and once the server is honest again, the same command goes on.
    fn refused(&self, code: i32, wanted: i32, restarted: bool) -> Result<(), String> {
        if self.world.exists(NAME) {
            return Err("something has the final name".into());
        }
        if code != wanted {
            return Err(format!("exit code {wanted} was expected"));
        }
        let kept = on_record(&self.world.path(&format!("{NAME}.partial.toml"))).unwrap_or(0);
        if wanted != 5 && !restarted && kept < self.held {
            return Err(format!("{} bytes were there, {kept} are on record now", self.held));
        }
        self.stage.honest(self.fault.server);
        self.stage.origin.page("/start", self.stage.plain());
        let again = self.command(&self.stage.content).run();
        let set_aside = format!("{NAME}.bad");
        let left: Vec<String> = self.world.names().into_iter().filter(|name| *name != set_aside).collect();
        match again.code() {
            Some(0) if left == [NAME] => self.world.file_is(NAME, &self.stage.content),
            _ => return Err(format!("not even afterwards, {left:?} left:\n{}", again.story())),
        }
        Ok(())
    }
}
