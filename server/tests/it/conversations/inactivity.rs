//! A contact who does not answer: warned, taken as gone; the clock stands while the contact is the one who waits. And a whole day.

use domain::conversation::closing::{Cause, Obligation};
use proto::v1::{self, channel_session, conversation::State};
use server::services::conversations::{
    held::{By, Held},
    obligations,
};

use super::{PHONE, Stage, id_of, minutes, text};

async fn answers(stage: &Stage, name: &str, words: &str) -> anyhow::Result<()> {
    let request = v1::SendMessageRequest {
        to: Some(v1::send_message_request::To::Conversation(name.into())),
        content: text(words),
        ..Default::default()
    };
    stage.served.messages().send_message(request).await?;
    Ok(())
}

#[tokio::test]
async fn a_silent_contact_is_warned_and_then_gone_and_the_conversation_with_it() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.set("update channel set warning_text = 'Still there?' where slug = 'wa-main'").await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    stage.passes(minutes(300)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created, "the contact is the one who waits");
    answers(&stage, &name, "What can we do?").await?;
    stage.passes(minutes(47)).await?;
    assert_eq!(stage.sessions(&name).await?[0].state(), channel_session::State::Active);
    stage.passes(minutes(2)).await?;
    assert_eq!(stage.sessions(&name).await?[0].state(), channel_session::State::Expiring);
    assert_eq!(stage.words(&name).await?.last().map(String::as_str), Some("Still there?"));
    stage.passes(minutes(10)).await?;
    assert_eq!(
        stage.sessions(&name).await?[0].state(),
        channel_session::State::Expiring,
        "the warning moves no expiry"
    );
    stage.passes(minutes(2)).await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.state(), it.close_reason.as_str()), (State::Closed, "ALL_GONE"));
    let changes = stage.changes(&name).await?;
    assert_eq!(
        changes[changes.len() - 4..],
        [
            "channel_session ended CUSTOMER_INACTIVITY",
            "state_changed CUSTOMER_LEFT CUSTOMER_INACTIVITY",
            "state_changed CLOSING ALL_GONE",
            "state_changed CLOSED HOUSEKEEPING_DONE"
        ]
    );
    stage.is_sound().await
}

#[tokio::test]
async fn an_answer_after_the_warning_keeps_the_session() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    answers(&stage, &name, "Yes?").await?;
    stage.passes(minutes(50)).await?;
    stage.says(stage.whatsapp, PHONE, "Sorry, here").await?;
    stage.passes(minutes(600)).await?;
    assert_eq!(stage.sessions(&name).await?[0].state(), channel_session::State::Active);
    assert_eq!(stage.get(&name).await?.state(), State::Created);
    Ok(())
}

/// Case 9: a session never expires while its contact waits in a queue, nor on hold.
#[tokio::test]
async fn no_clock_runs_in_a_queue_or_on_hold_and_it_begins_anew_after() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "Hello").await?;
    let name = stage.newest(PHONE).await?.name;
    answers(&stage, &name, "An agent will come").await?;
    let task = (Obligation::Task, "agentTasks/1");
    let mut tx = stage.context().db.begin().await?;
    let held = Held::of(&mut tx, id_of(&name)).await?;
    obligations::begin(&mut tx, &held, task.0, task.1, By::system(stage.served.world.now())).await?;
    tx.commit().await?;
    stage.passes(minutes(600)).await?;
    assert_eq!(stage.sessions(&name).await?[0].state(), channel_session::State::Active, "queued");
    let hold = v1::HoldConversationRequest { name: name.clone(), ..Default::default() };
    assert!(stage.served.conversations().hold_conversation(hold).await?.into_inner().on_hold);
    let mut tx = stage.context().db.begin().await?;
    let mut held = Held::of(&mut tx, id_of(&name)).await?;
    let by = By::system(stage.served.world.now());
    obligations::end(stage.context(), &mut tx, &mut held, task, None, by).await?;
    obligations::end(stage.context(), &mut tx, &mut held, task, Some(Cause::FlowEnded), by).await?;
    tx.commit().await?;
    stage.passes(minutes(60 * 48)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created, "on hold nothing ends, not even for a day of silence");
    let resume = v1::ResumeConversationRequest { name: name.clone(), ..Default::default() };
    stage.served.conversations().resume_conversation(resume).await?;
    stage.passes(minutes(30)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created, "the clock began anew");
    stage.passes(minutes(31)).await?;
    stage.due().await?;
    assert_eq!(stage.get(&name).await?.state(), State::Closed);
    stage.is_sound().await
}

