//! Addresses to which nothing more is sent. The mark stands with the address, so that planning reads it with the rest.

use chrono::{DateTime, Utc};
use domain::channel::Address;

use super::{Conn, Result};

/// A suppressed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionRow {
    /// The key of the address.
    pub address_id: i64,
    /// The address.
    pub address: Address,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub source: String,
    /// Since when.
    pub at: DateTime<Utc>,
}

/// Suppresses addresses, each named once with its reason; those that nobody knows yet are written down. Says how many were not
/// suppressed before.
///
/// # Errors
/// What storage says.
pub async fn add(conn: &mut Conn, addresses: &[(Address, String)], source: &str, now: DateTime<Utc>) -> Result<u64> {
    let kinds: Vec<&str> = addresses.iter().map(|(a, _)| a.kind.as_str()).collect();
    let values: Vec<&str> = addresses.iter().map(|(a, _)| a.value.as_str()).collect();
    let reasons: Vec<&str> = addresses.iter().map(|(_, reason)| reason.as_str()).collect();
    let done = sqlx::query!(
        r#"insert into address as a (kind, value, suppressed_at, suppression_reason, suppression_source, created_at)
           select x.kind::address_kind, x.value, $4, x.reason, $5, $4
             from unnest($1::text[], $2::text[], $3::text[]) as x(kind, value, reason) order by x.kind::address_kind, x.value
           on conflict (kind, value) do update
              set suppressed_at = excluded.suppressed_at, suppression_reason = excluded.suppression_reason,
                  suppression_source = excluded.suppression_source
            where a.suppressed_at is null"#,
        &kinds as &[&str],
        &values as &[&str],
        &reasons as &[&str],
        now,
        source
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Suppresses addresses by their keys: a provider refused them for good.
///
/// # Errors
/// What storage says.
pub async fn add_known(conn: &mut Conn, addresses: &[(i64, String)], now: DateTime<Utc>) -> Result<u64> {
    let ids: Vec<i64> = addresses.iter().map(|(id, _)| *id).collect();
    let reasons: Vec<&str> = addresses.iter().map(|(_, reason)| reason.as_str()).collect();
    let done = sqlx::query!(
        r#"with l as (select a.id, x.reason from unnest($1::bigint[], $2::text[]) as x(id, reason)
                        join address a on a.id = x.id and a.suppressed_at is null order by a.id for no key update of a)
           update address a
              set suppressed_at = $3, suppression_reason = l.reason, suppression_source = 'PROVIDER' from l where a.id = l.id"#,
        &ids,
        &reasons as &[&str],
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Takes addresses off the list. Says how many were on it.
///
/// # Errors
/// What storage says.
pub async fn remove(conn: &mut Conn, addresses: &[Address]) -> Result<u64> {
    let kinds: Vec<&str> = addresses.iter().map(|a| a.kind.as_str()).collect();
    let values: Vec<&str> = addresses.iter().map(|a| a.value.as_str()).collect();
    let done = sqlx::query!(
        r#"with l as (select a.id from unnest($1::text[], $2::text[]) as x(kind, value)
                        join address a on a.kind = x.kind::address_kind and a.value = x.value
                       where a.suppressed_at is not null order by a.id for no key update of a)
           update address a set suppressed_at = null, suppression_reason = null, suppression_source = null
             from l where a.id = l.id"#,
        &kinds as &[&str],
        &values as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Suppressed addresses in the order of their keys, after a key; only one address where one is given.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, only: Option<&Address>, after: i64, limit: i64) -> Result<Vec<SuppressionRow>> {
    let rows = sqlx::query!(
        r#"select id, kind::text as "kind!", value, coalesce(suppression_reason, '') as "reason!",
                  coalesce(suppression_source, '') as "source!", suppressed_at as "at!"
             from address
            where suppressed_at is not null and id > $1
              and ($2::text is null or (kind = $2::text::address_kind and value = $3)) order by id limit $4"#,
        after,
        only.map(|a| a.kind.as_str()),
        only.map(|a| a.value.as_str()),
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let address = Address { kind: r.kind.parse()?, value: r.value };
            Ok(SuppressionRow { address_id: r.id, address, reason: r.reason, source: r.source, at: r.at })
        })
        .collect()
}
