//! Files that have bytes and are too young for a record. One thread for all of them sees to those that live on: a line
//! that falls silent after its first bytes calls nobody, and a kill would cost all of these.

use super::recorder::Shared;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Instant;

/// A file, and when it is old enough.
type Young = (Instant, Weak<Shared>);

static NURSE: LazyLock<Sender<Young>> = LazyLock::new(|| {
    let (files, coming) = channel();
    // Without a thread the next bytes see to it.
    let _ = std::thread::Builder::new().name("young files".into()).spawn(move || attend(&coming));
    files
});

/// Has `file` looked at again at `due`. Files come in the order of their times.
pub fn watch(file: &Arc<Shared>, due: Instant) {
    let _ = NURSE.send((due, Arc::downgrade(file)));
}

fn attend(coming: &Receiver<Young>) {
    for (due, file) in coming {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Some(file) = file.upgrade() {
            file.touched();
        }
    }
}
