//! Channels: settings are proved before they are stored, secrets are named and never held, states are moved by verbs.

use proto::v1;
use tonic::Code;

use super::{Api, fields, reason};

fn settings(pairs: &[(&str, &str)]) -> Option<prost_types::Struct> {
    let value = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) };
    Some(prost_types::Struct { fields: pairs.iter().map(|(k, v)| ((*k).to_owned(), value(v))).collect() })
}

fn twilio(id: &str, pairs: &[(&str, &str)]) -> v1::Provider {
    v1::Provider { id: id.into(), connector: "twilio-sms".into(), settings: settings(pairs), ..Default::default() }
}

const RIGHT: [(&str, &str); 2] =
    [("account_sid", "AC00000000000000000000000000000000"), ("auth_token_env", "SB_TEST_NOT_SET")];

fn create(id: &str, providers: Vec<v1::Provider>) -> v1::CreateChannelRequest {
    let channel = v1::Channel {
        channel_type: v1::ChannelType::Sms.into(),
        service_identifier: "+1 500 555 0006".into(),
        providers,
        ..Default::default()
    };
    v1::CreateChannelRequest { channel_id: id.into(), channel: Some(channel), ..Default::default() }
}

#[tokio::test]
async fn every_problem_of_every_provider_is_named_at_once() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let pigeon = v1::Provider { id: "second".into(), connector: "pigeon".into(), ..Default::default() };
    let bad = create("sms-main", vec![twilio("first", &[("auth_token", "clear"), ("colour", "red")]), pigeon]);
    let status = api.channels().create_channel(bad).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "SETTING_INVALID"));
    let found = fields(&status);
    for field in [
        "channel.providers[0].settings.auth_token",
        "channel.providers[0].settings.colour",
        "channel.providers[0].settings.account_sid",
        "channel.providers[1].connector",
    ] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    assert!(!format!("{status:?}").contains("clear text clear"));
    assert_eq!(api.count("channel").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named_before_anything_is_stored() -> anyhow::Result<()> {
    let api = Api::with_real_secrets().await?;
    let status = api.channels().create_channel(create("sms-main", vec![twilio("main", &RIGHT)])).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "SECRET_MISSING"));
    assert!(status.message().contains("SB_TEST_NOT_SET"), "{status}");
    assert_eq!(api.count("channel").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_channel_is_disabled_enabled_changed_and_deleted() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let made = api.channels().create_channel(create("sms-main", vec![twilio("main", &RIGHT)])).await?.into_inner();
    assert_eq!((made.state(), made.service_identifier.as_str()), (v1::channel::State::Enabled, "+15005550006"));
    let webhook = &made.providers[0].webhook_urls[0];
    assert!(webhook.starts_with("http://127.0.0.1:9/webhooks/") && webhook.ends_with("/inbound"), "{webhook}");
    let name = || "channels/sms-main".to_owned();
    let disable = v1::DisableChannelRequest { name: name(), ..Default::default() };
    let disabled = api.channels().disable_channel(disable.clone()).await?.into_inner();
    assert_eq!(disabled.state(), v1::channel::State::Disabled);
    assert_eq!(api.channels().disable_channel(disable).await?.into_inner().etag, disabled.etag);
    let enable = v1::EnableChannelRequest { name: name(), etag: made.etag.clone(), ..Default::default() };
    assert_eq!(reason(&api.channels().enable_channel(enable).await.unwrap_err()), "ETAG_MISMATCH");
    let enable = v1::EnableChannelRequest { name: name(), etag: disabled.etag, ..Default::default() };
    assert_eq!(api.channels().enable_channel(enable).await?.into_inner().state(), v1::channel::State::Enabled);

    let kept = made.providers[0].webhook_urls.clone();
    let providers = vec![twilio("spare", &RIGHT), twilio("main", &RIGHT)];
    let update = v1::UpdateChannelRequest {
        channel: Some(v1::Channel { name: name(), providers, rate_per_second: 5.0, ..Default::default() }),
        ..Default::default()
    };
    let changed = api.channels().update_channel(update).await?.into_inner();
    let ids: Vec<&str> = changed.providers.iter().map(|p| p.id.as_str()).collect();
    assert_eq!((ids, changed.rate_per_second), (vec!["spare", "main"], 5.0));
    assert_eq!(changed.providers[1].webhook_urls, kept, "a provider that keeps its name keeps its webhook address");

    let health = v1::GetChannelHealthRequest { name: name() };
    let health = api.channels().get_channel_health(health).await?.into_inner();
    assert_eq!((health.providers.len(), health.queued_count), (2, 0));
    api.channels().delete_channel(v1::DeleteChannelRequest { name: name(), ..Default::default() }).await?;
    let gone = api.channels().get_channel(v1::GetChannelRequest { name: name() }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    api.channels().create_channel(create("sms-main", vec![twilio("main", &RIGHT)])).await?;
    Ok(())
}

#[tokio::test]
async fn what_can_be_configured_is_listed_with_its_settings() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let request = v1::ListConnectorsRequest { channel_type: v1::ChannelType::Sms.into(), ..Default::default() };
    let found = api.channels().list_connectors(request).await?.into_inner().connectors;
    let names: Vec<&str> = found.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["external", "kannel", "twilio-sms", "webhook"]);
    assert!(found.iter().all(|c| !c.description.is_empty() && !c.settings.is_empty() && c.inbound));
    Ok(())
}

#[tokio::test]
async fn a_check_says_what_each_provider_answers() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let nobody = [RIGHT[0], RIGHT[1], ("base_url", "http://127.0.0.1:9")];
    api.channels().create_channel(create("sms-main", vec![twilio("main", &nobody)])).await?;
    let request = v1::CheckChannelRequest { name: "channels/sms-main".into() };
    let found = api.channels().check_channel(request).await?.into_inner();
    assert!(!found.ok && found.providers[0].latency.is_some(), "{found:?}");
    assert!(!found.providers[0].problems[0].description.is_empty());
    Ok(())
}
