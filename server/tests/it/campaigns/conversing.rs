//! When the conversation with a recipient begins: with the answer, or with what the campaign says.

use std::time::Duration;

use proto::v1::{self, campaign_service_client::CampaignServiceClient, campaign_spec::ConversationMode};
use testkit::eventually;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{definition, plan_all};
use crate::{
    api::fields,
    support::{
        World,
        pipeline::{Workers, simulator},
    },
};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_campaign_begins_conversations_with_the_answer_or_with_its_message_as_it_says() -> anyhow::Result<()> {
    let (world, sim) = (World::new().await?, simulator().await?);
    world.sms_channel("sms-a", &sim.base_url).await?;
    world.plan(&["sms-a"], |_, _| {}).await?;
    world.people(3, "").await?;
    world.everybody().await?;
    let mut at_send = definition("all");
    at_send.spec.at_send = true;
    world.start("quiet", definition("all")).await?;
    world.start("talk", at_send).await?;
    plan_all(&world.context).await?;
    let _workers = Workers::start(&world.another_process()?, None)?;
    let sent = "select count(*) from delivery where evidence >= 'sent'";
    eventually(SOON, async || {
        let (sent, said) = (world.count(sent).await?, world.count("select count(*) from message").await?);
        anyhow::ensure!((sent, said) == (6, 3), "{sent} were sent, {said} stand in conversations");
        Ok(())
    })
    .await?;
    let of_talk = "select count(*) from conversation v join message m on m.conversation_id = v.id
                     join notification n on n.id = m.notification_id join campaign c on c.id = n.campaign_id
                    where c.slug = 'talk' and v.phase = 'open' and n.conversation_id = v.id";
    assert_eq!(world.count(of_talk).await?, 3, "one each, and each with what the campaign said");
    assert_eq!(world.count("select count(*) from conversation").await?, 3);
    Ok(())
}

#[tokio::test]
async fn the_mode_of_a_campaign_is_read_and_shown() -> anyhow::Result<()> {
    let world = super::world().await?;
    world.everybody().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    tokio::spawn(server::grpc::serve(listener, world.context.clone(), stop.clone()));
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = CampaignServiceClient::new(channel);
    let mut create = async |id: &str, mode: i32| {
        let step = v1::Step {
            target: Some(v1::step::Target::Channel("channels/sms-a".into())),
            template: "templates/dam".into(),
            success: v1::Success::Sent.into(),
            ..Default::default()
        };
        let spec = v1::CampaignSpec {
            audience: "audiences/all".into(),
            plan: Some(v1::Plan { way: Some(v1::plan::Way::Step(step)), ..Default::default() }),
            conversation_mode: mode,
            ..Default::default()
        };
        let campaign = v1::Campaign { spec: Some(spec), ..Default::default() };
        let request =
            v1::CreateCampaignRequest { campaign_id: id.into(), campaign: Some(campaign), ..Default::default() };
        Ok::<_, tonic::Status>(client.create_campaign(request).await?.into_inner().spec.unwrap_or_default())
    };
    assert_eq!(create("quiet", 0).await?.conversation_mode(), ConversationMode::OnReply);
    assert_eq!(create("talk", ConversationMode::AtSend.into()).await?.conversation_mode(), ConversationMode::AtSend);
    let wrong = create("wrong", 9).await.expect_err("there is no such mode");
    assert_eq!(fields(&wrong), ["campaign.spec.conversation_mode"]);
    Ok(())
}
