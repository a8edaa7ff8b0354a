//! Filling the file: many connections where the remote serves ranges, one stream where it does not.

use super::{Filled, Opening, Transfer, interrupted, now};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::engine::crew::{Crew, End};
use crate::engine::lead::Lead;
use crate::engine::meter::Meter;
use crate::engine::retry::Backoff;
use crate::engine::sink::Sink;
use crate::engine::slow::Slow;
use crate::engine::spans::Spans;
use crate::engine::stream::{self, Pass, Streamed};
use crate::engine::supplier::Supplier;
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::partial::PartialFile;
use crate::plan::{Plan, plan};
use crate::source::Source;
use crate::units;
use std::rc::Rc;
use std::time::Instant;

/// How far ahead of the contiguous prefix work may be while a digest runs over it, in bytes.
const FRONT: u64 = 256 << 20;

impl Transfer<'_> {
    /// Fetches what is missing; with `in_order`, near the front, so that hashing keeps up.
    pub(super) async fn fill(&mut self, file: &PartialFile, opening: Opening, in_order: bool) -> Result<Filled, Fault> {
        let Some(length) = file.length() else {
            return self.stream(file, Some(opening)).await;
        };
        let whole_over_old = !opening.ranged && !file.held().is_empty();
        if whole_over_old {
            return self.stream(file, Some(opening)).await;
        }
        let Some(opening) = self.take_in(file, opening).await? else { return Ok(Filled::Complete) };
        let mut spans = Spans::new(file.held().missing(ByteRange::new(0, length)));
        if in_order {
            spans.stay_within(FRONT);
        }
        let meter = Meter::new(Instant::now(), file.held().len(), Some(length));
        let tools = (self.tools.pace.clone(), self.tools.least);
        let (suppliers, by) = (self.suppliers(file, &opening), opening.by);
        let mut crew = Crew::new(suppliers, by, Sink::File(file.clone()), spans, meter, tools);
        crew.digests = self.digests_wanted(&file.record()).into_iter().map(|(digest, _)| digest).collect();
        crew.media = file.record().media;
        let crew = Rc::new(crew);
        let lead = Lead { tools: self.tools, file: self.order.file, connections: self.order.connections };
        let ended = lead.run(&crew, opening.form, opening.first()).await;
        self.moved += crew.meter.borrow().run();
        match ended? {
            End::Idle => match crew.confirm().await {
                Ok(()) | Err(End::Idle) => Ok(Filled::Complete),
                Err(End::Changed(why) | End::NoRanges(why)) => Ok(Filled::Changed(why)),
                Err(End::Fault(fault)) => Err(fault),
            },
            End::Changed(why) => Ok(Filled::Changed(why)),
            End::NoRanges(why) => {
                self.tell(Event::Detail { text: format!("one stream only: {why}") });
                drop(crew);
                self.stream(file, None).await
            }
            End::Fault(fault) => Err(fault),
        }
    }

    /// Everywhere the bytes can be had from. Only the place that the answer came from is known to have this content.
    fn suppliers(&self, file: &PartialFile, opening: &Opening) -> Vec<Rc<Supplier>> {
        let known = |source: &Rc<dyn Source>| {
            // What a mirror calls the content is its own affair.
            let kept = if opening.by == 0 { file.record().validator } else { opening.head.validator.clone() };
            Supplier::known(source.clone(), kept, opening.ranged)
        };
        let each = |(by, source): (usize, &Rc<dyn Source>)| match by == opening.by {
            true => known(source),
            false => Supplier::other(source.clone()),
        };
        self.places().enumerate().map(each).collect()
    }

    /// Fetches the whole in one stream, again and again until one gets through.
    pub(super) async fn stream(&mut self, file: &PartialFile, mut opening: Option<Opening>) -> Result<Filled, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        let mut meter = Meter::new(Instant::now(), file.held().len(), file.length());
        let damaged = match file.needs_proof() {
            true => file.prove().await?,
            false => ByteSet::new(),
        };
        if !damaged.is_empty() {
            self.tell(Event::Warning {
                text: format!("{} of the earlier run are damaged and fetched again", units::bytes(damaged.len())),
            });
        }
        let before_stream = self.moved;
        loop {
            let before = file.held().len();
            let streamed = tokio::select! {
                streamed = self.stream_once(file, opening.take(), &mut meter) => streamed,
                () = self.tools.stop.wait() => Err(interrupted()),
            };
            self.moved = before_stream + meter.run();
            match streamed {
                Ok(filled) => return Ok(filled),
                Err(fault) => {
                    let fault = if meter.run() > 0 { fault.after_bytes() } else { fault };
                    if file.held().len() > before {
                        backoff.progress();
                    }
                    self.pause(&mut backoff, fault).await?;
                }
            }
        }
    }

    pub(super) async fn stream_once(
        &self,
        file: &PartialFile,
        opening: Option<Opening>,
        meter: &mut Meter,
    ) -> Result<Filled, Fault> {
        // A part that begins with the first byte need not end with the last one.
        let (head, mut body) = match opening.filter(|opening| !opening.ranged) {
            Some(opening) => (opening.head, opening.body),
            None => self.whole().await?,
        };
        let record = file.record();
        match plan(&record, &now(&head, self.address(0, &record))) {
            Plan::Restart(why) => return Ok(Filled::Changed(why)),
            Plan::Impostor(why) => return Err(Fault::new(Kind::Network, why)),
            Plan::Resume | Plan::Compare => {}
        }
        let tell = |progress| self.tell(Event::Progress(progress));
        let least = Slow::new(self.tools.least, Instant::now());
        let pass = Pass { pace: &self.tools.pace, slow: least, host: &self.order.source.host(), tell: &tell };
        match stream::drink(file, &mut *body, pass, meter).await? {
            Streamed::Complete => {
                // Every byte has passed by in one answer: no two versions are mixed.
                file.edit(|record| record.sampled = false);
                Ok(Filled::Complete)
            }
            Streamed::Differs => Ok(Filled::Changed("bytes that are here differ from the remote's".into())),
        }
    }
}
