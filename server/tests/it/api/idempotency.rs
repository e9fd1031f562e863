//! A write that is repeated with its request id answers as the first time, and is made once.

use proto::v1;
use tonic::Code;
use uuid::Uuid;

use super::{Api, person, reason};

fn request(id: &str, contact: v1::Contact) -> v1::CreateContactRequest {
    v1::CreateContactRequest { contact: Some(contact), request_id: id.into(), validate_only: false }
}

#[tokio::test]
async fn a_repeated_request_answers_as_the_first_and_writes_once() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let id = Uuid::new_v4().to_string();
    let mut contact = person("e1", "+919812345678");
    contact.attributes = (0..30).map(|n| (format!("key_{n}"), n.to_string())).collect();
    let first = api.contacts().create_contact(request(&id, contact.clone())).await?.into_inner();
    let again = api.contacts().create_contact(request(&id, contact)).await?.into_inner();
    assert_eq!(first, again);
    assert_eq!(api.count("contact").await?, 1);
    Ok(())
}

#[tokio::test]
async fn equal_requests_at_once_make_one_contact() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let id = Uuid::new_v4().to_string();
    let all = (0..8).map(|_| {
        let (mut client, id) = (api.contacts(), id.clone());
        async move { client.create_contact(request(&id, person("", "+919812345678"))).await }
    });
    let names: Result<Vec<String>, _> =
        futures::future::join_all(all).await.into_iter().map(|r| r.map(|c| c.into_inner().name)).collect();
    let names = names?;
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(api.count("contact").await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_id_that_was_used_for_something_else_is_refused() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let id = Uuid::new_v4().to_string();
    api.contacts().create_contact(request(&id, person("e1", "+919812345678"))).await?;
    let status = api.contacts().create_contact(request(&id, person("e2", "+919812345678"))).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    let other = v1::DeleteContactRequest { name: "contacts/1".into(), request_id: id, ..Default::default() };
    assert_eq!(reason(&api.contacts().delete_contact(other).await.unwrap_err()), "REQUEST_ID_REUSED");
    Ok(())
}

#[tokio::test]
async fn a_request_that_failed_may_be_repeated_after_correction() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let id = Uuid::new_v4().to_string();
    api.create(person("e1", "+919812345678")).await?;
    let taken = api.contacts().create_contact(request(&id, person("e1", "+919812345679"))).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));
    api.contacts().create_contact(request(&id, person("e2", "+919812345679"))).await?;
    assert_eq!(api.count("request").await?, 1);
    Ok(())
}

#[tokio::test]
async fn validate_only_shows_the_result_and_stores_nothing() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut dry = request(&Uuid::new_v4().to_string(), person("e1", "98123 45678"));
    dry.validate_only = true;
    let shown = api.contacts().create_contact(dry).await?.into_inner();
    assert_eq!(shown.addresses[0].value, "+919812345678");
    assert_eq!((api.count("contact").await?, api.count("address").await?, api.count("request").await?), (0, 0, 0));
    Ok(())
}
