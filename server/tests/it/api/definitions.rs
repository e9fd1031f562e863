//! Templates, policies and call lists: versions never change, what is named must exist, what is in use stays.

use proto::v1::{self, content, step};
use tonic::Code;

use super::{Api, fields, person, reason};

fn sms(language: &str, text: &str) -> v1::TemplateContent {
    let text = content::Text { text: text.into() };
    v1::TemplateContent {
        channel_type: v1::ChannelType::Sms.into(),
        language: language.into(),
        content: Some(v1::Content { body: Some(content::Body::Text(text)) }),
        ..Default::default()
    }
}

fn version(text: &str) -> v1::TemplateVersion {
    let level = v1::TemplateVariable { name: "level".into(), required: true, ..Default::default() };
    v1::TemplateVersion {
        default_language: "en".into(),
        contents: vec![sms("en", text)],
        variables: vec![level],
        ..Default::default()
    }
}

async fn template(api: &Api, id: &str, text: &str) -> Result<v1::Template, tonic::Status> {
    let request = v1::CreateTemplateRequest {
        template_id: id.into(),
        template: Some(v1::Template::default()),
        initial_version: Some(version(text)),
        ..Default::default()
    };
    Ok(api.templates().create_template(request).await?.into_inner())
}

fn to_sms(template: &str) -> v1::Step {
    v1::Step {
        target: Some(step::Target::ChannelType(v1::ChannelType::Sms.into())),
        template: template.into(),
        wait: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    }
}

fn policy(id: &str, steps: Vec<v1::Step>) -> v1::CreatePolicyRequest {
    let policy = v1::FallbackPolicy { steps, ..Default::default() };
    v1::CreatePolicyRequest { policy_id: id.into(), policy: Some(policy), ..Default::default() }
}

#[tokio::test]
async fn a_template_that_cannot_be_rendered_is_refused_with_its_field() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let status = template(&api, "flood", "Water at {{ level }} in {{ wadr }}").await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "TEMPLATE_INVALID"));
    assert_eq!(fields(&status), ["initial_version.contents[0].content"]);
    Ok(())
}

#[tokio::test]
async fn versions_never_change_and_are_listed_newest_first() -> anyhow::Result<()> {
    let api = Api::start().await?;
    template(&api, "flood", "Water at {{ level }}").await?;
    let add = v1::CreateTemplateVersionRequest {
        parent: "templates/flood".into(),
        template_version: Some(version("Level: {{ level }}")),
        ..Default::default()
    };
    let second = api.templates().create_template_version(add).await?.into_inner();
    assert_eq!((second.version, second.name.as_str()), (2, "templates/flood/versions/2"));
    let list = v1::ListTemplateVersionsRequest { parent: "templates/flood".into(), ..Default::default() };
    let all = api.templates().list_template_versions(list).await?.into_inner().template_versions;
    assert_eq!(all.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 1]);
    let first = v1::GetTemplateVersionRequest { name: "templates/flood/versions/1".into() };
    assert_eq!(
        api.templates().get_template_version(first).await?.into_inner().contents,
        version("Water at {{ level }}").contents
    );
    Ok(())
}

#[tokio::test]
async fn a_preview_names_what_is_missing_and_knows_the_contact() -> anyhow::Result<()> {
    let api = Api::start().await?;
    template(&api, "flood", "{{ contact.name }}, water at {{ level }} \u{20b9}").await?;
    let contact = api.create(person("e1", "+919812345678")).await?;
    let mut request = v1::RenderTemplateRequest {
        source: Some(v1::render_template_request::Source::Name("templates/flood".into())),
        channel_type: v1::ChannelType::Sms.into(),
        contact: contact.name,
        ..Default::default()
    };
    let missing = api.templates().render_template(request.clone()).await?.into_inner();
    assert_eq!((missing.missing_variables, missing.content), (vec!["level".to_owned()], None));
    let level = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(3.0)) };
    request.variables = Some(prost_types::Struct { fields: [("level".to_owned(), level)].into() });
    let shown = api.templates().render_template(request.clone()).await?.into_inner();
    assert_eq!(shown.plain_text, "Asha Rao, water at 3 \u{20b9}");
    assert_eq!(
        shown.sms.map(|s| (s.encoding(), s.non_gsm_characters)),
        Some((v1::sms_info::Encoding::Ucs2, vec!["\u{20b9}".into()]))
    );
    request.channel_type = v1::ChannelType::Voice.into();
    assert_eq!(reason(&api.templates().render_template(request).await.unwrap_err()), "CONTENT_MISSING");
    Ok(())
}

