//! The files that people send: an id gives a link, which lives five minutes, and the link gives the bytes; both want the token.
//!
//! Meta keeps a file for 30 days. 360dialog gives Meta's links, which are asked for at its own address
//! (<https://docs.360dialog.com/partner/messaging/media-messages/upload-retrieve-or-delete-media>).

use reqwest::Url;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Gateway, WhatsApp};
use crate::channels::{
    FetchError, Fetched,
    wire::{self, Download},
};

#[derive(Deserialize)]
struct Link {
    url: String,
    #[serde(default)]
    mime_type: String,
    #[serde(default)]
    sha256: String,
    #[serde(default)]
    file_size: Option<usize>,
}

pub(super) async fn fetch(line: &WhatsApp, id: &str, max_bytes: usize) -> Result<Fetched, FetchError> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err(FetchError::Never("the reference is no id of WhatsApp's media".to_owned()));
    }
    let link = link(line, id).await?;
    if link.file_size.is_some_and(|size| size > max_bytes) {
        return Err(FetchError::Never(format!("the file is bigger than {max_bytes} bytes")));
    }
    let request = line.authenticated(line.client.get(address(line, &link.url)?));
    let Download::Whole { mime_type, bytes } = wire::download(request, max_bytes).await? else {
        return Err(FetchError::Later("the link leads elsewhere".to_owned()));
    };
    if !link.sha256.is_empty() && !link.sha256.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&bytes))) {
        return Err(FetchError::Later("the file is not the one that was announced".to_owned()));
    }
    Ok(Fetched { mime_type: if link.mime_type.is_empty() { mime_type } else { link.mime_type }, bytes })
}

async fn link(line: &WhatsApp, id: &str) -> Result<Link, FetchError> {
    let url = match &line.gateway {
        Gateway::Meta { version, .. } => format!("{}/{version}/{id}", line.base_url),
        Gateway::Dialog360 { .. } => format!("{}/{id}", line.base_url),
    };
    let reply = wire::call(line.authenticated(line.client.get(url))).await;
    let reply = reply.map_err(|error| FetchError::Later(error.to_string()))?;
    match (reply.status.as_u16(), reply.json::<Link>()) {
        (200..=299, Some(link)) => Ok(link),
        (404 | 410, _) => Err(FetchError::Lost("WhatsApp no longer has the file".to_owned())),
        (status, _) => Err(FetchError::Later(format!("HTTP {status} in place of a link"))),
    }
}

/// The token goes to nobody in clear text, and to 360dialog's own address where it is 360dialog's.
fn address(line: &WhatsApp, link: &str) -> Result<Url, FetchError> {
    let wrong = || FetchError::Later("the link is no address".to_owned());
    let mut url = Url::parse(link).map_err(|_| wrong())?;
    let base = Url::parse(&line.base_url).map_err(|_| wrong())?;
    if matches!(line.gateway, Gateway::Dialog360 { .. }) {
        url.set_host(base.host_str()).map_err(|_| wrong())?;
        url.set_port(base.port()).map_err(|()| wrong())?;
        url.set_scheme(base.scheme()).map_err(|()| wrong())?;
    }
    if url.scheme() != "https" && url.origin() != base.origin() {
        return Err(FetchError::Later("the link is not over TLS".to_owned()));
    }
    Ok(url)
}
