//! Files that people send are copied before their provider's links expire, and given out again.

use std::time::Duration;

use proto::v1::{self, message::media_copy::State};
use server::services::messages::media;
use simulator::Simulator;
use tokio_stream::StreamExt;
use tonic::Code;
use uuid::Uuid;

use super::{photo, says, whatsapp};
use crate::{
    reading::{Served, reason},
    support::pipeline,
};

struct Shelf {
    served: Served,
    phones: Simulator,
    channel: (i32, i32),
}

impl Shelf {
    /// A WhatsApp channel over a simulated Meta.
    async fn whatsapp() -> anyhow::Result<Self> {
        let mut config = simulator::Config::default();
        config.meta.token = "secret".into();
        let phones = Simulator::start(config).await?;
        let served = Served::new().await?;
        let channel = whatsapp(&served.world, &phones.base_url).await?;
        Ok(Self { served, phones, channel })
    }

    async fn pass(&self) -> anyhow::Result<()> {
        media::pass(&self.served.world.context).await?;
        Ok(())
    }

    /// What is tried later is due now.
    async fn later(&self) -> anyhow::Result<()> {
        sqlx::query("update media set not_before = '-infinity'").execute(&self.served.world.db.pool).await?;
        self.pass().await
    }

    async fn state(&self, id: Uuid) -> anyhow::Result<State> {
        Ok(self.served.message(id).await?.media_copy.map(|copy| copy.state()).unwrap_or_default())
    }

    async fn fetched(&self, id: Uuid) -> Result<(v1::get_media_response::Info, Vec<u8>), tonic::Status> {
        let request = v1::GetMediaRequest { name: format!("messages/{id}") };
        let mut parts = self.served.messages().get_media(request).await?.into_inner();
        let (mut info, mut bytes) = (None, Vec::new());
        while let Some(part) = parts.next().await {
            let part = part?;
            info = info.or(part.info);
            bytes.extend(part.data);
        }
        Ok((info.unwrap_or_default(), bytes))
    }
}

