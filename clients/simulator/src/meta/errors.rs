//! Errors as Meta's Graph API words them: the codes, their titles, and the JSON that carries them.
//!
//! Source: Meta's "Cloud API error codes". A code that is not in the table is still sent, with a plain title.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

/// A request that Meta refuses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetaError {
    status: u16,
    pub code: u32,
    subcode: Option<u32>,
    kind: &'static str,
    message: String,
    details: Option<String>,
}

/// Code, HTTP status when it refuses a request, title.
const TABLE: &[(u32, u16, &str)] = &[
    (0, 401, "AuthException"),
    (1, 400, "API Unknown"),
    (2, 503, "API Service"),
    (3, 500, "API Method"),
    (4, 429, "API Too Many Calls"),
    (10, 403, "Permission Denied"),
    (100, 400, "Invalid parameter"),
    (190, 401, "Access token has expired"),
    (368, 403, "Temporarily blocked for policies violations"),
    (80007, 429, "Rate limit issues"),
    (130429, 429, "Rate limit hit"),
    (130472, 400, "User's number is part of an experiment"),
    (130497, 403, "Business account is restricted from messaging users in this country"),
    (131000, 500, "Something went wrong"),
    (131005, 403, "Access denied"),
    (131008, 400, "Required parameter is missing"),
    (131009, 400, "Parameter value is not valid"),
    (131016, 500, "Service unavailable"),
    (131021, 400, "Recipient cannot be sender"),
    (131026, 400, "Message undeliverable"),
    (131030, 400, "Recipient phone number not in allowed list"),
    (131031, 403, "Account has been locked"),
    (131042, 400, "Business eligibility payment issue"),
    (131045, 500, "Incorrect certificate"),
    (131047, 400, "Re-engagement message"),
    (131048, 429, "Spam rate limit hit"),
    (131049, 400, "This message was not delivered to maintain healthy ecosystem engagement"),
    (131050, 400, "User has stopped receiving marketing messages"),
    (131051, 400, "Unsupported message type"),
    (131052, 400, "Media download error"),
    (131053, 400, "Media upload error"),
    (131056, 429, "(Business Account, Consumer Account) pair rate limit hit"),
    (131057, 500, "Account in maintenance mode"),
    (131062, 400, "Business-scoped user ID recipients are not supported for this message"),
    (132000, 400, "Template Param Count Mismatch"),
    (132001, 404, "Template does not exist"),
    (132005, 400, "Template Hydrated Text Too Long"),
    (132007, 400, "Template Format Character Policy Violated"),
    (132012, 400, "Template Parameter Format Mismatch"),
    (132015, 400, "Template is paused"),
    (132016, 400, "Template is disabled"),
    (132068, 400, "Flow is blocked"),
    (132069, 400, "Flow is throttled"),
    (133016, 400, "Account register deregister rate limit exceeded"),
];

impl MetaError {
    /// The refusal with this code and an explanation.
    pub fn new(code: u32, details: impl Into<String>) -> Self {
        let (_, status, title) = known(code);
        let message = if code == 190 { title.to_owned() } else { format!("(#{code}) {title}") };
        Self { status, code, subcode: None, kind: "OAuthException", message, details: Some(details.into()) }
    }

    /// The refusal with this code, as a script asks for it.
    pub fn scripted(code: u32) -> Self {
        Self::new(code, known(code).2)
    }

    /// A request field that Graph itself refuses (code 100), before WhatsApp looks at it.
    pub fn field(message: impl AsRef<str>) -> Self {
        let message = format!("(#100) {}", message.as_ref());
        Self { status: 400, code: 100, subcode: None, kind: "OAuthException", message, details: None }
    }

    /// A request without a token, or with one that is not ours.
    pub fn unauthorized(token_given: bool) -> Self {
        let message = match token_given {
            true => "Invalid OAuth access token - Cannot parse access token",
            false => "Authentication Error",
        };
        let code = if token_given { 190 } else { 0 };
        Self { status: 401, code, subcode: None, kind: "OAuthException", message: message.into(), details: None }
    }

    /// A phone number id that the token cannot see.
    pub fn unknown_object(id: &str, method: &str) -> Self {
        let message = format!(
            "Unsupported {method} request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, \
             or does not support this operation"
        );
        Self { status: 400, code: 100, subcode: Some(33), kind: "GraphMethodException", message, details: None }
    }

    /// A path that Graph does not know.
    pub fn unknown_path(path: &str) -> Self {
        let message = format!("Unknown path components: {path}");
        Self { status: 400, code: 2500, subcode: None, kind: "OAuthException", message, details: None }
    }

    fn body(&self) -> Value {
        let mut error = json!({
            "message": self.message, "type": self.kind, "code": self.code, "fbtrace_id": Uuid::new_v4().simple().to_string(),
        });
        if let Some(details) = &self.details {
            error["error_data"] = json!({ "messaging_product": "whatsapp", "details": details });
        }
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        json!({ "error": error })
    }
}

impl IntoResponse for MetaError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let challenge =
            format!("OAuth \"Facebook Platform\" \"invalid_request\" \"{}\"", self.message.replace('"', "'"));
        (status, [(header::WWW_AUTHENTICATE, challenge)], Json(self.body())).into_response()
    }
}

/// A failure as it stands in the `errors` of a status webhook.
pub(crate) fn failure(code: u32) -> Value {
    let (_, _, title) = known(code);
    json!({
        "code": code,
        "title": title,
        "message": title,
        "error_data": { "details": details_of(code) },
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    })
}

fn details_of(code: u32) -> &'static str {
    match code {
        131026 => "Message Undeliverable.",
        131047 => {
            "Message failed to send because more than 24 hours have passed since the customer last replied to this number."
        }
        131049 => "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
        _ => known(code).2,
    }
}

fn known(code: u32) -> (u32, u16, &'static str) {
    let other = (code, 400, "Message failed");
    let permission = (code, 403, "API Permission");
    TABLE.iter().find(|entry| entry.0 == code).copied().unwrap_or(if (200..300).contains(&code) {
        permission
    } else {
        other
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_shape_of_the_graph_api() {
        let body = MetaError::new(131009, "too long").body();
        assert_eq!(body["error"]["code"], 131009);
        assert_eq!(body["error"]["message"], "(#131009) Parameter value is not valid");
        assert_eq!(body["error"]["error_data"]["details"], "too long");
        assert_eq!(MetaError::scripted(130429).into_response().status(), 429);
        assert_eq!(MetaError::scripted(210).into_response().status(), 403);
    }
}
