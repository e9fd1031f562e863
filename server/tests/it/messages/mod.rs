//! The message itself: stored so that it reads alone, never changed, found by its words, redacted, read, exported, imported, and
//! its file copied in time. Through a real server and client, on a real Postgres; providers are simulated.

mod documents;
mod files;
mod imports;
mod marks;
mod redaction;
mod searching;

use std::time::Duration;

use domain::{
    channel::{Address, AddressKind},
    message::Content,
};
use proto::v1;
use server::{
    channels::InboundFact,
    services::inbound::take_up,
    storage::inbound::{NewInbound, store},
};
use tonic::Status;
use uuid::Uuid;

use crate::{reading::Served, support::World};

pub const ASHA: &str = "+919812345678";

/// A WhatsApp channel `wa-main` over Meta's API at `base_url`; says the keys of the channel and its provider.
pub async fn whatsapp(world: &World, base_url: &str) -> anyhow::Result<(i32, i32)> {
    let settings = serde_json::json!({
        "access_token_env": "TOKEN", "app_secret_env": "SECRET", "verify_token_env": "WORD", "base_url": base_url,
    });
    let keys = sqlx::query_as(
        "with c as (insert into channel (slug, channel_type, service_identifier, created_at, updated_at)
                    values ('wa-main', 'WHATSAPP', '106540352242922', now(), now()) returning id)
         insert into channel_provider (channel_id, name, position, connector, settings)
         select id, 'meta', 0, 'whatsapp-cloud', $1 from c returning channel_id, id",
    )
    .bind(settings)
    .fetch_one(&world.db.pool)
    .await?;
    world.context.directory.invalidate();
    Ok(keys)
}

/// The keys of a channel and its provider.
pub async fn keys(world: &World, slug: &str) -> anyhow::Result<(i32, i32)> {
    let sql = "select c.id, p.id from channel c join channel_provider p on p.channel_id = c.id where c.slug = $1";
    Ok(sqlx::query_as(sql).bind(slug).fetch_one(&world.db.pool).await?)
}

/// A person says something on a channel; it is taken up at once. Says the id of the message.
pub async fn says(
    world: &World,
    (channel, provider): (i32, i32),
    provider_message_id: &str,
    content: Content,
) -> anyhow::Result<Uuid> {
    let fact = InboundFact {
        provider_message_id: provider_message_id.into(),
        from: vec![Address { kind: AddressKind::Phone, value: ASHA.into() }],
        to: "+15550001111".into(),
        display_name: Some("Asha Rao".into()),
        content,
        in_reply_to: None,
        delivery_id: None,
        provider_opt: None,
        provider_time: None,
        channel_data: std::collections::BTreeMap::new(),
    };
    let inbound = NewInbound {
        channel_id: channel,
        provider_id: provider,
        provider_message_id: provider_message_id.into(),
        sender: format!("phone:{ASHA}"),
        fact: serde_json::to_value(fact)?,
    };
    let mut conn = world.context.db.conn().await?;
    anyhow::ensure!(store(&mut conn, &inbound, 0, world.now()).await?, "it was said before");
    drop(conn);
    anyhow::ensure!(take_up(&world.context).await?, "nothing waited");
    let sql = "select id from message where channel_id = $1 and provider_message_id = $2";
    Ok(sqlx::query_scalar(sql).bind(channel).bind(provider_message_id).fetch_one(&world.db.pool).await?)
}

pub fn text(words: &str) -> Content {
    Content::Text { text: words.into() }
}

pub fn photo(reference: &str) -> Content {
    let mime_type = "image/jpeg".into();
    Content::Media { mime_type, reference: reference.into(), caption: Some("The road".into()), file_name: None }
}

impl Served {
    pub async fn message(&self, id: Uuid) -> Result<v1::Message, Status> {
        let request = v1::GetMessageRequest { name: format!("messages/{id}") };
        Ok(self.messages().get_message(request).await?.into_inner())
    }

    /// The words of the messages that a search finds, the newest first.
    pub async fn found(&self, query: &str, language: &str) -> Result<Vec<String>, Status> {
        let request =
            v1::SearchMessagesRequest { query: query.into(), language: language.into(), ..Default::default() };
        let found = self.messages().search_messages(request).await?.into_inner();
        Ok(found.messages.into_iter().map(|message| message.plain_text).collect())
    }

    pub async fn note(&self, conversation: &str, words: &str) -> Result<v1::Message, Status> {
        let request = v1::CreateNoteRequest {
            parent: conversation.into(),
            text: words.into(),
            author: "Meera".into(),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        Ok(self.messages().create_note(request).await?.into_inner())
    }

    pub async fn redact(&self, message: &str) -> Result<v1::Message, Status> {
        let request = v1::RedactMessageRequest {
            name: message.into(),
            by: "privacy@example.org".into(),
            reason: "asked for by the contact".into(),
            ..Default::default()
        };
        Ok(self.messages().redact_message(request).await?.into_inner())
    }
}

/// How long a stream may take to bring what it must.
pub const PATIENCE: Duration = Duration::from_secs(20);
