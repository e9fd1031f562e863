//! The nouns of the command line: one file each, with its verbs, its arguments, its examples, and the requests that they
//! become. What several nouns share is in `shared` and `plan`.

pub mod audiences;
pub mod call_lists;
pub mod campaign_export;
pub mod campaigns;
pub mod channels;
pub mod chat;
pub mod compliance;
pub mod consents;
pub mod contacts;
pub mod controllers;
pub mod conversations;
pub mod events;
pub mod import;
pub mod message_streams;
pub mod messages;
pub mod notifications;
pub mod plan;
pub mod policies;
pub mod send;
pub mod shared;
pub mod sources;
pub mod templates;
pub mod trigger_kinds;
pub mod trigger_trials;
pub mod triggers;
pub mod web_chats;
pub mod webhooks;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::view::table::tests::exists;

    #[test]
    fn every_column_of_every_list_is_a_field() {
        let lists = [
            ("Audience", audiences::COLUMNS),
            ("CallList", call_lists::COLUMNS),
            ("CallListEntry", call_lists::ENTRIES),
            ("Campaign", campaigns::COLUMNS),
            ("CampaignRecipient", campaigns::RECIPIENTS),
            ("Channel", channels::COLUMNS),
            ("Connector", channels::CONNECTORS),
            ("FrequencyCap", compliance::CAPS),
            ("Suppression", compliance::SUPPRESSIONS),
            ("Erasure", compliance::ERASURES),
            ("ConnectorInstance", channels::INSTANCES),
            ("Consent", consents::COLUMNS),
            ("Contact", contacts::COLUMNS),
            ("Controller", controllers::COLUMNS),
            ("ControllerRun", controllers::RUNS),
            ("Conversation", conversations::COLUMNS),
            ("Activity", conversations::ACTIVITIES),
            ("ChannelSession", conversations::SESSIONS),
            ("Participant", conversations::PARTICIPANTS),
            ("Message", messages::COLUMNS),
            ("ReadMark", messages::MARKS),
            ("Receipt", messages::RECEIPTS),
            ("Notification", notifications::COLUMNS),
            ("FallbackPolicy", policies::COLUMNS),
            ("Source", sources::COLUMNS),
            ("Template", templates::COLUMNS),
            ("TemplateVersion", templates::VERSIONS),
            ("Trigger", triggers::COLUMNS),
            ("Firing", triggers::FIRINGS),
            ("Webhook", webhooks::COLUMNS),
            ("DeadLetter", webhooks::LETTERS),
        ];
        for (name, columns) in lists {
            let message = contract::message(name).unwrap();
            for (_, path) in columns {
                assert!(exists(&message, path), "{name} has no {path}");
            }
        }
    }
}
