//! Messages from people, taken up in order of arrival for each sender: the contact is found or made, the conversation opened,
//! the message appended, and what it answers resolved; all in one transaction.

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, ChannelType},
    consent::Intent,
    conversation::{EndReason, identify},
    delivery::Work,
    fallback::{
        answer::{ACKNOWLEDGEMENTS, Answer, Candidate, LATE_ANSWER_WINDOW, acknowledges, effect, resolve},
        policy::Success,
    },
    locale::Locale,
    message::Content,
    notification::{Reason, State},
};
use uuid::Uuid;

use super::{
    Context, Result,
    consents::{self, Said},
    contact_sessions,
    conversations::{
        closing,
        held::{By, Held},
        opening, saying,
        sessions::{self, Place},
        who::{self, Says},
    },
    directory::Channel,
    events,
    messages::{media, snapshot},
    notifications, outgoing,
};
use crate::{
    channels::{InboundFact, ProviderOpt},
    storage::{
        self, Conn,
        conversations::{self, NewMessage},
        deciding, identity,
        inbound::{self, CandidateRow, Waiting},
        planning::{self, Move},
        recipients,
    },
    wake::Topic,
};

/// Takes up one message. Says whether there was one.
///
/// # Errors
/// What storage says while taking; a message that cannot be taken up is counted, and parked at the third failure.
pub async fn take_up(context: &Context) -> Result<bool> {
    match taken(context, None).await? {
        Taken::Nothing => Ok(false),
        Taken::Done => Ok(true),
        // Of a contact with several addresses another message came first; where someone else has that one, this one waits.
        Taken::Behind(earlier) => Ok(matches!(taken(context, Some(earlier)).await?, Taken::Done)),
    }
}

/// What became of a take.
enum Taken {
    /// There was nothing to take.
    Nothing,
    /// A message was taken up, or counted as failed.
    Done,
    /// A message of the same contact came before it.
    Behind(i64),
}

async fn taken(context: &Context, only: Option<i64>) -> Result<Taken> {
    let mut tx = context.db.begin().await?;
    let Some(waiting) = inbound::take(&mut tx, only).await? else {
        tx.commit().await.map_err(storage::Error::from)?;
        return Ok(Taken::Nothing);
    };
    match one(context, &mut tx, &waiting).await {
        Ok(None) => tx.commit().await.map_err(storage::Error::from)?,
        // Not taken after all: it waits again.
        Ok(Some(earlier)) => return Ok(Taken::Behind(earlier)),
        Err(super::Error::Storage(error)) if error.is_transient() => return Err(error.into()),
        Err(error) => {
            drop(tx);
            let cause = error.to_string();
            let parked =
                inbound::failed(&mut *context.db.conn().await?, waiting.id, &cause, context.clock.now()).await?;
            tracing::error!(inbound.id = waiting.id, cause, parked, "a message could not be taken up");
        }
    }
    context.wake.signal(Topic::Inbound);
    context.wake.signal(Topic::Conversations);
    context.wake.signal(Topic::Media);
    notifications::wake(context);
    Ok(Taken::Done)
}

/// A message that is being taken up.
struct Taking<'a> {
    context: &'a Context,
    fact: InboundFact,
    channel_id: i32,
    channel: Channel,
    provider_id: i32,
    channel_type: ChannelType,
    channel_address: String,
    address_id: i64,
    contact_id: i64,
    received_at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// Takes up a message; says which one of its contact came before it, where one waits.
async fn one(context: &Context, conn: &mut Conn, waiting: &Waiting) -> Result<Option<i64>> {
    if let Some(change) = contact_sessions::Change::read(&waiting.fact)? {
        return contact_sessions::take_up(context, conn, waiting, &change).await;
    }
    let fact: InboundFact = serde_json::from_value(waiting.fact.clone()).map_err(storage::Error::from)?;
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = snapshot
        .channel(waiting.channel_id)
        .ok_or_else(|| super::Error::NotFound(format!("channel {}", waiting.channel_id)))?;
    let now = context.clock.now();
    let (address_id, who) = sender(context, conn, waiting, &fact, now).await?;
    // Messages of one address are taken in order; only of several addresses an earlier one may still wait.
    if who.addresses > 1
        && let Some(earlier) = identity::earlier_waits(conn, who.id, waiting.id).await?
    {
        return Ok(Some(earlier));
    }
    let taking = Taking {
        context,
        channel_id: waiting.channel_id,
        channel: channel.clone(),
        provider_id: waiting.provider_id,
        channel_type: channel.channel_type(),
        channel_address: channel.row.service_identifier.clone(),
        address_id,
        contact_id: who.id,
        received_at: waiting.received_at,
        now,
        fact,
    };
    taking.run(conn).await?;
    Ok(None)
}

