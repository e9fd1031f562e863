//! The archive: conversations go into files and read back the same; a crash at any moment loses nothing and doubles nothing; who is
//! erased is in no file. On a real Postgres and a real object store.

mod crashes;
mod erasing;
mod keeping;
mod reading_back;

use std::sync::Arc;

use chrono::TimeDelta;
use futures::TryStreamExt;
use proto::v1;
use server::{
    blobs::Key,
    services::{
        Context,
        archive::{self, file, moving},
    },
    workers::archive as worker,
};
use uuid::Uuid;

use crate::conversations::{Stage, id_of, text};

pub const AFTER: TimeDelta = TimeDelta::days(35);
pub const KEEP: TimeDelta = TimeDelta::days(365);

/// A stage whose context archives after 35 days and keeps for a year.
pub struct Shelf {
    pub stage: Stage,
    pub context: Context,
}

impl Shelf {
    pub async fn new() -> anyhow::Result<Self> {
        let stage = Stage::new().await?;
        let mut settings = (*stage.context().settings).clone();
        settings.archive = archive::Settings { after: Some(AFTER), keep: Some(KEEP) };
        let context = Context { settings: Arc::new(settings), ..stage.context().clone() };
        Ok(Self { stage, context })
    }

    /// A conversation in which the person wrote and was answered, closed. Says its name.
    pub async fn closed(&self, from: &str, words: &str) -> anyhow::Result<String> {
        self.stage.says(self.stage.sms, from, words).await?;
        let name = self.stage.newest(from).await?.name;
        self.answered(&name, "Thank you.").await?;
        let request = v1::CloseConversationRequest { name: name.clone(), ..Default::default() };
        self.stage.served.conversations().close_conversation(request).await?;
        self.stage.due().await?;
        anyhow::ensure!(self.stage.get(&name).await?.close_time.is_some(), "it is not closed");
        Ok(name)
    }

    /// The business answers, and the message is delivered.
    pub async fn answered(&self, conversation: &str, words: &str) -> anyhow::Result<Uuid> {
        let request = v1::SendMessageRequest {
            to: Some(v1::send_message_request::To::Conversation(conversation.into())),
            content: text(words),
            ..Default::default()
        };
        let sent = self.stage.served.messages().send_message(request).await?.into_inner();
        let delivery = id_of(&sent.delivery);
        for sql in [
            "update delivery set work = 'done', evidence = 'delivered', attempts = 1 where id = $1",
            "insert into attempt (delivery_id, n, provider_id, started_at, ended_at, outcome, provider_message_id)
             values ($1, 1, 1, now(), now(), 'accepted', 'SM-1')",
            "insert into receipt (delivery_id, n, evidence, received_at, body_id) values ($1, 1, 'delivered', now(), 1)",
            "delete from dispatch where $1 = any(delivery_ids)",
        ] {
            sqlx::query(sql).bind(delivery).execute(&self.stage.served.world.db.pool).await?;
        }
        Ok(id_of(&sent.name))
    }

    /// So long after the end that it may go.
    pub async fn later(&self) -> anyhow::Result<()> {
        self.stage.served.world.advance(AFTER.to_std()? + std::time::Duration::from_secs(3600));
        self.stage.due().await
    }

    /// All that the worker does often, until there is nothing left of it.
    pub async fn kept(&self) -> anyhow::Result<()> {
        while worker::pass(&self.context).await? {}
        Ok(())
    }

    /// One batch, one step after the other.
    pub async fn gathered(&self) -> anyhow::Result<moving::Batch> {
        Ok(moving::gather(&self.context, AFTER).await?.expect("something is ready"))
    }

    pub async fn is_archived(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.stage.get(name).await?.archive_time.is_some())
    }

    /// The files of an area of the store.
    pub async fn files(&self, area: &str) -> anyhow::Result<Vec<Key>> {
        Ok(self.context.blobs.list(area).map_ok(|file| file.key).try_collect().await?)
    }

    /// What all files of the archive say, unpacked.
    pub async fn said(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for (file, first, bytes) in sqlx::query_as::<_, (String, i64, i64)>(
            "select f.name, c.first_byte, c.bytes from archived_conversation c join archive_file f on f.id = c.file_id",
        )
        .fetch_all(&self.stage.served.world.db.pool)
        .await?
        {
            let key = Key::parse(&file)?;
            let part = self.context.blobs.get_part(&key, u64::try_from(first)?, u64::try_from(bytes)?).await?;
            all.push_str(&String::from_utf8(file::unpack(&part)?.line()?)?);
        }
        Ok(all)
    }

    pub async fn messages(&self, conversation: &str) -> anyhow::Result<Vec<v1::Message>> {
        let request = v1::ListMessagesRequest { conversation: conversation.into(), ..Default::default() };
        Ok(self.stage.served.messages().list_messages(request).await?.into_inner().messages)
    }

    pub async fn words(&self, conversation: &str) -> anyhow::Result<Vec<String>> {
        Ok(self.messages(conversation).await?.into_iter().rev().map(|message| message.plain_text).collect())
    }

    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        self.stage.count(sql).await
    }
}
