//! Messages that a person sends of their own accord, on the word of a test or of the control API.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::Core;
use crate::ledger::Provider;
use crate::meta::{Person, TouchKind, Touchable, touched};
use crate::script::{ScriptError, check_number};
use crate::stage::Play;
use crate::{meta, twilio};

/// A message from a person to the business, now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// `whatsapp` or `sms`.
    pub channel: Provider,
    /// The person's number in E.164.
    pub from: String,
    /// The business's number that an SMS goes to; needed for SMS only.
    #[serde(default)]
    pub to: Option<String>,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
    /// A touched reply button (WhatsApp only).
    #[serde(default)]
    pub button: Option<InboundButton>,
    /// The provider id of our message that this one quotes (WhatsApp only).
    #[serde(default)]
    pub context: Option<String>,
    /// Any other content in Meta's own shape, such as `{"type": "image", "image": {"id": "1", "mime_type": "image/jpeg"}}` (WhatsApp only).
    #[serde(default)]
    pub content: Option<Value>,
    /// Pictures that come with it (SMS only): ids of files on the shelf.
    #[serde(default)]
    pub media: Vec<String>,
    /// Where the picture's links lead (SMS with pictures only): the address of this simulator as the business reaches it.
    #[serde(default)]
    pub base_url: Option<String>,
}

/// A touched reply button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundButton {
    /// The id that the business gave the button.
    pub id: String,
    /// The words on it.
    pub title: String,
}

/// Why a message from a person cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    /// A number is not in E.164.
    #[error(transparent)]
    Number(#[from] ScriptError),
    /// The message does not suit its channel; the text names the field and what is right.
    #[error("{0}")]
    Content(&'static str),
    /// The simulator was not told where messages of this channel go.
    #[error("nobody is told of inbound {0}: start the simulator with {1}")]
    NoWebhook(&'static str, &'static str),
}

impl Inbound {
    /// A WhatsApp text.
    pub fn whatsapp(from: &str, text: &str) -> Self {
        Self::text(Provider::Whatsapp, from, None, text)
    }

    /// An SMS to a number of the business.
    pub fn sms(from: &str, to: &str, text: &str) -> Self {
        Self::text(Provider::Sms, from, Some(to.to_owned()), text)
    }

    fn text(channel: Provider, from: &str, to: Option<String>, text: &str) -> Self {
        Self {
            channel,
            from: from.into(),
            to,
            text: Some(text.into()),
            button: None,
            context: None,
            content: None,
            media: Vec::new(),
            base_url: None,
        }
    }

    fn pictures(&self, core: &Core) -> Result<Vec<twilio::Picture>, InboundError> {
        let base_url = self.base_url.clone();
        if !self.media.is_empty() && base_url.is_none() {
            return Err(InboundError::Content("base_url: pictures need the address of this simulator"));
        }
        let picture = |id: &String| {
            let file =
                core.files.get(id).ok_or(InboundError::Content("media: names a file that is not on the shelf"))?;
            let base_url = base_url.clone().unwrap_or_default();
            Ok(twilio::Picture { id: id.clone(), mime_type: file.mime_type, base_url })
        };
        self.media.iter().map(picture).collect()
    }

    fn whatsapp_content(&self, core: &Core) -> Result<Value, InboundError> {
        let mut content = match (&self.text, &self.button, &self.content) {
            (Some(text), None, None) => json!({ "type": "text", "text": { "body": text } }),
            (None, Some(button), None) => touched(&Touchable {
                kind: TouchKind::Button,
                id: button.id.clone(),
                title: button.title.clone(),
                description: None,
            }),
            (None, None, Some(content)) if content["type"].is_string() => content.clone(),
            (None, None, Some(_)) => {
                return Err(InboundError::Content("content: needs `type`, as Meta's messages have"));
            }
            _ => return Err(InboundError::Content("give exactly one of `text`, `button` and `content`")),
        };
        if let Some(id) = &self.context {
            content["context"] = json!({ "from": core.config.meta.display_number, "id": id });
        }
        Ok(content)
    }
}

/// Puts a message from a person on the stage, due now; returns the provider's id of it.
pub(crate) fn send(core: &Core, message: &Inbound) -> Result<String, InboundError> {
    check_number(&message.from)?;
    let at = core.clock.now();
    let webhook = match message.channel {
        Provider::Whatsapp => {
            let content = message.whatsapp_content(core)?;
            meta::inbound(core, &Person::of(core, &message.from), content, at)
                .ok_or(InboundError::NoWebhook("WhatsApp messages", "--meta-webhook"))?
        }
        Provider::Sms => {
            let to =
                message.to.as_deref().ok_or(InboundError::Content("to: an SMS needs the number that it goes to"))?;
            if message.button.is_some() || message.content.is_some() || message.context.is_some() {
                return Err(InboundError::Content("an SMS has only `text`"));
            }
            let text = message.text.as_deref().ok_or(InboundError::Content("text: an SMS needs a text"))?;
            twilio::inbound(core, &message.from, to, text, &message.pictures(core)?)
                .ok_or(InboundError::NoWebhook("SMS", "--sms-webhook"))?
        }
        Provider::Voice => return Err(InboundError::Content("channel: only whatsapp and sms have messages")),
    };
    let id = webhook.about.clone();
    core.stage.put(at, Play::Retry(Box::new(webhook)));
    Ok(id)
}
