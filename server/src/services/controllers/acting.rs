//! What a controller's actions do: each is a verb of conversations, and is refused for the same reasons.

use domain::{
    controller::{Action, Scene},
    conversation::EndReason,
    message::Content,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    bus::post::{Call, Poster},
    services::{
        Context, Error, Result, Violation,
        contacts::ContactName,
        conversations::{saying, verbs},
        events::orders,
        templates::{Reference, render},
        work::Work,
    },
    storage::{self, controllers::inbox::Waiting},
};

/// The most characters of an answer that an attribute keeps.
const MAX_KEPT: usize = 1000;
/// How long a web address may take where the action does not say.
const DEFAULT_TIMEOUT_SECS: u8 = 5;

/// One action that is carried out.
pub(super) struct Acting<'a> {
    pub context: &'a Context,
    pub waiting: &'a Waiting,
    pub scene: &'a Scene,
    pub place: i16,
}

/// The channel that an action names.
#[must_use]
pub fn channel_of(action: &Action) -> Option<&str> {
    match action {
        Action::SendMessage { channel, .. } | Action::SendTemplate { channel, .. } | Action::EndSession { channel } => {
            channel.as_deref()
        }
        Action::SetActiveChannel { channel } => Some(channel),
        _ => None,
    }
}

/// The name of an action, as definitions spell it.
#[must_use]
pub fn name_of(action: &Action) -> String {
    let tagged = serde_json::to_value(action).ok();
    tagged.and_then(|value| value.get("do").and_then(Value::as_str).map(str::to_owned)).unwrap_or_default()
}

