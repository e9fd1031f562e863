//! Messages of one conversation to one address leave in their order, whatever becomes of the earlier ones.

use std::time::Duration;

use domain::{
    channel::{ChannelType, Lane},
    delivery::AfterUnknown,
    message::Content,
};
use server::{
    channels::Sent,
    services::{
        outcomes::{self, Ended},
        outgoing,
    },
    storage::{conversations, dispatch, queue},
};
use simulator::script::{Handset, MessageScript};
use testkit::eventually;
use uuid::Uuid;

use crate::support::{
    World,
    pipeline::{Workers, simulator},
};

const PHONE: &str = "+919812345678";
const LEASE: f64 = 60.0;

/// A conversation with one person by SMS.
struct Talk<'a> {
    world: &'a World,
    conversation: Uuid,
    channel: i32,
    address: i64,
}

impl<'a> Talk<'a> {
    async fn with(world: &'a World, channel: i32, phone: &str) -> anyhow::Result<Self> {
        let contact = world.contact(phone).await?;
        let address =
            sqlx::query_scalar("select id from address where value = $1").bind(phone).fetch_one(&world.db.pool).await?;
        let mut tx = world.context.db.begin().await?;
        let (conversation, _) =
            conversations::ensure_open(&mut tx, Uuid::now_v7(), contact, channel, world.now()).await?;
        tx.commit().await?;
        Ok(Self { world, conversation, channel, address })
    }

    async fn say(&self, words: &[String]) -> anyhow::Result<()> {
        let mut tx = self.world.context.db.begin().await?;
        for text in words {
            let line = outgoing::Line {
                conversation_id: self.conversation,
                channel_id: self.channel,
                channel_type: ChannelType::Sms,
                address_id: self.address,
                content: Content::Text { text: text.clone() },
                lane: Lane::Interactive,
                in_reply_to: None,
                actor: "api".into(),
            };
            outgoing::say(&self.world.context, &mut tx, &line, self.world.now()).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

fn lines(n: usize) -> Vec<String> {
    (1..=n).map(|n| format!("line {n}")).collect()
}

/// A message that a worker has claimed.
struct Claimed {
    chunk: i64,
    token: Uuid,
    delivery: Uuid,
    provider: i32,
}

impl Claimed {
    /// Claims the message with these words.
    async fn message(world: &World, words: &str) -> anyhow::Result<Self> {
        let conn = &mut *world.context.db.conn().await?;
        for group in queue::waiting_groups(conn, world.now()).await? {
            queue::grant(
                conn,
                "SMS",
                group.lane,
                &[queue::Want { send_group_id: group.send_group_id, messages: 10, parts: i64::MAX, micros: i64::MAX }],
                LEASE,
            )
            .await?;
        }
        let (chunk, delivery, provider): (i64, Uuid, i32) = sqlx::query_as(
            "select d.chunk_id, d.id, p.id from message m join delivery d on d.id = m.delivery_id
               join channel_provider p on p.channel_id = d.channel_id where m.plain_text = $1",
        )
        .bind(words)
        .fetch_one(&world.db.pool)
        .await?;
        let token = Uuid::new_v4();
        assert_eq!(dispatch::claim(conn, chunk, token, LEASE).await?.len(), 1, "{words} can be claimed");
        Ok(Self { chunk, token, delivery, provider })
    }

    async fn may_go(&self, world: &World) -> anyhow::Result<bool> {
        let conn = &mut *world.context.db.conn().await?;
        let ids = [self.delivery];
        let marked = dispatch::mark(conn, self.chunk, self.token, &ids, self.provider, LEASE, world.now()).await?;
        Ok(!marked.is_empty())
    }

    async fn ends(&self, world: &World, sent: Sent) -> anyhow::Result<()> {
        let ended = Ended {
            delivery_id: self.delivery,
            attempt: 1,
            token: self.token,
            provider_id: self.provider,
            after_unknown: AfterUnknown::Nothing,
            sent,
        };
        outcomes::store(&world.context, &[ended]).await?;
        Ok(())
    }

    async fn given_back(&self, world: &World, secs: f64) -> anyhow::Result<()> {
        dispatch::finish(&mut *world.context.db.conn().await?, self.chunk, self.token, secs, false).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_message_waits_until_the_one_before_it_is_over_and_is_woken_by_its_end() -> anyhow::Result<()> {
    let world = World::new().await?;
    let channel = world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    Talk::with(&world, channel, PHONE).await?.say(&lines(3)).await?;
    let other = Talk::with(&world, channel, "+919812345679").await?;
    other.say(&["elsewhere".into()]).await?;

    let second = Claimed::message(&world, "line 2").await?;
    assert!(!second.may_go(&world).await?, "the first is queued");
    let first = Claimed::message(&world, "line 1").await?;
    assert!(first.may_go(&world).await?);
    assert!(!second.may_go(&world).await?, "the first is on the wire");
    assert!(Claimed::message(&world, "elsewhere").await?.may_go(&world).await?, "another conversation does not wait");
    second.given_back(&world, 3600.0).await?;

    let conn = &mut *world.context.db.conn().await?;
    assert!(!dispatch::their_turn(conn, &[second.delivery]).await?);
    assert_eq!(dispatch::wake_followers(conn, &[first.delivery]).await?, 0, "nobody is woken before the end");
    first.ends(&world, Sent::Accepted { provider_message_id: "SM1".into() }).await?;
    assert!(dispatch::their_turn(conn, &[second.delivery]).await?);
    assert_eq!(dispatch::wake_followers(conn, &[first.delivery]).await?, 1);
    let second = Claimed::message(&world, "line 2").await?; // although it was given back for an hour
    let third = Claimed::message(&world, "line 3").await?;
    assert!(!third.may_go(&world).await?);
    assert!(second.may_go(&world).await?);
    Ok(())
}

#[tokio::test]
async fn one_that_is_given_up_or_not_known_does_not_stop_the_next() -> anyhow::Result<()> {
    let world = World::new().await?;
    let channel = world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    Talk::with(&world, channel, PHONE).await?.say(&lines(4)).await?;
    // The second is taken back while the first is on the wire: the third still waits for the first.
    let first = Claimed::message(&world, "line 1").await?;
    assert!(first.may_go(&world).await?);
    let second = Claimed::message(&world, "line 2").await?;
    sqlx::query("update delivery set work = 'cancelled' where id = $1")
        .bind(second.delivery)
        .execute(&world.db.pool)
        .await?;
    let third = Claimed::message(&world, "line 3").await?;
    assert!(!third.may_go(&world).await?);
    first.ends(&world, Sent::Unknown { detail: "no answer in time".into() }).await?;
    assert!(third.may_go(&world).await?, "what is not known is not waited for");
    Ok(())
}

#[tokio::test]
async fn a_message_that_must_be_tried_again_is_not_overtaken() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    let mut script = MessageScript::silent();
    script.throttle = 1; // the first request is refused: its message goes again after seconds
    sim.handset(PHONE, Handset::sms(script))?;
    let channel = world.sms_channel("sms-a", &sim.base_url).await?;
    Talk::with(&world, channel, PHONE).await?.say(&lines(5)).await?;
    let _workers = Workers::start(&world.context, None)?;
    eventually(Duration::from_secs(60), async || {
        let said = sim.calls_to(PHONE).await.len();
        anyhow::ensure!(said == 5, "{said} of 5 lines are out");
        Ok(())
    })
    .await?;
    let said: Vec<String> = sim.calls_to(PHONE).await.into_iter().map(|call| call.body).collect();
    assert_eq!(said, lines(5));
    Ok(())
}
