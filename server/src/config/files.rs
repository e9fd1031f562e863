//! The sections `[files]`, `[media]` and `[archive]`: where files lie, which files of messages are copied there, and when
//! conversations go there.

use std::path::PathBuf;

use domain::message::media;
use secrecy::{ExposeSecret, SecretString};

use super::{is_base_url, layers::Layers};

/// Where the files lie.
#[derive(Debug, Clone)]
pub enum Place {
    /// A folder of this machine. With several processes on several machines it must be one that all of them see.
    Folder(PathBuf),
    /// A bucket of a store that speaks S3.
    S3(S3),
}

/// A bucket of a store that speaks S3.
#[derive(Debug, Clone)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What stands before every name; empty: nothing.
    pub prefix: String,
    /// The address of a store other than Amazon's.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` where the store knows none.
    pub region: String,
    /// The key and its secret; none: those of the environment or the machine, as Amazon's tools find them.
    pub access: Option<(String, SecretString)>,
}

/// `[archive]`, in days after the end of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive {
    /// When it goes into the archive; none: never.
    pub after: Option<u32>,
    /// When it is removed from there; none: never.
    pub keep: Option<u32>,
}

pub(super) fn archive(layers: &mut Layers) -> Archive {
    let days = |layers: &mut Layers, key| Some(super::small(layers, key, 0..=36_500)).filter(|days| *days > 0);
    let (after, keep) = (days(layers, "archive.after_days"), days(layers, "archive.keep_days"));
    if after.is_some_and(|after| after < SETTLED) {
        layers.wrong(
            "archive.after_days",
            format!("must be 0 or at least {SETTLED}: so long answers may refer to what was said"),
        );
    }
    if let (Some(keep), Some(after)) = (keep, after)
        && keep <= after
    {
        layers.wrong("archive.keep_days", "must be 0 or more than archive.after_days");
    }
    Archive { after, keep }
}

/// After so many days no answer refers to a notification that is over.
const SETTLED: u32 = 4;

pub(super) fn place(layers: &mut Layers) -> Option<Place> {
    let at = layers.text("files.place");
    let endpoint = layers.text("files.s3_endpoint");
    let region = layers.text("files.s3_region");
    let key = layers.text("files.s3_access_key_id");
    let secret = layers.secret("files.s3_secret_access_key").filter(|secret| !secret.expose_secret().is_empty());
    let Some(named) = at.strip_prefix("s3://") else {
        if at.is_empty() || at.contains("://") {
            layers.wrong("files.place", "must be a folder, or s3:// with a bucket and, if wanted, a folder in it");
            return None;
        }
        return Some(Place::Folder(PathBuf::from(at)));
    };
    let (bucket, prefix) = named.split_once('/').unwrap_or((named, ""));
    if bucket.is_empty() {
        layers.wrong("files.place", "must name a bucket, such as s3://switchboard");
    }
    if !endpoint.is_empty() && !is_base_url(&endpoint) {
        layers.wrong("files.s3_endpoint", "must be a web address, such as https://minio.example.org, or empty");
    }
    if key.is_empty() != secret.is_none() {
        layers.wrong(
            "files.s3_access_key_id",
            "must be given together with files.s3_secret_access_key, or both be empty",
        );
    }
    Some(Place::S3(S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        endpoint: Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
        region,
        access: Some(key).filter(|key| !key.is_empty()).zip(secret),
    }))
}

pub(super) fn media(layers: &mut Layers) -> media::Rules {
    let max_bytes = layers.number("media.max_bytes", 1024..=128 * 1024 * 1024);
    let key = "media.allowed_types";
    let shape = "must be a list of MIME types, such as \"application/pdf\" or \"image/*\"";
    let types = layers.value(key).and_then(|value| value.try_into::<Vec<String>>().ok());
    let is_type =
        |text: &String| text.split_once('/').is_some_and(|(group, name)| !group.is_empty() && !name.is_empty());
    let types = types.filter(|types| types.iter().all(is_type));
    let allowed = layers.parsed(key, types.ok_or(shape)).unwrap_or_default();
    media::Rules {
        max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
        allowed_types: allowed.iter().map(|text| media::essence(text)).collect(),
    }
}
