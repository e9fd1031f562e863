//! People by the thousand: contacts with a phone each.

use super::World;

impl World {
    /// Makes so many people, with numbers that no earlier ones have. Says their keys in order.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn people(&self, count: usize) -> anyhow::Result<Vec<i64>> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "with c as (insert into contact (display_name, locale, attributes, created_at, updated_at)
                        select 'Person', 'en', jsonb_build_object('ward', (x % 10)::text), now(), now()
                          from generate_series(1, $1) x returning id),
                  n as (select id, '+9198' || lpad(id::text, 8, '0') as phone from c),
                  a as (insert into address (kind, value, created_at) select 'phone', phone, now() from n
                        returning id, value)
             insert into contact_address (contact_id, address_id)
             select n.id, a.id from n join a on a.value = n.phone returning contact_id",
        )
        .bind(i64::try_from(count)?)
        .fetch_all(&self.pool)
        .await?;
        sqlx::raw_sql("analyze contact; analyze address; analyze contact_address").execute(&self.pool).await?;
        let mut ids = ids;
        ids.sort_unstable();
        Ok(ids)
    }
}
