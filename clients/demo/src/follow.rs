//! Follows the stream of events and prints the timeline of everybody as it happens.
//!
//! An event says *that* something happened to a notification; what happened is read from its timeline, of which every entry is
//! printed once. When the server is stopped, the stream goes on from the last cursor as soon as it is back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use proto::v1::{
    self, ChannelType, Evidence, SkipReason, event_service_client::EventServiceClient, notification,
    subscribe_response::Update, timeline_entry::Kind,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tonic::transport::Channel;

use crate::{
    api::{Api, Told},
    show::{Ink, Stage},
    values::{moment, text},
};

/// The pause before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(300);

/// What the stream has shown so far.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// The state of each notification that was seen, by the person's name.
    pub states: BTreeMap<String, notification::State>,
    /// How many events of each type came.
    pub types: BTreeMap<String, usize>,
    /// How often the stream was opened again.
    pub reopened: usize,
}

/// A running follower; dropping it ends it.
#[derive(Debug)]
pub struct Follower {
    board: watch::Receiver<Board>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    /// Follows everything that happens from `cursor` on.
    pub fn start(api: Api, stage: Arc<Stage>, cursor: String) -> Self {
        let (sender, board) = watch::channel(Board::default());
        let mut following = Following {
            api,
            stage,
            cursor,
            board: sender,
            names: HashMap::new(),
            printed: HashSet::new(),
            troubled: false,
        };
        let task = tokio::spawn(async move { following.run().await });
        Self { board, task }
    }

    /// What was seen so far.
    pub fn board(&self) -> Board {
        self.board.borrow().clone()
    }

    /// Waits until the board shows what it must. `missing` names what does not stand there yet.
    ///
    /// # Errors
    /// What is still missing after `patience`.
    pub async fn until(&mut self, patience: Duration, missing: impl Fn(&Board) -> Vec<String>) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        loop {
            let left = missing(&self.board.borrow_and_update());
            if left.is_empty() {
                return Ok(());
            }
            if tokio::time::timeout_at(end, self.board.changed()).await.is_err() {
                bail!("after {} s the event stream has not shown: {}", patience.as_secs(), left.join("; "));
            }
        }
    }
}

struct Following {
    api: Api,
    stage: Arc<Stage>,
    cursor: String,
    board: watch::Sender<Board>,
    /// Names of people, by contact.
    names: HashMap<String, String>,
    /// Entries that were printed.
    printed: HashSet<(String, i64, i32, i32, String)>,
    troubled: bool,
}

