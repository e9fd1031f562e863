//! What Switchboard must know before the first row: channels, what is said, in which order, to whom it is handed in the end,
//! which table is watched. Everything is created once and kept when it is there (`make up` runs again over the same data).

use anyhow::{Context, ensure};
use proto::v1::{self, ChannelType, content::Body};
use serde_json::json;

use crate::{
    api::{Api, Told, request_id},
    show::{Ink, Stage},
    values::{object, seconds},
};

/// The purpose of what is sent, for which consent is asked.
pub const PURPOSE: &str = "grievance";
/// The trigger that watches the table.
pub const TRIGGER: &str = "triggers/grievances";
/// The list of people to be called by the department.
pub const CALL_LIST: &str = "callLists/department";
/// Where that list is mailed.
pub const DEPARTMENT: &str = "call-centre@example.org";
/// The environment variable in which the server finds the address of the department's database.
pub const SOURCE_VARIABLE: &str = "DEMO_SOURCE_URL";

const SMS_NUMBER: &str = "+15550001111";
const VOICE_NUMBER: &str = "+15550002222";
/// The simulator's own.
const META_NUMBER_ID: &str = "106540352242922";
const TWILIO_ACCOUNT: &str = "AC00000000000000000000000000000001";

/// Where the providers are.
#[derive(Debug, Clone)]
pub struct Providers {
    /// The base URL of Meta's and Twilio's APIs: the simulator.
    pub simulator: String,
    /// The port of the SMTP server on 127.0.0.1.
    pub smtp_port: u16,
}

/// Creates the channels, or points those that are there at the providers of today. Returns the webhook addresses of WhatsApp
/// and of SMS, which a person would enter in the consoles of Meta and Twilio.
///
/// # Errors
/// What the server refused.
pub async fn channels(api: &Api, providers: &Providers) -> anyhow::Result<(String, String)> {
    let base = providers.simulator.as_str();
    let twilio = |extra: serde_json::Value| {
        let mut settings = json!({"account_sid": TWILIO_ACCOUNT, "auth_token_env": "TWILIO_TOKEN", "base_url": base});
        if let (Some(all), Some(extra)) = (settings.as_object_mut(), extra.as_object()) {
            all.extend(extra.clone());
        }
        settings
    };
    let meta = json!({
        "access_token_env": "WHATSAPP_TOKEN", "app_secret_env": "WHATSAPP_APP_SECRET",
        "verify_token_env": "WHATSAPP_VERIFY_TOKEN", "phone_number_id": META_NUMBER_ID, "base_url": base,
    });
    let smtp = json!({"host": "127.0.0.1", "port": providers.smtp_port, "tls": "none"});
    let whatsapp = channel(api, "whatsapp", ChannelType::Whatsapp, META_NUMBER_ID, "whatsapp-cloud", meta).await?;
    let sms = channel(api, "sms", ChannelType::Sms, SMS_NUMBER, "twilio-sms", twilio(json!({}))).await?;
    let ring = twilio(json!({"ring_seconds": 5, "gather_seconds": 3}));
    channel(api, "voice", ChannelType::Voice, VOICE_NUMBER, "twilio-voice", ring).await?;
    channel(api, "mail", ChannelType::Email, "grievances@example.org", "smtp", smtp).await?;
    Ok((webhook(&whatsapp)?, webhook(&sms)?))
}

fn webhook(channel: &v1::Channel) -> anyhow::Result<String> {
    let url = channel.providers.iter().find_map(|provider| provider.webhook_urls.first());
    url.cloned().with_context(|| format!("{} has no webhook address", channel.name))
}

async fn channel(
    api: &Api,
    id: &str,
    channel_type: ChannelType,
    own_address: &str,
    connector: &str,
    settings: serde_json::Value,
) -> anyhow::Result<v1::Channel> {
    let channel = v1::Channel {
        channel_type: channel_type.into(),
        service_identifier: own_address.into(),
        providers: vec![v1::Provider {
            id: "main".into(),
            connector: connector.into(),
            settings: Some(object(settings)),
            ..v1::Provider::default()
        }],
        ..v1::Channel::default()
    };
    let what = format!("create the channel {id}");
    let request = v1::CreateChannelRequest {
        channel_id: id.into(),
        channel: Some(channel.clone()),
        request_id: request_id(),
        ..v1::CreateChannelRequest::default()
    };
    if let Some(made) = api.channels().create_channel(request).await.told_or_exists(&what)? {
        return Ok(made);
    }
    let request = v1::UpdateChannelRequest {
        channel: Some(v1::Channel { name: format!("channels/{id}"), ..channel }),
        request_id: request_id(),
        ..v1::UpdateChannelRequest::default()
    };
    api.channels().update_channel(request).await.told(&format!("change the channel {id}"))
}

