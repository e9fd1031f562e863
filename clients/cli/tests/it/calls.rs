//! Single calls: every method by name, nouns with what they send, and how answers look.

use prost_reflect::DescriptorPool;
use proto::v1;
use proto::v1::send_notification_request::Recipient;
use serde_json::Value;

use crate::{Fake, Reply, done, run};

#[test]
fn every_method_of_the_contract_can_be_called_by_name() {
    let fake = Fake::start();
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut count = 0;
    for method in pool.services().flat_map(|it| it.methods().collect::<Vec<_>>()) {
        let name = format!("{}.{}", method.parent_service().name(), method.name());
        assert_eq!(done(&fake, &["call", &name]), "{}\n", "{name}");
        assert_eq!(fake.count(&name), 1, "{name}");
        count += 1;
    }
    assert!(count > 70, "only {count} methods");
}

#[test]
fn call_takes_relaxed_json_and_writes_proto3_json() {
    let fake = Fake::start();
    let time = prost_types::Timestamp { seconds: 1_763_629_200, nanos: 0 };
    let policy = v1::FallbackPolicy { name: "policies/u".into(), create_time: Some(time), ..Default::default() };
    fake.answers("PolicyService.CreatePolicy", [Reply::message(&policy)]);
    let request = r#"{"policyId": "u", "policy": {"steps": [{"channel_type": "sms", "wait": "10m"}]}}"#;
    let answer: Value = serde_json::from_str(&done(&fake, &["call", "PolicyService.CreatePolicy", request])).unwrap();
    assert_eq!(answer["createTime"], "2025-11-20T09:00:00Z");

    let asked: v1::CreatePolicyRequest = fake.asked("PolicyService.CreatePolicy").remove(0);
    assert_eq!(asked.request_id.len(), 36, "a write gets a request id");
    let steps = asked.policy.unwrap().steps;
    assert_eq!(steps[0].wait.unwrap().seconds, 600);
    assert_eq!(steps[0].target, Some(v1::step::Target::ChannelType(v1::ChannelType::Sms.into())));
}

#[test]
fn call_reads_a_stream_from_a_file() {
    let fake = Fake::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"options\": {\"defaultCountry\": \"IN\"}}\n{\"rows\": [{\"line\": 2}]}\n").unwrap();
    done(&fake, &["call", "ContactService.ImportContacts", &format!("@{}", file.path().display())]);
    let messages: Vec<v1::ImportContactsRequest> = fake.messages("ContactService.ImportContacts").remove(0);
    assert_eq!(messages.len(), 2);
    assert!(!messages[0].options.as_ref().unwrap().request_id.is_empty());
}

#[test]
fn send_says_what_was_typed() {
    let fake = Fake::start();
    let line = "notifications send --contact external:EMP-7 --policy urgent@3 --template welcome --var office=Pune \
                --var count=3 --label ticket=88 --request-id 5f0c1f0e-7f6e-4b57-9d4a-5a1c7f0b8a11";
    done(&fake, &line.split_whitespace().collect::<Vec<_>>());
    let asked: v1::SendNotificationRequest = fake.asked("NotificationService.SendNotification").remove(0);
    assert_eq!(asked.recipient, Some(Recipient::Contact("contacts/external:EMP-7".into())));
    let plan = asked.plan.unwrap();
    assert_eq!(plan.way, Some(v1::plan::Way::Policy("policies/urgent/versions/3".into())));
    assert_eq!(plan.template, "templates/welcome");
    assert_eq!(asked.variables.unwrap().fields.len(), 2);
    assert_eq!(asked.labels["ticket"], "88");
    assert_eq!(asked.request_id, "5f0c1f0e-7f6e-4b57-9d4a-5a1c7f0b8a11");
}

#[test]
fn a_watched_table_says_what_was_typed() {
    let fake = Fake::start();
    let line = "triggers watch-table g --source demo --table office.g --on insert,update --columns status,owner \
                --phone mobile --country IN --var ticket=id --channel-type sms --template t --disabled";
    done(&fake, &line.split_whitespace().collect::<Vec<_>>());
    let asked: v1::CreateTriggerRequest = fake.asked("TriggerService.CreateTrigger").remove(0);
    assert!(asked.disabled);
    let Some(v1::trigger::Kind::TableWatch(watch)) = asked.trigger.unwrap().kind else { panic!("no table watch") };
    assert_eq!((watch.source.as_str(), watch.schema.as_str(), watch.table.as_str()), ("sources/demo", "office", "g"));
    assert_eq!(watch.operations, [1, 2]);
    assert_eq!(watch.update_columns, ["status", "owner"]);
    assert_eq!(watch.mapping.unwrap().addresses[0].column, "mobile");
}

