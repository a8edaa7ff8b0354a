//! Keeps the record of an upload: one save at a time, off the thread that moves bytes, because a save waits for the
//! disk.

use crate::fault::{Fault, Kind};
use crate::partial::record_file::RecordFile;
use crate::record::Record;
use tokio::task::JoinHandle;

type Saved = (RecordFile, Result<(), Fault>);

/// The record's file, at hand or with a thread that saves it.
pub struct Keeper {
    file: Option<RecordFile>,
    saving: Option<JoinHandle<Saved>>,
}

impl Keeper {
    /// Keeps `file`.
    pub fn new(file: RecordFile) -> Self {
        Self { file: Some(file), saving: None }
    }

    /// Whether no save is running.
    pub fn idle(&self) -> bool {
        self.saving.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Starts a save once the one before has ended, whose outcome this is.
    pub async fn save(&mut self, record: Record) -> Result<(), Fault> {
        let before = self.settled().await;
        if let Some(mut file) = self.file.take() {
            self.saving = Some(tokio::task::spawn_blocking(move || {
                let saved = file.save(&record);
                (file, saved)
            }));
        }
        before
    }

    /// Saves and waits for it: what comes next presumes that the record is there.
    pub async fn save_now(&mut self, record: Record) -> Result<(), Fault> {
        let before = self.save(record).await;
        before.and(self.settled().await)
    }

    /// Waits for the running save.
    pub async fn settled(&mut self) -> Result<(), Fault> {
        let Some(saving) = self.saving.take() else { return Ok(()) };
        let (file, saved) =
            saving.await.map_err(|e| Fault::new(Kind::Other, format!("saving the record failed: {e}")))?;
        self.file = Some(file);
        saved
    }

    /// Leaves the record for the next run.
    pub async fn leave(mut self, record: &Record) -> Result<(), Fault> {
        let before = self.settled().await;
        match self.file.take() {
            // Whoever has taken over writes the record from now on.
            Some(_) if before.as_ref().is_err_and(|fault| fault.kind == Kind::Held) => before,
            Some(file) => {
                let record = record.clone();
                let left = tokio::task::spawn_blocking(move || file.leave(&record)).await;
                left.map_err(|e| Fault::new(Kind::Other, format!("saving the record failed: {e}")))?
            }
            None => before,
        }
    }

    /// The upload is over, or never began: nothing is left of it.
    pub async fn remove(mut self) -> Result<(), Fault> {
        let before = self.settled().await;
        match self.file.take() {
            Some(_) if before.as_ref().is_err_and(|fault| fault.kind == Kind::Held) => before,
            Some(file) => file.remove(),
            None => before,
        }
    }
}
