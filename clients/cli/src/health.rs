//! `health`: whether the server serves, by the standard `grpc.health.v1.Health`.

use clap::Args;
use prost::Message;
use serde_json::json;
use tonic::Status;
use tonic::codegen::http::uri::PathAndQuery;

use crate::error::Error;
use crate::exit;
use crate::session::Session;

/// Ask whether the server serves; ends with 69 when it does not.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  switchboard-cli health
  switchboard-cli health --timeout 2s --quiet")]
pub struct Health {
    /// A service by its full name, such as switchboard.v1.ContactService; without it the server as a whole.
    #[arg(default_value = "", hide_default_value = true)]
    service: String,
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`, with its status as a number.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Health {
    /// Asks.
    ///
    /// # Errors
    /// What the server refused; `Error::FoundWrong` when it does not serve.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let request = Request { service: self.service }.encode_to_vec();
        let bytes = session.client.unary_at(&path, request.into()).await?;
        let response = Response::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
        let status = match response.status {
            1 => "SERVING",
            2 => "NOT_SERVING",
            3 => "SERVICE_UNKNOWN",
            _ => "UNKNOWN",
        };
        let line = if session.out.json { json!({"status": status}).to_string() } else { status.to_owned() };
        session.out.line(&line)?;
        if status == "SERVING" { Ok(()) } else { Err(Error::FoundWrong(status.to_owned(), exit::UNAVAILABLE)) }
    }
}
