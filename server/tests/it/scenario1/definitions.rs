//! What Switchboard is told before the story: channels, what is said, in which order and with which waits, which table is
//! watched, and the schedule at its end.

use anyhow::Context;
use chrono::TimeDelta;
use proto::v1::{
    self, ChannelType, Success, audience_service_client::AudienceServiceClient,
    call_list_service_client::CallListServiceClient, channel_service_client::ChannelServiceClient,
    contact_service_client::ContactServiceClient, content::Body, policy_service_client::PolicyServiceClient,
    template_service_client::TemplateServiceClient,
};
use serde_json::{Value, json};
use tonic::Code;

use super::stage::Stage;

pub const TRIGGER: &str = "triggers/grievances";
pub const SCHEDULE: &str = "triggers/thanks";
pub const DEPARTMENT: &str = "call-centre@example.org";
const PURPOSE: &str = "grievance";

/// Files with the secrets that the simulator expects.
pub const SECRETS: [(&str, &str); 4] = [
    ("meta-token", "simulated-meta-token"),
    ("meta-secret", "simulated-app-secret"),
    ("meta-verify", "simulated-verify-token"),
    ("twilio-token", "simulated-auth-token"),
];

/// The department's own table.
pub const TABLE: &str = "create table grievances (
    id bigint generated always as identity primary key, number text not null unique, citizen_id text not null,
    citizen text not null, phone text, email text, language text not null, subject text not null, status text not null)";

fn object(json: &Value) -> prost_types::Struct {
    let fields = json.as_object().into_iter().flatten().map(|(key, value)| {
        let kind = match value {
            Value::Number(number) => prost_types::value::Kind::NumberValue(number.as_f64().unwrap_or_default()),
            other => prost_types::value::Kind::StringValue(other.as_str().unwrap_or_default().to_owned()),
        };
        (key.clone(), prost_types::Value { kind: Some(kind) })
    });
    prost_types::Struct { fields: fields.collect() }
}

fn span(time: TimeDelta) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: time.num_seconds(), nanos: 0 })
}

/// Creates the channels, or points them at a simulator. Says where Meta's and Twilio's webhooks go.
pub async fn channels(stage: &Stage, base: &str) -> anyhow::Result<(String, String)> {
    let file = |name| stage.secret_file(name);
    let meta = json!({
        "access_token_file": file("meta-token"), "app_secret_file": file("meta-secret"),
        "verify_token_file": file("meta-verify"), "phone_number_id": "106540352242922", "base_url": base,
    });
    let account = "AC00000000000000000000000000000001";
    let twilio = json!({"account_sid": account, "auth_token_file": file("twilio-token"), "base_url": base});
    let smtp = json!({"host": "127.0.0.1", "port": stage.smtp_port(), "tls": "none"});
    let whatsapp =
        channel(stage, "whatsapp", ChannelType::Whatsapp, "106540352242922", "whatsapp-cloud", &meta).await?;
    let sms = channel(stage, "sms", ChannelType::Sms, "+15550001111", "twilio-sms", &twilio).await?;
    channel(stage, "voice", ChannelType::Voice, "+15550002222", "twilio-voice", &twilio).await?;
    channel(stage, "mail", ChannelType::Email, "cell@example.org", "smtp", &smtp).await?;
    Ok((whatsapp, format!("{}/inbound", sms.trim_end_matches("/inbound"))))
}

async fn channel(
    stage: &Stage,
    id: &str,
    channel_type: ChannelType,
    own_address: &str,
    connector: &str,
    settings: &Value,
) -> anyhow::Result<String> {
    let provider = v1::Provider {
        id: "main".into(),
        connector: connector.into(),
        settings: Some(object(settings)),
        ..v1::Provider::default()
    };
    let channel = v1::Channel {
        name: format!("channels/{id}"),
        channel_type: channel_type.into(),
        service_identifier: own_address.into(),
        providers: vec![provider],
        ..v1::Channel::default()
    };
    let mut client = ChannelServiceClient::new(stage.channel());
    let request = v1::CreateChannelRequest {
        channel_id: id.into(),
        channel: Some(channel.clone()),
        ..v1::CreateChannelRequest::default()
    };
    let made = match client.create_channel(request).await {
        Err(status) if status.code() == Code::AlreadyExists => {
            let channel = Some(channel);
            client.update_channel(v1::UpdateChannelRequest { channel, ..v1::UpdateChannelRequest::default() }).await?
        }
        made => made?,
    };
    let urls = made.into_inner().providers.into_iter().next().context("it has a provider")?.webhook_urls;
    Ok(urls.into_iter().next().unwrap_or_default())
}

