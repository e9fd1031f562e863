//! Pages of a list: how many, from where on, and that the question stays the same from page to page.
//!
//! A token is opaque to callers: a hash of the question (without page size and token) and the place where the page before
//! ended. Pages are read by key, so that rows that come and go between two pages shift nothing.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::convert::Faults;
use crate::services::{Error, Result};

/// The entries of a page that asks for none in particular.
const DEFAULT_SIZE: i32 = 50;
/// The most entries of a page.
const MAX_SIZE: i32 = 1000;
const HASH_BYTES: usize = 8;

/// A request for a page.
pub trait Paged: Message + Clone {
    /// The size and the token, to be read and to be taken out of the question.
    fn page(&mut self) -> (&mut i32, &mut String);
}

/// Tells which requests ask for pages.
macro_rules! paged {
    ($($request:ident),+ $(,)?) => {
        $(impl $crate::grpc::page::Paged for proto::v1::$request {
            fn page(&mut self) -> (&mut i32, &mut String) {
                (&mut self.page_size, &mut self.page_token)
            }
        })+
    };
}
pub(crate) use paged;

/// One page: what to read, and how to end it.
#[derive(Debug, Clone)]
pub struct Page<C> {
    /// How many entries the page has at most.
    pub size: usize,
    /// Where the page before ended; none for the first page.
    pub after: Option<C>,
    question: [u8; HASH_BYTES],
}

impl<C: Serialize + DeserializeOwned> Page<C> {
    /// Reads size and token of a request. A negative size is noted as a fault.
    ///
    /// # Errors
    /// [`Error::PageToken`] when the token is none of ours or the question was changed.
    pub fn open<R: Paged>(request: &R, faults: &mut Faults) -> Result<Self> {
        let mut question = request.clone();
        let (size, token) = question.page();
        let (size, token) = (std::mem::take(size), std::mem::take(token));
        if size < 0 {
            faults.note("page_size", format!("is {size}; 0 asks for {DEFAULT_SIZE}, at most {MAX_SIZE} are given"));
        }
        let size = if size <= 0 { DEFAULT_SIZE } else { size.min(MAX_SIZE) };
        let question = hash(std::any::type_name::<R>(), &question.encode_to_vec());
        let after = if token.is_empty() { None } else { Some(read(&token, question)?) };
        Ok(Self { size: usize::try_from(size).unwrap_or(0), after, question })
    }

    /// How many rows to read: one more than the page has, to know whether there is another page.
    #[must_use]
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX - 1) + 1
    }

    /// Cuts what was read to the page, and makes the token of the next one; empty when this is the last.
    pub fn close<T>(&self, mut rows: Vec<T>, cursor: impl Fn(&T) -> C) -> (Vec<T>, String) {
        if rows.len() <= self.size {
            return (rows, String::new());
        }
        rows.truncate(self.size);
        let token = rows.last().map(|row| write(&cursor(row), self.question)).unwrap_or_default();
        (rows, token)
    }
}

fn hash(method: &str, question: &[u8]) -> [u8; HASH_BYTES] {
    let digest = Sha256::new().chain_update(method).chain_update([0]).chain_update(question).finalize();
    let mut short = [0; HASH_BYTES];
    short.copy_from_slice(&digest[..HASH_BYTES]);
    short
}

fn write<C: Serialize>(cursor: &C, question: [u8; HASH_BYTES]) -> String {
    let mut bytes = question.to_vec();
    // A cursor is a number or a text, which JSON always has a form for.
    bytes.extend(serde_json::to_vec(cursor).unwrap_or_default());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read<C: DeserializeOwned>(token: &str, question: [u8; HASH_BYTES]) -> Result<C> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::PageToken)?;
    match bytes.split_at_checked(HASH_BYTES) {
        Some((of, cursor)) if of == question => serde_json::from_slice(cursor).map_err(|_| Error::PageToken),
        Some(_) | None => Err(Error::PageToken),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::ListContactsRequest;

    use super::*;

    fn request(filter: &str, size: i32, token: &str) -> ListContactsRequest {
        ListContactsRequest { filter: filter.into(), page_size: size, page_token: token.into() }
    }

    fn open(request: &ListContactsRequest) -> Result<Page<i64>> {
        let mut faults = Faults::default();
        let page = Page::open(request, &mut faults)?;
        faults.finish()?;
        Ok(page)
    }

    #[test]
    fn pages_follow_each_other_until_the_last() {
        let first = open(&request("a", 2, "")).unwrap();
        assert_eq!((first.after, first.limit()), (None, 3));
        let (rows, token) = first.close(vec![1, 2, 3], |n| *n);
        assert_eq!(rows, [1, 2]);
        let second = open(&request("a", 5, &token)).unwrap();
        assert_eq!(second.after, Some(2));
        assert_eq!(second.close(vec![3], |n| *n), (vec![3], String::new()));
    }

    #[test]
    fn another_question_or_a_foreign_token_is_refused() {
        let (_, token) = open(&request("a", 1, "")).unwrap().close(vec![1, 2], |n| *n);
        for wrong in [request("b", 1, &token), request("a", 1, "x"), request("a", 1, &format!("{token}x"))] {
            assert!(matches!(open(&wrong), Err(Error::PageToken)), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_defaulted_coerced_and_refused() {
        assert_eq!(open(&request("", 0, "")).unwrap().size, 50);
        assert_eq!(open(&request("", 5000, "")).unwrap().size, 1000);
        assert!(matches!(open(&request("", -1, "")), Err(Error::Invalid(v)) if v[0].field == "page_size"));
    }
}
