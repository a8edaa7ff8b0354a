//! Leading a crew: how many connections there are just now, what becomes of one that fails, and when all is done.

use super::adapt::{self, Adapt, MOST, Sample};
use super::budget;
use super::cpu_time;
use super::crew::{Crew, End, First};
use super::hedge::Watch;
use super::outlook::{self, Outlook};
use super::pull::{Tools, interrupted};
use super::retry::{Backoff, Next, Pause, jitter};
use super::sink::Sink;
use super::supplier::Supplier;
use crate::byteset::ByteSet;
use crate::event::{Event, FileId};
use crate::fault::{Fault, Kind};
use crate::memory::share::{Need, Share};
use crate::units;
use crate::wire::validator::Form;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often the crew is looked at.
const BEAT: Duration = Duration::from_millis(25);
/// How often it is looked what the other transfers from the host leave to this one.
const SHARE: Duration = Duration::from_secs(1);
/// Mirrors get this long to show that they have the same content, before connections to those that have are added.
const PROVING: Duration = Duration::from_millis(500);
/// Claims are of about this much work for one connection, in seconds.
const CLAIM: f64 = 3.0;
/// No claim is larger, in bytes, unless a chunk is.
const LARGEST_CLAIM: u64 = 1 << 30;
/// A connection that does not help may stay where less than this is left, in bytes: what is on its way to us is lost
/// with it, and that can be some megabytes.
const WORTH_DISMISSING: u64 = 64 << 20;

/// What is known of one supplier just now.
struct Seat {
    backoff: Backoff,
    /// No new connection before this is over.
    pause: Option<Pause>,
    /// Bytes it had given when a connection last failed.
    moved: u64,
    /// Nothing more is asked of it.
    gone: bool,
}

/// How the crew is led just now.
struct Course {
    adapt: Adapt,
    seats: Vec<Seat>,
    watch: Watch,
    outlook: Outlook,
    share: Share,
    /// How many connections were asked for when it was last looked what others leave, and when that was.
    shared: Option<(u32, Instant)>,
    /// How many the others had then.
    elsewhere: u32,
}

/// The connections at work: each ends with the number of its supplier.
type Hands = JoinSet<(usize, End)>;

impl Course {
    fn live(&self) -> usize {
        self.seats.iter().filter(|seat| !seat.gone).count()
    }

    /// Whether nobody but this seat is left.
    fn is_last(&self, seat: usize) -> bool {
        self.seats.iter().enumerate().all(|(other, it)| other == seat || it.gone)
    }

    /// How many connections there should be: one to each supplier at least, unless the user has said a number.
    fn wanted(&self, fixed: bool) -> usize {
        let wanted = self.adapt.wanted() as usize;
        if fixed { wanted } else { wanted.max(self.live()) }
    }

    /// The supplier to ask next: the one with the fewest connections of those that may be asked and for whom there is
    /// work.
    fn next_seat(&self, crew: &Crew) -> Option<usize> {
        let free = |seat: &usize| {
            let (it, supplier) = (&self.seats[*seat], &crew.suppliers[*seat]);
            // One connection is enough to show that a place has the same content.
            let waits = !supplier.is_proven() && supplier.busy.get() > 0;
            !it.gone && it.pause.is_none() && !waits && crew.has_work(supplier)
        };
        (0..self.seats.len()).filter(free).min_by_key(|seat| crew.suppliers[*seat].busy.get())
    }
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
    pub async fn run(&self, crew: &Rc<Crew>, form: Form, first: First) -> Result<End, Fault> {
        let mut hands = Hands::new();
        let ended = self.hands(crew, &mut hands, form, first).await;
        hands.shutdown().await;
        self.tell_shares(crew);
        ended
    }

