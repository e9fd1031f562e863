//! What it costs to take up a message: every statement is a round trip, and the person waits for all of them.

use super::{PHONE, Stage};
use crate::support::statements::Statements;

/// The most statements, with the two of the transaction, for a message in a conversation that is open.
const MESSAGE: usize = 10;
/// The same for the first message of somebody whom nobody knows.
const STRANGER: usize = 24;

async fn taking_up(stage: &Stage, from: &str) -> anyhow::Result<Vec<String>> {
    stage.arrives(stage.sms, from, "Hello").await?;
    let statements = Statements::listen();
    anyhow::ensure!(server::services::inbound::take_up(stage.context()).await?, "there is one");
    Ok(statements.taken())
}

#[tokio::test]
async fn a_message_is_taken_up_in_few_statements() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.sms, PHONE, "Good morning").await?;
    let known = taking_up(&stage, PHONE).await?;
    assert!(known.len() <= MESSAGE, "{} statements: {known:#?}", known.len());
    assert!(known.iter().any(|sql| sql.contains("insert into message")), "they were heard: {known:#?}");
    let stranger = taking_up(&stage, "+919800000001").await?;
    assert!(stranger.len() <= STRANGER, "{} statements: {stranger:#?}", stranger.len());
    stage.is_sound().await
}