/// Templates, the call list, and the policy with its hours.
pub async fn words_and_ways(stage: &Stage) -> anyhow::Result<()> {
    template(stage, "solved", &["complaint", "subject"], solved()).await?;
    let thanks = Body::Email(v1::content::Email {
        subject: "Thank you, {{ contact.name }}".into(),
        text: "Your answer about {{ complaint }} helps.".into(),
        ..v1::content::Email::default()
    });
    template(stage, "thanks", &["complaint"], vec![content(ChannelType::Email, "en", thanks)]).await?;
    let list = v1::CallList {
        emails: vec![DEPARTMENT.into()],
        channel: "channels/mail".into(),
        mailing: span(TimeDelta::minutes(30)).map(v1::call_list::Mailing::AfterFirstEntry),
        ..v1::CallList::default()
    };
    let request = v1::CreateCallListRequest {
        call_list_id: "department".into(),
        call_list: Some(list),
        ..v1::CreateCallListRequest::default()
    };
    CallListServiceClient::new(stage.channel()).create_call_list(request).await?;
    let step = |channel_type: ChannelType, success: Success, hours| v1::Step {
        target: Some(v1::step::Target::ChannelType(channel_type.into())),
        template: "templates/solved".into(),
        success: success.into(),
        wait: span(TimeDelta::hours(hours)),
        attempts: 1,
        ..v1::Step::default()
    };
    let list = v1::step::Target::CallList("callLists/department".into());
    let policy = v1::FallbackPolicy {
        steps: vec![
            step(ChannelType::Whatsapp, Success::Replied, 6),
            step(ChannelType::Sms, Success::Replied, 4),
            step(ChannelType::Voice, Success::Acknowledged, 2),
            v1::Step { target: Some(list), ..v1::Step::default() },
        ],
        ..v1::FallbackPolicy::default()
    };
    let request = v1::CreatePolicyRequest {
        policy_id: "grievance".into(),
        policy: Some(policy),
        ..v1::CreatePolicyRequest::default()
    };
    PolicyServiceClient::new(stage.channel()).create_policy(request).await?;
    Ok(())
}

fn content(channel_type: ChannelType, language: &str, body: Body) -> v1::TemplateContent {
    v1::TemplateContent {
        channel_type: channel_type.into(),
        language: language.into(),
        content: Some(v1::Content { body: Some(body) }),
        ..v1::TemplateContent::default()
    }
}

fn solved() -> Vec<v1::TemplateContent> {
    let words = [
        ("en", "Complaint {{ complaint }} ({{ subject }}) is solved?"),
        ("hi", "शिकायत {{ complaint }} ({{ subject }}) हल हुई?"),
    ];
    let contents = words.into_iter().flat_map(|(language, text)| {
        let approved = v1::content::ProviderTemplate {
            name: "grievance_solved".into(),
            language: language.into(),
            parameters: vec!["{{ complaint }}".into(), "{{ subject }}".into()],
            button_payloads: vec!["solved".into(), "not-solved".into()],
            text: text.into(),
        };
        let key = |id: &str| v1::Choice { id: id.into(), title: id.into(), description: None };
        let script = v1::content::Voice {
            say: text.into(),
            language: format!("{language}-IN"),
            keys: vec![key("1"), key("2")],
            repeat: 2,
            thanks: None,
        };
        [
            content(ChannelType::Whatsapp, language, Body::ProviderTemplate(approved)),
            content(ChannelType::Sms, language, Body::Text(v1::content::Text { text: text.into() })),
            content(ChannelType::Voice, language, Body::Voice(script)),
        ]
    });
    contents.collect()
}

async fn template(
    stage: &Stage,
    id: &str,
    variables: &[&str],
    contents: Vec<v1::TemplateContent>,
) -> anyhow::Result<()> {
    let variable =
        |name: &&str| v1::TemplateVariable { name: (*name).into(), required: true, ..v1::TemplateVariable::default() };
    let version = v1::TemplateVersion {
        default_language: "en".into(),
        contents,
        variables: variables.iter().map(variable).collect(),
        ..v1::TemplateVersion::default()
    };
    let request = v1::CreateTemplateRequest {
        template_id: id.into(),
        template: Some(v1::Template::default()),
        initial_version: Some(version),
        ..v1::CreateTemplateRequest::default()
    };
    TemplateServiceClient::new(stage.channel()).create_template(request).await?;
    Ok(())
}

/// Records that a person refused a channel type on a form.
pub async fn opt_out(stage: &Stage, phone: &str, channel_type: ChannelType) -> anyhow::Result<()> {
    let consent = v1::Consent {
        address: Some(v1::Address { kind: v1::AddressKind::Phone.into(), value: phone.into() }),
        channel_type: channel_type.into(),
        purpose: PURPOSE.into(),
        state: v1::consent::State::OptedOut.into(),
        source: "form".into(),
        ..v1::Consent::default()
    };
    let request = v1::SetConsentRequest { consent: Some(consent), ..v1::SetConsentRequest::default() };
    ContactServiceClient::new(stage.channel()).set_consent(request).await?;
    Ok(())
}