#[tokio::test]
async fn a_policy_is_checked_against_the_world_and_versioned() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let status = api.policies().create_policy(policy("urgent", vec![to_sms("templates/flood")])).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "REFERENCE_NOT_FOUND"));
    assert_eq!(fields(&status), ["policy.steps[0].channel_type", "policy.steps[0].template"]);

    api.world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
    template(&api, "flood", "Water at {{ level }}").await?;
    let made = api.policies().create_policy(policy("urgent", vec![to_sms("templates/flood")])).await?.into_inner();
    assert_eq!((made.version, made.steps[0].success()), (1, v1::Success::Delivered));
    let mut changed = made.clone();
    changed.steps[0].success = v1::Success::Read.into();
    let update = |policy| v1::UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
    let refused = api.policies().update_policy(update(changed.clone())).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "SUCCESS_NOT_PROVABLE"));
    changed.steps[0].success = v1::Success::Sent.into();
    assert_eq!(api.policies().update_policy(update(changed.clone())).await?.into_inner().version, 2);
    changed.etag = String::new();
    let same = api.policies().update_policy(update(changed)).await?.into_inner();
    assert_eq!(same.version, 2, "a change that changes nothing writes no version");
    let old = v1::GetPolicyRequest { name: "policies/urgent/versions/1".into() };
    assert_eq!(api.policies().get_policy(old).await?.into_inner().steps[0].success(), v1::Success::Delivered);

    let delete = v1::DeleteTemplateRequest { name: "templates/flood".into(), ..Default::default() };
    let used = api.templates().delete_template(delete).await.unwrap_err();
    assert_eq!((used.code(), reason(&used).as_str()), (Code::FailedPrecondition, "IN_USE"));
    Ok(())
}

#[tokio::test]
async fn what_counts_as_success_is_what_the_channel_can_prove_unless_it_is_said() -> anyhow::Result<()> {
    let api = Api::start().await?;
    api.world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
    sqlx::query("update channel set channel_type = 'VOICE'").execute(&api.world.db.pool).await?;
    let step = v1::Step { target: Some(step::Target::Channel("channels/sms-main".into())), ..Default::default() };
    let made = api.policies().create_policy(policy("calls", vec![step])).await?.into_inner();
    assert_eq!(made.steps[0].success(), v1::Success::Read, "a call that was answered has reached someone");
    Ok(())
}

#[tokio::test]
async fn a_simulation_tells_who_would_get_what_and_when() -> anyhow::Result<()> {
    let api = Api::start().await?;
    api.world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
    template(&api, "flood", "Water at {{ level }}").await?;
    let given = policy("urgent", vec![to_sms("templates/flood"), to_sms("templates/flood")]).policy.unwrap();
    let request = v1::SimulatePolicyRequest {
        source: Some(v1::simulate_policy_request::Source::Policy(given)),
        ..Default::default()
    };
    let timelines = api.policies().simulate_policy(request).await?.into_inner().timelines;
    let ends: Vec<(i32, &str, i64)> =
        timelines.iter().map(|t| (t.scenario, t.end_state.as_str(), t.duration.map_or(0, |d| d.seconds))).collect();
    assert_eq!(ends[0], (v1::simulated_timeline::Scenario::Silent.into(), "EXHAUSTED", 120));
    assert_eq!(ends[1], (v1::simulated_timeline::Scenario::Delivered.into(), "REACHED", 0));
    Ok(())
}

#[tokio::test]
async fn a_call_list_needs_an_email_channel_and_a_schedule_that_comes() -> anyhow::Result<()> {
    let api = Api::start().await?;
    api.world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
    let schedule = v1::CallListSchedule { cron: "0 0 0 30 2 *".into(), time_zone: "Asia/Kolkata".into() };
    let list = v1::CallList {
        emails: vec!["Office@Example.org".into(), "nobody".into()],
        channel: "channels/sms-main".into(),
        mailing: Some(v1::call_list::Mailing::Schedule(schedule)),
        ..Default::default()
    };
    let request =
        |list| v1::CreateCallListRequest { call_list_id: "office".into(), call_list: Some(list), ..Default::default() };
    let unreadable = api.call_lists().create_call_list(request(list.clone())).await.unwrap_err();
    assert_eq!(fields(&unreadable), ["call_list.emails[1]"]);
    let list = v1::CallList { emails: vec!["Office@Example.org".into()], ..list };
    let status = api.call_lists().create_call_list(request(list)).await.unwrap_err();
    assert_eq!(fields(&status), ["call_list.channel", "call_list.schedule.cron"]);
    Ok(())
}