#[test]
fn changing_one_attribute_leaves_the_others() {
    let fake = Fake::start();
    done(&fake, &["contacts", "update", "42", "--attribute", "district=Nashik", "--etag", "e1"]);
    let asked: v1::UpdateContactRequest = fake.asked("ContactService.UpdateContact").remove(0);
    assert_eq!(asked.update_mask.unwrap().paths, ["attributes.district"]);
    let contact = asked.contact.unwrap();
    assert_eq!((contact.name.as_str(), contact.etag.as_str()), ("contacts/42", "e1"));
}

#[test]
fn a_mask_is_sent_as_it_was_typed() {
    let fake = Fake::start();
    done(&fake, &["contacts", "upsert", "--external-id", "E1", "--mask", "locale,time_zone"]);
    let asked: v1::UpsertContactRequest = fake.asked("ContactService.UpsertContact").remove(0);
    assert_eq!(asked.update_mask.unwrap().paths, ["locale", "time_zone"]);
}

#[test]
fn a_campaign_that_is_not_stored_can_be_validated() {
    let fake = Fake::start();
    let valid =
        v1::ValidateCampaignResponse { valid: true, recipient_count: 8, reachable_count: 6, ..Default::default() };
    fake.answers("CampaignService.ValidateCampaign", [Reply::message(&valid)]);
    let text = done(&fake, &["campaigns", "validate", "--audience", "pune", "--policy", "urgent", "--template", "t"]);
    assert!(text.contains("reachable             6") && text.ends_with("the campaign is valid\n"), "{text}");
    let asked: v1::ValidateCampaignRequest = fake.asked("CampaignService.ValidateCampaign").remove(0);
    let Some(v1::validate_campaign_request::Source::Spec(spec)) = asked.source else { panic!("no spec") };
    assert_eq!(spec.audience, "audiences/pune");
}

#[test]
fn a_schedule_is_previewed_without_a_campaign() {
    let fake = Fake::start();
    let line = ["triggers", "preview", "--cron", "0 30 2 * * *", "--time-zone", "Europe/Berlin", "--count", "3"];
    assert_eq!(done(&fake, &line), "it does not fire any more\n");
    let asked: v1::PreviewScheduleRequest = fake.asked("TriggerService.PreviewSchedule").remove(0);
    let Some(v1::preview_schedule_request::Source::Schedule(schedule)) = asked.source else { panic!("no schedule") };
    assert_eq!((schedule.time_zone.as_str(), schedule.campaign, asked.count), ("Europe/Berlin", None, 3));
    assert_eq!(run(&fake, &["triggers", "preview"]).code, 2);
}

#[test]
fn a_record_is_readable_and_has_no_colours_where_there_is_no_terminal() {
    let fake = Fake::start();
    let contact =
        v1::Contact { name: "contacts/42".into(), display_name: "Asha\u{1b}[31m".into(), ..Default::default() };
    fake.answers("ContactService.GetContact", [Reply::message(&contact)]);
    let text = done(&fake, &["contacts", "get", "42"]);
    assert_eq!(text, "name                  contacts/42\ndisplay_name          Asha\u{fffd}[31m\n");
}

#[test]
fn a_definition_that_is_not_valid_ends_with_65() {
    let fake = Fake::start();
    fake.answers("PolicyService.ValidatePolicy", [Reply::message(&v1::ValidatePolicyResponse::default())]);
    let ended = run(&fake, &["policies", "validate", "urgent"]);
    assert_eq!(ended.code, 65, "{ended:?}");
    assert!(ended.out.contains("the policy is not valid"), "{ended:?}");
}

#[test]
fn health_is_asked_by_the_standard_service() {
    let fake = Fake::start();
    let serving = |status: i32| Reply::message(&prost_types::Duration { seconds: status.into(), nanos: 0 });
    fake.answers("grpc.health.v1.Health/Check", [serving(1), serving(2)]);
    assert_eq!(done(&fake, &["health"]), "SERVING\n");
    assert_eq!(run(&fake, &["health"]).code, 69);
}

#[test]
fn the_sql_of_a_capture_can_be_given_to_psql() {
    let fake = Fake::start();
    let sql = v1::TriggerSql {
        install_sql: "create trigger x;".into(),
        uninstall_sql: "drop trigger x;".into(),
        notes: vec!["It needs\nTRIGGER.".into()],
    };
    fake.answers("TriggerService.GetTriggerSql", [Reply::message(&sql)]);
    assert_eq!(done(&fake, &["triggers", "sql", "g"]), "-- It needs\n-- TRIGGER.\ncreate trigger x;\n");
    assert!(done(&fake, &["triggers", "sql", "g", "--uninstall"]).ends_with("drop trigger x;\n"));
}
