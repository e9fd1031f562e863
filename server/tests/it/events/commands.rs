//! An outside flow engine and an outside ticket system take part through RabbitMQ alone: what they hear is all they know.

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use server::bus::commands::REASON;
use testkit::{eventually, instances::Rabbit};

use super::{Outward, SOON, exchange::Outside, schema, with_flows};
use crate::support::World;

fn command(id: &str, r#type: &str, data: Value) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/outside", "type": r#type, "data": data}).to_string()
}

async fn is(world: &World, sql: &'static str, wanted: i64) -> anyhow::Result<()> {
    eventually(SOON, async || {
        let n = world.count(sql).await?;
        anyhow::ensure!(n == wanted, "{n} and not {wanted}: {sql}");
        Ok(())
    })
    .await
}

fn arrived(taken: &[Value], r#type: &str) -> Option<Value> {
    taken.iter().find(|event| event["type"] == r#type).cloned()
}

#[tokio::test]
async fn a_flow_engine_and_a_ticket_system_take_part_through_the_broker_alone() -> anyhow::Result<()> {
    let world = with_flows().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let vhost = Rabbit::shared().await?.vhost().await?;
    let keys = ["message_added", "start-flow-execution", "open-ticket", "conversation.*", "ticket.*"];
    let outside = Outside::listen(&vhost.url, "outside", &keys).await?;
    let _outward = Outward::start(&world.context, &vhost.url);
    is(&world, "select count(*) from event_cursor", 1).await?;

    // A medium that only the outside knows brings a message.
    let message = json!({"channel": "channels/sms-a", "provider_message_id": "m1", "text": "Is the dam open?",
        "from": {"kind": "phone", "value": "+919812345678"}});
    let body = command("in-1", "message-received", message);
    // The queue is there when the consumer is: until then the broker has nowhere to put it.
    eventually(SOON, async || {
        outside.command(&body).await?;
        anyhow::ensure!(world.count("select count(*) from command_seen").await? == 1, "not taken yet");
        Ok(())
    })
    .await?;
    let heard = outside.take(|taken| arrived(taken, "start-flow-execution").is_some()).await?;
    let start = arrived(&heard, "start-flow-execution").expect("it is there");
    let added = arrived(&heard, "message_added").expect("it is there");
    assert_eq!(
        (&start["data"]["text"], &added["data"]["text"]),
        (&"Is the dam open?".into(), &"Is the dam open?".into())
    );
    assert_eq!((&start["partitionkey"], &start["subject"]), (&added["partitionkey"], &added["subject"]));

    // A second message while the flow runs orders no other one; the flow answers, and is repeated by its broker.
    let message = json!({"channel": "sms-a", "provider_message_id": "m2", "text": "Hello?",
        "from": [{"kind": "phone", "value": "+919812345678"}]});
    outside.command(&command("in-2", "message-received", message)).await?;
    let conversation = &start["data"]["conversation"];
    let answer = command("out-1", "flow-answer-generated", json!({"conversation": conversation, "text": "At noon."}));
    outside.command(&answer).await?;
    outside.command(&answer).await?;
    let heard_too = outside
        .take(|taken| {
            taken.iter().any(|e| e["data"]["text"] == "At noon.") && taken.iter().any(|e| e["data"]["text"] == "Hello?")
        })
        .await?;
    assert_eq!(arrived(&heard_too, "start-flow-execution"), None);
    is(&world, "select count(*) from delivery where message_id is not null and work = 'queued'", 1).await?;

    // It ends by ordering a ticket: the conversation stays open until that is closed.
    let ended = json!({"conversation": conversation, "execution": start["data"]["execution"], "outcome": "handed_over",
        "open_ticket": {"queue": "water", "priority": 2}});
    outside.command(&command("out-2", "flow-execution-ended", ended)).await?;
    let heard_then = outside.take(|taken| arrived(taken, "open-ticket").is_some()).await?;
    let ticket = arrived(&heard_then, "open-ticket").expect("it is there");
    assert_eq!(ticket["data"]["order"]["queue"], "water");
    is(&world, "select count(*) from conversation where phase = 'open'", 1).await?;
    let closed = json!({"conversation": conversation, "ticket": ticket["data"]["ticket"], "outcome": "solved"});
    outside.command(&command("out-3", "ticket-closed", closed)).await?;
    let last = outside.take(|taken| taken.iter().any(|event| event["data"]["to"] == "CLOSING")).await?;
    is(&world, "select count(*) from conversation where phase <> 'open'", 1).await?;
    for event in heard.iter().chain(&heard_too).chain(&heard_then).chain(&last) {
        assert_eq!(schema::faults(event), Vec::<String>::new(), "{event:#}");
    }
    is(&world, "select count(*) from message", 3).await
}

#[tokio::test]
async fn what_cannot_be_obeyed_lies_aside_with_the_reason_and_holds_back_nothing() -> anyhow::Result<()> {
    let world = with_flows().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let vhost = Rabbit::shared().await?.vhost().await?;
    let outside = Outside::listen(&vhost.url, "outside", &["message_added"]).await?;
    let _outward = Outward::start(&world.context, &vhost.url);
    // The queue is there when its consumer is.
    eventually(SOON, async || {
        outside.command("first").await?;
        outside.dead().await
    })
    .await?;
    let nobody = json!({"conversation": uuid::Uuid::nil(), "text": "Hello"});
    let cases = [
        ("nothing".to_owned(), "is no JSON"),
        (command("1", "message-sent", json!({})), "known are message-received"),
        (command("2", "flow-answer-generated", nobody), "does not exist"),
        (command("3", "ticket-closed", json!({"conversation": "x", "outcome": "a b"})), "data.conversation"),
        (
            command(
                "4",
                "message-received",
                json!({"channel": "none", "provider_message_id": "m", "text": "x",
            "from": {"kind": "phone", "value": "+919812345678"}}),
            ),
            "channels/none does not exist",
        ),
    ];
    for (body, reason) in cases {
        outside.command(&body).await?;
        let letter = eventually(SOON, async || {
            let letter = outside.dead().await?;
            anyhow::ensure!(letter.data != b"first", "one from before");
            Ok(letter)
        })
        .await?;
        let headers = letter.properties.headers().clone().unwrap_or_default();
        let said = match headers.inner().get(REASON) {
            Some(AMQPValue::LongString(said)) => String::from_utf8_lossy(said.as_bytes()).into_owned(),
            other => format!("{other:?}"),
        };
        assert!(said.contains(reason), "{said} of {body}");
        assert_eq!(letter.data, body.as_bytes());
    }
    assert_eq!(world.count("select count(*) from command_seen").await?, 0, "none was noted as done");
    Ok(())
}

#[tokio::test]
async fn a_receipt_from_outside_is_merged_as_a_providers() -> anyhow::Result<()> {
    let world = World::new().await?;
    let begun = world.two_steps().await?;
    let provider: i32 = sqlx::query_scalar(
        "select p.id from channel_provider p join channel c on c.id = p.channel_id where c.slug = 'sms-a'",
    )
    .fetch_one(&world.db.pool)
    .await?;
    let body = |id: &str, status: &str| {
        let data = json!({"channel": "sms-a", "provider_message_id": "SM1", "status": status});
        command(id, "whatsapp-business-message-delivered", data)
    };
    let context = &world.context;
    assert!(server::services::events::commands::obey(context, body("r1", "delivered").as_bytes()).await?);
    assert!(!server::services::events::commands::obey(context, body("r1", "delivered").as_bytes()).await?, "once");
    let waiting: (i32, String) =
        sqlx::query_as("select provider_id, evidence::text from receipt_inbox").fetch_one(&world.db.pool).await?;
    assert_eq!(waiting, (provider, "delivered".to_owned()));
    assert_eq!(world.stands(begun.notification).await?, "waiting 0");
    Ok(())
}

/// A conversation that a message began, by its key, and a command about it.
async fn conversation(world: &World) -> anyhow::Result<uuid::Uuid> {
    let message = json!({"channel": "channels/sms-a", "provider_message_id": uuid::Uuid::now_v7(), "text": "Is the dam open?",
        "from": {"kind": "phone", "value": "+919812345678"}});
    obey(world, "message-received", message).await?;
    while server::services::inbound::take_up(&world.context).await? {}
    let id = sqlx::query_scalar("select id from conversation where phase = 'open'").fetch_one(&world.db.pool).await?;
    Ok(id)
}

/// A new command is obeyed, or refused with the words.
async fn obey(world: &World, r#type: &str, data: Value) -> anyhow::Result<()> {
    let body = command(&uuid::Uuid::now_v7().to_string(), r#type, data);
    anyhow::ensure!(server::services::events::commands::obey(&world.context, body.as_bytes()).await?, "it is new");
    Ok(())
}

async fn open_and_owed(world: &World) -> anyhow::Result<(i64, i64)> {
    let open = world.count("select count(*) from conversation where phase = 'open'").await?;
    Ok((open, world.count("select count(*) from obligation where kind = 'ticket'").await?))
}

/// Case 11 of the list of edge cases.
#[tokio::test]
async fn a_ticket_that_is_closed_before_it_is_ordered_is_over_when_the_order_comes() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let (named, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let id = conversation(&world).await?;
    let closed = json!({"conversation": id, "ticket": format!("tickets/{named}"), "outcome": "solved"});
    obey(&world, "ticket-closed", closed.clone()).await?;
    obey(&world, "ticket-closed", closed.clone()).await?;
    assert_eq!(open_and_owed(&world).await?, (1, 0), "it waits");
    // Another ticket's order does not take it.
    let order = |ticket: uuid::Uuid| json!({"conversation": id, "text": "A colleague will call.", "open_ticket": {"ticket": ticket}});
    obey(&world, "agent-answer-generated", order(other)).await?;
    assert_eq!(open_and_owed(&world).await?, (1, 1));
    // While one is open, no other is ordered: what is parked stays.
    obey(&world, "agent-answer-generated", order(named)).await?;
    assert_eq!(world.count("select count(*) from parked_ticket").await?, 1);
    obey(&world, "ticket-closed", json!({"conversation": id, "ticket": other})).await?;
    assert_eq!(open_and_owed(&world).await?, (0, 0), "closed by its own end");

    let id = conversation(&world).await?;
    obey(&world, "ticket-closed", json!({"conversation": id, "ticket": named, "outcome": "solved"})).await?;
    let order = json!({"conversation": id, "text": "A colleague will call.", "open_ticket": {"ticket": named}});
    obey(&world, "agent-answer-generated", order.clone()).await?;
    assert_eq!(open_and_owed(&world).await?, (0, 0), "the order came, and the end took effect");
    let orders = "select count(*) from outside_order where kind = 'ticket' and outcome = 'solved'";
    assert_eq!(world.count(orders).await?, 1);
    let told = "select count(*) from event_out where kind = 'ticket' and type in ('ordered', 'closed')";
    assert_eq!(world.count(told).await?, 4, "both tickets, ordered and closed");
    // Closed again, it is over once; in a conversation that is over, nothing is parked.
    obey(&world, "ticket-closed", json!({"conversation": id, "ticket": named})).await?;
    let unknown = json!({"conversation": id, "ticket": uuid::Uuid::now_v7()});
    let refused = obey(&world, "ticket-closed", unknown).await.unwrap_err().to_string();
    assert!(refused.contains("no ticket of this conversation"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn an_end_that_names_no_ticket_is_that_of_the_first_one_and_said_again_does_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.sms_channel("sms-a", "http://127.0.0.1:9").await?;
    let id = conversation(&world).await?;
    obey(&world, "ticket-closed", json!({"conversation": id})).await?;
    assert_eq!(open_and_owed(&world).await?, (1, 0));
    // An agent keeps the conversation open, so that what comes later is seen.
    sqlx::query("update conversation set agents = 1, ever_agent = true, state = 'ACTIVE' where id = $1")
        .bind(id)
        .execute(&world.db.pool)
        .await?;
    let order = json!({"conversation": id, "text": "Noted.", "open_ticket": {"queue": "water"}});
    obey(&world, "agent-answer-generated", order.clone()).await?;
    assert_eq!(open_and_owed(&world).await?, (1, 0), "over at once; the agent holds the conversation");
    assert_eq!(world.count("select count(*) from parked_ticket").await?, 0);
    obey(&world, "ticket-closed", json!({"conversation": id})).await?;
    assert_eq!(world.count("select count(*) from parked_ticket").await?, 0, "a repetition is not the next one's end");
    obey(&world, "agent-answer-generated", order).await?;
    assert_eq!(open_and_owed(&world).await?, (1, 1), "the next ticket is open");
    // What can be parked is refused where it is malformed.
    let wrong = json!({"conversation": id, "text": "x", "open_ticket": {"ticket": "7"}});
    let refused = obey(&world, "agent-answer-generated", wrong).await.unwrap_err().to_string();
    assert!(refused.contains("data.open_ticket.ticket"), "{refused}");
    Ok(())
}
