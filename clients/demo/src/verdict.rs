//! The verdict: what became of each person against what must have, and three witnesses that must agree: Switchboard's own
//! record, what the providers saw, and the mailbox.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use proto::v1::{self, ChannelType, SkipReason, campaign, firing, notification};

use crate::{
    api::{Api, Told},
    campaign as schedule,
    cast::{self, Expected, Person},
    definitions::{CALL_LIST, DEPARTMENT, TRIGGER},
    follow::{Board, channel_word, skip_word},
    mailbox::Mail,
    show::Ink,
    story::World,
    values::text,
};

/// Things that must hold besides the fates of single people.
#[derive(Debug, Default)]
pub struct Checks {
    found: Vec<(String, bool, String)>,
}

impl Checks {
    /// Notes what must hold, whether it does, and what was seen.
    pub fn add(&mut self, must: &str, holds: bool, seen: impl Into<String>) {
        self.found.push((must.to_owned(), holds, seen.into()));
    }
}

/// What the witnesses say of one person.
struct Testimony {
    person: Person,
    /// Whole, from the API; `None` when there is no notification.
    notification: Option<v1::Notification>,
    /// Ids that Switchboard has of accepted attempts and of messages of its own, by channel type.
    recorded: BTreeMap<&'static str, BTreeSet<String>>,
    /// Ids that the providers gave, by channel type.
    seen: BTreeMap<&'static str, BTreeSet<String>>,
    /// Mails to the department that name the person, and mails to the person.
    listed: usize,
    mails: usize,
}

/// Collects, compares, prints. Says whether everything went as it must.
///
/// # Errors
/// When a witness cannot be heard.
pub async fn pronounce(world: &World, board: &Board, mut checks: Checks) -> anyhow::Result<bool> {
    let mails = world.mailbox.mails()?;
    let mut testimonies = Vec::new();
    for person in cast::everybody() {
        testimonies.push(hear(world, person, &mails).await?);
    }
    world.stage.act("What became of each");
    let mut good = outcomes(world, &testimonies, board);
    world.stage.act("Three witnesses: Switchboard's record, the providers, the mailbox");
    good &= witnesses(world, &testimonies);
    besides(world, &mails, &mut checks).await?;
    world.stage.act("And besides");
    good &= print_checks(world, &checks);
    let seconds = (chrono::Utc::now() - world.stage.began()).num_seconds();
    let (ink, words) = if good {
        (Ink::Good, "Everything went as it must")
    } else {
        (Ink::Bad, "NOT everything went as it must: see FAILED above")
    };
    world.stage.act(&world.stage.ink(ink, &format!("{words}; {seconds} s.")));
    Ok(good)
}

async fn hear(world: &World, person: Person, mails: &[Mail]) -> anyhow::Result<Testimony> {
    let notification = notification_of(&world.api, &person).await?;
    let mut recorded: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    if let Some(notification) = &notification {
        for delivery in &notification.deliveries {
            let ids = delivery.attempts.iter().map(|a| a.provider_message_id.clone()).filter(|id| !id.is_empty());
            recorded.entry(channel_word(delivery.channel_type())).or_default().extend(ids);
        }
    }
    for message in own_messages(&world.api, &person).await? {
        recorded.entry(channel_word(message.channel_type())).or_default().insert(message.provider_message_id);
    }
    let mut seen: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for call in world.simulator.calls(person.phone).await? {
        seen.entry(medium(&call.channel)).or_default().insert(call.id);
    }
    let to =
        |address: &str| mails.iter().filter(move |mail| mail.to.iter().any(|to| to == address)).collect::<Vec<_>>();
    let listed = to(DEPARTMENT).iter().filter(|mail| mail.body.contains(person.row.citizen)).count();
    let mails = if person.row.email.is_empty() { 0 } else { to(person.row.email).len() };
    Ok(Testimony { person, notification, recorded, seen, listed, mails })
}

fn medium(channel: &str) -> &'static str {
    let channel_type = match channel {
        "whatsapp" => ChannelType::Whatsapp,
        "sms" => ChannelType::Sms,
        "voice" => ChannelType::Voice,
        _ => ChannelType::Unspecified,
    };
    channel_word(channel_type)
}

/// The notification of a person's row, by the firing of that row.
async fn notification_of(api: &Api, person: &Person) -> anyhow::Result<Option<v1::Notification>> {
    let firings = firings(api).await?;
    let mine = |f: &&v1::Firing| text(f.row.as_ref(), "number") == person.row.number;
    let Some(target) = firings.iter().filter(mine).map(|f| f.target.clone()).find(|target| !target.is_empty()) else {
        return Ok(None);
    };
    let request = v1::GetNotificationRequest { name: target, view: v1::NotificationView::Full.into() };
    api.notifications().get_notification(request).await.told("read a notification").map(Some)
}

