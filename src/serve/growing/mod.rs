//! Uploads that grow from their beginning to their end, as tus and the IETF have them: what both do, in neither's
//! words. Kept, checked and published they are like every other upload; what is acknowledged survives a power cut.

mod append;
mod join;

pub use append::{Append, Expect, Stopped};

use super::Site;
use super::check::{self, Content, Order};
use super::head::ENDED;
use super::root::Taken;
use super::store::{Store, new_id};
use super::upload::{Head, Line, NO_END, Over, Phase, Protocol, Upload};
use crate::byteset::ByteSet;
use crate::chunk::Layout;
use crate::partial::PartialFile;
use crate::record::IfExists;
use crate::wire::handshake::{Id, Problem, Reason};
use crate::wire::names;
use std::sync::Arc;
use std::time::Duration;

/// A refusal on its way to become a reply.
pub type Outcome<T> = Result<T, Box<Problem>>;

/// How long the reply to the last bytes waits for the check of the whole: these protocols have no word for "not yet".
const PATIENCE: Duration = Duration::from_secs(50);

/// Refuses.
pub fn problem<T>(reason: Reason, detail: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Problem::new(reason, detail)))
}

/// What a client wants to send.
pub struct Wish {
    /// The folder of the file, below the root; empty for the root.
    pub folder: String,
    /// Its name in there.
    pub name: String,
    /// Its length in bytes, where that is known.
    pub length: Option<u64>,
    /// Whether a finished file of that name is to be replaced, if the operator lets it.
    pub replace: bool,
    /// The rest.
    pub line: Line,
}

/// Where an upload stands.
pub struct Stand {
    /// So many bytes from the beginning are there, and survive a power cut.
    pub offset: u64,
    /// The length of the whole, once it is known.
    pub length: Option<u64>,
    /// Whether the file has its name.
    pub done: bool,
    /// The file's path below the root, when it has it.
    pub path: Option<String>,
}

/// The uploads of one trust domain.
pub struct Growing<'a> {
    /// The served folder.
    pub site: &'a Site,
    /// Its uploads.
    pub store: &'a Arc<Store>,
    /// Whose request it is.
    pub domain: &'a str,
}

impl<'a> Growing<'a> {
    /// The uploads of `domain`, where uploads are taken at all.
    pub fn of(site: &'a Site, domain: &'a str) -> Outcome<Self> {
        match &site.store {
            Some(store) => Ok(Self { site, store, domain }),
            None => problem(Reason::Forbidden, "this server takes no uploads"),
        }
    }

    /// The upload of this id, when it is one of this protocol.
    pub fn find(&self, id: &Id, protocol: Protocol) -> Outcome<Arc<Upload>> {
        let ours = |upload: &Arc<Upload>| upload.head.line.as_ref().is_some_and(|line| line.protocol == protocol);
        match self.store.find(id, self.domain).filter(ours) {
            Some(upload) => Ok(upload),
            None => Err(unknown()),
        }
    }

    /// The URL's path of an upload.
    pub fn path(&self, upload: &Upload) -> String {
        format!("{}{}{}", self.site.base, super::handshake::UPLOADS, upload.head.id)
    }

    /// Makes an upload without a byte.
    pub async fn create(&self, wish: Wish) -> Outcome<Arc<Upload>> {
        let rules = &self.site.rules;
        if let Some(most) = rules.max_file_size.filter(|most| wish.length.is_some_and(|length| length > *most)) {
            return problem(Reason::TooLarge, format!("files may have at most {most} bytes"));
        }
        if wish.length.is_some_and(|length| length >= NO_END) {
            return problem(Reason::TooLarge, "no file can be so long");
        }
        if !wish.line.is_part() {
            self.may_take(&wish)?;
        }
        let free = self.store.root.free_space();
        if free < wish.length.unwrap_or(0).saturating_add(rules.min_free) {
            let problem = Problem::new(Reason::NoSpace, "the server has no room for this file");
            return Err(Box::new(problem.hint("try again when there is room, or send it elsewhere")));
        }
        // A file whose length comes later can become no larger than this.
        let largest = wish.length.unwrap_or(rules.max_file_size.unwrap_or(free).min(free));
        let layout = Layout::new(wish.length.unwrap_or(NO_END), Layout::chunk_size_for(largest, None));
        let if_exists = if wish.replace { IfExists::Replace } else { IfExists::Fail };
        let head = Head {
            id: new_id()?,
            domain: self.domain.to_string(),
            key: new_id()?,
            folder: wish.folder,
            name: wish.name,
            layout,
            modified: None,
            want: Vec::new(),
            line: Some(wish.line),
        };
        self.store.begin_head(head, if_exists, None).await
    }

    fn may_take(&self, wish: &Wish) -> Outcome<()> {
        let target = check::parts_of(&wish.folder, &wish.name);
        if let Err(e) = names::parts(&target.join("/")) {
            return problem(Reason::BadName, e.to_string());
        }
        let texts: Vec<&str> = target.iter().map(String::as_str).collect();
        let allowed = self.site.rules.allow_overwrite;
        match self.store.root.taken(&texts) {
            Err(_) => problem(Reason::BadName, "a part of the name is a symbolic link or no folder"),
            Ok(Taken::Free) => Ok(()),
            Ok(Taken::File(_)) if wish.replace && allowed => Ok(()),
            Ok(Taken::Other) => problem(Reason::Exists, "something that is no file has this name"),
            Ok(Taken::File(size)) => {
                let hint = match allowed {
                    true => "ask to replace it, or choose another name",
                    false => "choose another name; this server replaces no files",
                };
                let problem = Problem::new(Reason::Exists, "a finished file has this name").hint(hint);
                let visible = self.store.may_know(&texts, self.domain);
                Err(Box::new(Problem { size: visible.then_some(size), ..problem }))
            }
        }
    }

