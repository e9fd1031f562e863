//! Telling one webhook what happened: the next batch behind its position, in order, again and again until it is taken or given up.
//!
//! What is tried is what is asked to be replayed first, then what is new. A position moves only from where it was read, so that
//! a replay which a person asked for meanwhile is not undone. Back-off and patience are machine time.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::{Hook, name_of, one, secret};
use crate::services::events::position as position_of;
use crate::{
    bus::post::{Letter, Poster, Refused},
    services::{
        Context, Error, Result,
        events::{
            Fact,
            envelope::{CloudEvent, Sealing},
            reader,
        },
    },
    storage::{
        self, Conn, events,
        hooks::{self, DeadLetter, Died},
    },
    wake::Topic,
};

/// Numbers that are looked through for one batch.
const SCANNED: i64 = 2_000;
/// Stored rows that are read for one batch.
const ROWS: i64 = 100;
/// A position that only left out what is not wanted is written when it has moved so far: until then it is found again cheaply.
const LEFT_OUT: i64 = 1_000;

/// How patient we are with receivers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Events in one POST at most.
    pub batch: usize,
    /// The pause after the first failure; each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// A batch that was not taken for so long becomes a dead letter.
    pub give_up_after: Duration,
    /// A webhook that took nothing for so long is disabled.
    pub disable_after: Duration,
    /// From this failure in a row on it counts as failing.
    pub failing_from: i32,
}

impl Patience {
    /// The pause after so many failures in a row, with a chance of half to one and a half of it, so that receivers that failed
    /// together are not called together.
    fn pause(&self, failures: i32, asked: Option<Duration>) -> Duration {
        let doublings = u32::try_from(failures).unwrap_or(0).min(20);
        let pause = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        pause.mul_f64(rand::random_range(0.5..1.5)).max(asked.unwrap_or_default())
    }
}

/// What came of one look at a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Something moved: look again.
    More,
    /// Nothing waits.
    Nothing,
    /// It is not to be tried for so long.
    Later(Duration),
    /// It is disabled or was deleted.
    Ended,
}

/// One batch that is tried.
struct Batch {
    /// The position before it.
    before: i64,
    /// The number of its last event, or how far was looked when it is empty.
    upto: i64,
    events: Vec<CloudEvent>,
    /// The dead letter that is told again.
    letter: Option<DeadLetter>,
}

/// Looks at a webhook, and posts at most one batch. `seen` is how far was looked before without finding anything.
///
/// # Errors
/// What storage says.
pub async fn tell(context: &Context, poster: &Poster, patience: &Patience, slug: &str, seen: &mut i64) -> Result<Told> {
    let hook = match one(&mut *context.lists.conn().await?, slug).await {
        Err(Error::NotFound(_)) => return Ok(Told::Ended),
        hook => hook?,
    };
    if hook.row.state == "disabled" {
        return Ok(Told::Ended);
    }
    if let Some(pause) = hook.row.not_before.and_then(|at| (at - hook.row.machine_now).to_std().ok()) {
        return Ok(Told::Later(pause));
    }
    let telling = Telling { context, poster, patience, hook };
    let Some(batch) = telling.next(*seen).await? else { return Ok(Told::Nothing) };
    if batch.events.is_empty() {
        return telling.pass_over(&batch, seen).await;
    }
    match telling.post(&batch).await {
        Ok(()) => telling.taken(&batch).await,
        Err(refused) => telling.refused(&batch, &refused).await,
    }
}

struct Telling<'a> {
    context: &'a Context,
    poster: &'a Poster,
    patience: &'a Patience,
    hook: Hook,
}