/// Asks every provider whether it accepts our credentials.
///
/// # Errors
/// What is wrong with a channel.
pub async fn check_channels(api: &Api, stage: &Stage) -> anyhow::Result<()> {
    for id in ["whatsapp", "sms", "voice", "mail"] {
        let request = v1::CheckChannelRequest { name: format!("channels/{id}") };
        let checked = api.channels().check_channel(request).await.told(&format!("check the channel {id}"))?;
        let problems: Vec<_> = checked.providers.iter().flat_map(|p| &p.problems).map(|p| &p.description).collect();
        ensure!(checked.ok, "the channel {id} does not work: {problems:?}");
        let name = format!("channels/{id:<9}");
        stage.say(&format!("{name} {}", stage.ink(Ink::Good, "its provider accepts our credentials")));
    }
    Ok(())
}

/// Creates templates, call list and policy.
///
/// # Errors
/// What the server refused.
pub async fn words_and_ways(api: &Api) -> anyhow::Result<()> {
    template(api, "grievance-solved", "en", solved(), &["complaint", "subject"]).await?;
    template(api, "thanks", "en", thanks(), &["complaint"]).await?;
    let list = v1::CallList {
        display_name: "People to call".into(),
        emails: vec![DEPARTMENT.into()],
        channel: "channels/mail".into(),
        mailing: seconds(3).map(v1::call_list::Mailing::AfterFirstEntry),
        ..v1::CallList::default()
    };
    let request = v1::CreateCallListRequest {
        call_list_id: "department".into(),
        call_list: Some(list),
        request_id: request_id(),
        ..v1::CreateCallListRequest::default()
    };
    api.call_lists().create_call_list(request).await.told_or_exists("create the call list")?;
    let request = v1::CreatePolicyRequest {
        policy_id: "grievance".into(),
        policy: Some(policy()),
        request_id: request_id(),
        ..v1::CreatePolicyRequest::default()
    };
    api.policies().create_policy(request).await.told_or_exists("create the policy")?;
    Ok(())
}

/// WhatsApp, then SMS, then a call, then a person; seconds where life has hours.
fn policy() -> v1::FallbackPolicy {
    let step = |channel_type: ChannelType, success: v1::Success, wait| v1::Step {
        target: Some(v1::step::Target::ChannelType(channel_type.into())),
        template: "templates/grievance-solved".into(),
        success: success.into(),
        wait: seconds(wait),
        attempts: 1,
        ..v1::Step::default()
    };
    let list = v1::Step { target: Some(v1::step::Target::CallList(CALL_LIST.into())), ..v1::Step::default() };
    v1::FallbackPolicy {
        display_name: "Was your complaint solved?".into(),
        steps: vec![
            step(ChannelType::Whatsapp, v1::Success::Replied, 8),
            step(ChannelType::Sms, v1::Success::Replied, 8),
            step(ChannelType::Voice, v1::Success::Acknowledged, 25),
            list,
        ],
        ..v1::FallbackPolicy::default()
    }
}

