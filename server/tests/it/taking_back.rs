//! What is queued and not wanted any more is taken back in the very transaction that makes it unwanted: a refusal of any kind, an
//! answer, a cancellation, a step that was left. And what slips past all of them is stopped by the mark.

use std::time::Duration;

use domain::{
    channel::{Address, AddressKind, ChannelType, Lane},
    delivery::{AfterUnknown, FailureClass},
    message::Content,
};
use server::{
    channels::{InboundFact, Refusal, Sent},
    services::{
        contacts::consent::{self, NewConsent},
        inbound,
        outcomes::{self, Ended},
        receipts, sending, unsubscribe,
        work::Work,
    },
    storage::{
        consents, dispatch, inbound as inbox, queue,
        receipts::{self as receipt_inbox, NewReceipt},
    },
    workers::fallback,
};
use uuid::Uuid;

use crate::support::World;

const PHONE: &str = "+919812345678";
const LEASE: f64 = 60.0;

/// One person, and a way from an SMS to a call; nothing is on the wire.
struct Town {
    world: World,
    sms: i32,
}

impl Town {
    async fn new() -> anyhow::Result<Self> {
        let world = World::new().await?;
        let sms = world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
        world.voice_channel("voice-a", "http://127.0.0.1:9").await?;
        Ok(Self { world, sms })
    }

    /// A notification to the person, for this purpose: its SMS is queued.
    async fn notify(&self, purpose: &str) -> anyhow::Result<Uuid> {
        let world = &self.world;
        let contact = match sqlx::query_scalar("select id from contact").fetch_optional(&world.db.pool).await? {
            Some(contact) => contact,
            None => world.contact(PHONE).await?,
        };
        let plan =
            world.plan(&["sms-a", "voice-a"], |_, step| step.success = domain::fallback::Success::Replied).await?;
        let notification = world.begin(&plan, &[contact], Lane::Interactive).await?.remove(0);
        sqlx::query("update notification set purpose = $2 where id = $1")
            .bind(notification)
            .bind(purpose)
            .execute(&world.db.pool)
            .await?;
        assert_eq!(world.delivery(notification, 0).await?, "queued none");
        Ok(notification)
    }

    async fn address(&self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("select id from address").fetch_one(&self.world.db.pool).await?)
    }

    async fn reason(&self, notification: Uuid, step: i16) -> anyhow::Result<Option<String>> {
        Ok(sqlx::query_scalar("select reason from delivery where notification_id = $1 and step = $2")
            .bind(notification)
            .bind(step)
            .fetch_one(&self.world.db.pool)
            .await?)
    }

    /// The SMS was skipped because its person refused, and the notification goes on with the call.
    async fn was_skipped_and_goes_on(&self, notification: Uuid) -> anyhow::Result<()> {
        assert_eq!(self.world.delivery(notification, 0).await?, "skipped none", "before any worker had a say");
        assert_eq!(self.reason(notification, 0).await?.as_deref(), Some("OPTED_OUT"));
        fallback::pass(&self.world.context).await?;
        assert_eq!(self.world.stands(notification).await?, "waiting 1");
        assert_eq!(self.world.delivery(notification, 1).await?, "queued none", "the call is another channel type");
        Ok(())
    }

    /// Marks the SMS of a notification as a worker would.
    async fn mark(&self, notification: Uuid) -> anyhow::Result<Option<Marked>> {
        let conn = &mut *self.world.context.db.conn().await?;
        for group in queue::waiting_groups(conn, self.world.now()).await? {
            let name = group.channel_type.as_str();
            queue::grant(
                conn,
                name,
                group.lane,
                &[queue::Want { send_group_id: group.send_group_id, messages: 10, parts: i64::MAX, micros: i64::MAX }],
                LEASE,
            )
            .await?;
        }
        let (delivery, chunk): (Uuid, i64) = sqlx::query_as(
            "select d.id, x.id from delivery d join dispatch x on d.id = any(x.delivery_ids)
              where d.notification_id = $1 and d.step = 0",
        )
        .bind(notification)
        .fetch_one(&self.world.db.pool)
        .await?;
        let provider: i32 = sqlx::query_scalar("select id from channel_provider where channel_id = $1")
            .bind(self.sms)
            .fetch_one(&self.world.db.pool)
            .await?;
        let token = Uuid::new_v4();
        assert_eq!(dispatch::claim(conn, chunk, token, LEASE).await?.len(), 1);
        let marked = dispatch::mark(conn, chunk, token, &[delivery], provider, LEASE, self.world.now()).await?;
        Ok(marked.first().map(|(_, attempt)| Marked { delivery, provider, token, attempt: *attempt }))
    }

    async fn ends(&self, marked: &Marked, sent: Sent) -> anyhow::Result<()> {
        let ended = Ended {
            delivery_id: marked.delivery,
            attempt: marked.attempt,
            token: marked.token,
            provider_id: marked.provider,
            after_unknown: AfterUnknown::Nothing,
            sent,
        };
        outcomes::store(&self.world.context, &[ended]).await?;
        Ok(())
    }

    /// The person writes by SMS.
    async fn writes(&self, words: &str) -> anyhow::Result<()> {
        let fact = InboundFact {
            provider_message_id: Uuid::new_v4().to_string(),
            from: vec![Address { kind: AddressKind::Phone, value: PHONE.into() }],
            to: "+15550001111".into(),
            display_name: None,
            content: Content::Text { text: words.into() },
            in_reply_to: None,
            delivery_id: None,
            provider_opt: None,
            provider_time: None,
            channel_data: std::collections::BTreeMap::new(),
        };
        let message = inbox::NewInbound {
            channel_id: self.sms,
            provider_id: 1,
            provider_message_id: fact.provider_message_id.clone(),
            sender: format!("phone:{PHONE}"),
            fact: serde_json::to_value(&fact)?,
        };
        inbox::store(&mut *self.world.context.db.conn().await?, &message, 0, self.world.now()).await?;
        assert!(inbound::take_up(&self.world.context).await?);
        assert_eq!(self.world.count("select count(*) from inbound_inbox").await?, 0, "it could not be taken up");
        Ok(())
    }
}

