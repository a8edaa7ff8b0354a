//! Files joined from parts (tus's concatenation): each part is an upload of its own, and stays one; the file is a
//! copy, checked and published like any other. It waits for parts that are not complete yet.

use super::super::check::{self, Content, Order};
use super::super::head::JOINED;
use super::super::store::Store;
use super::super::upload::{Line, NO_END, Over, Phase, Upload};
use super::{Growing, Outcome, Wish, problem, unknown};
use crate::partial::PartialFile;
use crate::wire::handshake::{Id, Reason};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long the answer to a creation waits until the file is joined. No byte moves meanwhile, so less than the time
/// after which a silent connection is given up.
const PATIENCE: Duration = Duration::from_secs(200);

impl Growing<'_> {
    /// Makes the file of these parts, and joins it when they are all complete.
    pub async fn join(&self, parts: &[Id], mut wish: Wish) -> Outcome<Arc<Upload>> {
        let mut length = Some(0u64);
        for id in parts {
            let part = self.part(id)?;
            length = length.zip(part.length()).map(|(sum, part)| sum.saturating_add(part));
        }
        wish.length = length.map(|length| length.min(NO_END));
        let upload = self.create(wish).await?;
        let _use = upload.in_use();
        upload.touch(true);
        if let Some(over) = self.try_join(&upload).await?
            && let Err(refused) = self.wait(&upload, over, PATIENCE).await
            && refused.reason() != Some(Reason::Unavailable)
        {
            // Nobody was told of it: it would only be in the way of the next try.
            let _ = self.store.give_up(&upload).await;
            return Err(refused);
        }
        Ok(upload)
    }

    /// A part of this trust domain.
    fn part(&self, id: &Id) -> Outcome<Arc<Upload>> {
        let part = self.find(id, super::Protocol::Tus)?;
        match part.head.line.as_ref().is_some_and(|line| line.is_part()) {
            true => Ok(part),
            false => problem(Reason::BadRequest, "only uploads made as parts can be joined"),
        }
    }

    /// Starts joining `upload` if all its parts are complete; tells how it ends.
    pub async fn try_join(&self, upload: &Arc<Upload>) -> Outcome<Option<Over>> {
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let file = match (&*phase, file) {
            (Phase::Done(_), _) => return Ok(None),
            (Phase::Checking(_, over), _) => return Ok(Some(over.clone())),
            (_, None) => return Err(unknown()),
            (_, Some(file)) => file,
        };
        let ids: Vec<Id> = upload.head.line.iter().flat_map(Line::parts).collect();
        let mut parts = Vec::new();
        for id in &ids {
            let part = self.part(id)?;
            match self.whole(&part).await? {
                Some(file) => parts.push(file),
                None => return Ok(None),
            }
        }
        let length = parts.iter().map(|part| part.length().unwrap_or(0)).fold(0, u64::saturating_add);
        match upload.length() {
            None => self.set_length(upload, &file, length)?,
            Some(known) if known != length => {
                return problem(Reason::Server, "the parts are not as long as they were");
            }
            Some(_) => {}
        }
        let needed = length.saturating_sub(file.held().len()).saturating_add(self.site.rules.min_free);
        if self.store.root.free_space() < needed {
            return problem(Reason::NoSpace, "the server has no room to join the parts");
        }
        let target = check::parts_of(&upload.head.folder, &upload.head.name);
        let over = check::start(self.store, upload, &mut phase, file, Order { target, content: Content::Parts(parts) });
        tokio::spawn(note_joined(self.store.clone(), self.domain.to_string(), ids, over.clone()));
        Ok(Some(over))
    }

    /// The file of a part that is complete and sound.
    async fn whole(&self, part: &Arc<Upload>) -> Outcome<Option<PartialFile>> {
        let mut phase = part.phase.lock().await;
        let Some(file) = self.store.file(part, &mut phase).await? else { return Err(unknown()) };
        drop(phase);
        let complete = |file: &PartialFile| part.length().is_some() && file.held().contains(part.layout().whole());
        if complete(&file) && file.needs_proof() {
            file.prove().await.map_err(|fault| self.store.trouble(&fault))?;
        }
        Ok(complete(&file).then_some(file))
    }

    /// A part has become complete: joins the files that waited for it, without anybody waiting for that.
    pub async fn part_is_complete(&self, part: &Upload) {
        for upload in self.store.joins_of(&part.head.id, self.domain) {
            if let Err(refused) = self.try_join(&upload).await {
                let text = format!("{} is not joined: {}", upload.head.name, refused.detail);
                self.store.tell(crate::event::Event::Warning { text });
            }
        }
    }
}

/// Parts that have become a file are not needed for long, by a later server neither.
async fn note_joined(store: Arc<Store>, domain: String, parts: Vec<Id>, mut over: Over) {
    let ended = over.wait_for(Option::is_some).await.ok().and_then(|verdict| verdict.clone());
    if !matches!(ended, Some(Ok(()))) {
        return;
    }
    for id in parts.into_iter().collect::<HashSet<_>>() {
        let Some(part) = store.find(&id, &domain) else { continue };
        let mut phase = part.phase.lock().await;
        if let Ok(Some(file)) = store.file(&part, &mut phase).await {
            file.edit(|record| drop(record.session.insert(JOINED.into(), true.into())));
        }
    }
}