/// How columns become a person.
fn mapping(kinds: &[(v1::AddressKind, &str)], variables: &[(&str, &str)]) -> v1::Mapping {
    let address = |(kind, column): &(v1::AddressKind, &str)| v1::AddressMapping {
        kind: (*kind).into(),
        column: (*column).into(),
    };
    let variable = |(name, column): &(&str, &str)| v1::VariableMapping {
        name: (*name).into(),
        from: Some(v1::variable_mapping::From::Column((*column).into())),
    };
    v1::Mapping {
        external_id_column: "citizen_id".into(),
        display_name_column: "citizen".into(),
        addresses: kinds.iter().map(address).collect(),
        default_country: "IN".into(),
        locale_column: "language".into(),
        variables: variables.iter().map(variable).collect(),
        ..v1::Mapping::default()
    }
}

/// Makes the department's database known, and watches its table.
pub async fn watch(stage: &Stage) -> anyhow::Result<()> {
    let connection = Some(v1::source::Connection::UrlFile(stage.secret_file("department")));
    let source = v1::Source { connection, ..v1::Source::default() };
    let request = v1::CreateSourceRequest {
        source_id: "department".into(),
        source: Some(source),
        ..v1::CreateSourceRequest::default()
    };
    stage.triggers().create_source(request).await?;
    let addresses = [(v1::AddressKind::Phone, "phone"), (v1::AddressKind::Email, "email")];
    let watch = v1::TableWatch {
        source: "sources/department".into(),
        table: "grievances".into(),
        operations: vec![v1::table_watch::Operation::Insert.into()],
        condition: "NEW.status = 'resolved'".into(),
        mapping: Some(mapping(&addresses, &[("complaint", "number"), ("subject", "subject")])),
        plan: Some(v1::Plan { way: Some(v1::plan::Way::Policy("policies/grievance".into())), ..v1::Plan::default() }),
        purpose: PURPOSE.into(),
        ..v1::TableWatch::default()
    };
    trigger(stage, "grievances", v1::trigger::Kind::TableWatch(watch)).await
}

/// Every day at nine, over before the second time: a mail of thanks to two who answered.
pub async fn schedule(stage: &Stage) -> anyhow::Result<()> {
    let sql = v1::SqlAudience {
        source: "sources/department".into(),
        query: "select citizen_id, citizen, email, language, number from grievances where citizen in ('Asha', 'Bilal')"
            .into(),
        mapping: Some(mapping(&[(v1::AddressKind::Email, "email")], &[("complaint", "number")])),
        ..v1::SqlAudience::default()
    };
    let audience = v1::Audience { kind: Some(v1::audience::Kind::Sql(sql)), ..v1::Audience::default() };
    let request = v1::CreateAudienceRequest {
        audience_id: "heard".into(),
        audience: Some(audience),
        ..v1::CreateAudienceRequest::default()
    };
    AudienceServiceClient::new(stage.channel()).create_audience(request).await?;
    let step = v1::Step {
        target: Some(v1::step::Target::ChannelType(ChannelType::Email.into())),
        template: "templates/thanks".into(),
        success: Success::Sent.into(),
        ..v1::Step::default()
    };
    let spec = v1::CampaignSpec {
        audience: "audiences/heard".into(),
        plan: Some(v1::Plan { way: Some(v1::plan::Way::Step(step)), ..v1::Plan::default() }),
        ..v1::CampaignSpec::default()
    };
    let end = stage.now() + TimeDelta::hours(24);
    let schedule = v1::Schedule {
        when: Some(v1::schedule::When::Cron("0 0 9 * * *".into())),
        time_zone: "Asia/Kolkata".into(),
        end_time: Some(prost_types::Timestamp { seconds: end.timestamp(), nanos: 0 }),
        campaign: Some(spec),
        ..v1::Schedule::default()
    };
    trigger(stage, "thanks", v1::trigger::Kind::Schedule(schedule)).await
}

async fn trigger(stage: &Stage, id: &str, kind: v1::trigger::Kind) -> anyhow::Result<()> {
    let request = v1::CreateTriggerRequest {
        trigger_id: id.into(),
        trigger: Some(v1::Trigger { kind: Some(kind), ..v1::Trigger::default() }),
        ..v1::CreateTriggerRequest::default()
    };
    stage.triggers().create_trigger(request).await?;
    Ok(())
}
