//! Whoever moves conversations dies between two steps: nothing is lost, nothing is doubled, and what is left behind is swept.

use chrono::TimeDelta;
use server::services::archive::{moving::Moved, rewriting, sweeping};

use super::Shelf;
use crate::conversations::PHONE;

const OTHER: &str = "+919812345679";

#[tokio::test]
async fn a_crash_before_the_file_leaves_everything_where_it_was() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    drop(shelf.gathered().await?);
    assert!(!shelf.is_archived(&name).await?);
    assert_eq!(shelf.files("archive").await?.len(), 0);
    shelf.kept().await?;
    assert!(shelf.is_archived(&name).await?);
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    Ok(())
}

#[tokio::test]
async fn a_crash_between_the_file_and_the_index_loses_nothing_and_the_file_is_swept() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    let written = shelf.gathered().await?.write(&shelf.context).await?;
    assert!(written.is_some());
    drop(written);
    assert!(!shelf.is_archived(&name).await?);
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    assert_eq!(shelf.files("archive").await?.len(), 1, "left behind");

    shelf.stage.served.world.advance(std::time::Duration::from_secs(1));
    shelf.kept().await?;
    assert!(shelf.is_archived(&name).await?);
    assert_eq!(shelf.files("archive").await?.len(), 2);
    assert_eq!(sweeping::sweep(&shelf.context, sweeping::AGE).await?, 0, "it may still be being written");
    assert_eq!(sweeping::sweep(&shelf.context, TimeDelta::zero()).await?, 1);
    shelf.kept().await?;
    assert_eq!(shelf.files("archive").await?.len(), 1);
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    assert_eq!(shelf.count("select count(*) from archive_file").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_dies_before_the_commit_leaves_everything_where_it_was() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    let written = shelf.gathered().await?.write(&shelf.context).await?.expect("written");
    // The last statement of the transaction fails: Postgres takes all of it back.
    shelf.stage.set("alter table conversation add constraint no_archive check (archived_at is null)").await?;
    assert!(written.index(&shelf.context).await.is_err());
    shelf.stage.set("alter table conversation drop constraint no_archive").await?;
    assert!(!shelf.is_archived(&name).await?);
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    assert_eq!(shelf.count("select count(*) from archived_message").await?, 0);
    assert_eq!(shelf.count("select count(*) from archive_file where state = 'announced'").await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_changed_since_it_was_gathered_stays_and_goes_later_as_it_is_then() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "My word is marigold").await?;
    let other = shelf.closed(OTHER, "Hello").await?;
    shelf.later().await?;
    let written = shelf.gathered().await?.write(&shelf.context).await?.expect("written");
    let message = shelf.messages(&name).await?.pop().expect("a message").name;
    shelf.stage.served.redact(&message).await?;
    assert_eq!(written.index(&shelf.context).await?, Moved { moved: 1, changed: 1 });
    assert!(!shelf.is_archived(&name).await? && shelf.is_archived(&other).await?);
    shelf.stage.served.world.advance(std::time::Duration::from_secs(1));
    shelf.kept().await?;
    assert!(shelf.is_archived(&name).await? && shelf.is_archived(&other).await?);
    assert!(!shelf.said().await?.contains("marigold"));
    assert_eq!(shelf.count("select count(*) from archive_stain").await?, 0);
    assert_eq!(
        shelf.files("archive").await?.len(),
        2,
        "what changed has one of its own, and is not in the other any more"
    );
    Ok(())
}

#[tokio::test]
async fn two_who_move_the_same_conversations_move_them_once() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    let first = shelf.gathered().await?.write(&shelf.context).await?.expect("written");
    shelf.stage.served.world.advance(std::time::Duration::from_secs(1));
    let second = shelf.gathered().await?.write(&shelf.context).await?.expect("written");
    assert_eq!(first.index(&shelf.context).await?, Moved { moved: 1, changed: 0 });
    assert_eq!(second.index(&shelf.context).await?, Moved { moved: 0, changed: 1 });
    shelf.kept().await?;
    assert_eq!(shelf.files("archive").await?.len(), 1);
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    Ok(())
}

#[tokio::test]
async fn a_sweep_that_takes_a_file_that_is_still_being_written_loses_nothing() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let name = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    let slow = shelf.gathered().await?.write(&shelf.context).await?.expect("written");
    sweeping::sweep(&shelf.context, TimeDelta::zero()).await?;
    sweeping::remove_dropped(&shelf.context).await?;
    assert_eq!(slow.index(&shelf.context).await?, Moved { moved: 0, changed: 1 }, "its file is gone");
    assert_eq!(shelf.words(&name).await?, ["Hello", "Thank you."]);
    Ok(())
}

#[tokio::test]
async fn a_crash_while_a_file_is_written_anew_leaves_the_old_one_until_the_new_one_stands() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let (name, other) = (shelf.closed(PHONE, "My word is marigold").await?, shelf.closed(OTHER, "Hello").await?);
    shelf.later().await?;
    shelf.kept().await?;
    let message = shelf.messages(&name).await?.pop().expect("a message").name;
    shelf.stage.served.redact(&message).await?;
    let old = server::storage::archive::files::stained(&mut *shelf.context.lists.conn().await?, 9).await?.remove(0);
    drop(rewriting::write(&shelf.context, old.clone()).await?);
    assert_eq!(shelf.files("archive").await?.len(), 2);
    assert_eq!(shelf.words(&other).await?, ["Hello", "Thank you."]);

    // The next try adopts what the first one left, and dies after the index has moved: the old file is still to be removed.
    let anew = rewriting::write(&shelf.context, old).await?.expect("adopted");
    assert!(anew.replace(&shelf.context).await?);
    assert_eq!(shelf.files("archive").await?.len(), 2);
    assert!(!shelf.said().await?.contains("marigold"));
    shelf.kept().await?;
    assert_eq!(shelf.files("archive").await?.len(), 1);
    assert_eq!(shelf.words(&other).await?, ["Hello", "Thank you."]);
    Ok(())
}