async fn firings(api: &Api) -> anyhow::Result<Vec<v1::Firing>> {
    let request =
        v1::ListFiringsRequest { parent: TRIGGER.into(), page_size: 1000, ..v1::ListFiringsRequest::default() };
    Ok(api.triggers().list_firings(request).await.told("list firings")?.firings)
}

/// What Switchboard said besides notifications: the confirmation of a STOP.
async fn own_messages(api: &Api, person: &Person) -> anyhow::Result<Vec<v1::Message>> {
    let address = v1::Address { kind: v1::AddressKind::Phone.into(), value: person.phone.into() };
    let request = v1::ResolveContactRequest { address: Some(address), ..v1::ResolveContactRequest::default() };
    let contacts = api.contacts().resolve_contact(request).await.told("find a contact")?.contacts;
    let mut found = Vec::new();
    for contact in contacts {
        let request = v1::ListMessagesRequest {
            contact: contact.name,
            direction: v1::message::Direction::Outbound.into(),
            ..v1::ListMessagesRequest::default()
        };
        let messages = api.messages().list_messages(request).await.told("list messages")?.messages;
        found.extend(messages.into_iter().filter(|m| m.notification.is_empty() && !m.provider_message_id.is_empty()));
    }
    Ok(found)
}

fn outcomes(world: &World, testimonies: &[Testimony], board: &Board) -> bool {
    let mut all_good = true;
    let mut rows = Vec::new();
    for testimony in testimonies {
        let missing = compare(testimony, board);
        let observed = testimony.notification.as_ref().map_or_else(|| "no notification".to_owned(), observed);
        let verdict = if missing.is_empty() {
            (Ink::Good, "OK".to_owned())
        } else {
            all_good = false;
            (Ink::Bad, format!("FAILED: {}", missing.join("; ")))
        };
        let who = testimony.person.row.citizen.to_owned();
        let expected = testimony.person.expected.words.to_owned();
        rows.push(vec![(Ink::Plain, who), (Ink::Plain, expected), (Ink::Plain, observed), verdict]);
    }
    world.stage.table(&["person", "expected", "observed", ""], &rows);
    all_good
}

/// The state and every delivery in a line.
fn observed(notification: &v1::Notification) -> String {
    let mut parts: Vec<String> = notification.deliveries.iter().map(delivery_words).collect();
    let reason = match notification.skip_reason() {
        SkipReason::Unspecified => String::new(),
        reason => format!(" {}", skip_word(reason)),
    };
    parts.push(format!("{}{reason}", notification.state().as_str_name()));
    parts.join(" > ")
}

fn delivery_words(delivery: &v1::Delivery) -> String {
    let code = if delivery.failure_code.is_empty() { String::new() } else { format!(" {}", delivery.failure_code) };
    format!("{} {}{code}", channel_word(delivery.channel_type()), delivery.state().as_str_name())
}

/// Everything in which a person's fate differs from what it must be.
fn compare(testimony: &Testimony, board: &Board) -> Vec<String> {
    let (expected, person) = (&testimony.person.expected, &testimony.person);
    let Some(found) = &testimony.notification else { return vec!["no firing of the row led to a notification".into()] };
    let mut wrong = Vec::new();
    if found.state() != expected.state {
        wrong.push(format!("must be {}", expected.state.as_str_name()));
    }
    if found.skip_reason() != expected.skip {
        wrong.push(format!("the reason must be {}", skip_word(expected.skip)));
    }
    wrong.extend(compare_ways(expected, found));
    if let Some(on) = expected.answered_on
        && found.reply.is_empty()
    {
        wrong.push(format!("no answer on {} is recorded", channel_word(on)));
    }
    if let Some(on) = expected.answered_on
        && answered_on(found) != Some(on)
    {
        wrong.push(format!("must be answered on {}", channel_word(on)));
    }
    if board.states.get(person.row.citizen) != Some(&found.state()) {
        let shown = board.states.get(person.row.citizen).map_or("nothing", notification::State::as_str_name);
        wrong.push(format!("the event stream showed {shown}"));
    }
    wrong
}

/// The channel type on which the person answered: that of the delivery over the channel that reached.
fn answered_on(found: &v1::Notification) -> Option<ChannelType> {
    found.deliveries.iter().find(|d| d.channel == found.reached_channel).map(v1::Delivery::channel_type)
}