#[tokio::test]
async fn a_photo_is_copied_with_its_hash_and_handed_out_when_the_provider_has_long_forgotten_it() -> anyhow::Result<()>
{
    let shelf = Shelf::whatsapp().await?;
    let bytes = vec![7u8; 90_000];
    let reference = shelf.phones.file("image/jpeg", bytes.clone());
    let id = says(&shelf.served.world, shelf.channel, "wamid.1", photo(&reference)).await?;
    assert_eq!(shelf.state(id).await?, State::Waiting);
    let refused = shelf.fetched(id).await.expect_err("not there yet");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STATE_WRONG"));

    shelf.pass().await?;
    shelf.phones.advance(Duration::from_secs(3600)).await;
    shelf.phones.stop();
    let (info, copy) = shelf.fetched(id).await?;
    assert_eq!((copy == bytes, info.size_bytes, info.mime_type.as_str()), (true, 90_000, "image/jpeg"));
    assert_eq!(info.sha256, server::blobs::sha256(&bytes));
    assert_eq!(shelf.state(id).await?, State::Stored);
    Ok(())
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_and_a_file_that_is_gone_is_lost() -> anyhow::Result<()> {
    let shelf = Shelf::whatsapp().await?;
    let reference = shelf.phones.file("image/png", vec![1, 2, 3]);
    shelf.phones.fail_files(2);
    let id = says(&shelf.served.world, shelf.channel, "wamid.1", photo(&reference)).await?;
    shelf.pass().await?;
    shelf.pass().await?;
    assert_eq!(shelf.state(id).await?, State::Waiting, "it waits before it asks again");
    let tries = "select tries::text || ' ' || coalesce(problem, '') from media where message_id = $1";
    assert_eq!(shelf.served.world.one(tries, id).await?.as_deref(), Some("1 HTTP 503 in place of a link"));
    shelf.later().await?;
    shelf.later().await?;
    assert_eq!(shelf.state(id).await?, State::Stored);

    let gone = says(&shelf.served.world, shelf.channel, "wamid.2", photo("4711")).await?;
    sqlx::query("update media set tries = 9 where message_id = $1")
        .bind(gone)
        .execute(&shelf.served.world.db.pool)
        .await?;
    shelf.later().await?;
    assert_eq!(shelf.state(gone).await?, State::Lost);
    Ok(())
}

#[tokio::test]
async fn what_is_too_big_or_of_another_type_is_refused_with_the_reason() -> anyhow::Result<()> {
    let shelf = Shelf::whatsapp().await?;
    let big = shelf.phones.file("image/jpeg", vec![0u8; 100_001]);
    let script = shelf.phones.file("application/x-sh", vec![0u8; 10]);
    let mut ids = Vec::new();
    for (n, reference) in [big.as_str(), &script, "../secret"].into_iter().enumerate() {
        ids.push(says(&shelf.served.world, shelf.channel, &format!("wamid.{n}"), photo(reference)).await?);
    }
    shelf.pass().await?;
    for (id, why) in ids.iter().zip(["bigger than 100000 bytes", "not copied", "no id of WhatsApp's media"]) {
        assert_eq!(shelf.state(*id).await?, State::Refused, "{why}");
        let refused = shelf.fetched(*id).await.expect_err("refused");
        assert!(refused.message().contains(why), "{}", refused.message());
    }
    Ok(())
}

#[tokio::test]
async fn redaction_removes_the_copy_unless_another_message_has_the_same_file() -> anyhow::Result<()> {
    let shelf = Shelf::whatsapp().await?;
    let mut ids = Vec::new();
    for n in 1..=2 {
        let reference = shelf.phones.file("image/jpeg", vec![9u8; 64]);
        ids.push(says(&shelf.served.world, shelf.channel, &format!("wamid.{n}"), photo(&reference)).await?);
    }
    shelf.pass().await?;
    let count = || async {
        let files: Vec<_> = shelf.served.world.context.blobs.list(media::AREA).collect().await;
        files.len()
    };
    assert_eq!(count().await, 1, "one content, one file");
    shelf.served.redact(&format!("messages/{}", ids[0])).await?;
    shelf.pass().await?;
    assert_eq!((count().await, shelf.state(ids[0]).await?), (1, State::Redacted));
    assert!(shelf.fetched(ids[0]).await.is_err());
    assert_eq!(shelf.fetched(ids[1]).await?.1, vec![9u8; 64]);
    shelf.served.redact(&format!("messages/{}", ids[1])).await?;
    shelf.pass().await?;
    assert_eq!(count().await, 0);
    Ok(())
}

#[tokio::test]
async fn a_picture_of_an_sms_is_followed_to_where_it_lies_without_credentials() -> anyhow::Result<()> {
    let phones = pipeline::simulator().await?;
    let served = Served::new().await?;
    let channel = served.world.sms_channel("sms-sim", &phones.base_url).await?;
    let provider = super::keys(&served.world, "sms-sim").await?.1;
    let id = phones.file("image/png", vec![5u8; 300]);
    let account = "AC00000000000000000000000000000000";
    let link = format!("{}/2010-04-01/Accounts/{account}/Messages/MM1/Media/{id}", phones.base_url);
    let theirs = says(&served.world, (channel, provider), "MM1", photo(&link)).await?;
    let foreign = says(&served.world, (channel, provider), "MM2", photo("https://evil.example.org/x")).await?;
    let shelf = Shelf { served, phones, channel: (channel, provider) };
    shelf.pass().await?;
    assert_eq!(shelf.fetched(theirs).await?.1, vec![5u8; 300]);
    assert_eq!(shelf.state(foreign).await?, State::Refused, "our credentials go to Twilio only");
    Ok(())
}

#[tokio::test]
async fn a_message_without_a_file_says_so() -> anyhow::Result<()> {
    let shelf = Shelf::whatsapp().await?;
    let id = says(&shelf.served.world, shelf.channel, "wamid.1", super::text("Hello")).await?;
    assert_eq!(shelf.fetched(id).await.expect_err("no file").code(), Code::NotFound);
    assert_eq!(shelf.served.message(id).await?.media_copy, None);
    Ok(())
}