/// The contact who wrote, locked, and the first of its addresses.
async fn sender(
    context: &Context,
    conn: &mut Conn,
    waiting: &Waiting,
    fact: &InboundFact,
    now: DateTime<Utc>,
) -> Result<(i64, identity::Who)> {
    let Some((first, others)) = fact.from.split_first() else {
        return Err(super::Error::invalid("from", "a message needs a sender"));
    };
    let (channel, at) = (waiting.channel_id, waiting.received_at);
    let first = inbound::ensure_writer(conn, &canonical(first, context), channel, at, now).await?;
    let mut addresses = vec![first];
    for address in others {
        addresses.push(inbound::ensure_address(conn, &canonical(address, context), now).await?);
    }
    let given = |key: &str| fact.channel_data.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let words = match &fact.content {
        Content::Text { text } => identify::token_in(text),
        _ => None,
    };
    let says = Says {
        addresses: &addresses,
        external_id: given(InboundFact::EXTERNAL_ID),
        token: given(InboundFact::TOKEN).or(words),
        display_name: fact.display_name.as_deref().unwrap_or(""),
    };
    Ok((first, who::wrote(conn, says, now).await?))
}

fn canonical(address: &Address, context: &Context) -> Address {
    let country = context.settings.default_country.as_deref();
    Address::parse(address.kind, &address.value, country).unwrap_or_else(|_| address.clone())
}

