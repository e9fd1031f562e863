//! What conversations do by themselves: rules as data, processes of the business that decide, and faults that hold nothing open.

mod outside;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::v1::{
    self, controller_action as act, controller_action::Action, controller_run::Outcome,
    controller_service_client::ControllerServiceClient, conversation::State,
};
use server::workers::controllers as worker;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::{Code, transport::Channel};

use crate::conversations::{PHONE, Stage, minutes, operator};

impl Stage {
    fn controllers(&self) -> ControllerServiceClient<Channel> {
        ControllerServiceClient::new(self.served.channel.clone())
    }

    async fn controller(&self, id: &str, controller: v1::Controller) -> anyhow::Result<v1::Controller> {
        let request = v1::CreateControllerRequest {
            controller_id: id.into(),
            controller: Some(controller),
            ..Default::default()
        };
        Ok(self.controllers().create_controller(request).await?.into_inner())
    }

    /// Everything that happened gets its number, and controllers answer it; what they do too.
    async fn answered(&self) -> anyhow::Result<()> {
        for _ in 0..5 {
            self.served.number().await?;
            while worker::pass(self.context()).await? {}
        }
        Ok(())
    }

    async fn runs(&self) -> anyhow::Result<Vec<v1::ControllerRun>> {
        let request = v1::ListControllerRunsRequest { page_size: 1000, ..Default::default() };
        Ok(self.controllers().list_controller_runs(request).await?.into_inner().runs)
    }
}

fn rule(name: &str, on: &[v1::Intent], when: &str, actions: Vec<Action>) -> v1::ControllerRule {
    v1::ControllerRule {
        name: name.into(),
        on: on.iter().map(|intent| (*intent).into()).collect(),
        when: when.into(),
        actions: actions.into_iter().map(|action| v1::ControllerAction { action: Some(action) }).collect(),
        last: false,
    }
}

fn say(text: &str) -> Action {
    Action::SendMessage(act::SendMessage { text: text.into(), channel: String::new() })
}

fn with(rules: Vec<v1::ControllerRule>) -> v1::Controller {
    v1::Controller { rules, ..Default::default() }
}

#[tokio::test]
async fn greets_on_joining_and_asks_when_the_last_agent_left() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let rules = vec![
        rule("greet", &[v1::Intent::FirstMessage], "", vec![say("Hello {{ contact.display_name }}")]),
        rule("ask", &[v1::Intent::LastAgentLeft], "", vec![say("How was it?"), Action::AddLabel("surveyed".into())]),
    ];
    stage.controller("desk", with(rules)).await?;
    stage.says(stage.whatsapp, PHONE, "Good morning").await?;
    stage.answered().await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!(stage.words(&it.name).await?, ["Good morning", "Hello Asha"]);

    let joining = v1::AddParticipantRequest {
        parent: it.name.clone(),
        participant: operator("ravi", v1::participant::Role::Primary),
        ..Default::default()
    };
    let ravi = stage.served.conversations().add_participant(joining).await?.into_inner();
    let leaving = v1::RemoveParticipantRequest { name: ravi.name, ..Default::default() };
    stage.served.conversations().remove_participant(leaving).await?;
    stage.answered().await?;
    stage.answered().await?;
    assert_eq!(stage.words(&it.name).await?, ["Good morning", "Hello Asha", "How was it?"], "each once");
    assert_eq!(stage.newest(PHONE).await?.labels, ["surveyed"]);
    let runs = stage.runs().await?;
    let told: Vec<_> = runs.iter().rev().map(|run| (run.rules.join(","), run.actions, run.outcome())).collect();
    assert_eq!(told, [("greet".to_owned(), 1, Outcome::Done), ("ask".to_owned(), 2, Outcome::Done)]);
    stage.is_sound().await
}