impl Following {
    async fn run(&mut self) {
        loop {
            let ended = self.follow().await;
            self.board.send_modify(|board| board.reopened += 1);
            if let (Err(error), false) = (ended, self.troubled) {
                self.troubled = true;
                let now = chrono::Utc::now();
                self.stage.moment(
                    now,
                    "",
                    "",
                    Ink::Dim,
                    &format!("the event stream broke off ({error:#}); it will go on where it was"),
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut events: EventServiceClient<Channel> = self.api.events();
        let request = v1::SubscribeRequest { start_cursor: self.cursor.clone(), ..v1::SubscribeRequest::default() };
        let mut stream = events.subscribe(request).await.told("subscribe")?;
        while let Some(message) = stream.message().await? {
            self.troubled = false;
            match message.update {
                Some(Update::Event(event)) => {
                    self.event(&event).await?;
                    self.cursor.clone_from(&event.cursor);
                }
                Some(Update::Checkpoint(checkpoint)) => self.cursor = checkpoint.cursor,
                None => {}
            }
        }
        bail!("the server ended it")
    }

    async fn event(&mut self, event: &v1::Event) -> anyhow::Result<()> {
        let noun = event.r#type.split('.').next().unwrap_or_default();
        match noun {
            "notification" | "delivery" => self.notification(event).await?,
            "message" => self.message(event).await?,
            "trigger" if event.r#type != "trigger.fired" => self.firing(event).await?,
            // The notification of a schedule's run has its own lines.
            "campaign" | "call_list" | "channel" => {
                let what = event.r#type.replace(['.', '_'], " ");
                self.stage.moment(
                    moment(event.time.as_ref()),
                    "",
                    "",
                    Ink::Plain,
                    &format!("{what}: {}", event.subject),
                );
            }
            "consent" => {
                let who = self.name(&event.contact).await;
                let change = format!("consent changed to {}", text(event.data.as_ref(), "to"));
                self.stage.moment(moment(event.time.as_ref()), &who, "", Ink::Warn, change.trim_end_matches(" to "));
            }
            _ => {}
        }
        self.board.send_modify(|board| *board.types.entry(event.r#type.clone()).or_default() += 1);
        Ok(())
    }

    /// Which notification an event speaks of: its subject, or what its data or its contact lead to.
    async fn notification(&mut self, event: &v1::Event) -> anyhow::Result<()> {
        let named = [event.subject.as_str(), text(event.data.as_ref(), "notification")];
        if let Some(name) = named.into_iter().find(|name| name.starts_with("notifications/")) {
            return self.show(name.to_owned()).await;
        }
        let request =
            v1::ListNotificationsRequest { contact: event.contact.clone(), ..v1::ListNotificationsRequest::default() };
        let found = self.api.notifications().list_notifications(request).await.told("list notifications")?;
        for notification in found.notifications {
            self.show(notification.name).await?;
        }
        Ok(())
    }

    /// Prints what is new in the timeline of a notification.
    async fn show(&mut self, name: String) -> anyhow::Result<()> {
        let request = v1::GetNotificationRequest { name, view: v1::NotificationView::Full.into() };
        let notification = self.api.notifications().get_notification(request).await.told("read a notification")?;
        let who = self.name(&notification.contact).await;
        for entry in &notification.timeline {
            let time = entry.time.unwrap_or_default();
            // A call tells SENT when it is queued, when it rings and when it is answered: the same once is enough.
            let again =
                if entry.kind() == Kind::Receipt { 0 } else { time.seconds * 1000 + i64::from(time.nanos / 1_000_000) };
            let key = (notification.name.clone(), again, entry.kind, entry.step, entry.description.clone());
            if self.printed.insert(key) {
                let (ink, what) = words(entry);
                let at = moment(entry.time.as_ref());
                self.stage.moment(at, &who, channel_word(entry.channel_type()), ink, &what);
            }
        }
        let state = notification.state();
        self.board.send_modify(|board| {
            // A campaign's notification to the same person does not hide that of the row.
            if notification.campaign.is_empty() {
                board.states.insert(who, state);
            }
        });
        Ok(())
    }

    async fn message(&mut self, event: &v1::Event) -> anyhow::Result<()> {
        if event.r#type != "message.received" {
            return Ok(());
        }
        let request = v1::GetMessageRequest { name: event.subject.clone() };
        let message = self.api.messages().get_message(request).await.told("read a message")?;
        let who = self.name(&message.contact).await;
        let said = format!("wrote: {}", message.plain_text);
        let at = moment(event.time.as_ref());
        self.stage.moment(at, &who, channel_word(message.channel_type()), Ink::Good, &said);
        Ok(())
    }

    async fn firing(&mut self, event: &v1::Event) -> anyhow::Result<()> {
        let what = event.r#type.replace('.', " ");
        let firing = [event.subject.as_str(), text(event.data.as_ref(), "firing")];
        let Some(name) = firing.into_iter().find(|name| name.contains("/firings/")) else {
            self.stage.moment(moment(event.time.as_ref()), "", "", Ink::Warn, &format!("{what}: {}", event.subject));
            return Ok(());
        };
        let request = v1::GetFiringRequest { name: name.to_owned() };
        let firing = self.api.triggers().get_firing(request).await.told("read a firing")?;
        let who = text(firing.row.as_ref(), "citizen").to_owned();
        let what = format!("{what}: {}, {}", firing.reason().as_str_name(), firing.description);
        self.stage.moment(moment(event.time.as_ref()), &who, "", Ink::Warn, &what);
        Ok(())
    }

    /// What a contact is called.
    async fn name(&mut self, contact: &str) -> String {
        if let Some(name) = self.names.get(contact) {
            return name.clone();
        }
        let request = v1::GetContactRequest { name: contact.to_owned() };
        let Ok(found) = self.api.contacts().get_contact(request).await else { return contact.to_owned() };
        let found = found.into_inner();
        // The department's mailbox is a contact without a name.
        let mailbox = found.addresses.iter().find_map(|address| Some(address.value.split_once('@')?.0.to_owned()));
        let name = Some(found.display_name).filter(|name| !name.is_empty()).or(mailbox);
        let Some(name) = name else { return contact.to_owned() };
        self.names.insert(contact.to_owned(), name.clone());
        name
    }
}

/// A channel type in a word.
pub fn channel_word(channel_type: ChannelType) -> &'static str {
    match channel_type {
        ChannelType::Unspecified => "",
        ChannelType::Whatsapp => "WhatsApp",
        ChannelType::Sms => "SMS",
        ChannelType::Voice => "call",
        ChannelType::Email => "mail",
        ChannelType::Telegram => "Telegram",
        ChannelType::Webchat => "chat",
        ChannelType::Webhook => "webhook",
    }
}

/// An entry of a timeline in the server's words and in its colour. People count steps from one.
fn words(entry: &v1::TimelineEntry) -> (Ink, String) {
    let ink = match entry.kind() {
        Kind::Unspecified | Kind::StepStarted | Kind::Resumed => Ink::Plain,
        Kind::Created | Kind::Ended => Ink::Bold,
        Kind::StepSkipped | Kind::StepDeferred | Kind::StepTimedOut | Kind::Listed | Kind::Paused => Ink::Warn,
        Kind::StepSucceeded | Kind::Reply => Ink::Good,
        Kind::StepFailed => Ink::Bad,
        Kind::Attempted => Ink::Dim,
        Kind::Receipt if entry.evidence() == Evidence::Failed => Ink::Bad,
        Kind::Receipt if entry.evidence() == Evidence::Sent => Ink::Dim,
        Kind::Receipt => Ink::Plain,
    };
    let what = match entry.description.as_str() {
        "" => entry.kind().as_str_name().to_owned(),
        words => words.to_owned(),
    };
    (ink, what)
}

/// Why something was skipped, as the contract calls it.
pub fn skip_word(reason: SkipReason) -> &'static str {
    reason.as_str_name().trim_start_matches("SKIP_REASON_")
}