impl Telling<'_> {
    /// What is tried next; none when there is nothing.
    async fn next(&self, seen: i64) -> Result<Option<Batch>> {
        let letter = hooks::to_replay(&mut *self.context.lists.conn().await?, self.hook.row.id).await?;
        let position = self.hook.row.position;
        let (after, most) = match &letter {
            Some(letter) => (letter.first - 1, SCANNED.min(letter.last - letter.first + 1)),
            None => (position.max(seen), SCANNED),
        };
        let page = match reader::page(self.context, after, ROWS, most).await {
            Err(Error::CursorGone { oldest_cursor }) => {
                return self.lost(letter, position_of("", &oldest_cursor).unwrap_or(after)).await;
            }
            page => page?,
        };
        let Some(page) = page else { return Ok(None) };
        let filter = self.hook.definition.filter();
        let wanted: Vec<Arc<Fact>> = page.facts.into_iter().filter(|fact| filter.takes(fact)).collect();
        let sealing = Sealing::load(self.context, &wanted, self.hook.definition.with_words).await?;
        let mut events = Vec::new();
        let mut upto = page.upto;
        for fact in &wanted {
            // A fact is told whole: what it is besides belongs into the same batch.
            if events.len() >= self.patience.batch {
                break;
            }
            let sealed = sealing.seal(fact).into_iter();
            events.extend(sealed.filter(|event| self.hook.definition.wants(&event.route, &fact.r#type)));
            upto = if events.len() >= self.patience.batch { fact.number } else { page.upto };
        }
        let before = letter.as_ref().map_or(position, |letter| letter.first - 1);
        Ok(Some(Batch { before, upto, events, letter }))
    }

    /// Events are gone that were never told: the letter is given up for good, or a letter says what was missed.
    async fn lost(&self, letter: Option<DeadLetter>, oldest: i64) -> Result<Option<Batch>> {
        const GONE: &str = "the events are no longer kept";
        let (id, position) = (self.hook.row.id, self.hook.row.position);
        let mut tx = self.context.lists.begin().await?;
        match letter {
            Some(letter) => hooks::bury_again(&mut tx, id, letter.id, 0, GONE).await?,
            None if hooks::advance(&mut tx, id, position, oldest).await? => {
                let n = i32::try_from(oldest - position).unwrap_or(i32::MAX);
                let died = Died { first: position + 1, last: oldest, n, failures: 0, reason: GONE };
                hooks::bury(&mut tx, id, &died).await?;
            }
            None => {}
        }
        tx.commit().await.map_err(storage::Error::from)?;
        Ok(Some(Batch { before: oldest, upto: oldest, events: Vec::new(), letter: None }))
    }

    /// Nothing that it wants: goes on behind it.
    async fn pass_over(&self, batch: &Batch, seen: &mut i64) -> Result<Told> {
        if let Some(letter) = &batch.letter {
            hooks::replayed(&mut *self.context.lists.conn().await?, letter.id, batch.upto).await?;
        } else {
            *seen = batch.upto;
            if batch.upto - batch.before >= LEFT_OUT {
                hooks::advance(&mut *self.context.lists.conn().await?, self.hook.row.id, batch.before, batch.upto)
                    .await?;
            }
        }
        Ok(Told::More)
    }

    async fn post(&self, batch: &Batch) -> std::result::Result<(), Refused> {
        let failed = |words: &str| Refused { words: words.to_owned(), retry_after: None, gone: false };
        let secrets = secret(self.context, &self.hook.definition).map_err(|_| failed("its secret is not there"))?;
        let body = serde_json::to_vec(&batch.events).map_err(|_| failed("its events cannot be written"))?;
        let id = batch_id(batch);
        let letter = Letter {
            url: &self.hook.row.url,
            secrets: secrets.expose_secret(),
            id: &id,
            timestamp: self.hook.row.machine_now.timestamp(),
            body,
        };
        self.poster.post(letter).await
    }

    async fn taken(&self, batch: &Batch) -> Result<Told> {
        let id = self.hook.row.id;
        let mut tx = self.context.lists.begin().await?;
        match &batch.letter {
            Some(letter) => hooks::replayed(&mut tx, letter.id, batch.upto).await?,
            // Not where it was read: a person has set it anew, and what was told meanwhile is told again.
            None => drop(hooks::advance(&mut tx, id, batch.before, batch.upto).await?),
        }
        if hooks::succeeded(&mut tx, id).await? {
            self.say(&mut tx, "recovered", None).await?;
        }
        tx.commit().await.map_err(storage::Error::from)?;
        self.context.wake.signal(Topic::Events);
        Ok(Told::More)
    }

    async fn refused(&self, batch: &Batch, refused: &Refused) -> Result<Told> {
        let row = &self.hook.row;
        tracing::debug!(webhook.id = row.id, reason = %refused.words, failures = row.failures + 1, "a webhook failed");
        let mut tx = self.context.lists.begin().await?;
        let pause = self.patience.pause(row.failures, refused.retry_after);
        let fresh =
            hooks::failed(&mut tx, row.id, &refused.words, pause.as_secs_f64(), self.patience.failing_from).await?;
        if fresh {
            self.say(&mut tx, "failing", Some(&refused.words)).await?;
        }
        let since = |at: Option<DateTime<Utc>>| at.and_then(|at| (row.machine_now - at).to_std().ok());
        let over = |at, limit| since(at).is_some_and(|lasted| lasted >= limit);
        let disabled = refused.gone || over(row.failing_since, self.patience.disable_after);
        if disabled {
            let why = if refused.gone { "the receiver says that it is gone (410)" } else { "it failed for too long" };
            hooks::set_state(&mut tx, row.id, "disabled", Some(why), self.context.clock.now()).await?;
            self.say(&mut tx, "disabled", Some(why)).await?;
        } else if over(row.batch_since, self.patience.give_up_after) {
            self.give_up(&mut tx, batch, refused).await?;
        }
        tx.commit().await.map_err(storage::Error::from)?;
        self.context.wake.signal(Topic::Events);
        Ok(if disabled { Told::Ended } else { Told::More })
    }

    /// The batch becomes a dead letter, and the next one is tried.
    async fn give_up(&self, conn: &mut Conn, batch: &Batch, refused: &Refused) -> Result<()> {
        let row = &self.hook.row;
        let failures = row.failures + 1;
        if let Some(letter) = &batch.letter {
            return Ok(hooks::bury_again(conn, row.id, letter.id, failures, &refused.words).await?);
        }
        if hooks::advance(conn, row.id, batch.before, batch.upto).await? {
            let first = batch.events.first().map_or(batch.before + 1, |event| event.number);
            let n = i32::try_from(batch.events.len()).unwrap_or(i32::MAX);
            let last = batch.events.last().map_or(batch.upto, |event| event.number);
            let died = Died { first, last, n, failures, reason: &refused.words };
            hooks::bury(conn, row.id, &died).await?;
            self.say(conn, "dead_lettered", Some(&refused.words)).await?;
        }
        Ok(())
    }

    async fn say(&self, conn: &mut Conn, what: &str, reason: Option<&str>) -> Result<()> {
        let name = name_of(&self.hook.row.slug);
        Ok(events::say(conn, "webhook", what, &name, None, reason, self.context.clock.now()).await?)
    }
}

/// The same for every try of the same events.
fn batch_id(batch: &Batch) -> String {
    let ends = (batch.events.first(), batch.events.last());
    match ends {
        (Some(first), Some(last)) => format!("evt_{}_{}", first.id, last.id),
        _ => "evt_none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_vary() {
        let patience = Patience {
            batch: 1,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(300),
            give_up_after: Duration::ZERO,
            disable_after: Duration::ZERO,
            failing_from: 3,
        };
        for (failures, seconds) in [(0, 1.0), (3, 8.0), (8, 256.0), (9, 300.0), (1000, 300.0)] {
            let pause = patience.pause(failures, None).as_secs_f64();
            assert!((seconds * 0.5..=seconds * 1.5).contains(&pause), "{failures}: {pause}");
        }
        assert!(patience.pause(0, Some(Duration::from_secs(60))) >= Duration::from_secs(60));
    }
}
