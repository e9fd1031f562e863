//! Conversations from the first message to the last: on a real Postgres, in virtual time. The numbers of cases are those of the list of
//! edge cases that the design of conversations keeps.

mod acting;
mod closing;
mod costs;
mod identity;
mod inactivity;
mod processes;
mod races;
mod sending;
mod sessions;
mod watching;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use domain::{
    channel::{Address, AddressKind},
    message::Content,
};
use proto::v1;
use server::{
    channels::InboundFact,
    services::{Context, inbound as service},
    storage::inbound::{self, NewInbound},
    workers::conversations as worker,
};
use uuid::Uuid;

use crate::reading::Served;

pub const PHONE: &str = "+919812345678";

/// A server, a WhatsApp channel and an SMS channel; nothing is sent, what is due is worked off when the test says so.
pub struct Stage {
    pub served: Served,
    pub whatsapp: i32,
    pub sms: i32,
    messages: AtomicU64,
}

impl Stage {
    pub async fn new() -> anyhow::Result<Self> {
        let served = Served::new().await?;
        let sms = sqlx::query_scalar("select id from channel where slug = 'sms-main'")
            .fetch_one(&served.world.db.pool)
            .await?;
        let whatsapp = channel(&served, "wa-main", "WHATSAPP", "+15550002222").await?;
        Ok(Self { served, whatsapp, sms, messages: AtomicU64::new(1) })
    }

    /// A message of a person arrives; nobody has taken it up yet. Says the provider's id.
    pub async fn arrives(&self, channel: i32, from: &str, text: &str) -> anyhow::Result<String> {
        let id = format!("m-{}", self.messages.fetch_add(1, Ordering::Relaxed));
        self.arrives_as(channel, from, Content::Text { text: text.into() }, &id, &[]).await?;
        Ok(id)
    }

    /// The same with everything said.
    pub async fn arrives_as(
        &self,
        channel: i32,
        from: &str,
        content: Content,
        id: &str,
        data: &[(&str, &str)],
    ) -> anyhow::Result<bool> {
        let kind = if from.contains('@') { AddressKind::Email } else { AddressKind::Phone };
        let fact = InboundFact {
            provider_message_id: id.to_owned(),
            from: vec![Address { kind, value: from.into() }],
            to: "us".into(),
            display_name: Some("Asha".into()),
            content,
            in_reply_to: None,
            delivery_id: None,
            provider_opt: None,
            provider_time: None,
            channel_data: data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        };
        let new = NewInbound {
            channel_id: channel,
            provider_id: 1,
            provider_message_id: id.to_owned(),
            sender: format!("{kind}:{from}"),
            fact: serde_json::to_value(&fact)?,
        };
        let conn = &mut *self.context().db.conn().await?;
        Ok(inbound::store(conn, &new, 0, self.served.world.now()).await?)
    }

    pub fn context(&self) -> &Context {
        &self.served.world.context
    }

    /// Takes up everything that arrived.
    pub async fn taken_up(&self) -> anyhow::Result<()> {
        while service::take_up(self.context()).await? {}
        Ok(())
    }

    /// A person writes and is heard.
    pub async fn says(&self, channel: i32, from: &str, text: &str) -> anyhow::Result<()> {
        self.arrives(channel, from, text).await?;
        self.taken_up().await
    }

    /// Time passes, and what is due then is worked off.
    pub async fn passes(&self, by: Duration) -> anyhow::Result<()> {
        self.served.world.advance(by);
        self.due().await
    }

    /// Works off what is due now.
    pub async fn due(&self) -> anyhow::Result<()> {
        for _ in 0..5 {
            while worker::pass(self.context()).await? {}
        }
        Ok(())
    }

