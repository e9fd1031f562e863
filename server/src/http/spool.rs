//! The spool: a folder in which webhooks wait while Postgres cannot be reached, oldest first, bounded, and safe over a restart.
//!
//! One file a request: a line of JSON about it, then its raw body. A file is whole or not there: it is written under another
//! name, flushed to the disk, and renamed. What cannot be taken any more when its turn comes is set aside for a person, with
//! the ending `.refused`. Only requests whose signature fits get here, so strangers cannot fill it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{channels::WebhookRequest, telemetry};

const WAITING: &str = "webhook";
const REFUSED: &str = "refused";
const PART: &str = "part";

/// Why nothing more can wait here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As much waits as may.
    #[error("the spool is full")]
    Full,
    /// Another process has this folder.
    #[error("another process uses {}: give each process that serves a folder of its own (http.spool_dir)", .0.display())]
    InUse(PathBuf),
    /// The disk failed.
    #[error("the spool {} cannot be used", .0.display())]
    Disk(PathBuf, #[source] io::Error),
}

/// A webhook that waits.
#[derive(Debug, Clone)]
pub struct Spooled {
    /// The provider that it was sent to.
    pub provider_id: i32,
    /// The request as it came.
    pub request: WebhookRequest,
    /// When it came, in business time.
    pub arrived: DateTime<Utc>,
}

/// The line about a request. Headers are kept because signatures stand in them.
#[derive(Serialize, Deserialize)]
struct Line {
    provider_id: i32,
    method: String,
    url: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    received_at: DateTime<Utc>,
    arrived: DateTime<Utc>,
}

/// See the module. Cheap to clone; clones share the folder.
#[derive(Debug, Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    identity: Uuid,
    max_bytes: u64,
    book: Mutex<Book>,
    waiting: AtomicUsize,
    filled: Notify,
    /// Held as long as the spool lives; none where nothing may wait.
    _lock: Option<File>,
}

#[derive(Debug, Default)]
struct Book {
    bytes: u64,
    next: u64,
}

