//! `/unsubscribe/{token}`: a mail program posts here with one click (RFC 8058); a person who follows the link sees a page with
//! a button. A GET changes nothing, because scanners of mails follow links.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::Web;
use crate::services::unsubscribe;

/// `GET`: asks.
pub async fn ask(State(web): State<Arc<Web>>, Path(token): Path<String>) -> Response {
    match web.context.settings.unsubscribe_key.read(&token) {
        Some(_) => page(
            StatusCode::OK,
            "Unsubscribe",
            r#"<p>You will not be sent messages of this kind any more.</p>
               <form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
               <button type="submit">Unsubscribe</button></form>"#,
        ),
        None => unknown(),
    }
}

/// `POST`: does it.
pub async fn end(State(web): State<Arc<Web>>, Path(token): Path<String>) -> Response {
    let Some(subscription) = web.context.settings.unsubscribe_key.read(&token) else { return unknown() };
    let work = Arc::clone(&web);
    let ended = web.tasks.spawn(async move { unsubscribe::end(&work.context, &subscription).await }).await;
    match ended {
        Ok(Ok(())) => {
            page(StatusCode::OK, "Unsubscribed", "<p>You will not be sent messages of this kind any more.</p>")
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "a subscription was not ended");
            page(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not yet",
                "<p>This cannot be done now. Please try again in a minute.</p>",
            )
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn unknown() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "Unknown link",
        "<p>This link is not complete. Please copy all of it from the message.</p>",
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        r#"<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{title}</title><h1>{title}</h1>{body}</html>"#
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; form-action 'self'"),
    ];
    (status, headers, html).into_response()
}
