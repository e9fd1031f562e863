//! The HTTP answers that go wrong on purpose.
//!
//! What was accepted is accepted before anything here is called; only the caller's view of it differs.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::core::Core;
use crate::line::Scissors;
use crate::script::Fault;

/// A web page where JSON was promised, as a load balancer in front of a provider might send it.
const PAGE: &str = "<html><head><title>Please wait</title></head><body>The service is busy.</body></html>";

/// Gives the good answer, or what the fault makes of it.
pub(crate) async fn finish(core: &Core, scissors: &Scissors, fault: Option<Fault>, good: Response) -> Response {
    let page = |status: StatusCode| (status, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response();
    match fault {
        None => good,
        Some(Fault::Garbage) => page(good.status()),
        Some(Fault::ServerError) => page(StatusCode::INTERNAL_SERVER_ERROR),
        Some(Fault::Timeout) => {
            core.ended.cancelled().await;
            scissors.cut();
            good
        }
        Some(Fault::Drop) => {
            core.ledger.count(|stats| stats.dropped += 1);
            scissors.cut();
            good
        }
    }
}

/// The fault's name in a record.
pub(crate) fn fault_name(fault: Option<Fault>) -> Option<String> {
    let name = match fault? {
        Fault::Timeout => "timeout",
        Fault::ServerError => "server_error",
        Fault::Garbage => "garbage",
        Fault::Drop => "drop",
    };
    Some(name.to_owned())
}