#[tokio::test]
async fn a_change_decides_about_the_next_intent_and_older_versions_stay_readable() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let made =
        stage.controller("desk", with(vec![rule("a", &[v1::Intent::FirstMessage], "", vec![say("one")])])).await?;
    let changed = v1::Controller {
        name: made.name.clone(),
        etag: made.etag.clone(),
        ..with(vec![rule("b", &[v1::Intent::FirstMessage], "", vec![say("two")])])
    };
    let request = v1::UpdateControllerRequest { controller: Some(changed), ..Default::default() };
    let changed = stage.controllers().update_controller(request.clone()).await?.into_inner();
    assert_eq!((changed.version, changed.rules[0].name.as_str()), (2, "b"));
    let stale = stage.controllers().update_controller(request).await.expect_err("the etag is old");
    assert_eq!(stale.code(), Code::Aborted);
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.answered().await?;
    assert_eq!(stage.words(&stage.newest(PHONE).await?.name).await?, ["Hello", "two"]);
    let first = v1::GetControllerRequest { name: "controllers/desk/versions/1".into() };
    assert_eq!(stage.controllers().get_controller(first).await?.into_inner().rules[0].name, "a");
    Ok(())
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_controller_is_said_at_once_and_nothing_is_stored() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let wrong = with(vec![
        rule("a", &[], "nobody.knows", vec![Action::RequestOperator("help".into())]),
        rule(
            "b",
            &[v1::Intent::LaterMessage],
            "",
            vec![
                Action::SetActiveChannel(act::SetActiveChannel { channel: "channels/none".into() }),
                Action::SetPriority(12),
            ],
        ),
    ]);
    let request = v1::CreateControllerRequest {
        controller_id: "desk".into(),
        controller: Some(wrong.clone()),
        ..Default::default()
    };
    let refused = stage.controllers().create_controller(request).await.expect_err("it is wrong");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let request = v1::ValidateControllerRequest { controller: Some(wrong) };
    let answer = stage.controllers().validate_controller(request).await?.into_inner();
    assert!(!answer.valid);
    assert!(answer.problems.iter().any(|p| p.field.contains("rules[1].actions[1]")), "{:?}", answer.problems);
    let fixed = with(vec![rule(
        "a",
        &[v1::Intent::LaterMessage],
        "nobody.knows",
        vec![
            Action::RequestOperator("help".into()),
            Action::SetActiveChannel(act::SetActiveChannel { channel: "channels/none".into() }),
        ],
    )]);
    let request = v1::ValidateControllerRequest { controller: Some(fixed) };
    let fields: Vec<String> = stage
        .controllers()
        .validate_controller(request)
        .await?
        .into_inner()
        .problems
        .into_iter()
        .map(|p| p.field)
        .collect();
    for field in ["rules[0].when", "rules[0].actions[0]", "rules[0].actions[1].channel"] {
        assert!(fields.iter().any(|f| f == field), "{field} is not among {fields:?}");
    }
    assert_eq!(stage.count("select count(*) from controller").await?, 0);
    Ok(())
}

/// Case 25: a script that fails or loops ends at its limits, and the conversation can be closed.
#[tokio::test]
async fn a_script_that_fails_or_loops_never_keeps_a_conversation_from_being_closed() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}{{ message.text }}";
    // Two rules that answer each other for ever.
    let rules = vec![
        rule("begin", &[v1::Intent::FirstMessage], "", vec![Action::Hold(())]),
        rule("there", &[v1::Intent::Held], "", vec![Action::Resume(())]),
        rule("back", &[v1::Intent::Resumed], "", vec![Action::Hold(())]),
    ];
    let mut made = with(rules);
    made.rules.push(rule("loop", &[v1::Intent::FirstMessage], "message.text != \"hello\"", vec![say(loops)]));
    let refused = stage.controller("desk", made.clone()).await.expect_err("the loop is found before it is stored");
    assert!(format!("{refused:?}").contains("steps"), "{refused:?}");
    made.rules.pop();
    stage.controller("desk", made).await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    for _ in 0..30 {
        stage.answered().await?;
    }
    let it = stage.newest(PHONE).await?;
    let runs = stage.runs().await?;
    let stopped = runs.iter().filter(|run| run.outcome() == Outcome::Failed).count();
    assert!(stopped >= 1, "the budget was never reached: {} runs", runs.len());
    let actions: i32 = runs.iter().map(|run| run.actions).sum();
    assert!(actions <= 101, "{actions} actions");
    let request = v1::CloseConversationRequest { name: it.name.clone(), ..Default::default() };
    stage.served.conversations().close_conversation(request).await?;
    stage.due().await?;
    assert_eq!(stage.get(&it.name).await?.state(), State::Closed);
    stage.is_sound().await
}

