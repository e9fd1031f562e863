//! Messages are found by their words, in the language of whoever said them.

use proto::v1;
use tonic::Code;

use super::{keys, says, text};
use crate::reading::{Served, violations};

async fn spoken(language: &str, words: &[&str]) -> anyhow::Result<Served> {
    let served = Served::new().await?;
    let channel = keys(&served.world, "sms-main").await?;
    let contact = served.world.contact(super::ASHA).await?;
    sqlx::query("update contact set locale = $1 where id = $2")
        .bind(language)
        .bind(contact)
        .execute(&served.world.db.pool)
        .await?;
    for (n, words) in words.iter().enumerate() {
        says(&served.world, channel, &format!("SM{n}"), text(words)).await?;
    }
    Ok(served)
}

#[tokio::test]
async fn finds_words_whatever_their_endings_in_the_contacts_language() -> anyhow::Result<()> {
    let served = spoken("en-IN", &["The dams were opening", "All gates closed", "opening hours"]).await?;
    assert_eq!(served.found("dam", "").await?, ["The dams were opening"]);
    assert_eq!(served.found("dam", "en").await?, ["The dams were opening"]);
    assert_eq!(served.found("opened -hours", "").await?, ["The dams were opening"]);
    assert_eq!(served.found("\"gates closed\" or hours", "").await?, ["opening hours", "All gates closed"]);
    assert_eq!(served.found("closing", "").await?, ["All gates closed"]);
    assert!(served.found("dam gates", "").await?.is_empty(), "every word must be there");
    Ok(())
}

#[tokio::test]
async fn finds_words_of_other_languages_and_scripts() -> anyhow::Result<()> {
    let served = spoken("hi-IN", &["बाँध खुल रहे हैं", "सड़क बंद है"]).await?;
    assert_eq!(served.found("बाँध", "").await?, ["बाँध खुल रहे हैं"]);
    assert_eq!(served.found("सड़क", "hi").await?, ["सड़क बंद है"]);
    let served = spoken("de", &["Die Straßen sind gesperrt"]).await?;
    assert_eq!(served.found("Straße", "").await?, ["Die Straßen sind gesperrt"]);
    let served = spoken("", &["kiboko anaogelea"]).await?;
    assert_eq!(served.found("KIBOKO", "sw").await?, ["kiboko anaogelea"], "as it stands, without a dictionary");
    Ok(())
}

#[tokio::test]
async fn filters_by_contact_conversation_channel_direction_and_time_and_pages() -> anyhow::Result<()> {
    let served = spoken("en", &["dam one", "dam two", "dam three"]).await?;
    let one = served.found("dam one", "").await?;
    assert_eq!(one.len(), 1);
    let all = served.messages().list_messages(v1::ListMessagesRequest::default()).await?.into_inner().messages;
    let first = &all[0];
    let asks = |change: &dyn Fn(&mut v1::SearchMessagesRequest)| {
        let mut request = v1::SearchMessagesRequest { query: "dam".into(), page_size: 2, ..Default::default() };
        change(&mut request);
        let mut client = served.messages();
        async move { client.search_messages(request).await.map(|found| found.into_inner()) }
    };
    let fits = asks(&|r| {
        r.contact = first.contact.clone();
        r.conversation = first.conversation.clone();
        r.channel = "channels/sms-main".into();
        r.direction = v1::message::Direction::Inbound.into();
        r.from_time = all[2].create_time;
    })
    .await?;
    assert_eq!(fits.messages.len(), 2);
    let token = fits.next_page_token.clone();
    let rest = asks(&|r| {
        r.contact = first.contact.clone();
        r.conversation = first.conversation.clone();
        r.channel = "channels/sms-main".into();
        r.direction = v1::message::Direction::Inbound.into();
        r.from_time = all[2].create_time;
        r.page_token = token.clone();
    })
    .await?;
    assert_eq!((rest.messages.len(), rest.next_page_token.as_str()), (1, ""));
    for nothing in [
        asks(&|r| r.direction = v1::message::Direction::Outbound.into()).await?,
        asks(&|r| r.contact = "contacts/99".into()).await?,
        asks(&|r| r.until_time = all[2].create_time).await?,
        asks(&|r| r.channel = "channels/other".into()).await?,
    ] {
        assert!(nothing.messages.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_search_that_is_wrong_says_every_fault() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let request = v1::SearchMessagesRequest {
        language: "klingon!".into(),
        contact: "people/1".into(),
        channel: "sms".into(),
        ..Default::default()
    };
    let refused = served.messages().search_messages(request).await.expect_err("wrong");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fields: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["query", "language", "contact", "channel"]);
    let refused = served.found("...", "").await.expect_err("no word");
    assert_eq!(violations(&refused)[0].0, "query");
    Ok(())
}

#[tokio::test]
async fn a_long_mail_can_be_stored_and_is_found_by_its_beginning() -> anyhow::Result<()> {
    let long: String = (0..200_000).map(|n| format!("word{n} ")).collect();
    let served = spoken("en", &[&format!("umbrella {long} lighthouse")]).await?;
    assert_eq!(served.found("umbrella", "").await?.len(), 1);
    assert!(served.found("lighthouse", "").await?.is_empty(), "only the first 20,000 characters are searched");
    Ok(())
}
