//! Files that are too big for the database, or are to outlive its rows: a folder of this machine, or a bucket that speaks S3.
//!
//! A file is named by its content: `{area}/{first two digits}/{SHA-256}{suffix}`. So the same content is stored once, a repeated
//! put does no harm, and whoever reads can prove that it is whole. The database says what a file is for; this room knows
//! neither messages nor archives. It never logs a name that a person gave.
//!
//! **Order**: first the file, then the row that refers to it; a crash between leaves a file without a row, which a sweep over
//! [`Blobs::list`] finds. To remove: first the row, then the file.

mod settings;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use sha2::{Digest, Sha256};

use crate::config::Place;

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("the file {0} is not in the store")]
    NotFound(Key),
    /// The store cannot be used as it is set up.
    #[error("the file store cannot be used: {0}")]
    Settings(String),
    /// The store did not do it: it may later.
    #[error("the file store failed")]
    Failed(#[source] object_store::Error),
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// The name of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Path);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Key {
    /// The name of a content in an area, such as `media` or `archive`. `suffix` is empty or such as `.parquet`.
    #[must_use]
    pub fn of(area: &str, sha256: &[u8], suffix: &str) -> Self {
        let digits = hex::encode(sha256);
        let start = digits.get(..2).unwrap_or("__").to_owned();
        Self(Path::from_iter([area, &start, &format!("{digits}{suffix}")]))
    }

    /// A name that was written down before.
    ///
    /// # Errors
    /// [`Error::Settings`] when it is no path of the store.
    pub fn parse(text: &str) -> Result<Self> {
        Path::parse(text).map(Self).map_err(|error| Error::Settings(error.to_string()))
    }
}

/// A file as a list shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub written_at: DateTime<Utc>,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// The store at a place. A folder is made when it does not exist; a bucket is not asked before it is used.
    ///
    /// # Errors
    /// [`Error::Settings`] says what is wrong with the place.
    pub fn open(place: &Place) -> Result<Self> {
        Ok(Self { store: settings::open(place)? })
    }

    /// A store that is gone with the process: for tests, and where no file is ever kept.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { store: Arc::new(object_store::memory::InMemory::new()) }
    }

    /// Stores a content under its name. A content that is there already is left as it is.
    ///
    /// # Errors
    /// [`Error::Failed`]; then nothing can be said of the file.
    pub async fn put(&self, area: &str, suffix: &str, content: Bytes) -> Result<Key> {
        let key = Key::of(area, &sha256(&content), suffix);
        match self.store.head(&key.0).await {
            Ok(found) if found.size == content.len() as u64 => return Ok(key),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(Error::Failed(error)),
        }
        self.store.put(&key.0, content.into()).await.map_err(Error::Failed)?;
        Ok(key)
    }

    /// The bytes of a file, in order, as they are read.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Failed`]; the stream may end with the latter too.
    pub async fn get(&self, key: &Key) -> Result<BoxStream<'static, Result<Bytes>>> {
        let found = self.store.get(&key.0).await.map_err(|error| of(key, error))?;
        Ok(found.into_stream().map(|part| part.map_err(Error::Failed)).boxed())
    }

    /// Some bytes of a file: `bytes` of them, from `first` on.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Failed`]; the latter also when the file ends before.
    pub async fn get_part(&self, key: &Key, first: u64, bytes: u64) -> Result<Bytes> {
        self.store.get_range(&key.0, first..first.saturating_add(bytes)).await.map_err(|error| of(key, error))
    }

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub async fn delete(&self, key: &Key) -> Result<()> {
        match self.store.delete(&key.0).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::Failed(error)),
        }
    }

    /// Every file of an area, in no order, read as the stream is.
    pub fn list(&self, area: &str) -> BoxStream<'static, Result<Listed>> {
        let listed = self.store.list(Some(&Path::from(area)));
        let shown = |file: object_store::ObjectMeta| Listed {
            key: Key(file.location),
            size: file.size,
            written_at: file.last_modified,
        };
        listed.map(move |file| file.map(shown).map_err(Error::Failed)).boxed()
    }

    /// Writes, reads and removes a small file, to prove that the store can be used.
    ///
    /// # Errors
    /// What fails first.
    pub async fn check(&self) -> Result<()> {
        let key = self.put("check", "", Bytes::from_static(b"switchboard")).await?;
        let mut read = self.get(&key).await?;
        while let Some(part) = read.next().await {
            part?;
        }
        self.delete(&key).await
    }
}

/// The hash that names a content.
#[must_use]
pub fn sha256(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

fn of(key: &Key, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound(key.clone()),
        other => Error::Failed(other),
    }
}

#[cfg(test)]
mod tests;
