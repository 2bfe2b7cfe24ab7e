//! The archive before, whose frames can be taken over.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use jiff::Timestamp;

use crate::archive::file::ArchiveFile;
use crate::archive::lines::Lines;
use crate::archive::seal::Identities;
use crate::manifest::{End, Entry, Header, Line, Seal};
use crate::store::{Store, Summary};
use crate::{ArchiveName, Error, Part, Result, Set, StoredPath};

/// The archive before.
pub(crate) struct Previous {
    /// The beginning of the newest manifest, and its totals.
    pub(crate) header: Header,
    pub(crate) end: End,
    /// The archive that has the data: of the same name, or what that has not changed since.
    pub(crate) data: ArchiveName,
    pub(crate) archive: Arc<ArchiveFile>,
    manifest: PathBuf,
    encrypted: bool,
    identities: Identities,
}

/// The newest archive of the set that can be read; older ones and broken ones are passed over.
pub(crate) fn find(store: &Store, set: &Set, identities: &Identities) -> Result<Option<Previous>> {
    let encrypted = !set.recipients.is_empty();
    for stored in store.of_set(&set.name)?.into_iter().rev() {
        // What was encrypted stays so: its frames do not go into an archive that is not, nor the other way round.
        if stored.encrypted != encrypted {
            continue;
        }
        let opened = store.summary(&stored, identities).and_then(|summary| {
            let Summary { header, end, seal } = summary;
            let data = match seal {
                Seal::Archive { .. } => stored.name.clone(),
                Seal::UnchangedSince(name) => name,
            };
            let path = store.path(&data, Part::Archive { encrypted });
            let archive = Arc::new(ArchiveFile::open(&path, encrypted, identities)?);
            let manifest = store.path(&data, Part::Manifest { encrypted });
            Ok(Previous { header, end, data, archive, manifest, encrypted, identities: identities.clone() })
        });
        match opened {
            Ok(previous) => return Ok(Some(previous)),
            // The most that can be lost by it is time.
            Err(
                Error::Damaged { .. } | Error::Sealed { .. } | Error::NoArchive { .. } | Error::Path { .. },
            ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl Previous {
    /// Whether everything should be read and hashed again.
    pub(crate) fn reread_is_due(&self, now: Timestamp, every: Duration) -> bool {
        let since = now.duration_since(self.header.last_full_read);
        // A clock that went back says nothing; one that is far ahead costs one reading too many.
        Duration::try_from(since).is_ok_and(|since| since >= every)
    }

    /// Its entries, read ahead in a thread.
    pub(crate) fn entries(&self) -> Result<Entries> {
        let lines = Lines::beside(&self.manifest, self.encrypted, &self.identities)?;
        let (sender, receiver) = sync_channel(2);
        std::thread::spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            for line in lines {
                match line {
                    Ok(Line::Entry(entry)) => batch.push(Ok(Box::new(entry))),
                    Ok(_) => {}
                    Err(error) => batch.push(Err(error)),
                }
                if batch.len() == BATCH && sender.send(std::mem::take(&mut batch)).is_err() {
                    return;
                }
            }
            let _ = sender.send(batch);
        });
        Ok(Entries { receiver, batch: Vec::new().into_iter(), next: None })
    }
}

/// How many entries are handed over at once.
const BATCH: usize = 256;

/// The entries of the archive before, in their order, beside a walk in the same order.
pub(crate) struct Entries {
    receiver: Receiver<Vec<Result<Box<Entry>>>>,
    batch: std::vec::IntoIter<Result<Box<Entry>>>,
    next: Option<Box<Entry>>,
}

impl Entries {
    fn peek(&mut self) -> Result<Option<&Entry>> {
        while self.next.is_none() {
            match self.batch.next() {
                Some(entry) => self.next = Some(entry?),
                None => match self.receiver.recv() {
                    Ok(batch) => self.batch = batch.into_iter(),
                    Err(_) => return Ok(None),
                },
            }
        }
        Ok(self.next.as_deref())
    }

    /// What it says of this path, and how many that are gone come before.
    pub(crate) fn at(&mut self, path: &StoredPath) -> Result<(Option<Box<Entry>>, u64)> {
        let mut gone = 0;
        loop {
            match self.peek()?.map(|entry| entry.path.cmp(path)) {
                Some(Ordering::Less) => {
                    self.next = None;
                    gone += 1;
                }
                Some(Ordering::Equal) => return Ok((self.next.take(), gone)),
                Some(Ordering::Greater) | None => return Ok((None, gone)),
            }
        }
    }

    /// How many are left, all of them gone.
    pub(crate) fn rest(&mut self) -> Result<u64> {
        let mut gone = 0;
        while self.peek()?.is_some() {
            self.next = None;
            gone += 1;
        }
        Ok(gone)
    }
}
