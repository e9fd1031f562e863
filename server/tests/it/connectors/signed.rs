//! Any medium over signed webhooks, end to end: out over a real socket, in through the check of signatures.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use domain::fallback::Success;
use hmac::{Hmac, KeyInit, Mac};
use proto::v1;
use serde_json::{Value, json};
use server::{
    channels::{WebhookRequest, settings::SecretSource},
    services::{directory::Directory, webhooks},
};
use sha2::Sha256;
use testkit::eventually;

use super::{SOON, Stage};
use crate::support::World;

const KEY: &str = "the key of these stories";

struct Keys;

impl SecretSource for Keys {
    fn variable(&self, _name: &str) -> Option<String> {
        Some(KEY.into())
    }

    fn file(&self, _path: &str) -> std::io::Result<String> {
        Ok(KEY.into())
    }
}

type Posts = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A far end that answers its first message with 500, and the others with an id.
async fn far_end() -> anyhow::Result<(String, Posts)> {
    let posts = Posts::default();
    async fn take(
        State(posts): State<Posts>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> (axum::http::StatusCode, Json<Value>) {
        let mut posts = posts.lock().expect("no test panics while it holds this");
        posts.push((headers, body));
        match posts.len() {
            1 => (axum::http::StatusCode::INTERNAL_SERVER_ERROR, Json(json!({}))),
            n => (axum::http::StatusCode::OK, Json(json!({"status": "accepted", "message_id": format!("m-{n}")}))),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/in", listener.local_addr()?);
    let router = Router::new().route("/in", post(take)).with_state(Arc::clone(&posts));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, posts))
}

async fn stage(url: &str) -> anyhow::Result<Stage> {
    use prost_types::value::Kind::StringValue;
    let mut world = World::new().await?;
    world.context.directory = Directory::new(Arc::new(Keys));
    let stage = Stage::of(world).await?;
    let settings = [("url", StringValue(url.into())), ("signing_secret_env", StringValue("KEY".into()))];
    stage.channel_of("shop", v1::ChannelType::Webhook, "shop:desk", "webhook", &settings).await?;
    Ok(stage)
}

fn posted(body: &Value, age: i64) -> anyhow::Result<WebhookRequest> {
    let (body, now) = (body.to_string(), chrono::Utc::now());
    let time = now.timestamp() - age;
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes())?;
    mac.update(format!("{time}.{body}").as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert("x-switchboard-timestamp", time.to_string().parse()?);
    let signature = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
    headers.insert("x-switchboard-signature", signature.parse()?);
    Ok(WebhookRequest {
        method: http::Method::POST,
        url: String::new(),
        path: String::new(),
        query: String::new(),
        headers,
        body: body.into(),
        received_at: now,
    })
}

#[tokio::test]
async fn goes_out_again_under_the_same_key_and_the_answer_comes_back() -> anyhow::Result<()> {
    let (url, posts) = far_end().await?;
    let stage = stage(&url).await?;
    let notification = stage.notify("shop:7", Success::Replied).await?;
    stage.comes_to(notification, 0, "done sent").await?;
    assert_eq!(stage.attempts(notification).await?, ["unknown", "accepted"], "recorded before it was repeated");
    let keys: Vec<String> = {
        let posts = posts.lock().expect("no test panics while it holds this");
        posts.iter().map(|(headers, _)| headers["idempotency-key"].to_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));

    let provider: i32 = sqlx::query_scalar("select id from channel_provider").fetch_one(&stage.world.db.pool).await?;
    let body = json!({
        "messages": [{"id": "in-1", "from": "shop:7", "name": "Asha", "text": "On my way"}],
        "receipts": [{"message_id": "m-2", "status": "delivered"}],
    });
    let context = &stage.world.context;
    for _ in 0..2 {
        let checked = webhooks::check(context, provider, &posted(&body, 0)?).await?;
        webhooks::store(context, &checked, context.clock.now()).await?;
    }
    stage.ends_as(notification, "replied 0").await?;
    stage.comes_to(notification, 0, "done delivered").await?;
    let said = stage.world.count("select count(*) from message where not outbound").await?;
    assert_eq!(said, 1, "brought twice, taken once");
    assert!(webhooks::check(context, provider, &posted(&body, 400)?).await.is_err(), "a replay");
    Ok(())
}

#[tokio::test]
async fn an_address_of_another_medium_is_never_posted_to_it() -> anyhow::Result<()> {
    let (url, posts) = far_end().await?;
    let stage = stage(&url).await?;
    let notification = stage.notify("market:7", Success::Sent).await?;
    eventually(SOON, async || {
        let stands = stage.world.stands(notification).await?;
        anyhow::ensure!(stands == "skipped 0", "{stands}");
        Ok(())
    })
    .await?;
    assert!(posts.lock().expect("no test panics while it holds this").is_empty());
    Ok(())
}
