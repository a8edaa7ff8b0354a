//! How an upload begins: how the file is cut, what is kept of an earlier run, and what is to be believed of a part that
//! left and was never answered.
//!
//! A remote that appends would store a part twice, and one that cannot say what it holds cannot be asked. So before such
//! a part leaves, the record says that it is on its way ([`crate::record::Record::sent`]); the mark goes with the receipt.
//! Whoever finds the mark knows that nobody knows, and asks a person.

use super::plan::{LEAST_PIECE, Pieces, WHOLE_TIME};
use super::{Assume, Ground, Job, Upload};
use crate::byteset::ByteSet;
use crate::chunk::{Layout, MAX_CHUNKS};
use crate::digest::Crc;
use crate::disk;
use crate::engine::push::patience::{Patience, Voice};
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::partial::ledger::Ledger;
use crate::record::{Piece, Record};
use crate::remote::{Held, Remote, Repeat, Session, Terms};
use std::rc::Rc;

/// How the file is cut: as asked, within what the remote takes.
pub(super) fn layout(job: &Job, remote: &dyn Remote, length: u64) -> Result<Layout, Fault> {
    let terms = &remote.terms();
    let too_large = |limit: u64, what: &str| {
        let text = format!("{} is {length} bytes long; the server {what} {limit} bytes", disk::shown(&job.source));
        Err(Fault::new(Kind::Refused, text))
    };
    if let Some(limit) = terms.file_max.filter(|limit| length > *limit) {
        return too_large(limit, "takes at most");
    }
    if let Some(size) = remote.chunk_size(length) {
        return Ok(Layout::new(length, size));
    }
    let wanted = Layout::chunk_size_for(length, job.chunk_size.or_else(|| remote.chunk_for(length)).or(terms.chunk));
    let most = terms.chunk_max.unwrap_or(u64::MAX);
    // A chunk is a whole number of parts; rounded up where the limit on the number of chunks has made it so large.
    let unit = part_unit(terms);
    let rounded = if wanted < unit { unit } else { wanted.next_multiple_of(unit) };
    let size = if rounded > most { (most - most % unit).max(unit) } else { rounded }.max(1);
    if length.div_ceil(size) > MAX_CHUNKS {
        return too_large(size, "takes only chunks of");
    }
    let size = if remote.habits().merged { unsplit(size, terms.uniform.unwrap_or(size), length) } else { size };
    Ok(Layout::new(length, size))
}

/// The least chunk of whole parts, from `size` on, at whose border no merged last part is cut.
fn unsplit(size: u64, part: u64, length: u64) -> u64 {
    let whole = length / part;
    let cuts = |size: u64| !length.is_multiple_of(part) && (whole * part).is_multiple_of(size);
    (0..=64).map(|more| size.saturating_add(more * part)).find(|size| !cuts(*size)).unwrap_or(size)
}

/// Has a remote that wants parts of one size want smaller ones: where its host is known to take no larger request than
/// `limit`, and where those under way over the `connections` asked for would take too long at `rate` bytes a second.
pub(super) fn fit(remote: &dyn Remote, limit: Option<u64>, rate: Option<u64>, connections: Option<u32>) {
    let is_too_large = |part: u64, terms: &Terms| {
        let at_once = connections.map_or(1, |asked| terms.parallel.clamp(1, asked as usize));
        let slow = rate.is_some_and(|rate| (part as f64) > rate as f64 * WHOLE_TIME / at_once as f64);
        limit.is_some_and(|limit| part > limit) || slow && part > LEAST_PIECE
    };
    let too_large = || {
        let terms = remote.terms();
        terms.uniform.is_some_and(|part| is_too_large(part, &terms))
    };
    while too_large() && remote.halve() {}
}

/// What a chunk's size is a multiple of, in bytes.
fn part_unit(terms: &Terms) -> u64 {
    let least = terms.uniform.unwrap_or(*terms.part.start()).max(1);
    least.next_multiple_of(terms.multiple.max(1))
}

/// The largest request body that the destination's host is known to take.
pub(super) fn body_limit(job: &Job, ground: &Ground) -> Option<u64> {
    ground.hosts.get(&host(job)).and_then(|known| known.body)
}

/// The bytes a second that are to be expected: what the destination's host is known to take, within what is allowed.
pub(super) fn known_rate(job: &Job, ground: &Ground) -> Option<u64> {
    let known = ground.hosts.get(&host(job)).and_then(|known| known.upload);
    [known, ground.pace.rate()].into_iter().flatten().min()
}

