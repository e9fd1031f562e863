//! Request ids: every write gets one, so that it may be repeated without harm.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use uuid::Uuid;

/// The field that makes a request safe to repeat.
const FIELD: &str = "request_id";
/// The field of the first message of an import that holds that field.
const OPTIONS: &str = "options";

/// Sets the request id where the message has the field and nothing is set. Afterwards every request may be repeated: one
/// without the field changes nothing.
pub fn fill(message: &mut DynamicMessage, given: Option<&str>) {
    if message.descriptor().get_field_by_name(FIELD).is_some() {
        set(message, given);
    } else if message.descriptor().get_field_by_name(OPTIONS).is_some()
        && message.has_field_by_name(OPTIONS)
        && let Some(Value::Message(options)) = message.get_field_by_name_mut(OPTIONS)
    {
        set(options, given);
    }
}

fn set(message: &mut DynamicMessage, given: Option<&str>) {
    if !message.has_field_by_name(FIELD) {
        let id = given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        message.set_field_by_name(FIELD, Value::String(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    fn request_id(message: &DynamicMessage) -> String {
        message.get_field_by_name(FIELD).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn every_write_gets_a_fresh_id_unless_one_is_given() {
        let mut first = DynamicMessage::new(contract::message("StartCampaignRequest").unwrap());
        let mut second = first.clone();
        fill(&mut first, None);
        fill(&mut second, None);
        assert_ne!(request_id(&first), request_id(&second));
        assert!(Uuid::parse_str(&request_id(&first)).is_ok());

        let mut given = DynamicMessage::new(contract::message("StartCampaignRequest").unwrap());
        fill(&mut given, Some("mine"));
        fill(&mut given, Some("other"));
        assert_eq!(request_id(&given), "mine");
    }

    #[test]
    fn every_method_that_changes_something_has_the_field() {
        let reads = [
            "Get",
            "List",
            "Search",
            "Export",
            "Count",
            "Validate",
            "Simulate",
            "Render",
            "Preview",
            "Resolve",
            "Check",
            "DryRun",
            "Watch",
            "Subscribe",
            "Import",
        ];
        // Safe to repeat by themselves: what they carry has ids of its own, or the last word holds.
        let repeatable = [
            "ConnectorService.AttachConnector",
            "ConnectorService.StreamDeliveries",
            "ConnectorService.IngestInbound",
            "ConnectorService.ReportReceipt",
            "ConnectorService.AckDelivery",
            "ConnectorService.ClaimDeliveries",
            "ConnectorService.MarkAttempts",
            "ConnectorService.ReportOutcomes",
            "ControllerService.StreamIntents",
            "WebChatService.StreamMessages",
            "WebChatService.SendMessage",
            "WebChatService.AcknowledgeMessages",
            "WebChatService.SetTyping",
        ];
        let mut writes = 0;
        for method in contract::services().iter().flat_map(|it| it.methods().collect::<Vec<_>>()) {
            let repeats = repeatable.iter().any(|one| method.full_name().ends_with(&format!(".{one}")));
            let reads = repeats || reads.iter().any(|verb| method.name().starts_with(verb));
            assert_eq!(method.input().get_field_by_name(FIELD).is_none(), reads, "{}", method.full_name());
            writes += usize::from(!reads);
        }
        assert!(writes > 30, "only {writes} writes");
    }
}