#[tokio::test]
async fn what_cannot_be_done_is_recorded_and_the_rest_is_done() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let rules = vec![rule(
        "all",
        &[v1::Intent::FirstMessage],
        "",
        vec![
            Action::Hold(()),
            Action::StartFlow(act::StartFlow { flow: "quiz".into(), ..Default::default() }),
            Action::Close(()),
            Action::SetPriority(7),
        ],
    )];
    stage.controller("desk", with(rules)).await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.answered().await?;
    let it = stage.newest(PHONE).await?;
    assert_eq!((it.on_hold, it.priority), (true, 7));
    let run = stage.runs().await?.remove(0);
    assert_eq!((run.outcome(), run.actions), (Outcome::Partly, 3));
    assert!(run.faults[0].starts_with("close: "), "{:?}", run.faults);
    Ok(())
}

#[tokio::test]
async fn a_controller_decides_only_for_its_channels_and_only_for_what_comes_after_it() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.sms, PHONE, "Before").await?;
    stage.served.number().await?;
    let only_sms = v1::Controller {
        channels: vec!["channels/sms-main".into()],
        ..with(vec![rule("a", &[v1::Intent::FirstMessage, v1::Intent::LaterMessage], "", vec![say("heard")])])
    };
    stage.controller("sms", only_sms).await?;
    stage.answered().await?;
    stage.says(stage.whatsapp, PHONE, "On the other").await?;
    stage.answered().await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Before", "On the other"]);
    stage.passes(minutes(1)).await?;
    stage.says(stage.sms, PHONE, "On this one").await?;
    stage.answered().await?;
    assert_eq!(stage.words(&name).await?, ["Before", "On the other", "On this one", "heard"]);
    Ok(())
}

#[tokio::test]
async fn a_web_address_is_called_once_and_its_answer_kept() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/lookup", listener.local_addr()?);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 16 * 1024];
            let n = socket.read(&mut request).await.unwrap_or(0);
            keep.lock().expect("unpoisoned").push(String::from_utf8_lossy(&request[..n]).to_lowercase());
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngold").await;
        }
    });
    let call = act::CallHttp {
        url,
        body: "{\"who\": \"{{ contact.display_name }}\"}".into(),
        into: "tier".into(),
        ..Default::default()
    };
    let rules = vec![
        rule("ask", &[v1::Intent::FirstMessage], "", vec![Action::CallHttp(call)]),
        rule("use", &[v1::Intent::LaterMessage], "", vec![say("You are {{ conversation.attributes.tier }}")]),
    ];
    stage.controller("desk", with(rules)).await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.answered().await?;
    stage.says(stage.whatsapp, PHONE, "And?").await?;
    stage.answered().await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Hello", "And?", "You are gold"]);
    let heard = heard.lock().expect("unpoisoned").clone();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with("post /lookup") && heard[0].contains("idempotency-key: "), "{heard:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_decided_is_carried_out_once_by_whoever_comes_after_a_crash() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let rules = vec![rule("two", &[v1::Intent::FirstMessage], "", vec![say("one"), say("two")])];
    stage.controller("desk", with(rules)).await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    stage.served.number().await?;
    server::services::controllers::running::fill(stage.context()).await?;
    // A process decided, did the first action, and died: its lease is over.
    sqlx::query(
        "update controller_inbox set done = 1, tries = 1, token = gen_random_uuid(),
                decided = '{\"version\": 1, \"rules\": [\"two\"], \"actions\": [{\"do\": \"send_message\", \"text\": \"one\"},
                            {\"do\": \"send_message\", \"text\": \"two\"}]}'
          where intent = 'FIRST_MESSAGE'",
    )
    .execute(&stage.served.world.db.pool)
    .await?;
    stage.answered().await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Hello", "two"], "what was done is not done again");
    let run = stage.runs().await?.into_iter().find(|run| !run.rules.is_empty()).expect("a run");
    assert_eq!(run.actions, 2);
    Ok(())
}

