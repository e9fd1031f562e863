//! Pages stay in step while contacts come and go, and refuse a question that changed; filters mean what the rulebook says.

use proto::v1;
use tonic::Code;

use super::{Api, fields, person, reason};

fn list(filter: &str, size: i32, token: &str) -> v1::ListContactsRequest {
    v1::ListContactsRequest { filter: filter.into(), page_size: size, page_token: token.into() }
}

async fn names(api: &Api, filter: &str) -> anyhow::Result<Vec<String>> {
    let page = api.contacts().list_contacts(list(filter, 0, "")).await?.into_inner();
    Ok(page.contacts.into_iter().map(|c| c.external_id).collect())
}

#[tokio::test]
async fn nobody_is_shown_twice_or_left_out_while_contacts_come_and_go() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(api.create(person(&format!("e{n}"), "+919812345678")).await?);
    }
    let first = api.contacts().list_contacts(list("", 2, "")).await?.into_inner();
    let delete = v1::DeleteContactRequest { name: made[0].name.clone(), ..Default::default() };
    api.contacts().delete_contact(delete).await?;
    api.create(person("e5", "+919812345678")).await?;
    let second = api.contacts().list_contacts(list("", 2, &first.next_page_token)).await?.into_inner();
    let third = api.contacts().list_contacts(list("", 2, &second.next_page_token)).await?.into_inner();
    let shown = [&first, &second, &third].into_iter().flat_map(|p| p.contacts.iter().map(|c| c.external_id.as_str()));
    assert_eq!(shown.collect::<Vec<_>>(), ["e0", "e1", "e2", "e3", "e4", "e5"]);
    assert_eq!(third.next_page_token, "");
    Ok(())
}

#[tokio::test]
async fn a_changed_question_and_a_negative_size_are_refused() -> anyhow::Result<()> {
    let api = Api::start().await?;
    for n in 0..2 {
        api.create(person(&format!("e{n}"), "+919812345678")).await?;
    }
    let token = api.contacts().list_contacts(list("", 1, "")).await?.into_inner().next_page_token;
    let changed = api.contacts().list_contacts(list("locale = \"hi\"", 1, &token)).await.unwrap_err();
    assert_eq!((changed.code(), reason(&changed).as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
    let negative = api.contacts().list_contacts(list("", -1, "")).await.unwrap_err();
    assert_eq!(fields(&negative), ["page_size"]);
    Ok(())
}

#[tokio::test]
async fn filters_find_by_fields_attributes_and_addresses() -> anyhow::Result<()> {
    let api = Api::start().await?;
    for (id, locale, district) in [("a", "hi-IN", "Pune"), ("b", "en", "Pune"), ("c", "", "Nashik"), ("d", "hi", "")] {
        let mut contact = person(id, "+919812345678");
        contact.locale = locale.into();
        if !district.is_empty() {
            contact.attributes =
                [("district".to_owned(), district.to_owned()), ("age".to_owned(), "30".to_owned())].into();
        }
        if id == "c" {
            contact.addresses.clear();
        }
        api.create(contact).await?;
    }
    for (filter, expected) in [
        ("attributes.district = \"Pune\" AND locale = \"hi*\"", vec!["a"]),
        ("attributes.district != \"Pune\"", vec!["c"]),
        ("NOT attributes.district = \"Pune\"", vec!["c", "d"]),
        ("attributes.district:*", vec!["a", "b", "c"]),
        ("has(phone)", vec!["a", "b", "d"]),
        ("NOT locale = \"en\"", vec!["a", "c", "d"]),
        ("external_id >= \"b\" AND external_id < \"d\"", vec!["b", "c"]),
        ("attributes.age > 29", vec!["a", "b", "c"]),
        ("display_name = \"'; drop table contact; --\"", vec![]),
    ] {
        assert_eq!(names(&api, filter).await?, expected, "{filter}");
    }
    let wrong = api.contacts().list_contacts(list("locale = ", 0, "")).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), fields(&wrong)), ("FILTER_INVALID", vec!["filter".to_owned()]));
    Ok(())
}