    /// The conversations with the owner of an address, the oldest first.
    pub async fn all(&self, from: &str) -> anyhow::Result<Vec<v1::Conversation>> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "select v.id from conversation v where v.contact_id in (select l.contact_id from contact_address l
               join address a on a.id = l.address_id where a.value = $1) order by v.id",
        )
        .bind(from)
        .fetch_all(&self.served.world.db.pool)
        .await?;
        let mut found = Vec::new();
        for id in ids {
            found.push(self.get(&format!("conversations/{id}")).await?);
        }
        Ok(found)
    }

    /// The newest of them.
    pub async fn newest(&self, from: &str) -> anyhow::Result<v1::Conversation> {
        self.all(from).await?.pop().ok_or_else(|| anyhow::anyhow!("{from} has no conversation"))
    }

    pub async fn get(&self, name: &str) -> anyhow::Result<v1::Conversation> {
        let request = v1::GetConversationRequest { name: name.into() };
        Ok(self.served.conversations().get_conversation(request).await?.into_inner())
    }

    pub async fn sessions(&self, conversation: &str) -> anyhow::Result<Vec<v1::ChannelSession>> {
        let request = v1::ListChannelSessionsRequest { parent: conversation.into(), ..Default::default() };
        Ok(self.served.conversations().list_channel_sessions(request).await?.into_inner().channel_sessions)
    }

    /// What is said of a conversation, in order: what it is, and the word.
    pub async fn changes(&self, conversation: &str) -> anyhow::Result<Vec<String>> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("select kind, word, cause from conversation_change where conversation_id = $1 order by id")
                .bind(id_of(conversation))
                .fetch_all(&self.served.world.db.pool)
                .await?;
        Ok(rows.into_iter().map(|(kind, word, cause)| format!("{kind} {word} {cause}").trim().to_owned()).collect())
    }

    /// What was said in a conversation, in order.
    pub async fn words(&self, conversation: &str) -> anyhow::Result<Vec<String>> {
        let words = sqlx::query_scalar("select plain_text from message where conversation_id = $1 order by seq");
        Ok(words.bind(id_of(conversation)).fetch_all(&self.served.world.db.pool).await?)
    }

    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        self.served.world.count(sql).await
    }

    pub async fn set(&self, sql: &'static str) -> anyhow::Result<()> {
        sqlx::query(sql).execute(&self.served.world.db.pool).await?;
        self.context().directory.invalidate();
        Ok(())
    }

    /// The counters that a conversation keeps are those of its sessions and participants, and its numbers have no gap.
    pub async fn is_sound(&self) -> anyhow::Result<()> {
        let wrong = self
            .count(
                "select count(*) from conversation v
                  where v.sessions <> (select count(*) from channel_session s where s.conversation_id = v.id and s.ended_at is null)
                     or v.agents <> (select count(*) from participant p where p.conversation_id = v.id and p.left_at is null
                                        and p.kind = 'operator' and p.role in ('PRIMARY', 'ASSIST'))
                     or v.last_seq <> (select count(*) from message m where m.conversation_id = v.id)
                     or v.last_seq <> coalesce((select max(m.seq) from message m where m.conversation_id = v.id), 0)
                     or v.inbound_count <> (select count(*) from message m where m.conversation_id = v.id and not m.outbound)",
            )
            .await?;
        anyhow::ensure!(wrong == 0, "{wrong} conversations do not agree with their parts");
        Ok(())
    }
}

/// A channel without a provider: nothing is ever sent over it.
pub async fn channel(served: &Served, slug: &str, channel_type: &str, ours: &str) -> anyhow::Result<i32> {
    let id = sqlx::query_scalar(
        "insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
         values ($1, $2, $3, now(), now()) returning id",
    )
    .bind(slug)
    .bind(channel_type)
    .bind(ours)
    .fetch_one(&served.world.db.pool)
    .await?;
    served.world.context.directory.invalidate();
    Ok(id)
}

pub fn id_of(name: &str) -> Uuid {
    name.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or_default()
}

pub fn text(words: &str) -> Option<v1::Content> {
    Some(v1::Content { body: Some(v1::content::Body::Text(v1::content::Text { text: words.into() })) })
}

pub fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

pub fn operator(name: &str, role: v1::participant::Role) -> Option<v1::Participant> {
    Some(v1::Participant {
        kind: v1::participant::Kind::Operator.into(),
        subject: format!("operators/{name}"),
        role: role.into(),
        ..Default::default()
    })
}
