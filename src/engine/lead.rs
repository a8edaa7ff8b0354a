//! Leading a crew: how many connections there are just now, what becomes of one that fails, and when all is done.

use super::adapt::{Adapt, Sample};
use super::cpu_time;
use super::crew::{Crew, End};
use super::outlook::{self, Outlook};
use super::pull::{Tools, interrupted};
use super::retry::{Backoff, Next, Pause, jitter};
use super::sink::Sink;
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::event::{Event, FileId};
use crate::fault::{Fault, Kind};
use crate::source::Body;
use crate::units;
use crate::wire::validator::Form;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often the crew is looked at.
const BEAT: Duration = Duration::from_millis(50);
/// Claims are of about this much work for one connection, in seconds.
const CLAIM: f64 = 3.0;

/// How the crew is led just now.
struct Course {
    adapt: Adapt,
    backoff: Backoff,
    /// No new connection before this is over.
    pause: Option<Pause>,
    outlook: Outlook,
    /// Bytes that had moved when a connection last failed.
    moved: u64,
}

/// Who leads.
pub struct Lead<'a> {
    /// What all downloads share.
    pub tools: &'a Tools,
    /// Which file it is about.
    pub file: FileId,
    /// How many connections; `None` finds out.
    pub connections: Option<u32>,
}