struct Marked {
    delivery: Uuid,
    provider: i32,
    token: Uuid,
    attempt: i16,
}

fn accepted() -> Sent {
    Sent::Accepted { provider_message_id: format!("SM{}", Uuid::new_v4().simple()) }
}

#[tokio::test]
async fn an_unsubscribe_click_takes_back_what_is_queued_for_its_purpose() -> anyhow::Result<()> {
    let town = Town::new().await?;
    let (news, other) = (town.notify("news").await?, town.notify("reminder").await?);
    let subscription = unsubscribe::Subscription {
        address_id: town.address().await?,
        channel_type: ChannelType::Sms,
        purpose: "news".into(),
    };
    for _ in 0..2 {
        unsubscribe::end(&town.world.context, &subscription).await?;
    }
    town.was_skipped_and_goes_on(news).await?;
    assert_eq!(town.world.delivery(other, 0).await?, "queued none", "another purpose");
    let gone = unsubscribe::Subscription { address_id: -1, ..subscription };
    unsubscribe::end(&town.world.context, &gone).await?;
    Ok(())
}

#[tokio::test]
async fn a_stop_word_ends_what_it_answers_and_takes_back_what_else_is_queued() -> anyhow::Result<()> {
    let town = Town::new().await?;
    let (answered, queued) = (town.notify("news").await?, town.notify("reminder").await?);
    let service = town.notify("service").await?;
    let marked = town.mark(answered).await?.expect("it may go");
    town.ends(&marked, accepted()).await?;
    town.writes("STOP").await?;
    assert_eq!(town.world.stands(answered).await?, "skipped 0");
    town.was_skipped_and_goes_on(queued).await?;
    assert_eq!(
        town.world.delivery(service, 0).await?,
        "queued none",
        "what a person asked for is refused only by name"
    );
    Ok(())
}

#[tokio::test]
async fn an_opt_out_by_rpc_takes_back_what_is_queued() -> anyhow::Result<()> {
    let town = Town::new().await?;
    let queued = town.notify("news").await?;
    let refusal = NewConsent {
        address: Address { kind: AddressKind::Phone, value: PHONE.into() },
        channel_type: ChannelType::Sms,
        purpose: "*".into(),
        opted_in: false,
        source: "form".into(),
        proof: String::new(),
        at: town.world.now(),
    };
    let mut work = Work::begin(&town.world.context).await?;
    consent::set(&mut work, refusal).await?;
    work.commit(&town.world.context).await?;
    town.was_skipped_and_goes_on(queued).await
}

