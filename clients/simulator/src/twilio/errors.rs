//! Errors as Twilio's REST API words them.
//!
//! Source: Twilio's "Error and Warning Dictionary". A code that is not in the table is still sent, with a plain message.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

/// A request that Twilio refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TwilioError {
    pub code: u32,
    status: u16,
    message: String,
}

/// Code, HTTP status, message when a script asks for it.
const TABLE: &[(u32, u16, &str)] = &[
    (20003, 401, "Authenticate"),
    (20005, 403, "Account is not active"),
    (20404, 404, "The requested resource was not found"),
    (20429, 429, "Too Many Requests"),
    (20500, 500, "An internal server error has occurred"),
    (20503, 503, "Service unavailable"),
    (21211, 400, "The 'To' number is not a valid phone number."),
    (
        21215,
        400,
        "Account not authorized to call this number. Perhaps you need to enable some international permissions.",
    ),
    (21408, 400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number."),
    (21610, 400, "Attempt to send to unsubscribed recipient"),
    (21612, 400, "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"),
    (21614, 400, "'To' number is not a valid mobile number"),
    (21635, 400, "'To' number cannot be a landline"),
    (21901, 400, "The DltTemplateId is not valid"),
    (30001, 400, "Queue overflow"),
    (30002, 403, "Account suspended"),
    (63007, 400, "Twilio could not find a Channel with the specified From address"),
];

impl TwilioError {
    /// A refusal with HTTP status 400.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, status: 400, message: message.into() }
    }

    /// The refusal with this code, as a script asks for it.
    pub fn scripted(code: u32) -> Self {
        let known = TABLE.iter().find(|entry| entry.0 == code);
        let (_, status, message) = known.copied().unwrap_or((code, 400, "The request could not be carried out"));
        Self { code, status, message: message.into() }
    }

    /// A resource that does not exist.
    pub fn not_found(path: &str) -> Self {
        Self { code: 20404, status: 404, message: format!("The requested resource {path} was not found") }
    }
}

impl IntoResponse for TwilioError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = Json(json!({
            "code": self.code,
            "message": self.message,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code),
            "status": self.status,
        }));
        if status == StatusCode::UNAUTHORIZED {
            return (status, [(header::WWW_AUTHENTICATE, "Basic realm=\"Twilio API\"")], body).into_response();
        }
        (status, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_twilios_http_status() {
        for (code, status) in [(20003, 401), (20429, 429), (21211, 400), (20404, 404), (99999, 400)] {
            assert_eq!(TwilioError::scripted(code).into_response().status(), status, "{code}");
        }
    }
}