impl Spool {
    /// Opens a folder, which is made when it is not there; what waits in it from before counts. With `max_bytes` of 0 there is
    /// no folder, and everything is refused as [`Error::Full`].
    ///
    /// # Errors
    /// [`Error::InUse`] and [`Error::Disk`].
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, Error> {
        let disk = |error| Error::Disk(dir.to_owned(), error);
        let (mut book, mut waiting, mut lock, mut identity) = (Book::default(), 0, None, Uuid::new_v4());
        if max_bytes > 0 {
            fs::create_dir_all(dir).map_err(disk)?;
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join("lock"))
                .map_err(disk)?;
            file.try_lock().map_err(|error| match error {
                fs::TryLockError::WouldBlock => Error::InUse(dir.to_owned()),
                fs::TryLockError::Error(error) => disk(error),
            })?;
            identity = read_or_make(&mut file).map_err(disk)?;
            lock = Some(file);
            for (path, size) in files(dir).map_err(disk)? {
                match ending(&path) {
                    // Its process ended before it was whole: nobody was told that it is taken.
                    PART => fs::remove_file(&path).map_err(disk)?,
                    WAITING | REFUSED => {
                        book.bytes += size;
                        book.next = book.next.max(number(&path) + 1);
                        waiting += usize::from(ending(&path) == WAITING);
                    }
                    _ => {}
                }
            }
        }
        let filled = Notify::new();
        if waiting > 0 {
            tracing::info!(webhooks = waiting, "webhooks wait from before");
            filled.notify_one();
        }
        telemetry::spooled(waiting);
        let (book, waiting) = (Mutex::new(book), AtomicUsize::new(waiting));
        let inner = Inner { dir: dir.to_owned(), identity, max_bytes, book, waiting, filled, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What this folder is known by, also over restarts; where there is no folder, for as long as the process runs.
    #[must_use]
    pub fn identity(&self) -> Uuid {
        self.inner.identity
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// How many webhooks wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Acquire)
    }

    /// Waits until something waits.
    pub async fn filled(&self) {
        while self.is_empty() {
            self.inner.filled.notified().await;
        }
    }

    /// Keeps a request; when this returns it is on the disk.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Disk`].
    pub async fn keep(&self, spooled: Spooled) -> Result<(), Error> {
        let spool = self.clone();
        spool.clone().blocking(move || spool.keep_now(&spooled)).await
    }

    fn keep_now(&self, spooled: &Spooled) -> Result<(), Error> {
        let disk = |error| Error::Disk(self.inner.dir.clone(), error);
        let line = serde_json::to_vec(&Line::of(spooled)).map_err(|error| disk(io::Error::other(error)))?;
        let size = u64::try_from(line.len() + 1 + spooled.request.body.len()).unwrap_or(u64::MAX);
        // Held while writing: files become visible in the order of their numbers.
        let mut book = self.inner.book.lock().unwrap_or_else(PoisonError::into_inner);
        if self.inner.max_bytes == 0 || book.bytes.saturating_add(size) > self.inner.max_bytes {
            return Err(Error::Full);
        }
        let path = self.inner.dir.join(format!("{:020}.{WAITING}", book.next));
        write_whole(&path, &[&line, b"\n", &spooled.request.body]).map_err(disk)?;
        book.next += 1;
        book.bytes += size;
        telemetry::spooled(self.inner.waiting.fetch_add(1, Ordering::AcqRel) + 1);
        self.inner.filled.notify_one();
        Ok(())
    }

    /// The oldest that waits, and where it stands. `Err` inside: it cannot be read, and is to be [set aside](Self::set_aside).
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub async fn oldest(&self) -> Result<Option<(PathBuf, io::Result<Spooled>)>, Error> {
        let spool = self.clone();
        self.blocking(move || {
            let disk = |error| Error::Disk(spool.inner.dir.clone(), error);
            let waiting = files(&spool.inner.dir).map_err(disk)?.into_iter().map(|(path, _)| path);
            let Some(path) = waiting.filter(|path| ending(path) == WAITING).min() else { return Ok(None) };
            let content = fs::read(&path).map_err(disk)?;
            Ok(Some((path, parse(&content))))
        })
        .await
    }

    /// Removes what was stored.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub async fn remove(&self, path: PathBuf) -> Result<(), Error> {
        let spool = self.clone();
        self.blocking(move || {
            let disk = |error| Error::Disk(spool.inner.dir.clone(), error);
            let mut book = spool.inner.book.lock().unwrap_or_else(PoisonError::into_inner);
            let size = fs::metadata(&path).map_err(disk)?.len();
            fs::remove_file(&path).map_err(disk)?;
            book.bytes = book.bytes.saturating_sub(size);
            spool.one_less();
            Ok(())
        })
        .await
    }

    /// Sets aside what can never be stored, for a person to look at. It counts against the size until it is deleted by hand.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub async fn set_aside(&self, path: PathBuf) -> Result<(), Error> {
        let spool = self.clone();
        self.blocking(move || {
            let disk = |error| Error::Disk(spool.inner.dir.clone(), error);
            fs::rename(&path, path.with_extension(REFUSED)).map_err(disk)?;
            spool.one_less();
            Ok(())
        })
        .await
    }

    fn one_less(&self) {
        telemetry::spooled(self.inner.waiting.fetch_sub(1, Ordering::AcqRel).saturating_sub(1));
    }

    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |error| Error::Disk(self.inner.dir.clone(), io::Error::other(error));
        tokio::task::spawn_blocking(act).await.map_err(failed)?
    }
}

/// The identity that stands in the lock file; a new one is written where there is none.
fn read_or_make(file: &mut File) -> io::Result<Uuid> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if let Ok(identity) = text.trim().parse() {
        return Ok(identity);
    }
    let identity = Uuid::new_v4();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(identity.to_string().as_bytes())?;
    file.sync_all()?;
    Ok(identity)
}

/// How many webhooks wait in a folder, and how many were set aside; without opening it.
///
/// # Errors
/// When the folder cannot be read.
pub fn count(dir: &Path) -> io::Result<(usize, usize)> {
    if !dir.exists() {
        return Ok((0, 0));
    }
    let files = files(dir)?;
    let of = |wanted| files.iter().filter(|(path, _)| ending(path) == wanted).count();
    Ok((of(WAITING), of(REFUSED)))
}

impl Line {
    fn of(Spooled { provider_id, request, arrived }: &Spooled) -> Self {
        let header = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
        Self {
            provider_id: *provider_id,
            method: request.method.to_string(),
            url: request.url.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.iter().map(header).collect(),
            received_at: request.received_at,
            arrived: *arrived,
        }
    }
}