    /// Where an upload stands. Whoever asks does not send: a request that still does is told to stop, because its
    /// client has most likely lost it.
    pub async fn stand(&self, upload: &Arc<Upload>) -> Outcome<Stand> {
        upload.stop_writers().await;
        upload.touch(false);
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        if let Phase::Done(receipt) = &*phase {
            let length = receipt.head.layout.length();
            return Ok(Stand { offset: length, length: Some(length), done: true, path: Some(receipt.path.clone()) });
        }
        let checking = matches!(*phase, Phase::Checking(..));
        drop(phase);
        let Some(file) = file else { return Err(unknown()) };
        if !checking {
            self.safe(upload, &file).await?;
        }
        Ok(Stand { offset: file.held().prefix(), length: upload.length(), done: false, path: None })
    }

    /// Checks and publishes an upload whose bytes are all there; waits for the end of that. Asked again after a
    /// failure, it tries again.
    pub async fn finish(&self, upload: &Arc<Upload>) -> Outcome<()> {
        let digests = upload.head.line.as_ref().map(|line| line.digests.clone()).unwrap_or_default();
        let content = || Content::Sent { digests, want: Vec::new(), follower: None };
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let over = match (&*phase, file) {
            (Phase::Done(_), _) => return Ok(()),
            (Phase::Checking(_, over), _) => over.clone(),
            (_, None) => return Err(unknown()),
            (_, Some(file)) => {
                let held = file.held();
                if !held.contains(upload.layout().whole()) {
                    return Err(check::incomplete(&upload.layout(), &held));
                }
                if upload.has_writers() {
                    return problem(Reason::Busy, "the upload is being written");
                }
                let target = check::parts_of(&upload.head.folder, &upload.head.name);
                check::start(self.store, upload, &mut phase, file, Order { target, content: content() })
            }
        };
        drop(phase);
        self.wait(upload, over, PATIENCE).await
    }

    async fn wait(&self, upload: &Arc<Upload>, mut over: Over, patience: Duration) -> Outcome<()> {
        let Ok(ended) = tokio::time::timeout(patience, over.wait_for(Option::is_some)).await else {
            return problem(Reason::Unavailable, "the whole is being checked; ask again");
        };
        let verdict = ended.ok().and_then(|verdict| verdict.clone());
        upload.facts().untold = None;
        match verdict {
            Some(Ok(())) => Ok(()),
            Some(Err(problem)) => Err(Box::new(problem)),
            None => problem(Reason::Server, "the check ended early"),
        }
    }

    /// Gives an upload up; of a finished one only the server's memory of it goes.
    pub async fn give_up(&self, upload: &Arc<Upload>) -> Outcome<()> {
        for _ in 0..3 {
            // A request that comes in between is one more to be stopped.
            upload.stop_writers().await;
            if self.store.give_up(upload).await? {
                return Ok(());
            }
        }
        problem(Reason::Busy, "the upload is being worked on")
    }

    /// The length has become known.
    fn set_length(&self, upload: &Arc<Upload>, file: &PartialFile, length: u64) -> Outcome<()> {
        let most = self.site.rules.max_file_size.unwrap_or(NO_END - 1).min(NO_END - 1);
        if length > most {
            return problem(Reason::TooLarge, format!("files may have at most {most} bytes"));
        }
        file.set_length(length).map_err(|fault| self.store.trouble(&fault))?;
        file.edit(|_| {});
        upload.facts().length = Some(length);
        Ok(())
    }

    /// The client has said that the file ends where it is; durable when this returns.
    async fn end(&self, upload: &Arc<Upload>, file: &PartialFile) -> Outcome<()> {
        if upload.length().is_none() {
            self.set_length(upload, file, file.held().prefix())?;
        }
        file.edit(|record| drop(record.session.insert(ENDED.into(), true.into())));
        upload.facts().ended = true;
        self.safe(upload, file).await
    }

    /// Waits until all that was taken survives a power cut. A file whose sync failed is opened anew: what its record
    /// claims is what is left.
    async fn safe(&self, upload: &Arc<Upload>, file: &PartialFile) -> Outcome<()> {
        match file.durable().await {
            Ok(()) => Ok(()),
            Err(fault) => {
                self.store.reopen(upload).await;
                Err(self.store.trouble(&fault))
            }
        }
    }
}

/// The refusal that there is no such upload.
pub fn unknown() -> Box<Problem> {
    let problem = Problem::new(Reason::UnknownUpload, "it was given up, has expired, or never was");
    Box::new(problem.hint("begin the upload again"))
}

/// The name of a file whose client told none.
pub fn nameless() -> String {
    let mut bits = [0; 4];
    // Without randomness the second such file is refused: nothing is overwritten.
    let _ = getrandom::fill(&mut bits);
    format!("upload-{}", crate::digest::hex(&bits))
}

/// What is held behind the first gap: damage was found in the middle.
fn behind(held: &ByteSet) -> ByteSet {
    let mut rest = held.clone();
    rest.forget(crate::chunk::ByteRange::new(0, held.prefix()));
    rest
}