impl Acting<'_> {
    const fn conversation(&self) -> Uuid {
        self.waiting.conversation_id
    }

    /// What must be done before a transaction begins: a call of a web address. Says what it answered.
    pub(super) async fn call(&self, action: &Action) -> Result<Option<String>> {
        let Action::CallHttp { method, url, body, timeout_secs, into } = action else { return Ok(None) };
        let body = match body {
            Some(body) => body.clone(),
            None => Value::Object(self.scene.facts.clone()).to_string(),
        };
        let secs = if *timeout_secs == 0 { DEFAULT_TIMEOUT_SECS } else { *timeout_secs };
        let poster = Poster::new(self.context.settings.events.reach, std::time::Duration::from_secs(secs.into()));
        let key = format!("{}-{}-{}", self.waiting.number, self.waiting.controller, self.place);
        let call =
            Call { method, url, body, idempotency_key: &key, read_at_most: into.as_ref().map_or(0, |_| 4 * MAX_KEPT) };
        let answer = poster.call(call).await;
        let outside =
            |refused: crate::bus::post::Refused| Error::Outside { reason: "CALL_FAILED", message: refused.words };
        Ok(Some(answer.map_err(outside)?.chars().take(MAX_KEPT).collect()))
    }

    /// Carries out an action, in the caller's unit of work; `heard` is what a call answered.
    pub(super) async fn act(&self, work: &mut Work, action: &Action, heard: Option<String>) -> Result<()> {
        let (context, id) = (self.context, self.conversation());
        match action {
            Action::SendMessage { text, channel } => {
                self.say(work, channel.as_ref(), Content::Text { text: text.clone() }).await
            }
            Action::SendTemplate { template, variables, channel } => {
                let variables = variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                let content = self.rendered(template, channel.as_deref(), variables).await?;
                self.say(work, channel.as_ref(), content).await
            }
            Action::EndSession { channel } => self.end_sessions(work, channel.as_deref()).await,
            Action::SetActiveChannel { channel } => {
                verbs::set_active_channel(context, work, id, channel, "").await.map(drop)
            }
            Action::SetAttribute { name, value } => self.note(work, name, value.as_deref()).await,
            Action::AddLabel { label } => self.label(work, label, true).await,
            Action::RemoveLabel { label } => self.label(work, label, false).await,
            Action::SetPriority { priority } => {
                let change = verbs::Change { priority: Some(i16::from(*priority)), ..verbs::Change::default() };
                verbs::update(work, id, change, "").await.map(drop)
            }
            Action::Hold => verbs::hold(work, id, "").await.map(drop),
            Action::Resume => verbs::resume(context, work, id, "").await.map(drop),
            Action::StartFlow { flow, input } => {
                let of = json!({ "flow": flow, "input": input });
                orders::start_flow(work, id, object(of)).await.map(drop)
            }
            Action::OpenTicket { category, subject } => {
                let of = object(json!({ "category": category, "subject": subject }));
                orders::open_ticket(context, work, id, orders::Ticket { id: None, of }).await.map(drop)
            }
            Action::RequestOperator { .. } => Err(Error::invalid("request_operator", "there are no operators yet")),
            Action::Close => verbs::close(work, id, "").await.map(drop),
            Action::CallHttp { into, .. } => match into {
                Some(name) => self.note(work, name, heard.as_deref()).await,
                None => Ok(()),
            },
        }
    }

    async fn say(&self, work: &mut Work, channel: Option<&String>, content: Content) -> Result<()> {
        let to = saying::To::Conversation(self.conversation());
        let draft = saying::Draft { to, channel: channel.cloned(), content, in_reply_to: None };
        saying::send(self.context, work, draft).await.map(drop)
    }

    /// What a template says to the contact on the channel that will carry it.
    async fn rendered(&self, template: &str, channel: Option<&str>, variables: Map<String, Value>) -> Result<Content> {
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        let fact = |object: &str, field: &str| {
            self.scene.facts.get(object).and_then(|o| o.get(field)).and_then(Value::as_str).unwrap_or_default()
        };
        let active = fact("channel", "name").trim_start_matches("channels/");
        let channel = saying::named(&snapshot, channel.unwrap_or(active))?;
        let contact = fact("contact", "name").trim_start_matches("contacts/").parse().ok();
        let question = render::Question {
            source: render::Source::Stored(Reference { slug: template.to_owned(), number: 0 }),
            channel_type: channel.channel_type(),
            language: String::new(),
            variables,
            contact: contact.map(ContactName::Id),
            use_examples: false,
        };
        let preview = render::render(self.context, question).await?;
        let missing = preview.missing.iter().map(|name| (format!("variables.{name}"), "is required".to_owned()));
        let problems: Vec<Violation> =
            missing.chain(preview.problems.clone()).map(|(field, words)| Violation::new(field, words)).collect();
        preview.content.ok_or(Error::Invalid(problems))
    }

    async fn end_sessions(&self, work: &mut Work, channel: Option<&str>) -> Result<()> {
        let snapshot = self.context.directory.snapshot(&self.context.side).await?;
        let only = channel.map(|slug| saying::named(&snapshot, slug)).transpose()?.map(|channel| channel.row.id);
        let open = storage::sessions::open_of(work.conn(), self.conversation()).await?;
        for session in open.into_iter().filter(|session| only.is_none_or(|id| id == session.channel_id)) {
            verbs::end_session(self.context, work, session.id, EndReason::ControllerClosed).await?;
        }
        Ok(())
    }

    async fn note(&self, work: &mut Work, name: &str, value: Option<&str>) -> Result<()> {
        let attribute = json!({ name: value });
        let change = verbs::Change { attribute, ..verbs::Change::default() };
        verbs::update(work, self.conversation(), change, "").await.map(drop)
    }

    async fn label(&self, work: &mut Work, label: &str, add: bool) -> Result<()> {
        let held = crate::services::conversations::held::Held::open(work.conn(), self.conversation()).await?;
        let row = storage::activities::conversations(work.conn(), &[held.id()]).await?.pop();
        let mut labels = row.map(|row| row.labels).unwrap_or_default();
        if labels.iter().any(|known| known == label) == add {
            return Ok(());
        }
        if add {
            labels.push(label.to_owned())
        } else {
            labels.retain(|known| known != label)
        }
        let change = verbs::Change { labels: Some(labels), ..verbs::Change::default() };
        verbs::update(work, self.conversation(), change, "").await.map(drop)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
