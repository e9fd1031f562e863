//! Who wrote: by address, by external id, by the token of a link; an anonymous contact who turns out to be a known one.

use domain::message::Content;
use proto::v1::{self, conversation::State};

use super::{PHONE, Stage};

fn hello() -> Content {
    Content::Text { text: "Hello".into() }
}

async fn known(stage: &Stage, external_id: &str) -> anyhow::Result<i64> {
    let id = sqlx::query_scalar(
        "insert into contact (external_id, display_name, created_at, updated_at) values ($1, 'Known', now(), now()) returning id",
    );
    Ok(id.bind(external_id).fetch_one(&stage.served.world.db.pool).await?)
}

async fn token(stage: &Stage, contact: i64) -> anyhow::Result<String> {
    let request = v1::CreateContactTokenRequest { contact: format!("contacts/{contact}"), ..Default::default() };
    Ok(stage.served.conversations().create_contact_token(request).await?.into_inner().token)
}

#[tokio::test]
async fn an_external_id_or_a_token_says_who_wrote() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let (asha, ravi) = (known(&stage, "emp-1").await?, known(&stage, "emp-2").await?);
    stage.arrives_as(stage.whatsapp, PHONE, hello(), "a", &[("external_id", "emp-1")]).await?;
    let link = format!("Hello, my code is {}.", token(&stage, ravi).await?);
    stage.arrives(stage.sms, "+919812345679", &link).await?;
    stage.taken_up().await?;
    for (from, contact) in [(PHONE, asha), ("+919812345679", ravi)] {
        assert_eq!(stage.newest(from).await?.contact, format!("contacts/{contact}"));
    }
    stage.arrives_as(stage.whatsapp, "+919800000001", hello(), "b", &[("external_id", "nobody")]).await?;
    stage.arrives(stage.whatsapp, "+919800000002", "sb-aaaaaaaaaaaaaaaaaaaa").await?;
    stage.taken_up().await?;
    assert_eq!(
        stage.count("select count(*) from anonymous_contact").await?,
        2,
        "who says nothing known stays anonymous"
    );
    stage.is_sound().await
}

/// Case 23: the sessions of an anonymous contact merge into the older open conversation of the one it turns out to be.
#[tokio::test]
async fn an_anonymous_contact_merges_into_the_known_one_with_its_conversation() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let asha = known(&stage, "emp-1").await?;
    stage.arrives_as(stage.whatsapp, PHONE, hello(), "a", &[("external_id", "emp-1")]).await?;
    stage.taken_up().await?;
    stage.says(stage.sms, "+919812345679", "Who am I?").await?;
    let (older, younger) = (stage.newest(PHONE).await?, stage.newest("+919812345679").await?);
    assert_ne!(older.contact, younger.contact);
    stage.says(stage.sms, "+919812345679", &format!("I am {}", token(&stage, asha).await?)).await?;
    let all = stage.all(PHONE).await?;
    assert_eq!(all.len(), 2, "both stand with the known contact");
    let it = stage.get(&older.name).await?;
    assert_eq!((it.state(), it.open_session_count, it.message_count), (State::Created, 2, 3));
    assert_eq!(it.active_channel, "channels/sms-main");
    let gone = stage.get(&younger.name).await?;
    assert_eq!((gone.state(), gone.merged_into.as_str()), (State::Closed, older.name.as_str()));
    assert_eq!(gone.contact, it.contact);
    let words = stage.words(&older.name).await?;
    assert_eq!((words[0].as_str(), words[1].as_str()), ("Hello", "Who am I?"));
    assert_eq!(stage.newest("+919812345679").await?.contact, format!("contacts/{asha}"));
    stage.says(stage.sms, "+919812345679", "Again").await?;
    assert_eq!(stage.get(&older.name).await?.message_count, 4);
    stage.is_sound().await
}

#[tokio::test]
async fn where_only_the_anonymous_one_talks_its_conversation_becomes_the_known_ones() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let asha = known(&stage, "emp-1").await?;
    stage.says(stage.sms, PHONE, "Who am I?").await?;
    let name = stage.newest(PHONE).await?.name;
    stage.says(stage.sms, PHONE, &token(&stage, asha).await?).await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.contact, it.message_count), (format!("contacts/{asha}"), 2));
    assert_eq!(stage.all(PHONE).await?.len(), 1);
    stage.is_sound().await
}

/// Families share phones: a known contact is never swallowed by another.
#[tokio::test]
async fn two_known_contacts_of_one_phone_stay_two() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let (asha, ravi) = (known(&stage, "emp-1").await?, known(&stage, "emp-2").await?);
    stage.arrives_as(stage.whatsapp, PHONE, hello(), "a", &[("external_id", "emp-1")]).await?;
    stage.arrives_as(stage.whatsapp, PHONE, hello(), "b", &[("external_id", "emp-2")]).await?;
    stage.taken_up().await?;
    let mut contacts: Vec<String> = stage.all(PHONE).await?.into_iter().map(|c| c.contact).collect();
    contacts.sort();
    assert_eq!(contacts, [format!("contacts/{asha}"), format!("contacts/{ravi}")]);
    stage.is_sound().await
}

#[tokio::test]
async fn two_conversations_are_merged_by_request() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "From my phone").await?;
    stage.says(stage.sms, "+919812345679", "From my other phone").await?;
    let (older, younger) = (stage.newest(PHONE).await?, stage.newest("+919812345679").await?);
    let request =
        v1::MergeConversationsRequest { name: younger.name.clone(), other: older.name.clone(), ..Default::default() };
    let it = stage.served.conversations().merge_conversations(request.clone()).await?.into_inner();
    assert_eq!((it.name.as_str(), it.open_session_count, it.message_count), (older.name.as_str(), 2, 2));
    let again = stage.served.conversations().merge_conversations(request).await.unwrap_err();
    assert_eq!(crate::reading::reason(&again), "STATE_WRONG");
    stage.says(stage.sms, "+919812345679", "Still me").await?;
    assert_eq!(stage.get(&older.name).await?.message_count, 3);
    stage.is_sound().await
}
