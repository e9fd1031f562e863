//! From what was claimed to what is said: the content of a conversation's message as it stands, of a notification's step from
//! its pinned template.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    channel::ChannelType,
    delivery::FailureClass,
    fallback::Target,
    message::{Attachment, Content, TemplateRef},
    template::Rendered,
};

use super::{Context, Error, Result, parameters::Parameters, plans::PinnedPlan};
use crate::{
    channels::Refusal,
    storage::{self, Conn, dispatch::Claimed},
};

/// What a delivery's content is made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The content, where it is a conversation's message.
    pub content: Option<&'a serde_json::Value>,
    /// The pinned plan that renders it, where it is a notification's.
    pub plan_id: Option<i64>,
    /// The step of the notification.
    pub step: i16,
    /// The variables of the template.
    pub variables: &'a serde_json::Value,
    /// The contact's locale; empty: not known.
    pub locale: &'a str,
}

impl<'a> From<&'a Claimed> for Source<'a> {
    fn from(claimed: &'a Claimed) -> Self {
        Self {
            content: claimed.content.as_ref(),
            plan_id: claimed.plan_id,
            step: claimed.step,
            variables: &claimed.variables,
            locale: &claimed.locale,
        }
    }
}

/// The content of a delivery, with the files of its notification where it is a mail; and what its provider is told besides.
///
/// # Errors
/// As [`words`].
pub async fn content(
    context: &Context,
    claimed: &Claimed,
    channel_type: ChannelType,
) -> std::result::Result<(Content, Parameters), Refusal> {
    let (mut content, parameters) = told(context, claimed, channel_type).await?;
    if let (Content::Email { attachments, .. }, Some(notification)) = (&mut content, claimed.notification_id) {
        let mut conn = context.side.conn().await.map_err(|error| unreadable("ATTACHMENT_UNREADABLE", &error))?;
        let files = storage::sending::attachments(&mut conn, notification).await;
        let files = files.map_err(|error| unreadable("ATTACHMENT_UNREADABLE", &error))?;
        attachments.extend(files.into_iter().map(|file| Attachment {
            file_name: file.file_name,
            mime_type: file.mime_type,
            data_base64: STANDARD.encode(file.data),
        }));
    }
    Ok((content, parameters))
}

/// The content of a delivery without the files that travel with it.
///
/// # Errors
/// A refusal of our own, without a call: the template cannot be rendered with these variables, or stored content cannot be read.
pub async fn words<'a>(
    context: &Context,
    source: impl Into<Source<'a>>,
    channel_type: ChannelType,
) -> std::result::Result<Content, Refusal> {
    told(context, source, channel_type).await.map(|(content, _)| content)
}

/// The content of a delivery, and what its provider is told besides.
async fn told<'a>(
    context: &Context,
    source: impl Into<Source<'a>>,
    channel_type: ChannelType,
) -> std::result::Result<(Content, Parameters), Refusal> {
    let source = source.into();
    if let Some(stored) = source.content {
        return serde_json::from_value(stored.clone())
            .map(|content| (content, Parameters::new()))
            .map_err(|error| refusal("CONTENT_UNREADABLE", &error.to_string()));
    }
    let plan = plan(context, source).await?;
    let step = usize::try_from(source.step).unwrap_or_default();
    let rendered = said(&plan, source, channel_type)?;
    let parameters = plan.parameters_of(step, channel_type, &rendered.language);
    Ok((rendered.content, parameters))
}

/// The content of a notification's delivery with the version of the template that it was rendered from, as a message keeps it.
/// The contact is left out of the parameters: it has a record of its own.
///
/// # Errors
/// As [`words`].
pub async fn rendered(
    context: &Context,
    conn: &mut Conn,
    claimed: &Claimed,
    channel_type: ChannelType,
) -> std::result::Result<(Content, TemplateRef), Refusal> {
    let source = Source::from(claimed);
    let plan = plan(context, source).await?;
    let rendered = said(&plan, source, channel_type)?;
    let step = usize::try_from(source.step).unwrap_or_default();
    let id = plan.template_version_ids.get(step).copied().unwrap_or_default();
    let version = storage::templates::versions(conn, &[id]).await;
    let version = version.map_err(|error| unreadable("PLAN_UNREADABLE", &error))?.pop();
    let version = version.ok_or_else(|| refusal("NO_TEMPLATE_CONTENT", "the template is gone"))?;
    let mut parameters = source.variables.as_object().cloned().unwrap_or_default();
    parameters.remove("contact");
    let template = TemplateRef { name: version.slug, version: version.number, language: rendered.language, parameters };
    Ok((rendered.content, template))
}

async fn plan(context: &Context, source: Source<'_>) -> std::result::Result<Arc<PinnedPlan>, Refusal> {
    let Some(plan_id) = source.plan_id else { return Err(refusal("CONTENT_MISSING", "nothing is to be said")) };
    Ok(match context.plans.known(plan_id) {
        Some(plan) => plan,
        None => {
            let mut conn = context.side.conn().await.map_err(|error| unreadable("PLAN_UNREADABLE", &error))?;
            let loaded = context.plans.load(&mut conn, plan_id).await;
            loaded.map_err(|error| match error {
                Error::Storage(error) => unreadable("PLAN_UNREADABLE", &error),
                other => refusal("PLAN_UNREADABLE", &other.to_string()),
            })?
        }
    })
}

fn said(plan: &PinnedPlan, source: Source<'_>, channel_type: ChannelType) -> std::result::Result<Rendered, Refusal> {
    let step = usize::try_from(source.step).unwrap_or_default();
    let Some(template) = plan.templates.get(step).and_then(Option::as_ref) else {
        return Err(refusal("NO_TEMPLATE_CONTENT", "the step has no template"));
    };
    let none = serde_json::Map::new();
    let variables = source.variables.as_object().unwrap_or(&none);
    let locales: Vec<&str> = Some(source.locale).filter(|l| !l.is_empty()).into_iter().collect();
    template
        .render(channel_type, &locales, variables)
        .map_err(|error| refusal("TEMPLATE_NOT_RENDERED", &error.to_string()))
}

/// Whether the policy has a later step that sends something, so that this one may be given up for it.
///
/// # Errors
/// What storage says.
pub async fn has_later_step(context: &Context, claimed: &Claimed) -> Result<bool> {
    let Some(plan_id) = claimed.plan_id else { return Ok(false) };
    let plan = context.plans.load(&mut *context.side.conn().await?, plan_id).await?;
    let later = usize::try_from(claimed.step).unwrap_or_default() + 1;
    Ok(plan.policy.steps.iter().skip(later).any(|step| !matches!(step.target, Target::CallList(_))))
}

/// What is needed cannot be read now: the delivery is not to blame, and is tried again.
fn unreadable(code: &str, error: &storage::Error) -> Refusal {
    let class = if error.is_transient() { FailureClass::Temporary } else { FailureClass::Technical };
    Refusal { class, ..refusal(code, &error.to_string()) }
}

fn refusal(code: &str, detail: &str) -> Refusal {
    Refusal::own(FailureClass::Technical, code, detail)
}