impl Taking<'_> {
    async fn run(&self, conn: &mut Conn) -> Result<()> {
        let by = By::contact(self.received_at);
        let (mut held, _) = opening::ensure(self.context, conn, self.contact_id, self.channel_id, by).await?;
        let data = serde_json::to_value(&self.fact.channel_data).map_err(storage::Error::from)?;
        let place = Place { channel_id: self.channel_id, address_id: self.address_id };
        let (session, is_new) = sessions::contact_writes(conn, &mut held, place, &data, by).await?;
        let intent = self.intent();
        let candidates = inbound::candidates(conn, &[self.address_id]).await?;
        let answered = self.resolve(conn, &candidates).await?;
        let means_something = match &answered {
            Some(row) => {
                let appended = outgoing::append_sent(self.context, conn, held.id(), row.delivery_id, self.now).await?;
                held.row.last_seq += i64::from(appended);
                self.is_a_key_of(conn, row).await?
            }
            None => true,
        };
        let message_id = self.append(conn, held.id(), answered.as_ref()).await?;
        held.row.last_seq += 1;
        held.settle(conn, "MESSAGE_RECEIVED", by).await?;
        events::orders::after_inbound(self.context, conn, &held, message_id).await?;
        match intent {
            Some(intent) => self.obey(conn, intent, &mut held, answered.as_ref()).await?,
            None if is_new => saying::greet(self.context, conn, &mut held, place, By::system(self.now)).await?,
            None => {}
        }
        if let Some(row) = answered.filter(|_| means_something) {
            self.answer(conn, &row, intent, message_id).await?;
        }
        if intent == Some(Intent::Stop) {
            self.leave(conn, &mut held, session).await?;
        }
        held.settle(conn, "MESSAGE_RECEIVED", by).await
    }

    /// Who does not want to be written to on this channel has left it.
    async fn leave(&self, conn: &mut Conn, held: &mut Held, session: Uuid) -> Result<()> {
        let Some(session) = storage::sessions::find(conn, session).await? else { return Ok(()) };
        let (by, reason) = (By::contact(self.now), EndReason::OptedOut);
        sessions::end(conn, held, &session, reason, by).await?;
        closing::if_gone(self.context, conn, held, reason.as_str(), by).await
    }

    /// A STOP, START or HELP word, or what the provider took as one.
    fn intent(&self) -> Option<Intent> {
        match self.fact.provider_opt {
            Some(ProviderOpt::Out) => return Some(Intent::Stop),
            Some(ProviderOpt::In) => return Some(Intent::Start),
            Some(ProviderOpt::Help) => return Some(Intent::Help),
            None => {}
        }
        match &self.fact.content {
            Content::Text { text } | Content::Chosen { title: text, .. } => {
                domain::consent::classify(text, &self.context.settings.words)
            }
            Content::Email { .. }
            | Content::Choices { .. }
            | Content::ProviderTemplate { .. }
            | Content::Voice { .. }
            | Content::Key { .. }
            | Content::Media { .. }
            | Content::Location { .. }
            | Content::ContactCard { .. }
            | Content::CallEvent { .. }
            | Content::FormAnswer { .. }
            | Content::Note { .. }
            | Content::System { .. }
            | Content::Redacted {}
            | Content::Unsupported { .. } => None,
        }
    }

    async fn resolve(&self, conn: &mut Conn, rows: &[CandidateRow]) -> Result<Option<CandidateRow>> {
        let referred = match (&self.fact.delivery_id, &self.fact.in_reply_to) {
            (Some(delivery), _) => Some(*delivery),
            (None, Some(message)) => inbound::delivery_of_provider_message(conn, self.channel_id, message).await?,
            (None, None) => None,
        };
        let reference = referred.and_then(|id| rows.iter().find(|r| r.delivery_id == id)).map(|r| r.notification_id);
        let mut candidates = Vec::with_capacity(rows.len());
        for row in rows {
            candidates.push(Candidate {
                notification: row.notification_id,
                state: row.state.parse().map_err(storage::Error::from)?,
                step: usize::try_from(row.step).unwrap_or_default(),
                marked_step: usize::try_from(row.delivery_step).unwrap_or_default(),
                marked_at: row.marked_at,
                campaign: None,
            });
        }
        let found = resolve(&candidates, reference, self.now, LATE_ANSWER_WINDOW);
        Ok(found.and_then(|f| {
            let of = |r: &&CandidateRow| r.notification_id == f.notification;
            let exact = rows.iter().filter(of).find(|r| Some(r.delivery_id) == referred);
            exact.or_else(|| rows.iter().find(of)).cloned()
        }))
    }

    async fn append(&self, conn: &mut Conn, conversation: Uuid, answered: Option<&CandidateRow>) -> Result<Uuid> {
        let id = Uuid::now_v7();
        let in_reply_to = match answered {
            Some(row) => conversations::message_of_delivery(conn, row.delivery_id).await?,
            None => None,
        };
        let sender = self.fact.display_name.clone().or_else(|| self.fact.from.first().map(|a| a.value.clone()));
        let sender = sender.unwrap_or_default();
        let envelope = self.fact.from.first().map(|address| {
            let address = canonical(address, self.context);
            let channel = snapshot::of_channel(&self.channel, Some(self.provider_id), &address);
            snapshot::inbound(channel, sender.clone())
        });
        conversations::append(
            conn,
            &NewMessage {
                id,
                conversation_id: conversation,
                outbound: false,
                channel_id: self.channel_id,
                address_id: self.address_id,
                sender,
                receiver: self.channel_address.clone(),
                content: serde_json::to_value(&self.fact.content).map_err(storage::Error::from)?,
                plain_text: self.fact.content.plain_text(),
                provider_message_id: Some(self.fact.provider_message_id.clone()),
                in_reply_to,
                notification_id: answered.map(|r| r.notification_id),
                delivery_id: None,
                provider_time: self.fact.provider_time,
                received_at: self.received_at,
                envelope,
                actor: None,
            },
            self.now,
        )
        .await?;
        media::want(conn, id, (self.channel_id, Some(self.provider_id)), &self.fact.content).await?;
        Ok(id)
    }

    /// Changes consent as the word says, and confirms it where the provider has not done so itself.
    async fn obey(
        &self,
        conn: &mut Conn,
        intent: Intent,
        held: &mut Held,
        answered: Option<&CandidateRow>,
    ) -> Result<()> {
        if let Some(change) = domain::consent::change(intent, self.channel_type) {
            let said = Said {
                address_id: self.address_id,
                channel_type: self.channel_type,
                purpose: &change.purpose,
                opted_in: !change.opted_out,
                source: "WORD",
            };
            consents::record(conn, &said, answered.map(|row| row.notification_id), self.now).await?;
        }
        if self.fact.provider_opt.is_some() {
            return Ok(());
        }
        let facts = recipients::load(conn, &[self.contact_id]).await?;
        let locale = facts.get(&self.contact_id).and_then(|r| Locale::parse(&r.locale).ok());
        let Some(text) = self.context.settings.confirmations.text(intent, locale.as_ref()) else { return Ok(()) };
        let place = Place { channel_id: self.channel_id, address_id: self.address_id };
        let content = Content::Text { text: text.to_owned() };
        saying::say_at(self.context, conn, held, place, content, None, By::system(self.now)).await?;
        Ok(())
    }

    /// Whether a key press is one of the keys that the call offered; any other message means something by itself.
    async fn is_a_key_of(&self, conn: &mut Conn, row: &CandidateRow) -> Result<bool> {
        let Content::Key { digits } = &self.fact.content else { return Ok(true) };
        let offered = match conversations::content_of_delivery(conn, row.delivery_id).await? {
            Some(content) => serde_json::from_value(content).map_err(storage::Error::from)?,
            None => return Ok(true),
        };
        Ok(match offered {
            Content::Voice { keys, .. } => keys.iter().any(|key| key.id == *digits),
            _ => true,
        })
    }

    async fn answer(
        &self,
        conn: &mut Conn,
        row: &CandidateRow,
        intent: Option<Intent>,
        message_id: Uuid,
    ) -> Result<()> {
        if matches!(intent, Some(Intent::Start | Intent::Help)) {
            return Ok(());
        }
        let Some(n) = deciding::lock(conn, &[row.notification_id], false).await?.into_iter().next() else {
            return Ok(());
        };
        let plan = self.context.plans.load(conn, n.plan_id).await?;
        let step = plan.policy.steps.get(usize::try_from(row.delivery_step).unwrap_or_default());
        let answer = match intent {
            Some(Intent::Stop) => Answer::Stop,
            _ if acknowledges(&self.said(), ACKNOWLEDGEMENTS) => Answer::Acknowledgement,
            _ => Answer::Reply,
        };
        let effect = effect(n.state, step.map_or(Success::Replied, |s| s.success), answer);
        let late = n.state.is_finished() || row.delivery_step < n.step;
        if effect.ends_policy {
            let (work, reason) = match answer {
                Answer::Stop => (Work::Skipped, Reason::OptedOut),
                Answer::Acknowledgement | Answer::Reply => (Work::Cancelled, Reason::TakenBack),
            };
            planning::cancel_queued(conn, &[n.id], work, reason.as_str(), self.now).await?;
        }
        if effect.event.is_some() {
            let reason = matches!(effect.state, State::Skipped).then(|| Reason::OptedOut.as_str().to_owned());
            let moved = Move {
                id: n.id,
                campaign_id: n.campaign_id,
                from: n.state,
                to: effect.state,
                step: n.step,
                reason,
                answered_by: Some(message_id),
                late,
            };
            planning::move_notifications(conn, &[moved], self.now).await?;
            planning::leave_call_lists(conn, &[n.id], self.now).await?;
        }
        if effect.ends_policy {
            planning::disarm_timers(conn, &[n.id]).await?;
        }
        Ok(())
    }

    /// What counts as the words of an answer: a key, the id of a choice, or the text.
    fn said(&self) -> String {
        match &self.fact.content {
            Content::Key { digits } => digits.clone(),
            Content::Chosen { id, .. } => id.clone(),
            other => other.plain_text(),
        }
    }
}