    async fn hands(&self, crew: &Rc<Crew>, hands: &mut Hands, form: Form, first: First) -> Result<End, Fault> {
        let begun = Instant::now();
        let cpu = cpu_time();
        let host = crew.main().source.host();
        let mut course = self.course(crew, &host, first.took);
        let mut proof: JoinSet<Result<ByteSet, Fault>> = JoinSet::new();
        if let Sink::File(file) = &crew.sink
            && file.needs_proof()
        {
            let file = file.clone();
            proof.spawn_local(async move { file.prove().await });
        }
        spawn(crew, hands, crew.main, Some(first).filter(|first| !first.range.is_empty()));
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.tools.stop.wait() => return Err(interrupted()),
                Some(proven) = proof.join_next() => self.proven(crew, proven)?,
                Some(end) = hands.join_next() => {
                    let (seat, end) = end
                        .map_err(|e| Fault::new(Kind::Other, format!("a connection's task ended early: {e}")))?;
                    if let Some(end) = self.hand_ended(crew, &mut course, (seat, end), hands.len())? {
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
                    self.adapt(crew, &mut course, sample, hands.len());
                    self.wait_on(&mut course);
                    self.progress(crew);
                    self.hedge(crew, &mut course, hands);
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
            while hands.len() < course.wanted(self.connections.is_some())
                && let Some(seat) = course.next_seat(crew)
            {
                if !hands.is_empty() && self.share(crew, &mut course, hands.len()) {
                    continue;
                }
                spawn(crew, hands, seat, None);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Finds out how many connections help. Those that were tried and do not end: on a fast line each one costs.
    fn adapt(&self, crew: &Crew, course: &mut Course, sample: Sample, hands: usize) {
        let unproven = |seat: usize| !course.seats[seat].gone && !crew.suppliers[seat].is_proven();
        if sample.now < PROVING && (0..course.seats.len()).any(unproven) {
            return;
        }
        let before = course.adapt.wanted();
        course.adapt.look(sample);
        let surplus = hands.saturating_sub(course.wanted(self.connections.is_some()));
        if course.adapt.wanted() < before && sample.left > surplus as u64 * WORTH_DISMISSING {
            crew.dismiss(surplus);
        }
        if course.shared.is_some() {
            self.share(crew, course, hands);
        }
    }

    /// Looks, where that may have changed, how many connections the other transfers from the host leave to this one, and
    /// ends those that are more. Whether it has looked.
    fn share(&self, crew: &Crew, course: &mut Course, hands: usize) -> bool {
        let asks = course.adapt.asks();
        if course.shared.is_some_and(|(then, at)| then == asks && (asks == 1 || at.elapsed() < SHARE)) {
            return false;
        }
        let fixed = self.connections.is_some();
        let least = if fixed { asks } else { course.live() as u32 };
        let need = Need { least, most: asks, open: hands as u32 };
        let (before, others) = (course.wanted(fixed), course.share.look(need));
        course.elsewhere = others.iter().map(|other| other.open).sum();
        course.adapt.allow(budget::share(course.adapt.ceiling(), need, &others));
        course.shared = Some((asks, Instant::now()));
        let wanted = course.wanted(fixed);
        if wanted != before && !others.is_empty() {
            self.tell(Event::Detail { text: format!("other downloads from this host leave {wanted} connections") });
        }
        if hands > wanted && !others.is_empty() {
            crew.dismiss(hands - wanted);
        }
        true
    }

    /// How to begin with the suppliers, of which `host` is the first and answered within `took`.
    fn course(&self, crew: &Crew, host: &str, took: Duration) -> Course {
        let known = self.tools.hosts.get(host);
        let (allowed, helped) = known.map_or((None, None), |known| (known.connections, known.helped));
        let seat = || Seat { backoff: Backoff::new(self.tools.policy), pause: None, moved: 0, gone: false };
        Course {
            adapt: Adapt::new(self.connections, allowed, helped.or_else(|| adapt::first_guess(took))),
            seats: crew.suppliers.iter().map(|_| seat()).collect(),
            watch: Watch::default(),
            outlook: Outlook::default(),
            share: Share::of(host),
            shared: None,
            elsewhere: 0,
        }
    }

    /// Has the slowest of the last claims fetched a second time, where that is worth it and nobody else has work.
    fn hedge(&self, crew: &Rc<Crew>, course: &mut Course, hands: &mut Hands) {
        let most = self.connections.map_or(MOST, |fixed| fixed.min(MOST)) as usize;
        let paused = course.seats.iter().any(|seat| seat.pause.is_some());
        // Under the user's own limit every claim is slow.
        let idle =
            self.tools.pace.rate().is_none() && !paused && hands.len() < most && course.next_seat(crew).is_none();
        let slow = {
            let spans = crew.spans.borrow();
            course.watch.look(Instant::now(), spans.claims(), spans.worth_cutting(), idle)
        };
        let Some(slow) = slow else { return };
        let live = (0..course.seats.len()).filter(|seat| !course.seats[*seat].gone);
        let Some(seat) = live.min_by_key(|seat| crew.suppliers[*seat].busy.get()) else { return };
        self.tell(Event::Detail { text: "the last bytes are slow: they are asked for a second time".into() });
        let (crew, by) = (crew.clone(), crew.suppliers[seat].clone());
        hands.spawn_local(async move { (seat, crew.hedge(by, slow).await) });
    }

    /// Looks whether a wait is over.
    fn wait_on(&self, course: &mut Course) {
        for seat in &mut course.seats {
            let Some(pause) = &mut seat.pause else { continue };
            if pause.left(&course.outlook.scene()).is_some() {
                continue;
            }
            if let Some(change) = pause.change() {
                seat.backoff.progress();
                self.tell(Event::Detail { text: outlook::told(change).into() });
            }
            seat.pause = None;
        }
    }

    /// A connection ended while `others` work on. `Some`: so does the whole crew, in this way.
    fn hand_ended(
        &self,
        crew: &Crew,
        course: &mut Course,
        (seat, end): (usize, End),
        others: usize,
    ) -> Result<Option<End>, Fault> {
        let alone = crew.suppliers[seat].busy.get() == 0;
        match end {
            End::Idle => {}
            End::Fault(fault) => {
                let moved = crew.suppliers[seat].meter.borrow().run();
                let fault = if moved > 0 { fault.after_bytes() } else { fault };
                if moved > course.seats[seat].moved {
                    course.seats[seat].backoff.progress();
                }
                course.seats[seat].moved = moved;
                course.seats[seat].pause = self.after(crew, fault, course, seat, (others, alone))?;
            }
            End::NoRanges(_) if !alone => course.adapt.refused(1),
            // A mirror is not what the file is known by.
            End::Changed(why) | End::NoRanges(why) if seat != 0 && seat != crew.main => {
                self.drop_seat(crew, course, seat, &why);
            }
            end => return Ok(Some(end)),
        }
        Ok(None)
    }

    fn drop_seat(&self, crew: &Crew, course: &mut Course, seat: usize, why: &str) {
        if !std::mem::replace(&mut course.seats[seat].gone, true) {
            let place = crew.suppliers[seat].source.shown();
            self.tell(Event::Warning { text: format!("{place} is not used any more: {why}") });
        }
    }

    /// What to do after a connection failed while `others` work on, none of them with the same supplier where it is
    /// `alone`: the wait before a new one is opened to it.
    fn after(
        &self,
        crew: &Crew,
        fault: Fault,
        course: &mut Course,
        seat: usize,
        (others, alone): (usize, bool),
    ) -> Result<Option<Pause>, Fault> {
        if matches!(fault.kind, Kind::Local | Kind::Held | Kind::Integrity | Kind::Usage) {
            return Err(fault);
        }
        if !alone {
            // Too many for this host, or one bad connection: the others go on.
            if course.live() == 1 && (fault.kind != Kind::Network || fault.what.starts_with("cannot connect")) {
                course.adapt.refused(others as u32 + course.elsewhere);
            }
            self.tell(Event::Detail { text: format!("one connection less: {fault}") });
            let wait = fault.wait.unwrap_or(Duration::from_secs(1));
            return Ok(Some(Pause::new(wait, fault.wait, course.outlook.scene())));
        }
        if fault.kind == Kind::Busy {
            // Where the others have all that the host allows, they leave us one.
            self.share(crew, course, others);
        }
        let wait = match course.seats[seat].backoff.after(&fault, jitter()) {
            Next::Wait(wait) => wait,
            Next::Stop if course.is_last(seat) => return Err(fault),
            Next::Stop => {
                self.drop_seat(crew, course, seat, &fault.what);
                return Ok(None);
            }
        };
        let (attempt, asked) = (course.seats[seat].backoff.failed(), fault.wait);
        match others {
            0 => self.tell(Event::Retry { error: fault, wait, attempt }),
            _ => self.tell(Event::Detail { text: format!("one place less for a while: {fault}") }),
        }
        Ok(Some(Pause::new(wait, asked, course.outlook.scene())))
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
        drop(meter);
        for supplier in &crew.suppliers {
            // Alone, it gives all there is, and what an earlier answer gave counts too.
            let rate = match crew.suppliers.len() {
                1 => progress.rate,
                _ => supplier.meter.borrow_mut().rate(now),
            };
            supplier.want.set(claim_of(rate, supplier.busy.get(), crew.sink.chunk_size()));
        }
        self.tell(Event::Progress(progress));
    }

    /// Says what each supplier gave, where there were several.
    fn tell_shares(&self, crew: &Crew) {
        if crew.suppliers.len() < 2 {
            return;
        }
        let share = |supplier: &Rc<Supplier>| {
            format!("{} gave {}", supplier.source.shown(), units::bytes(supplier.meter.borrow().run()))
        };
        let shares: Vec<String> = crew.suppliers.iter().map(share).collect();
        self.tell(Event::Detail { text: shares.join(", ") });
    }
}

/// How many bytes to claim for one of `connections` that give `rate` bytes a second together: at least a chunk.
fn claim_of(rate: u64, connections: u32, chunk: u64) -> u64 {
    let claim = (rate as f64 * CLAIM / f64::from(connections.max(1))) as u64;
    claim.min(LARGEST_CLAIM).max(chunk)
}

/// Opens one more connection to a supplier.
fn spawn(crew: &Rc<Crew>, hands: &mut Hands, seat: usize, first: Option<First>) {
    let (crew, by) = (crew.clone(), crew.suppliers[seat].clone());
    hands.spawn_local(async move { (seat, crew.work(by, first).await) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_follow_the_rate_and_are_never_less_than_a_chunk() {
        assert_eq!(claim_of(100 << 20, 2, 8 << 20), 150 << 20);
        assert_eq!(claim_of(0, 0, 8 << 20), 8 << 20);
        assert_eq!(claim_of(u64::MAX, 1, 8 << 20), LARGEST_CLAIM);
        assert_eq!(claim_of(0, 1, 4 << 30), 4 << 30, "chunks of a file of 40 TiB");
    }
}
