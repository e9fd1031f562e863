//! Searching messages by their words, in the dictionaries of Postgres.
//!
//! A message is indexed as it stands and in the dictionary of its language. Two conditions find it: one that the index answers
//! (the words in any of the dictionaries that are asked for), and one that is exact (the words as they stand or in the
//! message's own dictionary), without which `-opening` would find what another language takes for another word.

use sqlx::{Postgres, QueryBuilder};

use super::super::{Conn, Result};

/// Words to be found, in the syntax of web searches: `dam "opens at noon" or gate -closed`.
#[derive(Debug, Clone)]
pub struct Words {
    text: String,
    /// The words in every dictionary that is asked for, as a `tsquery`.
    any: String,
}

impl Words {
    /// Reads a search; none when it holds no word. With a language only its dictionary is asked, and the words as they stand.
    ///
    /// # Errors
    /// What storage says.
    pub async fn read(conn: &mut Conn, text: &str, language: &str) -> Result<Option<Self>> {
        let any = sqlx::query_scalar!(
            r#"select string_agg(distinct '(' || q.words::text || ')', ' | ') as "any?"
                 from (select websearch_to_tsquery(c.oid::regconfig, $1) as words from pg_ts_config c
                        where c.cfgnamespace = 'pg_catalog'::regnamespace
                          and ($2 = '' or c.cfgname in ('simple', search_dictionary($2)))) q
                where numnode(q.words) > 0"#,
            text,
            language
        )
        .fetch_one(conn)
        .await?;
        Ok(any.map(|any| Self { text: text.to_owned(), any }))
    }

    /// Adds the conditions to a query over `message m`. Words that were taken away are not found.
    pub(super) fn push(&self, query: &mut QueryBuilder<Postgres>) {
        let vector = "message_words(m.dictionary, m.plain_text) @@ ";
        query.push(format!(" and m.redaction is null and {vector}")).push_bind(self.any.clone()).push("::tsquery");
        query.push(format!(" and {vector} (websearch_to_tsquery('pg_catalog.simple', ")).push_bind(self.text.clone());
        query.push(") || websearch_to_tsquery(('pg_catalog.' || m.dictionary)::regconfig, ");
        query.push_bind(self.text.clone()).push("))");
    }
}
