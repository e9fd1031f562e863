//! Imports: what is right is taken, what is broken is named by its line; and consent, which imports bring too.

use proto::v1;

use super::{Api, person, phone};

fn row(line: i64, contact: v1::Contact) -> v1::ImportRow {
    v1::ImportRow { line, contact: Some(contact), consents: Vec::new() }
}

async fn import(
    api: &Api,
    rows: Vec<v1::ImportRow>,
    options: v1::ImportOptions,
) -> anyhow::Result<v1::ImportContactsResponse> {
    let mut messages: Vec<v1::ImportContactsRequest> =
        rows.chunks(1000).map(|rows| v1::ImportContactsRequest { options: None, rows: rows.to_vec() }).collect();
    messages[0].options = Some(options);
    Ok(api.contacts().import_contacts(futures::stream::iter(messages)).await?.into_inner())
}

#[tokio::test]
async fn broken_rows_are_named_and_the_rest_is_taken() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut rows: Vec<v1::ImportRow> =
        (1..=2500).map(|n| row(n, person(&format!("e{n}"), &format!("98123{n:05}")))).collect();
    rows[6] = row(7, person("bad", "12"));
    rows[7] = row(8, v1::Contact { time_zone: "India".into(), ..person("worse", "call me") });
    rows[2499] = v1::ImportRow { line: 2500, contact: None, consents: Vec::new() };
    let done = import(&api, rows.clone(), v1::ImportOptions::default()).await?;
    assert_eq!((done.received_count, done.created_count, done.rejected_count), (2500, 2497, 3));
    let named: Vec<(i64, &str, &str)> =
        done.rejected_rows.iter().map(|r| (r.line, r.field.as_str(), r.reason.as_str())).collect();
    assert_eq!(named[0], (7, "addresses[0].value", "ADDRESS_INVALID"));
    assert_eq!(named[1].0, 8);
    assert!(done.rejected_rows[1].description.contains("addresses[0].value"), "{:?}", done.rejected_rows[1]);
    assert_eq!(named[2].1, "contact");
    assert_eq!((api.count("contact").await?, api.count("contact_address").await?), (2497, 2497));

    rows[0] = row(1, v1::Contact { display_name: "Usha".into(), ..person("e1", "9812300001") });
    let again = import(&api, rows, v1::ImportOptions::default()).await?;
    assert_eq!((again.created_count, again.updated_count, again.unchanged_count), (0, 1, 2496));
    Ok(())
}

#[tokio::test]
async fn the_last_row_of_one_person_wins_and_a_shared_phone_stays_shared() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let named = |id: &str, name: &str, number: &str| v1::Contact { display_name: name.into(), ..person(id, number) };
    let rows = vec![
        row(1, named("e1", "First", "+919812345678")),
        row(2, named("e2", "Wife", "+919812345678")),
        row(3, named("e1", "Last", "+919812345678")),
        row(4, named("", "By phone", "+919812345670")),
        row(5, named("", "By phone again", "+919812345670")),
    ];
    let done = import(&api, rows, v1::ImportOptions::default()).await?;
    assert_eq!((done.created_count, done.updated_count), (3, 2));
    let request = v1::ResolveContactRequest { address: Some(phone("98123 45678")), default_country: "IN".into() };
    let found = api.contacts().resolve_contact(request).await?.into_inner();
    let names: Vec<&str> = found.contacts.iter().map(|c| c.display_name.as_str()).collect();
    assert_eq!(names, ["Last", "Wife"]);
    Ok(())
}

#[tokio::test]
async fn consents_come_with_rows_and_an_older_word_changes_nothing() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let consent = |state: v1::consent::State, seconds| v1::Consent {
        channel_type: v1::ChannelType::Sms.into(),
        purpose: "marketing".into(),
        state: state.into(),
        source: "import".into(),
        consent_time: at(seconds),
        ..Default::default()
    };
    let (yes, no) = (v1::consent::State::OptedIn, v1::consent::State::OptedOut);
    let with = |consent| v1::ImportRow { consents: vec![consent], ..row(1, person("e1", "+919812345678")) };
    import(&api, vec![with(consent(no, 2000))], v1::ImportOptions::default()).await?;
    import(&api, vec![with(consent(yes, 1000))], v1::ImportOptions::default()).await?;
    import(&api, vec![with(consent(no, 2000))], v1::ImportOptions::default()).await?;
    let list =
        |history| v1::ListConsentsRequest { contact: "contacts/external:e1".into(), history, ..Default::default() };
    let now = api.contacts().list_consents(list(false)).await?.into_inner().consents;
    assert_eq!(now.iter().map(|c| c.state()).collect::<Vec<_>>(), [no]);
    let ever = api.contacts().list_consents(list(true)).await?.into_inner().consents;
    assert_eq!(ever.iter().map(|c| c.state()).collect::<Vec<_>>(), [no, yes]);
    Ok(())
}

#[tokio::test]
async fn a_repeated_import_answers_as_the_first_and_writes_nothing() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let options = v1::ImportOptions { request_id: uuid::Uuid::new_v4().to_string(), ..Default::default() };
    let rows = vec![row(1, person("", "+919812345678"))];
    let first = import(&api, rows.clone(), options.clone()).await?;
    assert_eq!(import(&api, rows, options.clone()).await?, first);
    let other = import(&api, vec![row(1, person("", "+919812345670"))], options).await.unwrap_err();
    assert!(other.to_string().contains("other content"), "{other}");
    assert_eq!(api.count("contact").await?, 1);
    Ok(())
}