/// The destination's host as it is remembered: `name:port`.
pub(super) fn host(job: &Job) -> String {
    let url = &job.destination.url;
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Has the remote forget what an earlier run has begun. Gives what the new upload needs to know of it.
pub(super) async fn forgotten(
    old: Option<&Session>,
    connect: &impl AsyncFn(Option<&Session>) -> Result<Rc<dyn Remote>, Fault>,
    patience: &Patience,
    voice: &Voice,
) -> Result<Option<Session>, Fault> {
    let Some(old) = old else { return Ok(None) };
    voice.tell(Event::Restarted { why: "--restart forgets what was begun".into() });
    let told = match patience.unless_stopped(connect(Some(old))).await? {
        Ok(remote) => patience.unless_stopped(remote.abandon(old)).await?,
        Err(fault) => Err(fault),
    };
    if let Err(fault) = told {
        voice.detail(format!("the server could not be told to forget the old upload: {fault}"));
    }
    const KEPT: [&str; 3] = ["endpoint", "dialect", "text"];
    let kept: toml::Table = KEPT.iter().filter_map(|key| Some((key.to_string(), old.0.get(*key)?.clone()))).collect();
    Ok(Some(Session(kept)))
}

impl Upload<'_> {
    /// Goes on with an earlier run's record where the source still has its length.
    pub(super) async fn adopt(&mut self, saved: Option<Record>) -> Result<(), Fault> {
        let Some(saved) = saved.filter(|record| !record.session.is_empty()) else { return Ok(()) };
        let (length, was) = (self.source.length(), saved.length.unwrap_or_default());
        if length != was {
            let why = format!("it is {length} bytes long now and was {was} when its upload began");
            if self.job.no_restart {
                return Err(Fault::new(Kind::Changed, format!("{}: {why}", disk::shown(&self.job.source))));
            }
            self.voice.tell(Event::Restarted { why });
            // Nobody could ever go on with it. If that cannot be said now, it expires.
            let old = Session(saved.session);
            if self.patience.unless_stopped(self.remote.abandon(&old)).await?.is_err() {
                self.voice.detail("the server could not be told to forget the old upload");
            }
            return Ok(());
        }
        if self.job.chunk_size.is_some_and(|asked| asked != saved.chunk_size) {
            self.voice.detail(format!("the chunk size stays at {} bytes: the upload began with it", saved.chunk_size));
        }
        let mut session = Session(saved.session.clone());
        if saved.if_exists != self.job.existing.into() && self.remote.finds_again() {
            // Told by opening anew under the same key.
            session.0.remove("upload");
        }
        self.found = true;
        self.begun = true;
        self.session = Rc::new(session);
        self.ledger = Ledger::from_record(&saved, disk::boot_id());
        self.record = Record { if_exists: self.job.existing.into(), needs: self.record.needs.clone(), ..saved };
        self.assume()
    }

    /// The remote refuses parts of this size (413), and has none yet: the file is cut into smaller ones. `false`: it is not.
    pub(super) fn halved(&mut self) -> Result<bool, Fault> {
        if self.terms.uniform.is_none() || !self.ledger.held().is_empty() || !self.remote.halve() {
            return Ok(false);
        }
        let (was, now) = self.recut()?;
        self.smaller = true;
        self.voice.detail(format!("the server takes no parts of {was}: trying {now}"));
        Ok(true)
    }

    /// Parts of this size take too long at `rate` bytes a second, and the remote has none yet: the file is cut into smaller
    /// ones. `false`: it is not.
    pub(super) fn hastened(&mut self, rate: u64) -> Result<bool, Fault> {
        let was = self.terms.uniform;
        // Half of the time that they may take: the line may become a little slower.
        fit(&*self.remote, None, Some(rate / 2), self.job.connections);
        if self.remote.terms().uniform == was {
            return Ok(false);
        }
        self.ground.hosts.learn_upload(&host(self.job), rate);
        let ((was, now), rate) = (self.recut()?, crate::units::bytes_per_second(rate));
        self.voice.detail(format!("parts of {was} take too long at {rate}: going on with {now}"));
        Ok(true)
    }

    /// Cuts the file anew, into the parts that the remote wants now. Gives the size that they had, and theirs, for people.
    fn recut(&mut self) -> Result<(String, String), Fault> {
        let was = self.terms.uniform.unwrap_or_default();
        self.terms = self.remote.terms();
        let now = self.terms.uniform.unwrap_or_default();
        let layout = layout(self.job, &*self.remote, self.source.length())?;
        self.session = Rc::new(self.remote.prepare());
        self.ledger = Ledger::new(layout);
        self.record.chunk_size = layout.chunk_size();
        self.record.sent = None;
        self.pieces = Pieces::new(&self.terms, self.ground.pace.rate(), None);
        Ok((crate::units::bytes(was), crate::units::bytes(now)))
    }

    /// What a record's mark of an unanswered part means, by the word of the user where there is one.
    fn assume(&mut self) -> Result<(), Fault> {
        let Some(sent) = self.record.sent else {
            let end = self.is_whole() && self.remote.end_is_unknown(&self.session);
            self.ended = end && self.job.assume == Some(Assume::Stored);
            if self.job.assume.is_some() && !end {
                self.voice.warn("nothing about it is unknown: --assume changes nothing");
            }
            return Ok(());
        };
        match self.job.assume {
            None => self.doubt = true,
            Some(Assume::Lost) => self.record.sent = None,
            Some(Assume::Stored) => {
                self.record.sent = None;
                if !self.ledger.held().touches(sent.range) {
                    self.ledger.add(sent.range, Crc { sum: sent.sum, len: sent.range.len() });
                }
            }
        }
        Ok(())
    }

    /// Marks a part as on its way, before its first byte leaves; `true` when that has to be on disk first.
    pub(super) fn mark(&mut self, piece: Piece) -> bool {
        let marked = self.terms.repeat == Repeat::Appends && !piece.range.is_empty();
        if marked {
            self.record.sent = Some(piece);
        }
        marked
    }

    /// A closing failed. One of unknown outcome before it leaves nobody knowing, where the remote cannot say it.
    pub(super) fn end_unheard(&self, fault: Fault) -> Fault {
        let passes = matches!(fault.kind, Kind::Network | Kind::Busy);
        if !passes || !self.remote.end_is_unknown(&self.session) {
            return fault;
        }
        let name = self.name();
        let text = format!("what became of the end of the upload of {name} is not known: {}", fault.what);
        Fault { status: fault.status, ..Fault::new(Kind::Unknown, text) }.hint(format!(
            "look at the server; then `onward resume --assume stored {name}` ends it, and `onward resume {name}` asks for the \
             end again"
        ))
    }

    /// A part has no answer, and it is no use to wait and ask: the remote appends and never says what it holds.
    pub(super) fn nobody_can_tell(&self, fault: &Fault) -> Result<(), Fault> {
        let habits = self.remote.habits();
        match habits.silent && !habits.begins_anew {
            true => self.is_settled(&Held::Unknown).map_err(|unknown| {
                let what = format!("{}: {fault}", unknown.what);
                Fault { what, ..unknown }
            }),
            false => Ok(()),
        }
    }

    /// Whether what the remote no longer knows may be gone because it is complete: nobody heard what became of its last
    /// part.
    pub(super) fn may_be_complete(&self) -> Result<(), Fault> {
        let last = self.record.sent.is_some_and(|sent| sent.range.end == self.source.length());
        if !(self.doubt && last) {
            return Ok(());
        }
        let name = self.name();
        let text = format!(
            "the last part of {name} left and no answer came, and the server no longer knows the upload: it is complete or lost"
        );
        Err(Fault::new(Kind::Unknown, text).hint(format!(
            "look at the server; then `onward resume --assume stored {name}` ends it, and `onward resume --restart {name}` \
             sends it anew"
        )))
    }

    /// Whether a part that may have arrived is settled by what the remote says: one that appends and cannot tell would
    /// store it twice.
    pub(super) fn is_settled(&self, held: &Held) -> Result<(), Fault> {
        if *held != Held::Unknown || self.terms.repeat == Repeat::Safe {
            return Ok(());
        }
        let which = self.record.sent.map(|sent| format!(" (bytes {})", ByteSet::of(sent.range)));
        let text = format!(
            "a part of {}{} left and no answer came, and this server cannot say whether it arrived",
            self.name(),
            which.unwrap_or_default()
        );
        let name = self.name();
        Err(Fault::new(Kind::Unknown, text).hint(format!(
            "look at the server; then `onward resume --assume stored {name}` or `--assume lost` goes on, and `onward resume \
             --restart {name}` sends it anew"
        )))
    }
}
