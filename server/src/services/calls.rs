//! Calls under way: what a call says next, when its provider fetches the script.

use domain::channel::ChannelType;

use super::{Context, directory, rendering};
use crate::{
    channels::{CallStep, WebhookAnswer, WebhookError},
    storage::{self, calls},
};

/// Why no script can be given.
#[derive(Debug, thiserror::Error)]
pub enum NoScript {
    /// There is no such call on this provider's channel, or nothing that can be spoken.
    #[error("there is no script for this call")]
    NotFound,
    /// Storage failed: the provider may ask again.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// The script of a call: the delivery's content, as it was rendered when the call was placed, in the words of the provider.
///
/// # Errors
/// See [`NoScript`].
pub async fn script(
    context: &Context,
    channel: &directory::Channel,
    provider: &directory::Provider,
    step: &CallStep,
) -> Result<WebhookAnswer, NoScript> {
    let Ok(connector) = &provider.connector else { return Err(NoScript::NotFound) };
    let spoken = calls::spoken(&mut *context.lists.conn().await?, step.delivery_id, channel.row.id).await?;
    let spoken = spoken.ok_or(NoScript::NotFound)?;
    let source = rendering::Source {
        content: spoken.content.as_ref(),
        plan_id: spoken.plan_id,
        step: spoken.step,
        variables: &spoken.variables,
        locale: &spoken.locale,
    };
    let content = rendering::words(context, source, ChannelType::Voice).await.map_err(|refusal| {
        tracing::warn!(delivery.id = %step.delivery_id, code = refusal.code, "a call's script cannot be rendered");
        NoScript::NotFound
    })?;
    let webhooks = format!("{}/webhooks/{}", context.settings.public_url, provider.row.id);
    connector.script(&content, step, &webhooks).map_err(|error: WebhookError| {
        tracing::warn!(delivery.id = %step.delivery_id, error = %error, "a call's script cannot be spoken");
        NoScript::NotFound
    })
}