fn compare_ways(expected: &Expected, found: &v1::Notification) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, way) in expected.ways.iter().enumerate() {
        let medium = channel_word(way.channel_type);
        let Some(delivery) = found.deliveries.get(index) else {
            wrong.push(format!("nothing went by {medium}"));
            continue;
        };
        let fits = delivery.channel_type() == way.channel_type
            && delivery.state() == way.state
            && (way.code.is_empty() || delivery.failure_code == way.code);
        if !fits {
            wrong.push(format!("delivery {} must be {medium} {} {}", index + 1, way.state.as_str_name(), way.code));
        }
    }
    for surplus in found.deliveries.iter().skip(expected.ways.len()) {
        wrong.push(format!("one too many: {}", delivery_words(surplus)));
    }
    wrong
}

fn witnesses(world: &World, testimonies: &[Testimony]) -> bool {
    let mut all_good = true;
    let mut rows = Vec::new();
    for testimony in testimonies {
        let count = |of: &BTreeMap<&'static str, BTreeSet<String>>| {
            let media = [ChannelType::Whatsapp, ChannelType::Sms, ChannelType::Voice].map(channel_word);
            let counts = media.map(|medium| of.get(medium).map_or(0, BTreeSet::len).to_string());
            counts.join(" / ")
        };
        let filled = |of: &BTreeMap<&'static str, BTreeSet<String>>| {
            of.iter().filter(|(_, ids)| !ids.is_empty()).map(|(m, ids)| (*m, ids.clone())).collect::<BTreeMap<_, _>>()
        };
        let listed = usize::from(testimony.person.expected.listed);
        let mut wrong = Vec::new();
        if filled(&testimony.recorded) != filled(&testimony.seen) {
            wrong.push("the providers have other ids than the record".to_owned());
        }
        if testimony.listed != listed {
            wrong.push(format!("{} mails to the department name the person, must be {listed}", testimony.listed));
        }
        all_good &= wrong.is_empty();
        let verdict = if wrong.is_empty() {
            (Ink::Good, "agree".to_owned())
        } else {
            (Ink::Bad, format!("FAILED: {}", wrong.join("; ")))
        };
        let mailbox = format!("{} / {}", testimony.mails, testimony.listed);
        let cells =
            [testimony.person.row.citizen.to_owned(), count(&testimony.recorded), count(&testimony.seen), mailbox];
        rows.push(cells.into_iter().map(|cell| (Ink::Plain, cell)).chain([verdict]).collect());
    }
    let head = [
        "person",
        "record: WhatsApp / SMS / calls",
        "providers: the same, by their ids",
        "mails to / about the person",
        "",
    ];
    world.stage.table(&head, &rows);
    all_good
}

/// What must hold besides.
async fn besides(world: &World, mails: &[Mail], checks: &mut Checks) -> anyhow::Result<()> {
    let firings = firings(&world.api).await?;
    let times = cast::everybody().into_iter().map(|person| {
        let mine = firings.iter().filter(|f| text(f.row.as_ref(), "number") == person.row.number);
        (person.row.citizen, mine.filter(|f| f.state() == firing::State::Fired).count())
    });
    let wrong: Vec<String> = times.filter(|(_, n)| *n != 1).map(|(who, n)| format!("{who} {n} times")).collect();
    let seen = if wrong.is_empty() { "once each".to_owned() } else { wrong.join(", ") };
    checks.add("each of the eight rows becomes one notification", wrong.is_empty(), seen);
    for (row, phone) in cast::NOT_TO_BE_TOLD {
        let fired = firings.iter().filter(|f| text(f.row.as_ref(), "number") == row.number).count();
        let calls = world.simulator.calls(phone).await?.len();
        let why = match row.number {
            n if n == cast::OLD_ROW.number => "there before the watch",
            n if n == cast::ROLLED_BACK.number => "rolled back",
            _ => "not resolved",
        };
        let must = format!("{}'s row ({why}) fires nothing", row.citizen);
        checks.add(&must, fired == 0 && calls == 0, format!("{fired} firings, {calls} messages"));
    }
    let unmappable: Vec<_> = firings.iter().filter(|f| f.state() == firing::State::Unmappable).collect();
    let replays: i32 = unmappable.iter().map(|f| f.replay_count).sum();
    let seen = format!("{} could not be mapped, {replays} replayed", unmappable.len());
    checks.add(
        "one row could not be mapped, and was replayed after correction",
        unmappable.len() == 1 && replays == 1,
        seen,
    );
    call_list(world, mails, checks).await?;
    scheduled(world, mails, checks).await
}