/// Many answerers at once: each intent is answered once, those of one conversation in order.
#[tokio::test]
async fn several_processes_answer_each_intent_once_and_in_order() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let rules =
        vec![rule("echo", &[v1::Intent::FirstMessage, v1::Intent::LaterMessage], "", vec![say("{{ message.text }}!")])];
    stage.controller("desk", with(rules)).await?;
    for n in 0..10 {
        stage.says(stage.whatsapp, PHONE, &format!("{n}")).await?;
        stage.says(stage.whatsapp, "+919800000001", &format!("{n}")).await?;
    }
    stage.served.number().await?;
    let answerers = (0..4).map(|_| async {
        while worker::pass(stage.context()).await? {}
        anyhow::Ok(())
    });
    futures::future::try_join_all(answerers).await?;
    tokio::time::timeout(Duration::from_secs(20), async {
        while stage.count("select count(*) from controller_inbox").await? > 0 {
            worker::pass(stage.context()).await?;
        }
        anyhow::Ok(())
    })
    .await??;
    for person in [PHONE, "+919800000001"] {
        let words = stage.words(&stage.newest(person).await?.name).await?;
        let said: Vec<_> = words.iter().filter(|word| word.ends_with('!')).cloned().collect();
        assert_eq!(said, (0..10).map(|n| format!("{n}!")).collect::<Vec<_>>());
    }
    Ok(())
}

#[tokio::test]
async fn what_a_controller_does_is_told_as_its_own() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let actions = vec![say("Hello"), Action::Hold(()), Action::EndSession(act::EndSession::default())];
    stage.controller("desk", with(vec![rule("a", &[v1::Intent::FirstMessage], "", actions)])).await?;
    stage.says(stage.sms, PHONE, "Good morning").await?;
    stage.answered().await?;
    let it = stage.newest(PHONE).await?;
    let request = v1::ListActivitiesRequest { parent: it.name, page_size: 100, ..Default::default() };
    let shown = stage.served.conversations().list_activities(request).await?.into_inner().activities;
    let ended = shown.iter().find(|a| a.cause == "CONTROLLER_CLOSED").map(|a| a.actor.as_str());
    assert_eq!(ended, Some("controllers/desk"));
    let told = "select count(*) from event where data ->> 'actor' = 'controllers/desk'
                   and (kind, type) in (('message', 'message_added'), ('conversation', 'held'), ('channel_session', 'ended'))";
    assert_eq!(stage.count(told).await?, 3);
    Ok(())
}

#[tokio::test]
async fn of_several_controllers_the_lower_position_answers_first_and_the_next_sees_what_it_did() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let on = [v1::Intent::FirstMessage];
    let seen = |words: &str| say(&format!("{words} {{{{ conversation.labels | length }}}}"));
    let controller = |position, actions| v1::Controller { position, ..with(vec![rule("a", &on, "", actions)]) };
    stage.controller("last", controller(20, vec![seen("last sees")])).await?;
    let second = stage.controller("second", controller(10, vec![Action::AddLabel("seen".into())])).await?;
    stage.controller("first", controller(0, vec![seen("first sees")])).await?;
    assert_eq!(second.position, 10);
    stage.says(stage.sms, PHONE, "Good morning").await?;
    stage.answered().await?;
    let name = stage.newest(PHONE).await?.name;
    assert_eq!(stage.words(&name).await?, ["Good morning", "first sees 0", "last sees 1"]);
    // Of equal ones, the older.
    let update = v1::UpdateControllerRequest {
        controller: Some(v1::Controller { name: "controllers/last".into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["position".into()] }),
        ..Default::default()
    };
    assert_eq!(stage.controllers().update_controller(update).await?.into_inner().position, 0);
    stage.says(stage.sms, "+919800000001", "Good morning").await?;
    stage.answered().await?;
    let name = stage.newest("+919800000001").await?.name;
    assert_eq!(stage.words(&name).await?, ["Good morning", "last sees 0", "first sees 0"]);
    let wrong = v1::CreateControllerRequest {
        controller_id: "wrong".into(),
        controller: Some(controller(1001, vec![Action::Hold(())])),
        ..Default::default()
    };
    let wrong = stage.controllers().create_controller(wrong).await.expect_err("the position is too great");
    assert_eq!(crate::api::fields(&wrong), ["controller.position"]);
    Ok(())
}
