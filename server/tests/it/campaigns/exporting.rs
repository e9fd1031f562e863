//! Recipients as a stream: everyone once, in order, as they stand, from any cursor on.

use std::collections::HashSet;

use futures::TryStreamExt;
use server::services::campaigns::{RecipientFilter, export};

use super::{definition, plan_all, world};

#[tokio::test]
async fn an_export_shows_everyone_once_although_they_change_meanwhile_and_goes_on_from_any_cursor() -> anyhow::Result<()>
{
    let world = world().await?;
    world.people(2300, "").await?;
    world.everybody().await?;
    world.start("news", definition("all")).await?;
    plan_all(&world.context).await?;
    let open = |after| {
        let filter = RecipientFilter::default();
        Box::pin(export::parts(world.context.clone(), "news".into(), filter, after))
    };
    let mut stream = open(None);
    let first = stream.try_next().await?.expect("a first part");
    assert_eq!(first.recipients.len(), 1000);
    // Whoever moves to another state is neither left out nor shown twice.
    sqlx::query("update notification set state = 'reached' where id::text like '%a' or id::text like '%5'")
        .execute(&world.db.pool)
        .await?;
    let rest: Vec<_> = stream.try_collect().await?;
    assert_eq!(rest.iter().map(|part| part.recipients.len()).collect::<Vec<_>>(), [1000, 300]);
    let all: Vec<_> = std::iter::once(&first).chain(&rest).flat_map(|part| &part.recipients).map(|r| r.id).collect();
    assert!(all.is_sorted() && all.iter().collect::<HashSet<_>>().len() == 2300);

    let again: Vec<_> = open(Some(first.last)).try_collect().await?;
    let again: Vec<_> = again.iter().flat_map(|part| &part.recipients).map(|r| r.id).collect();
    assert_eq!(again, all[1000..]);
    assert_eq!(open(rest.last().map(|part| part.last)).try_collect::<Vec<_>>().await?.len(), 0);
    Ok(())
}