async fn template(
    api: &Api,
    id: &str,
    language: &str,
    contents: Vec<v1::TemplateContent>,
    variables: &[&str],
) -> anyhow::Result<()> {
    let variable =
        |name: &&str| v1::TemplateVariable { name: (*name).into(), required: true, ..v1::TemplateVariable::default() };
    let version = v1::TemplateVersion {
        default_language: language.into(),
        contents,
        variables: variables.iter().map(variable).collect(),
        ..v1::TemplateVersion::default()
    };
    let request = v1::CreateTemplateRequest {
        template_id: id.into(),
        template: Some(v1::Template::default()),
        initial_version: Some(version),
        request_id: request_id(),
        ..v1::CreateTemplateRequest::default()
    };
    api.templates().create_template(request).await.told_or_exists(&format!("create the template {id}"))?;
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

/// The question, in English and in Hindi, on three channel types.
fn solved() -> Vec<v1::TemplateContent> {
    let english = "Dear {{ contact.name }}, your complaint {{ complaint }} ({{ subject }}) is marked as solved. Is it?";
    let hindi = "प्रिय {{ contact.name }}, आपकी शिकायत {{ complaint }} ({{ subject }}) हल हुई बताई गई है। क्या यह सही है?";
    let whatsapp = |language: &str, text: &str| {
        let template = v1::content::ProviderTemplate {
            name: "grievance_solved".into(),
            language: language.into(),
            parameters: ["{{ contact.name }}", "{{ complaint }}", "{{ subject }}"].map(str::to_owned).to_vec(),
            button_payloads: vec!["solved".into(), "not-solved".into()],
            text: text.into(),
        };
        content(ChannelType::Whatsapp, language, Body::ProviderTemplate(template))
    };
    let sms = |language: &str, text: &str, ask: &str| {
        let text = v1::content::Text { text: format!("{text} {ask}") };
        content(ChannelType::Sms, language, Body::Text(text))
    };
    let voice = |language: &str, speech: &str, say: &str, keys: [&str; 2], thanks: &str| {
        let key = |id: &str, title: &str| v1::Choice { id: id.into(), title: title.into(), description: None };
        let script = v1::content::Voice {
            say: say.into(),
            language: speech.into(),
            keys: vec![key("1", keys[0]), key("2", keys[1])],
            repeat: 2,
            thanks: Some(thanks.into()),
        };
        content(ChannelType::Voice, language, Body::Voice(script))
    };
    vec![
        whatsapp("en", english),
        whatsapp("hi", hindi),
        sms("en", english, "Answer YES or NO."),
        sms("hi", hindi, "हाँ या नहीं में उत्तर दें।"),
        voice("en", "en-IN", &format!("{english} Press 1 for yes, 2 for no."), ["yes", "no"], "Thank you."),
        voice("hi", "hi-IN", &format!("{hindi} हाँ के लिए 1, नहीं के लिए 2 दबाएँ।"), ["हाँ", "नहीं"], "धन्यवाद।"),
    ]
}

/// The mail of the campaign.
fn thanks() -> Vec<v1::TemplateContent> {
    let mail = |subject: &str, text: &str| {
        Body::Email(v1::content::Email {
            subject: subject.into(),
            text: text.into(),
            html: None,
            attachments: Vec::new(),
        })
    };
    let english =
        mail("Thank you, {{ contact.name }}", "Your answer about complaint {{ complaint }} helps the department.");
    let hindi = mail("धन्यवाद, {{ contact.name }}", "शिकायत {{ complaint }} पर आपके उत्तर से विभाग को मदद मिलती है।");
    vec![content(ChannelType::Email, "en", english), content(ChannelType::Email, "hi", hindi)]
}

/// Makes the department's database known, and says whether Switchboard may do there what it must.
///
/// # Errors
/// What the server refused, or what the check found.
pub async fn source(api: &Api, stage: &Stage) -> anyhow::Result<()> {
    let source = v1::Source {
        connection: Some(v1::source::Connection::UrlEnv(SOURCE_VARIABLE.into())),
        ..v1::Source::default()
    };
    let request = v1::CreateSourceRequest {
        source_id: "demo".into(),
        source: Some(source),
        request_id: request_id(),
        ..v1::CreateSourceRequest::default()
    };
    api.triggers().create_source(request).await.told_or_exists("create the source")?;
    let request = v1::CheckSourceRequest { name: "sources/demo".into() };
    let checked = api.triggers().check_source(request).await.told("check the source")?;
    let problems: Vec<_> = checked.problems.iter().map(|p| &p.description).collect();
    ensure!(checked.ok, "the source cannot be watched: {problems:?}");
    stage.say(&format!("sources/demo is PostgreSQL {} and can be watched", checked.server_version));
    Ok(())
}

/// The mapping and the way of the watched table.
pub fn watch() -> v1::Trigger {
    let address = |kind: v1::AddressKind, column: &str| v1::AddressMapping { kind: kind.into(), column: column.into() };
    let variable = |name: &str, column: &str| v1::VariableMapping {
        name: name.into(),
        from: Some(v1::variable_mapping::From::Column(column.into())),
    };
    let watch = v1::TableWatch {
        source: "sources/demo".into(),
        table: "grievances".into(),
        operations: vec![v1::table_watch::Operation::Insert.into()],
        condition: "NEW.status = 'resolved'".into(),
        mapping: Some(v1::Mapping {
            external_id_column: "citizen_id".into(),
            display_name_column: "citizen".into(),
            addresses: vec![address(v1::AddressKind::Phone, "phone"), address(v1::AddressKind::Email, "email")],
            default_country: "IN".into(),
            locale_column: "language".into(),
            variables: vec![variable("complaint", "number"), variable("subject", "subject")],
            ..v1::Mapping::default()
        }),
        plan: Some(v1::Plan { way: Some(v1::plan::Way::Policy("policies/grievance".into())), ..v1::Plan::default() }),
        purpose: PURPOSE.into(),
        ..v1::TableWatch::default()
    };
    v1::Trigger {
        name: TRIGGER.into(),
        description: "A complaint that is marked as solved: ask the citizen".into(),
        kind: Some(v1::trigger::Kind::TableWatch(watch)),
        ..v1::Trigger::default()
    }
}

/// Begins to watch the table.
///
/// # Errors
/// What the server refused.
pub async fn begin_to_watch(api: &Api) -> anyhow::Result<()> {
    let request = v1::CreateTriggerRequest {
        trigger_id: "grievances".into(),
        trigger: Some(watch()),
        request_id: request_id(),
        ..v1::CreateTriggerRequest::default()
    };
    api.triggers().create_trigger(request).await.told_or_exists("create the trigger")?;
    Ok(())
}