/// Case 19: after a rest what is due fires once, whoever works it off.
#[tokio::test]
async fn overdue_timers_fire_once_although_two_processes_wake_up_together() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    for n in 0..10 {
        let phone = format!("+9198123456{n:02}");
        stage.says(stage.whatsapp, &phone, "Hello").await?;
        let name = stage.newest(&phone).await?.name;
        answers(&stage, &name, "Yes?").await?;
    }
    let other = stage.served.world.another_process()?;
    stage.served.world.advance(minutes(60 * 30));
    for _ in 0..6 {
        let (one, two) = tokio::join!(
            server::workers::conversations::pass(stage.context()),
            server::workers::conversations::pass(&other)
        );
        one?;
        two?;
    }
    stage.due().await?;
    assert_eq!(stage.count("select count(*) from conversation where phase = 'closed'").await?, 10);
    assert_eq!(stage.count("select count(*) from conversation_change where word = 'ended'").await?, 10);
    assert_eq!(stage.count("select count(*) from conversation_change where word = 'CLOSED'").await?, 10);
    assert_eq!(stage.count("select count(*) from conversation_timer").await?, 0);
    stage.is_sound().await
}

/// A day: talk in the morning on WhatsApp, a pause with an obligation, an SMS in the afternoon, silence, and the night closes it.
#[tokio::test]
async fn a_day_of_a_conversation() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    stage.says(stage.whatsapp, PHONE, "The street light is broken").await?;
    let name = stage.newest(PHONE).await?.name;
    answers(&stage, &name, "Where is it?").await?;
    stage.passes(minutes(5)).await?;
    stage.says(stage.whatsapp, PHONE, "At the temple").await?;
    let mut tx = stage.context().db.begin().await?;
    let held = Held::of(&mut tx, id_of(&name)).await?;
    obligations::begin(&mut tx, &held, Obligation::Ticket, "tickets/7", By::system(stage.served.world.now())).await?;
    tx.commit().await?;
    answers(&stage, &name, "Ticket 7 is open").await?;
    stage.passes(minutes(120)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::CustomerLeft, "the ticket keeps it");
    stage.passes(minutes(240)).await?;
    stage.says(stage.sms, PHONE, "Any news?").await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.state(), it.active_channel.as_str()), (State::Created, "channels/sms-main"));
    let mut tx = stage.context().db.begin().await?;
    let mut held = Held::of(&mut tx, id_of(&name)).await?;
    let by = By::system(stage.served.world.now());
    let ticket = (Obligation::Ticket, "tickets/7");
    obligations::end(stage.context(), &mut tx, &mut held, ticket, None, by).await?;
    tx.commit().await?;
    answers(&stage, &name, "It is mended").await?;
    stage.passes(minutes(60 * 23)).await?;
    assert_eq!(stage.get(&name).await?.state(), State::Created);
    stage.passes(minutes(61)).await?;
    let it = stage.get(&name).await?;
    assert_eq!((it.state(), it.close_reason.as_str(), it.message_count), (State::Closed, "IDLE", 6));
    assert_eq!(stage.sessions(&name).await?.len(), 2);
    let activities = v1::ListActivitiesRequest { parent: name.clone(), page_size: 100, ..Default::default() };
    let all = stage.served.conversations().list_activities(activities).await?.into_inner().activities;
    assert_eq!(all.iter().map(|a| a.number).collect::<Vec<_>>(), (1..=i64::try_from(all.len())?).collect::<Vec<_>>());
    let of = |kind: v1::activity::Kind| all.iter().filter(|a| a.kind() == kind).count();
    assert_eq!(
        (of(v1::activity::Kind::Message), of(v1::activity::Kind::ChannelSession)),
        (6, 4),
        "a session that expired unseen had no warning: {all:#?}"
    );
    stage.is_sound().await
}
