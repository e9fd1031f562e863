//! What is wrong with a request is said all at once; etags and masks keep two writers apart.

use proto::v1;
use tonic::Code;

use super::{Api, fields, person, phone, reason};

#[tokio::test]
async fn all_violations_are_reported_at_once() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let contact = v1::Contact {
        addresses: vec![phone("12"), v1::Address { kind: 2, value: "nobody".into() }],
        time_zone: "India".into(),
        locale: "hindi".into(),
        ..Default::default()
    };
    let request = v1::CreateContactRequest { contact: Some(contact), request_id: "7".into(), validate_only: false };
    let status = api.contacts().create_contact(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    let expected = [
        "request_id",
        "contact.locale",
        "contact.time_zone",
        "contact.addresses[0].value",
        "contact.addresses[1].value",
    ];
    assert_eq!(fields(&status), expected);
    Ok(())
}

#[tokio::test]
async fn an_etag_that_is_not_current_refuses_the_write() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let seen = api.create(person("e1", "+919812345678")).await?;
    let rename = |name: &str| v1::UpdateContactRequest {
        contact: Some(v1::Contact { display_name: name.into(), ..seen.clone() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into()] }),
        ..Default::default()
    };
    let changed = api.contacts().update_contact(rename("Asha")).await?.into_inner();
    assert_ne!(changed.etag, seen.etag);
    let late = api.contacts().update_contact(rename("Usha")).await.unwrap_err();
    assert_eq!((late.code(), reason(&late).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let delete = v1::DeleteContactRequest { name: seen.name.clone(), etag: seen.etag.clone(), ..Default::default() };
    assert_eq!(reason(&api.contacts().delete_contact(delete).await.unwrap_err()), "ETAG_MISMATCH");
    Ok(())
}

#[tokio::test]
async fn a_mask_says_what_is_written_and_nothing_else_changes() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut contact = person("e1", "+919812345678");
    contact.attributes = [("ward".to_owned(), "7".to_owned()), ("zone".to_owned(), "west".to_owned())].into();
    let made = api.create(contact).await?;
    let update = |contact: v1::Contact, paths: &[&str]| v1::UpdateContactRequest {
        contact: Some(v1::Contact { name: made.name.clone(), ..contact }),
        update_mask: (!paths.is_empty())
            .then(|| prost_types::FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() }),
        ..Default::default()
    };
    let ward = v1::Contact { attributes: [("ward".to_owned(), "8".to_owned())].into(), ..Default::default() };
    let one = api.contacts().update_contact(update(ward, &["attributes.ward"])).await?.into_inner();
    assert_eq!((one.attributes["ward"].as_str(), one.attributes["zone"].as_str()), ("8", "west"));
    let named = v1::Contact { display_name: "Usha".into(), ..Default::default() };
    let populated = api.contacts().update_contact(update(named, &[])).await?.into_inner();
    assert_eq!((populated.display_name.as_str(), populated.addresses.len()), ("Usha", 1));
    let emptied = api.contacts().update_contact(update(v1::Contact::default(), &["addresses"])).await?.into_inner();
    assert_eq!((emptied.display_name.as_str(), emptied.addresses.len()), ("Usha", 0));
    let wrong = api.contacts().update_contact(update(v1::Contact::default(), &["create_time", "nothing"])).await;
    assert_eq!(fields(&wrong.unwrap_err()), ["update_mask", "update_mask"]);
    Ok(())
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_by_its_name() -> anyhow::Result<()> {
    let api = Api::start().await?;
    for name in ["contacts/9", "contacts/external:nobody"] {
        let status = api.contacts().get_contact(v1::GetContactRequest { name: name.into() }).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"), "{name}");
    }
    let status = api.contacts().get_contact(v1::GetContactRequest { name: "9".into() }).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["name".to_owned()]));
    Ok(())
}