#[tokio::test]
async fn an_opt_out_that_a_provider_reports_takes_back_what_else_is_queued() -> anyhow::Result<()> {
    // Once as a refusal of the call, once as a receipt.
    for by_receipt in [false, true] {
        let town = Town::new().await?;
        let (told, queued) = (town.notify("news").await?, town.notify("reminder").await?);
        let marked = town.mark(told).await?.expect("it may go");
        if by_receipt {
            town.ends(&marked, accepted()).await?;
            let receipt = NewReceipt {
                provider_message_id: "SM1".into(),
                echo: Some((marked.delivery, marked.attempt)),
                evidence: domain::delivery::Evidence::Failed,
                failure_class: Some(FailureClass::OptOut.as_str().to_owned()),
                failure_code: Some("21610".into()),
                provider_time: None,
            };
            receipt_inbox::store(&mut *town.world.context.db.conn().await?, marked.provider, 0, &[receipt]).await?;
            receipts::merge(&town.world.context).await?;
        } else {
            let refusal = Refusal {
                class: FailureClass::OptOut,
                code: "21610".into(),
                detail: "the recipient sent STOP".into(),
                retry_after: None,
            };
            town.ends(&marked, Sent::Refused(refusal)).await?;
        }
        town.was_skipped_and_goes_on(queued).await?;
        assert_eq!(town.world.stands(told).await?, "waiting 1", "a refusal goes on at once");
    }
    Ok(())
}

#[tokio::test]
async fn the_mark_stops_what_was_queued_while_its_person_refused() -> anyhow::Result<()> {
    let town = Town::new().await?;
    let notification = town.notify("news").await?;
    // Planned on what was consented to before: nobody has taken it back.
    sqlx::query(
        "insert into consent (address_id, channel_type, purpose, opted_in, source, at) values ($1, 'SMS', '*', false, 'x', now())",
    )
    .bind(town.address().await?)
    .execute(&town.world.db.pool)
    .await?;
    assert!(town.mark(notification).await?.is_none(), "refused");
    let delivery: Uuid = sqlx::query_scalar("select id from delivery").fetch_one(&town.world.db.pool).await?;
    server::services::consents::skip_unwanted(&town.world.context, &[delivery]).await?;
    town.was_skipped_and_goes_on(notification).await?;
    let conn = &mut *town.world.context.db.conn().await?;
    assert!(consents::refused_among(conn, &[delivery]).await?.is_empty(), "it is queued no more");
    Ok(())
}

#[tokio::test]
async fn an_answer_takes_back_what_is_queued_of_its_notification() -> anyhow::Result<()> {
    let town = Town::new().await?;
    let (notification, other) = (town.notify("news").await?, town.notify("news").await?);
    let marked = town.mark(notification).await?.expect("it may go");
    town.ends(&marked, accepted()).await?;
    town.world.advance(Duration::from_secs(3601));
    fallback::pass(&town.world.context).await?;
    assert_eq!(town.world.delivery(notification, 1).await?, "queued none", "the call is next");
    town.writes("I know").await?;
    assert_eq!(town.world.stands(notification).await?, "replied 1");
    assert_eq!(town.world.delivery(notification, 1).await?, "cancelled none");
    assert_eq!(town.world.delivery(other, 0).await?, "queued none", "it answers one");
    Ok(())
}

#[tokio::test]
async fn a_cancellation_takes_back_what_is_queued() -> anyhow::Result<()> {
    let town = Town::new().await?;
    let notification = town.notify("news").await?;
    let mut work = Work::begin(&town.world.context).await?;
    sending::cancel(&town.world.context, &mut work, notification, "").await?;
    work.commit(&town.world.context).await?;
    assert_eq!(town.world.delivery(notification, 0).await?, "cancelled none");
    assert_eq!(town.reason(notification, 0).await?.as_deref(), Some("CANCELLED_BY_OWNER"));
    Ok(())
}