fn parse(content: &[u8]) -> io::Result<Spooled> {
    let end = content.iter().position(|byte| *byte == b'\n').ok_or(io::ErrorKind::InvalidData)?;
    let line: Line = serde_json::from_slice(&content[..end])?;
    let mut headers = HeaderMap::with_capacity(line.headers.len());
    for (name, value) in line.headers {
        let name: HeaderName = name.parse().map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_bytes(&value).map_err(io::Error::other)?);
    }
    let request = WebhookRequest {
        method: line.method.parse::<Method>().map_err(io::Error::other)?,
        url: line.url,
        path: line.path,
        query: line.query,
        headers,
        body: Bytes::copy_from_slice(&content[end + 1..]),
        received_at: line.received_at,
    };
    Ok(Spooled { provider_id: line.provider_id, request, arrived: line.arrived })
}

/// Writes a file that is whole or not there, whatever happens to the machine.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let draft = path.with_extension(PART);
    let mut file = File::create(&draft)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The name itself is on the disk only when the folder is.
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn files(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    fs::read_dir(dir)?.map(|entry| entry.and_then(|e| Ok((e.path(), e.metadata()?.len())))).collect()
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

fn number(path: &Path) -> u64 {
    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(body: &str) -> Spooled {
        let mut headers = HeaderMap::new();
        headers.append("x-signature", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let request = WebhookRequest {
            method: Method::POST,
            url: "https://alerts.example.org/webhooks/7/status?d=1".into(),
            path: "/status".into(),
            query: "d=1".into(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            received_at: DateTime::UNIX_EPOCH,
        };
        Spooled { provider_id: 7, request, arrived: DateTime::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn what_is_kept_comes_back_whole_and_in_order_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 10_000).unwrap();
        for body in ["first\nwith lines", "", "third"] {
            spool.keep(spooled(body)).await.unwrap();
        }
        let identity = spool.identity();
        drop(spool);
        std::fs::write(dir.path().join("00000000000000000009.part"), "half").unwrap();
        let spool = Spool::open(dir.path(), 10_000).unwrap();
        assert_eq!(spool.identity(), identity);
        assert_eq!(spool.waiting(), 3);
        for body in ["first\nwith lines", "", "third"] {
            let (path, found) = spool.oldest().await.unwrap().expect("one waits");
            let found = found.unwrap();
            assert_eq!((found.request.body.as_ref(), found.provider_id), (body.as_bytes(), 7));
            assert_eq!(found.request.headers, spooled("").request.headers);
            assert_eq!(found.request.url, spooled("").request.url);
            spool.remove(path).await.unwrap();
        }
        assert!(spool.is_empty() && spool.oldest().await.unwrap().is_none());
        spool.keep(spooled("later")).await.unwrap();
        assert_eq!(count(dir.path()).unwrap(), (1, 0));
    }

    #[tokio::test]
    async fn it_is_bounded_and_takes_more_when_there_is_room_again() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1_500).unwrap();
        spool.keep(spooled(&"x".repeat(1_000))).await.unwrap();
        assert!(matches!(spool.keep(spooled(&"x".repeat(1_000))).await, Err(Error::Full)));
        let (path, _) = spool.oldest().await.unwrap().unwrap();
        spool.remove(path).await.unwrap();
        spool.keep(spooled(&"x".repeat(1_000))).await.unwrap();
        let none = Spool::open(Path::new("/nowhere"), 0).unwrap();
        assert!(matches!(none.keep(spooled("")).await, Err(Error::Full)));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_set_aside_and_the_next_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.webhook");
        std::fs::write(&path, "no line").unwrap();
        let spool = Spool::open(dir.path(), 10_000).unwrap();
        spool.keep(spooled("good")).await.unwrap();
        let (broken, found) = spool.oldest().await.unwrap().unwrap();
        assert!(broken == path && found.is_err());
        spool.set_aside(broken).await.unwrap();
        let (_, found) = spool.oldest().await.unwrap().unwrap();
        assert_eq!(found.unwrap().request.body.as_ref(), b"good");
        assert_eq!(count(dir.path()).unwrap(), (1, 1));
    }

    #[test]
    fn two_processes_cannot_share_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _mine = Spool::open(dir.path(), 100).unwrap();
        assert!(matches!(Spool::open(dir.path(), 100), Err(Error::InUse(_))));
    }
}
