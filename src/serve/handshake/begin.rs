//! *begin*: a new upload, the one of a known key, or a refusal before any byte.

use super::{CHUNK_MAX, Handler, Outcome, note_facts, problem};
use crate::record::IfExists;
use crate::serve::content;
use crate::serve::known::Entry;
use crate::serve::root::Taken;
use crate::serve::upload::Upload;
use crate::wire::handshake::{Begin, Problem, Reason};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// How long *begin* waits for the digest of a file that has the name: less than clients wait for an answer.
const EXISTING_PATIENCE: Duration = Duration::from_secs(8);

impl Handler<'_> {
    /// New, or known by its key.
    pub(super) async fn begin(
        &self,
        folder: String,
        begin: Begin,
        target: &[String],
    ) -> Outcome<(StatusCode, Arc<Upload>)> {
        if let Some(upload) = self.store.find_key(&begin.key, self.domain) {
            return self.begin_again(upload, &folder, &begin).await;
        }
        let Some(layout) = begin.layout() else {
            return problem(Reason::BadRequest, "this chunk size gives no chunks or more than 10000");
        };
        let rules = &self.site.rules;
        if rules.max_file_size.is_some_and(|most| begin.size > most) {
            return problem(
                Reason::TooLarge,
                format!("files may have at most {} bytes", rules.max_file_size.unwrap_or(0)),
            );
        }
        if begin.chunk_size > CHUNK_MAX {
            return problem(Reason::TooLarge, format!("chunks may have at most {CHUNK_MAX} bytes"));
        }
        let equal = self.may_take(target, &begin).await?;
        let needed = if equal.is_some() { 0 } else { begin.size };
        if self.store.root.free_space() < needed.saturating_add(rules.min_free) {
            let problem = Problem::new(Reason::NoSpace, "the server has no room for this file");
            return Err(Box::new(problem.hint("try again when there is room, or send it elsewhere")));
        }
        let key = begin.key.clone();
        let upload = self.store.begin(self.domain, folder, &begin, layout).await?;
        if upload.head.key == key && upload.head.name == begin.name {
            self.offer(&upload, begin.join, equal).await;
        }
        Ok((StatusCode::CREATED, upload))
    }

    async fn begin_again(
        &self,
        upload: Arc<Upload>,
        folder: &str,
        begin: &Begin,
    ) -> Outcome<(StatusCode, Arc<Upload>)> {
        let head = &upload.head;
        let same = (head.folder.as_str(), head.name.as_str(), head.layout.length(), head.layout.chunk_size())
            == (folder, begin.name.as_str(), begin.size, begin.chunk_size);
        if !same {
            return problem(Reason::KeyReused, "the key belongs to an upload of another name, size or chunk size");
        }
        let changed = {
            let mut facts = upload.facts();
            let changed = facts.if_exists != begin.if_exists || (begin.md5.is_some() && facts.md5 != begin.md5);
            facts.if_exists = begin.if_exists;
            facts.md5 = begin.md5.clone().or(facts.md5.take());
            changed
        };
        upload.touch(false);
        let mut phase = upload.phase.lock().await;
        if let (true, Some(file)) = (changed, self.store.file(&upload, &mut phase).await?) {
            let (if_exists, md5) = (begin.if_exists, upload.facts().md5.clone());
            note_facts(&file, if_exists, md5);
        }
        drop(phase);
        self.offer(&upload, begin.join, None).await;
        Ok((StatusCode::OK, upload))
    }

    /// Whether an upload may be meant for `target`. Tells what stands there, when it is the very same content.
    async fn may_take(&self, target: &[String], begin: &Begin) -> Outcome<Option<Entry>> {
        let texts: Vec<&str> = target.iter().map(String::as_str).collect();
        let taken = match self.store.root.taken(&texts) {
            Ok(taken) => taken,
            Err(_) => return problem(Reason::BadName, "a part of the name is a symbolic link or no folder"),
        };
        let size = match taken {
            Taken::Free => return Ok(None),
            Taken::Other => {
                return Err(Box::new(Problem::new(Reason::Exists, "something that is no file has this name")));
            }
            Taken::File(_) if begin.if_exists == IfExists::Replace && self.site.rules.allow_overwrite => {
                return Ok(None);
            }
            Taken::File(size) => size,
        };
        // What may not be read by name may not be guessed at either.
        let visible = self.store.may_know(&texts, self.domain);
        let exists = || {
            let hint = match (begin.if_exists, self.site.rules.allow_overwrite) {
                (_, true) => "ask to replace it, or choose another name",
                (_, false) => "choose another name; this server replaces no files",
            };
            let problem = Problem::new(Reason::Exists, "a finished file has this name").hint(hint);
            Box::new(Problem { size: visible.then_some(size), ..problem })
        };
        let alike = begin.md5.as_ref().filter(|_| visible && begin.join && begin.size == size);
        let Some(md5) = alike else { return Err(exists()) };
        let looking = content::content_of(self.store, target.join("/"));
        let entry = match tokio::time::timeout(EXISTING_PATIENCE, looking).await {
            Ok(entry) => entry.ok_or_else(exists)?,
            Err(_) => return problem(Reason::Unavailable, "the file of that name is being read to compare it"),
        };
        match entry.has_md5(md5) {
            true => Ok(Some(entry)),
            false => Err(exists()),
        }
    }
}
