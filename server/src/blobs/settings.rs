//! How the store is opened at the place that the settings name.

use std::sync::Arc;

use object_store::{ObjectStore, aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore};
use secrecy::ExposeSecret;

use super::{Error, Result};
use crate::config::{Place, S3};

pub(super) fn open(place: &Place) -> Result<Arc<dyn ObjectStore>> {
    match place {
        Place::Folder(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::Settings(format!("the folder cannot be made ({})", error.kind())))?;
            let store = LocalFileSystem::new_with_prefix(folder).map_err(wrong)?;
            Ok(Arc::new(store))
        }
        Place::S3(s3) => bucket(s3),
    }
}

fn bucket(s3: &S3) -> Result<Arc<dyn ObjectStore>> {
    // An error means that another part of the process was first: there is a provider, which is all that is asked.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let base = match &s3.access {
        Some((key, secret)) => {
            AmazonS3Builder::new().with_access_key_id(key).with_secret_access_key(secret.expose_secret())
        }
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = base.with_bucket_name(&s3.bucket).with_region(&s3.region);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let store = builder.build().map_err(wrong)?;
    Ok(match s3.prefix.as_str() {
        "" => Arc::new(store),
        prefix => Arc::new(PrefixStore::new(store, Path::from(prefix))),
    })
}

fn wrong(error: object_store::Error) -> Error {
    Error::Settings(error.to_string())
}
