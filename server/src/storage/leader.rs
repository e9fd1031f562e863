//! Leadership: one process at a time for the work that must not be done twice at once, held by a session advisory lock that dies
//! with its connection.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Postgres, pool::PoolConnection};

use super::{Db, Result};

/// The first half of every advisory lock key of ours, so that they can be told from others' in `pg_locks`.
pub const LOCK_NAMESPACE: i32 = 0x5357_4244; // "SWBD"

/// How long a leader that looks after its work each second may be silent before its lock goes to another process.
pub const SILENCE: Duration = Duration::from_secs(15);

/// A lock that this process holds, and the connection that holds it.
#[derive(Debug)]
pub struct Leadership {
    conn: PgConnection,
}

impl Leadership {
    /// Tries to become the leader of `role`. `None`: another process is.
    ///
    /// # Errors
    /// What storage says.
    pub async fn try_acquire(db: &Db, role: i32) -> Result<Option<Self>> {
        let pooled: PoolConnection<Postgres> = db.conn().await?;
        // Taken out of the pool: the lock lives as long as this connection, and dies with it.
        let mut conn = pooled.detach();
        let taken = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1, $2) as "taken!""#, LOCK_NAMESPACE, role)
            .fetch_one(&mut conn)
            .await?;
        if taken {
            return Ok(Some(Self { conn }));
        }
        let _ = conn.close().await;
        Ok(None)
    }

    /// Has the server end this connection, and with it the lock, when it hears nothing for `silence`: a leader that the network has
    /// cut off cannot say that it is gone. Whoever asks for this must say something more often.
    ///
    /// # Errors
    /// What storage says.
    pub async fn end_in_silence(&mut self, silence: Duration) -> Result<()> {
        let silence = format!("{}ms", silence.as_millis());
        sqlx::query!("select set_config('idle_session_timeout', $1, false)", silence).fetch_one(&mut self.conn).await?;
        Ok(())
    }

    /// Whether the lock is still held: the connection that holds it answers.
    pub async fn still_held(&mut self) -> bool {
        self.conn.ping().await.is_ok()
    }

    /// A transaction of the leader's own.
    ///
    /// # Errors
    /// What storage says.
    pub async fn begin(&mut self) -> Result<sqlx::Transaction<'_, Postgres>> {
        Ok(self.conn.begin().await?)
    }

    /// The connection that holds the lock, for the leader's own transactions: if it dies, they die with it.
    pub const fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
