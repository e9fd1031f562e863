//! A process of the business decides in the place of the rules, and silence is answered by them.

use std::time::Duration;

use proto::v1::{self, controller_action::Action, stream_intents_response::Update};
use tonic::Code;

use super::{rule, say, with};
use crate::conversations::{PHONE, Stage};

fn deciding() -> v1::Controller {
    v1::Controller {
        answer_within: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..with(vec![rule("default", &[v1::Intent::FirstMessage], "", vec![say("by rule")])])
    }
}

async fn next(stream: &mut tonic::Streaming<v1::StreamIntentsResponse>) -> anyhow::Result<v1::WaitingIntent> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await??;
        match message.and_then(|message| message.update) {
            Some(Update::Waiting(waiting)) => return Ok(waiting),
            Some(Update::Checkpoint(_)) => {}
            None => anyhow::bail!("the stream ended"),
        }
    }
}

#[tokio::test]
async fn a_process_of_the_business_is_told_what_occurs_and_decides() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.controller("desk", deciding()).await?;
    let request = v1::StreamIntentsRequest { controller: "controllers/desk".into() };
    let mut intents = stage.controllers().stream_intents(request).await?.into_inner();
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.answered().await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Hello"], "the rules wait");

    let started = next(&mut intents).await?;
    let first = next(&mut intents).await?;
    assert_eq!((started.intent(), first.intent()), (v1::Intent::SessionStarted, v1::Intent::FirstMessage));
    assert_eq!(first.conversation, name);
    let decide = |intent_id: &str, actions: Vec<Action>| v1::ExecuteActionsRequest {
        controller: "controllers/desk".into(),
        intent_id: intent_id.into(),
        actions: actions.into_iter().map(|action| v1::ControllerAction { action: Some(action) }).collect(),
        ..Default::default()
    };
    stage.controllers().execute_actions(decide(&started.intent_id, Vec::new())).await?;
    stage.controllers().execute_actions(decide(&first.intent_id, vec![say("by hand {{ not rendered }}")])).await?;
    let again = stage.controllers().execute_actions(decide(&first.intent_id, Vec::new())).await;
    assert_eq!(again.expect_err("the first answer counts").code(), Code::NotFound);
    stage.answered().await?;
    assert_eq!(stage.words(&name).await?, ["Hello", "by hand {{ not rendered }}"]);
    let run = stage.runs().await?.remove(0);
    assert!(run.decided_outside && run.actions == 1, "{run:?}");
    Ok(())
}

#[tokio::test]
async fn silence_is_answered_by_the_rules_and_a_late_decision_is_refused() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.controller("desk", deciding()).await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.answered().await?;
    let request = v1::StreamIntentsRequest { controller: "controllers/desk".into() };
    let mut intents = stage.controllers().stream_intents(request).await?.into_inner();
    let waiting = next(&mut intents).await?;
    stage.served.world.advance(Duration::from_secs(31));
    stage.answered().await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Hello", "by rule"]);
    let late = v1::ExecuteActionsRequest {
        controller: "controllers/desk".into(),
        intent_id: waiting.intent_id,
        ..Default::default()
    };
    let late = stage.controllers().execute_actions(late).await.expect_err("it was decided");
    assert_eq!(late.code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_controller_whose_rules_decide_at_once_has_no_stream() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.controller("desk", with(vec![rule("a", &[v1::Intent::FirstMessage], "", vec![say("x")])])).await?;
    let request = v1::StreamIntentsRequest { controller: "controllers/desk".into() };
    let refused = stage.controllers().stream_intents(request).await.expect_err("nothing ever waits");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    Ok(())
}
