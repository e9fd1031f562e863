//! Webhooks over the API: what is refused, what is shown, and that no secret ever is.

use proto::v1::{self, event_service_client::EventServiceClient, replay_events_request::From};
use tonic::{Code, transport::Channel};

use crate::api::{Api, fields, reason};

fn events(api: &Api) -> EventServiceClient<Channel> {
    EventServiceClient::new(api.channel.clone())
}

fn hook(url: &str) -> v1::Webhook {
    v1::Webhook { url: url.into(), secret_env: "HOOK_SECRET".into(), ..Default::default() }
}

fn create(webhook: v1::Webhook) -> v1::CreateWebhookRequest {
    v1::CreateWebhookRequest { webhook_id: "crm".into(), webhook: Some(webhook), ..Default::default() }
}

#[tokio::test]
async fn a_webhook_is_created_shown_changed_disabled_enabled_and_deleted() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut events = events(&api);
    let wanted =
        v1::Webhook { types: vec!["message_added".into(), "campaign.*".into()], ..hook("https://example.org/in") };
    let made = events.create_webhook(create(wanted.clone())).await?.into_inner();
    assert_eq!((made.name.as_str(), made.state()), ("webhooks/crm", v1::webhook::State::Enabled));
    assert_eq!((&made.types, &made.secret_env), (&wanted.types, &wanted.secret_env));
    let again = events.create_webhook(create(wanted)).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let change = v1::Webhook {
        name: made.name.clone(),
        secret_file: "/run/secrets/crm".into(),
        etag: made.etag.clone(),
        ..Default::default()
    };
    let request = v1::UpdateWebhookRequest { webhook: Some(change.clone()), ..Default::default() };
    let changed = events.update_webhook(request.clone()).await?.into_inner();
    assert_eq!((changed.secret_env.as_str(), changed.secret_file.as_str()), ("", "/run/secrets/crm"));
    assert_eq!(changed.url, made.url);
    assert_eq!(reason(&events.update_webhook(request).await.unwrap_err()), "ETAG_MISMATCH");
    let disable = v1::DisableWebhookRequest { name: made.name.clone(), ..Default::default() };
    let disabled = events.disable_webhook(disable).await?.into_inner();
    assert_eq!(
        (disabled.state(), disabled.state_reason.as_str()),
        (v1::webhook::State::Disabled, "disabled by a person")
    );
    let enable = v1::EnableWebhookRequest { name: made.name.clone(), ..Default::default() };
    assert_eq!(events.enable_webhook(enable).await?.into_inner().state(), v1::webhook::State::Enabled);
    let listed = events.list_webhooks(v1::ListWebhooksRequest::default()).await?.into_inner().webhooks;
    assert_eq!(listed.len(), 1);
    let delete = v1::DeleteWebhookRequest { name: made.name.clone(), ..Default::default() };
    events.delete_webhook(delete).await?;
    let gone = events.get_webhook(v1::GetWebhookRequest { name: made.name }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_webhook_is_said_at_once() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut events = events(&api);
    let wrong = v1::Webhook {
        url: "https://example.org".into(),
        types: vec!["Not ok".into()],
        subjects: vec!["x".into()],
        contact: "contacts/external:7".into(),
        ..Default::default()
    };
    let request = v1::CreateWebhookRequest { webhook_id: "Not ok".into(), start_cursor: "x".into(), ..create(wrong) };
    let refused = events.create_webhook(request).await.unwrap_err();
    let expected = ["webhook_id", "webhook.types[0]", "webhook.subjects[0]", "webhook.contact", "start_cursor"];
    assert_eq!(fields(&refused), expected);
    let inside = v1::Webhook { secret_env: String::new(), ..hook("http://169.254.169.254/latest") };
    let refused = events.create_webhook(create(inside)).await.unwrap_err();
    assert_eq!(fields(&refused), ["webhook.url", "webhook.secret"]);
    let request = v1::ReplayEventsRequest { webhook: "webhooks/crm".into(), ..Default::default() };
    assert_eq!(fields(&events.replay_events(request).await.unwrap_err()), ["start_cursor"]);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_said_and_a_letter_of_another_is_not_found() -> anyhow::Result<()> {
    let api = Api::with_real_secrets().await?;
    let mut events = events(&api);
    let refused = events.create_webhook(create(hook("https://example.org"))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SECRET_MISSING"));
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "a secret in a file\n")?;
    let path = file.path().display().to_string();
    let webhook = v1::Webhook { url: "https://example.org".into(), secret_file: path, ..Default::default() };
    events.create_webhook(create(webhook)).await?;
    let from = Some(From::DeadLetter("webhooks/crm/deadLetters/7".into()));
    let request = v1::ReplayEventsRequest { webhook: "webhooks/crm".into(), from, ..Default::default() };
    assert_eq!(events.replay_events(request).await.unwrap_err().code(), Code::NotFound);
    let letters = v1::ListDeadLettersRequest { parent: "webhooks/crm".into(), ..Default::default() };
    assert!(events.list_dead_letters(letters).await?.into_inner().dead_letters.is_empty());
    let from = Some(From::AllDeadLetters(true));
    let request = v1::ReplayEventsRequest { webhook: "webhooks/crm".into(), from, ..Default::default() };
    assert_eq!(events.replay_events(request).await?.into_inner().dead_letter_count, 0);
    Ok(())
}