async fn call_list(world: &World, mails: &[Mail], checks: &mut Checks) -> anyhow::Result<()> {
    let request =
        v1::ListCallListEntriesRequest { parent: CALL_LIST.into(), ..v1::ListCallListEntriesRequest::default() };
    let entries = world.api.call_lists().list_call_list_entries(request).await.told("list the people to call")?.entries;
    let mailed = entries.iter().filter(|entry| entry.mail_time.is_some()).count();
    let listed = cast::everybody().iter().filter(|person| person.expected.listed).count();
    let sent = mails.iter().filter(|mail| mail.to.iter().any(|to| to == DEPARTMENT)).count();
    let holds = mailed == listed && entries.len() == listed && sent == 1;
    let seen = format!("{} entries, {mailed} mailed, {sent} mails", entries.len());
    checks.add("the list of people to call is mailed once", holds, seen);
    Ok(())
}

async fn scheduled(world: &World, mails: &[Mail], checks: &mut Checks) -> anyhow::Result<()> {
    let run = schedule::look(&world.api).await.context("the campaign cannot be read")?;
    let mut fates: Vec<String> = run
        .recipients
        .iter()
        .map(|(name, state, reason)| match reason {
            SkipReason::Unspecified => format!("{name} {}", state.as_str_name()),
            reason => format!("{name} {} {}", state.as_str_name(), skip_word(*reason)),
        })
        .collect();
    fates.sort();
    let must = ["Asha REACHED", "Bilal REACHED", "Farid SKIPPED OPTED_OUT"];
    let once = run.runs == 1 && run.state == campaign::State::Completed && fates == must;
    let seen = format!("{} runs, {}, {}", run.runs, run.state.as_str_name(), fates.join(", "));
    checks.add("the schedule ran one campaign: two are thanked, one has opted out", once, seen);
    let thanked: Vec<&str> =
        mails.iter().filter(|m| m.to != [DEPARTMENT]).flat_map(|m| m.to.iter().map(String::as_str)).collect();
    let mut sorted = thanked.clone();
    sorted.sort_unstable();
    let holds = sorted == ["asha@example.org", "bilal@example.org"];
    let subjects: Vec<&str> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    checks.add(
        "each of them has one mail of thanks",
        holds,
        format!("{} ({})", thanked.join(", "), subjects.join(" | ")),
    );
    Ok(())
}

fn print_checks(world: &World, checks: &Checks) -> bool {
    let rows: Vec<_> = checks
        .found
        .iter()
        .map(|(must, holds, seen)| {
            let verdict = if *holds { (Ink::Good, "OK".to_owned()) } else { (Ink::Bad, "FAILED".to_owned()) };
            vec![(Ink::Plain, must.clone()), (Ink::Plain, seen.clone()), verdict]
        })
        .collect();
    world.stage.table(&["must hold", "observed", ""], &rows);
    checks.found.iter().all(|(_, holds, _)| *holds)
}

#[cfg(test)]
mod tests {
    use proto::v1::delivery;

    use super::*;

    fn delivered(state: delivery::State) -> v1::Delivery {
        v1::Delivery {
            channel: "channels/whatsapp".into(),
            channel_type: ChannelType::Whatsapp.into(),
            state: state.into(),
            ..v1::Delivery::default()
        }
    }

    fn answered() -> v1::Notification {
        v1::Notification {
            state: notification::State::Replied.into(),
            reached_channel: "channels/whatsapp".into(),
            reply: "messages/x".into(),
            deliveries: vec![delivered(delivery::State::Read)],
            ..v1::Notification::default()
        }
    }

    fn faults(notification: v1::Notification) -> Vec<String> {
        let board = Board { states: [("Asha".to_owned(), notification.state())].into(), ..Board::default() };
        let testimony = Testimony {
            person: cast::asha(),
            notification: Some(notification),
            recorded: BTreeMap::new(),
            seen: BTreeMap::new(),
            listed: 0,
            mails: 0,
        };
        compare(&testimony, &board)
    }

    #[test]
    fn a_fate_as_it_must_be_has_no_faults() {
        assert_eq!(faults(answered()), Vec::<String>::new());
    }

    #[test]
    fn what_was_sent_after_the_answer_is_named() {
        let mut notification = answered();
        notification.deliveries.push(delivered(delivery::State::Sent));
        assert_eq!(faults(notification), ["one too many: WhatsApp SENT"]);
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        let faults =
            faults(v1::Notification { state: notification::State::Waiting.into(), ..v1::Notification::default() });
        let expected = [
            "must be REPLIED",
            "nothing went by WhatsApp",
            "no answer on WhatsApp is recorded",
            "must be answered on WhatsApp",
        ];
        assert_eq!(faults, expected);
    }
}
