//! Audiences of every kind: filters mean in SQL what they say, queries fail with clear words and bring people once.

use std::time::Duration;

use domain::filter::{ContactView, Filter};
use server::services::{
    Error,
    audiences::{
        self,
        preview::{Asked, preview},
    },
    campaigns::{self, validating},
    contacts::ContactName,
    work::Work,
};

use super::{definition, own_source, plan_all, query, spec, world};

#[tokio::test]
async fn a_filter_means_in_sql_what_it_says() -> anyhow::Result<()> {
    let world = world().await?;
    world.people(40, "Asia/Kolkata").await?;
    world.people(10, "").await?;
    let filters = [
        "",
        "attributes.ward = \"3\"",
        "NOT attributes.ward = \"3\"",
        "attributes.none = \"x\" OR time_zone = \"Asia/Kolkata\"",
        "-attributes.none:*",
        "external_id < \"p2\"",
        "has(email)",
    ];
    let rows: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as("select external_id, time_zone, attributes from contact").fetch_all(&world.db.pool).await?;
    for text in filters {
        let filter = Filter::parse(text)?;
        let expected = rows.iter().filter(|(external_id, time_zone, attributes)| {
            filter.matches(&ContactView {
                external_id: Some(external_id),
                time_zone: Some(time_zone.as_str()).filter(|z| !z.is_empty()),
                attributes: attributes.as_object().cloned().unwrap_or_default(),
                address_kinds: [domain::channel::AddressKind::Phone].into(),
                ..ContactView::default()
            })
        });
        let asked = Asked::Unstored(audiences::Definition::Filter { filter: text.into() });
        let found = preview(&world.context, &asked, 5).await?;
        assert_eq!(found.count, i64::try_from(expected.count())?, "{text}");
    }
    // Attributes are texts by contract, and one that is written like a number compares with numbers.
    let numbers = audiences::Definition::Filter { filter: "attributes.ward > 4 AND has(phone)".into() };
    assert_eq!(preview(&world.context, &Asked::Unstored(numbers), 1).await?.count, 25);
    Ok(())
}

#[tokio::test]
async fn a_list_has_members_once_and_refuses_those_who_do_not_exist() -> anyhow::Result<()> {
    let world = world().await?;
    let people = world.people(3, "").await?;
    world.audience("list", audiences::Definition::List).await?;
    let mut work = Work::begin(&world.context).await?;
    let names = [ContactName::Id(people[0]), ContactName::External("p2".into()), ContactName::Id(people[1])];
    assert_eq!(audiences::add(&mut work, "list", &names).await?, (2, 2));
    assert_eq!(audiences::remove(&mut work, "list", &names[..1]).await?, (1, 1));
    let gone = audiences::add(&mut work, "list", &[ContactName::Id(people[2]), ContactName::Id(999_999)]).await;
    assert!(matches!(gone, Err(Error::ReferenceNotFound { field, .. }) if field == "contacts[1]"));
    work.commit(&world.context).await?;
    world.start("news", definition("list")).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (1, 1, 1));
    let mut work = Work::begin(&world.context).await?;
    assert!(matches!(audiences::delete(&mut work, "list", "").await, Err(Error::InUse { .. })));
    Ok(())
}

#[tokio::test]
async fn a_query_of_10_000_rows_brings_each_person_once_and_keeps_what_is_wrong() -> anyhow::Result<()> {
    let world = world().await?;
    own_source(&world).await?;
    // 9,900 people, of whom one comes three times, and 98 rows without a number.
    let sql = "select case when x > 9902 then 'none' when x > 9900 then '9800000001'
                           else '98' || lpad(x::text, 8, '0') end as phone, 'Person ' || x as name
                 from generate_series(1, 10000) x order by x";
    world.audience("asked", query(sql, 20_000)).await?;
    let asked = validating::Asked::Unstored(Box::new(spec("asked")));
    let foreseen = validating::validate(&world.context, &asked, 1).await?;
    assert_eq!((foreseen.recipients, foreseen.reachable, foreseen.unmappable), (9900, 9900, 98));
    assert_eq!(foreseen.samples[0].contact_id, None, "nobody of them is a contact yet");
    assert_eq!(world.count("select count(*) from contact").await?, 0, "nothing of the look stays");
    world.start("news", definition("asked")).await?;
    plan_all(&world.context).await?;
    assert_eq!(world.planned().await?, (9900, 9900, 9900));
    let cursor = campaigns::progress::get(&world.context, "news").await?.cursor;
    assert_eq!((cursor.rows, cursor.duplicates, cursor.unmappable), (10_000, 2, 98));
    assert_eq!((cursor.examples.len(), cursor.examples[0].row), (20, 9903));
    let name: serde_json::Value =
        sqlx::query_scalar("select variables -> 'name' from notification order by id limit 1")
            .fetch_one(&world.db.pool)
            .await?;
    assert_eq!(name, "Person 1");
    Ok(())
}

#[tokio::test]
async fn a_query_that_fails_says_why_and_ends_the_campaign_before_anybody_is_planned() -> anyhow::Result<()> {
    let world = world().await?;
    own_source(&world).await?;
    let wrong = [
        ("select 1 as phone, 'x' as name from nowhere", "SQL_INVALID", "nowhere"),
        ("delete from contact", "SQL_INVALID", "SELECT"),
        ("select '1' as number", "COLUMN_UNKNOWN", "phone"),
    ];
    for (sql, reason, word) in wrong {
        let error = preview(&world.context, &Asked::Unstored(query(sql, 1000)), 1).await.expect_err(sql);
        let (found, words) = match error {
            Error::Outside { reason, message } => (reason, message),
            Error::Invalid(violations) => (violations[0].reason, violations[0].description.clone()),
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(found, reason, "{words}");
        assert!(words.contains(word), "{words}");
    }
    // It is right when it is written, and fails when it is run.
    let fails = "select '98000' || (x / (x - 500))::text as phone, '' as name from generate_series(1, 1000) x";
    world.audience("fails", query(fails, 1000)).await?;
    world.audience("slow", query("select pg_sleep(20)::text as phone, '' as name", 1000)).await?;
    for (slug, word) in [("fails", "division by zero"), ("slow", "1000 ms")] {
        world.start(slug, definition(slug)).await?;
        tokio::time::timeout(Duration::from_secs(10), plan_all(&world.context)).await??;
        let row = campaigns::get(&world.context, slug).await?.row;
        assert_eq!(row.state.as_str(), "failed");
        assert!(row.state_reason.as_deref().is_some_and(|why| why.contains(word)), "{:?}", row.state_reason);
    }
    assert_eq!(world.planned().await?.0, 0);
    Ok(())
}