impl Lead<'_> {
    fn tell(&self, event: Event) {
        self.tools.observer.on(self.file, &event);
    }

    /// Leads the connections until nothing is missing; when it returns, none of them is left.
    pub async fn run(&self, crew: &Rc<Crew>, form: Form, first: (ByteRange, Box<dyn Body>)) -> Result<End, Fault> {
        let mut hands: JoinSet<End> = JoinSet::new();
        let ended = self.hands(crew, &mut hands, form, first).await;
        hands.shutdown().await;
        ended
    }

    /// How to begin with `host`.
    fn course(&self, host: &str) -> Course {
        let known = self.tools.hosts.get(host);
        let (allowed, helped) = known.map_or((None, None), |known| (known.connections, known.helped));
        Course {
            adapt: Adapt::new(self.connections, allowed, helped),
            backoff: Backoff::new(self.tools.policy),
            pause: None,
            outlook: Outlook::default(),
            moved: 0,
        }
    }

    async fn hands(
        &self,
        crew: &Rc<Crew>,
        hands: &mut JoinSet<End>,
        form: Form,
        first: (ByteRange, Box<dyn Body>),
    ) -> Result<End, Fault> {
        let begun = Instant::now();
        let cpu = cpu_time();
        let host = crew.source.host();
        let mut course = self.course(&host);
        let mut proof: JoinSet<Result<ByteSet, Fault>> = JoinSet::new();
        if let Sink::File(file) = &crew.sink
            && file.needs_proof()
        {
            let file = file.clone();
            proof.spawn_local(async move { file.prove().await });
        }
        hands.spawn_local(crew.clone().work(Some(first).filter(|(range, _)| !range.is_empty())));
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.tools.stop.wait() => return Err(interrupted()),
                Some(proven) = proof.join_next() => self.proven(crew, proven)?,
                Some(end) = hands.join_next() => {
                    if let Some(end) = self.hand_ended(crew, &mut course, end, hands.len())? {
                        return Ok(end);
                    }
                }
                _ = beat.tick() => {
                    let sample = Sample {
                        now: begun.elapsed(),
                        moved: crew.meter.borrow().run(),
                        cpu: cpu_time().saturating_sub(cpu),
                        left: crew.spans.borrow().left(),
                        limit: self.tools.pace.rate(),
                    };
                    course.adapt.look(sample);
                    self.wait_on(&mut course);
                    self.progress(crew);
                }
                () = crew.news.notified() => {}
            }
            if hands.is_empty() && proof.is_empty() && crew.spans.borrow().is_done() {
                if crew.meter.borrow().run() > 0 {
                    self.tools.hosts.learn(&host, form, course.adapt.limit(), course.adapt.helped());
                }
                self.progress(crew);
                return Ok(End::Idle);
            }
            while course.pause.is_none() && hands.len() < course.adapt.wanted() as usize && crew.has_work() {
                hands.spawn_local(crew.clone().work(None));
                tokio::task::yield_now().await;
            }
        }
    }

    /// Looks whether a wait is over.
    fn wait_on(&self, course: &mut Course) {
        let Some(pause) = &mut course.pause else { return };
        if pause.left(&course.outlook.scene()).is_some() {
            return;
        }
        if let Some(change) = pause.change() {
            course.backoff.progress();
            self.tell(Event::Detail { text: outlook::told(change).into() });
        }
        course.pause = None;
    }

    /// A connection ended while `others` work on. `Some`: so does the whole crew, in this way.
    fn hand_ended(
        &self,
        crew: &Crew,
        course: &mut Course,
        end: Result<End, tokio::task::JoinError>,
        others: usize,
    ) -> Result<Option<End>, Fault> {
        match end {
            Ok(End::Idle) => {}
            Ok(End::Fault(fault)) => {
                let moved = crew.meter.borrow().run();
                let fault = if moved > 0 { fault.after_bytes() } else { fault };
                if moved > course.moved {
                    course.backoff.progress();
                }
                course.moved = moved;
                course.pause = Some(self.after(fault, course, others)?);
            }
            Ok(End::NoRanges(_)) if others > 0 => course.adapt.refused(1),
            Ok(end) => return Ok(Some(end)),
            Err(e) => return Err(Fault::new(Kind::Other, format!("a connection's task ended early: {e}"))),
        }
        Ok(None)
    }

    /// What to do after a connection failed while `others` work on: the wait before a new one is opened.
    fn after(&self, fault: Fault, course: &mut Course, others: usize) -> Result<Pause, Fault> {
        if matches!(fault.kind, Kind::Local | Kind::Held | Kind::Integrity | Kind::Usage) {
            return Err(fault);
        }
        if others > 0 {
            // Too many for this host, or one bad connection: the others go on.
            if fault.kind != Kind::Network || fault.what.starts_with("cannot connect") {
                course.adapt.refused(others as u32);
            }
            self.tell(Event::Detail { text: format!("one connection less: {fault}") });
            let wait = fault.wait.unwrap_or(Duration::from_secs(1));
            return Ok(Pause::new(wait, fault.wait, course.outlook.scene()));
        }
        let Next::Wait(wait) = course.backoff.after(&fault, jitter()) else { return Err(fault) };
        let asked = fault.wait;
        self.tell(Event::Retry { error: fault, wait, attempt: course.backoff.failed() });
        Ok(Pause::new(wait, asked, course.outlook.scene()))
    }

    fn proven(&self, crew: &Crew, proven: Result<Result<ByteSet, Fault>, tokio::task::JoinError>) -> Result<(), Fault> {
        let damaged = proven.map_err(|e| Fault::new(Kind::Other, format!("a proof ended early: {e}")))??;
        if !damaged.is_empty() {
            self.tell(Event::Warning {
                text: format!("{} of the earlier run are damaged and fetched again", units::bytes(damaged.len())),
            });
            crew.spans.borrow_mut().add(&damaged);
            crew.done.set(crew.done.get().saturating_sub(damaged.len()));
        }
        Ok(())
    }

    fn progress(&self, crew: &Crew) {
        let now = Instant::now();
        let mut meter = crew.meter.borrow_mut();
        if !meter.due(now) && !crew.spans.borrow().is_done() {
            return;
        }
        let connections = crew.busy.get();
        let progress = meter.progress(now, connections);
        let claim = (progress.rate as f64 * CLAIM / f64::from(connections.max(1))) as u64;
        crew.want.set(claim.clamp(crew.sink.chunk_size(), 1 << 30));
        drop(meter);
        self.tell(Event::Progress(progress));
    }
}
