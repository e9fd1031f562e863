//! Many at once: several processes take up what one contact writes from several places, and others write to it.

use std::time::Duration;

use proto::v1;
use server::services::{Context, inbound as service};
use testkit::eventually;

use super::{PHONE, Stage, channel, id_of, text};

const MAIL: &str = "asha@example.org";

/// One contact with a phone and a mailbox.
async fn two_addresses(stage: &Stage) -> anyhow::Result<i64> {
    let contact = stage.served.world.contact(PHONE).await?;
    sqlx::query(
        "with a as (insert into address (kind, value, created_at) values ('email', $2, now()) returning id)
         insert into contact_address (contact_id, address_id, position) select $1, id, 1 from a",
    )
    .bind(contact)
    .bind(MAIL)
    .execute(&stage.served.world.db.pool)
    .await?;
    Ok(contact)
}

/// Takes up until nothing is left for anybody.
async fn process(context: Context, stage: &Stage) -> anyhow::Result<()> {
    eventually(Duration::from_secs(60), async || {
        while service::take_up(&context).await? {}
        let left = stage.count("select count(*) from inbound_inbox where parked_at is null").await?;
        anyhow::ensure!(left == 0, "{left} messages wait");
        Ok(())
    })
    .await
}

/// Case 1: two first messages on two channels at once make one conversation with two sessions.
#[tokio::test]
async fn two_first_messages_on_two_channels_meet_in_one_conversation() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let mail = channel(&stage.served, "mail-main", "EMAIL", "us@example.org").await?;
    let contact = two_addresses(&stage).await?;
    stage.arrives(stage.whatsapp, PHONE, "By phone").await?;
    stage.arrives(mail, MAIL, "By mail").await?;
    let (one, two) = (stage.served.world.another_process()?, stage.served.world.another_process()?);
    let (one, two) = tokio::join!(process(one, &stage), process(two, &stage));
    one?;
    two?;
    let all = stage.all(PHONE).await?;
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].contact.as_str(), all[0].open_session_count), (format!("contacts/{contact}").as_str(), 2));
    assert_eq!(stage.words(&all[0].name).await?, ["By phone", "By mail"], "in order of arrival");
    stage.is_sound().await
}

/// Many messages of one contact from two addresses, three processes, and we write too: each once, in order, without a gap.
#[tokio::test]
async fn many_writers_on_one_contact_keep_one_conversation_in_order() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let mail = channel(&stage.served, "mail-main", "EMAIL", "us@example.org").await?;
    let contact = two_addresses(&stage).await?;
    for n in 0..40 {
        let (on, from) = if n % 3 == 0 { (mail, MAIL) } else { (stage.whatsapp, PHONE) };
        stage.arrives(on, from, &format!("{n}")).await?;
        if n % 5 == 0 {
            stage.arrives(stage.sms, "+919800000009", "Somebody else").await?;
        }
    }
    let processes = [
        stage.served.world.another_process()?,
        stage.served.world.another_process()?,
        stage.served.world.another_process()?,
    ];
    let [a, b, c] = processes;
    let ours = async {
        for n in 0..10 {
            let request = v1::SendMessageRequest {
                to: Some(v1::send_message_request::To::Contact(format!("contacts/{contact}"))),
                channel: "channels/sms-main".into(),
                content: text(&format!("ours {n}")),
                ..Default::default()
            };
            stage.served.messages().send_message(request).await?;
        }
        anyhow::Ok(())
    };
    let (a, b, c, ours) = tokio::join!(process(a, &stage), process(b, &stage), process(c, &stage), ours);
    a.and(b).and(c).and(ours)?;
    let all = stage.all(PHONE).await?;
    assert_eq!(all.len(), 1, "one conversation");
    let heard: Vec<String> =
        sqlx::query_scalar("select plain_text from message where conversation_id = $1 and not outbound order by seq")
            .bind(id_of(&all[0].name))
            .fetch_all(&stage.served.world.db.pool)
            .await?;
    assert_eq!(heard, (0..40).map(|n| n.to_string()).collect::<Vec<_>>(), "every message once, in order of arrival");
    assert_eq!(all[0].message_count, 50);
    stage.is_sound().await
}

/// Case 17: what a provider brings twice is one message. Case 18: its own times order nothing.
#[tokio::test]
async fn doubled_messages_are_one_and_arrival_orders_them() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let said = |text: &str| domain::message::Content::Text { text: text.into() };
    assert!(stage.arrives_as(stage.whatsapp, PHONE, said("first"), "x", &[]).await?);
    assert!(!stage.arrives_as(stage.whatsapp, PHONE, said("first"), "x", &[]).await?);
    assert!(stage.arrives_as(stage.sms, PHONE, said("on another channel"), "x", &[]).await?);
    stage.taken_up().await?;
    assert!(!stage.arrives_as(stage.whatsapp, PHONE, said("first"), "x", &[]).await?, "taken up, it is still known");
    stage.taken_up().await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!(stage.words(&it.name).await?, ["first", "on another channel"]);
    stage.is_sound().await
}

/// What cannot be taken up is parked after three failures, and the contact's next message goes on.
#[tokio::test]
async fn a_message_that_fails_three_times_is_parked_and_the_next_goes_on() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    two_addresses(&stage).await?;
    stage.arrives(stage.whatsapp, PHONE, "good").await?;
    stage.set("insert into inbound_inbox (channel_id, provider_id, sender, fact, body_id, received_at)
               select channel_id, provider_id, sender, '{\"no\": \"message\"}', body_id, received_at from inbound_inbox").await?;
    stage.arrives(stage.whatsapp, PHONE, "better").await?;
    stage.taken_up().await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!(stage.words(&it.name).await?, ["good", "better"]);
    assert_eq!(stage.count("select count(*) from inbound_inbox where parked_at is not null and tries = 3").await?, 1);
    stage.is_sound().await
}

/// A close and a message that meet: either the message is in what is closed, or it opens another one; none is lost.
#[tokio::test]
async fn closing_and_writing_race_without_losing_a_message() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    for n in 0..8 {
        let phone = format!("+9198120000{n:02}");
        stage.says(stage.whatsapp, &phone, "Hello").await?;
        let name = stage.newest(&phone).await?.name;
        stage.arrives(stage.whatsapp, &phone, "And bye").await?;
        let request = v1::CloseConversationRequest { name, ..Default::default() };
        let mut client = stage.served.conversations();
        let (closed, taken) = tokio::join!(client.close_conversation(request), stage.taken_up());
        closed?;
        taken?;
        let all = stage.all(&phone).await?;
        assert_eq!(all.iter().map(|c| c.message_count).sum::<i64>(), 2);
        assert!(all[0].state() == v1::conversation::State::Closing);
    }
    stage.due().await?;
    stage.is_sound().await
}
