//! What holds for every call: size, reflection and health, and a write that its caller cannot cut in half.

use std::time::Duration;

use proto::v1;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{Api, person, reason};

#[tokio::test]
async fn a_request_that_is_too_big_is_refused_with_the_limit() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let contact = v1::Contact { display_name: "x".repeat(9 * 1024 * 1024), ..Default::default() };
    let status = api.create(contact).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"));
    Ok(())
}

#[tokio::test]
async fn the_server_says_that_it_serves() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let answer = HealthClient::new(api.channel.clone()).check(HealthCheckRequest::default()).await?.into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    Ok(())
}

#[tokio::test]
async fn a_write_whose_caller_goes_away_is_made_as_a_whole() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut locked = api.world.db.pool.acquire().await?;
    sqlx::query("begin").execute(&mut *locked).await?;
    sqlx::query("lock table contact in access exclusive mode").execute(&mut *locked).await?;
    let mut client = api.contacts();
    let create = v1::CreateContactRequest { contact: Some(person("e1", "+919812345678")), ..Default::default() };
    let mut request = Request::new(create);
    request.set_timeout(Duration::from_millis(300));
    assert!(client.create_contact(request).await.is_err(), "the table is locked for longer than the caller waits");
    sqlx::query("rollback").execute(&mut *locked).await?;
    testkit::eventually(Duration::from_secs(10), async || {
        let (contacts, links) = (api.count("contact").await?, api.count("contact_address").await?);
        anyhow::ensure!((contacts, links) == (1, 1), "{contacts} contacts with {links} addresses");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deleted_contact_keeps_its_word_and_frees_its_external_id() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let made = api.create(person("e1", "+919812345678")).await?;
    api.contacts().delete_contact(v1::DeleteContactRequest { name: made.name, ..Default::default() }).await?;
    let again = api.create(person("e1", "+919812345678")).await?;
    assert_eq!(again.external_id, "e1");
    let upsert = v1::UpsertContactRequest { contact: Some(person("e1", "+919812345670")), ..Default::default() };
    let upserted = api.contacts().upsert_contact(upsert).await?.into_inner();
    assert!(!upserted.created);
    assert_eq!(upserted.contact.map(|c| c.addresses[0].value.clone()).as_deref(), Some("+919812345670"));
    Ok(())
}
