//! What may go into the archive and when, how long it is kept there, and what is swept from the file store.

use chrono::TimeDelta;
use domain::conversation::closing::Obligation;
use server::services::{
    archive::{expiring, moving, sweeping},
    conversations::{
        held::{By, Held},
        obligations,
    },
    messages::media,
};

use super::{KEEP, Shelf};
use crate::conversations::{PHONE, id_of};

#[tokio::test]
async fn a_conversation_goes_when_it_was_closed_long_ago_and_nothing_of_it_is_left_to_do() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.kept().await?;
    assert!(!shelf.is_archived(&name).await?, "it was closed just now");
    shelf.later().await?;
    for (hold, free) in [
        ("update delivery set work = 'queued'", "update delivery set work = 'done'"),
        (
            "insert into media (message_id, channel_id, reference, mime_type) select id, 1, 'x', 'image/png' from message limit 1",
            "update media set state = 'lost'",
        ),
        (
            "insert into conversation_timer (entity, kind, due_at) select id, 'housekeeping', now() + interval '9 years' from conversation",
            "delete from conversation_timer",
        ),
        (
            "insert into controller_inbox (number, controller_id, conversation_id, intent, subject, at)
             select 1, 1, id, 'CLOSED', id, now() from conversation",
            "delete from controller_inbox",
        ),
    ] {
        shelf.stage.set(hold).await?;
        shelf.kept().await?;
        assert!(!shelf.is_archived(&name).await?, "{hold}");
        shelf.stage.set(free).await?;
    }
    let by = By::system(shelf.stage.served.world.now());
    let mut tx = shelf.context.db.begin().await?;
    let held = Held::of(&mut tx, id_of(&name)).await?;
    obligations::begin(&mut tx, &held, Obligation::Ticket, "tickets/1", by).await?;
    tx.commit().await?;
    shelf.kept().await?;
    assert!(!shelf.is_archived(&name).await?, "a ticket is owed");
    shelf.stage.set("delete from obligation").await?;
    shelf.kept().await?;
    assert!(shelf.is_archived(&name).await?);
    Ok(())
}

#[tokio::test]
async fn where_no_archive_is_wanted_nothing_goes() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    assert!(!moving::pass(shelf.stage.context()).await?);
    assert!(!shelf.is_archived(&name).await?);
    Ok(())
}

#[tokio::test]
async fn what_was_kept_long_enough_ends_with_its_file() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let old = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    shelf.kept().await?;
    let young = shelf.closed(PHONE, "Hello again").await?;
    shelf.stage.served.world.advance((KEEP - TimeDelta::days(20)).to_std()?);
    shelf.kept().await?;
    assert!(!expiring::pass(&shelf.context).await?);
    shelf.kept().await?;
    assert!(shelf.stage.get(&old).await.is_err());
    assert_eq!(shelf.words(&young).await?, ["Hello again", "Thank you."]);
    assert_eq!(shelf.files("archive").await?.len(), 1);
    for sql in ["select count(*) from archived_conversation", "select count(*) from archive_file"] {
        assert_eq!(shelf.count(sql).await?, 1, "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn files_that_nobody_knows_are_swept_when_they_are_old() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    shelf.kept().await?;
    let put = |area, words: &'static [u8]| shelf.context.blobs.put(area, "", bytes::Bytes::from_static(words));
    let known = put(media::AREA, b"known").await?;
    sqlx::query(
        "insert into media (message_id, channel_id, reference, state, mime_type, sha256, size)
         values (gen_random_uuid(), 1, 'x', 'stored', 'image/png', $1, 5)",
    )
    .bind(server::blobs::sha256(b"known").as_slice())
    .execute(&shelf.stage.served.world.db.pool)
    .await?;
    put(media::AREA, b"unknown").await?;
    put("archive", b"unknown").await?;
    assert_eq!(sweeping::sweep(&shelf.context, sweeping::AGE).await?, 0, "they are young");
    assert_eq!(sweeping::sweep(&shelf.context, TimeDelta::zero()).await?, 2);
    shelf.kept().await?;
    assert_eq!(shelf.files(media::AREA).await?, [known]);
    assert_eq!(shelf.files("archive").await?.len(), 1);
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    assert_eq!(sweeping::sweep(&shelf.context, TimeDelta::zero()).await?, 0);
    Ok(())
}
