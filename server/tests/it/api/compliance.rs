//! Frequency caps and suppressed addresses over the API, and what a channel says of its limits and its price.

use proto::v1;
use tonic::Code;

use super::{Api, fields, reason};

fn cap(purpose: &str, messages: i32) -> v1::SetFrequencyCapRequest {
    let cap = v1::FrequencyCap {
        purpose: purpose.into(),
        messages,
        period: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        ..Default::default()
    };
    v1::SetFrequencyCapRequest { frequency_cap: Some(cap), ..Default::default() }
}

#[tokio::test]
async fn a_cap_is_set_replaced_listed_and_taken_away() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let first = api.compliance().set_frequency_cap(cap("marketing", 3)).await?.into_inner();
    api.compliance().set_frequency_cap(cap("*", 5)).await?;
    let again = api.compliance().set_frequency_cap(cap("marketing", 2)).await?.into_inner();
    assert_eq!((again.name.as_str(), again.messages), (first.name.as_str(), 2));
    assert_ne!(again.etag, first.etag);
    let list = |token: String| v1::ListFrequencyCapsRequest { page_size: 1, page_token: token };
    let page = api.compliance().list_frequency_caps(list(String::new())).await?.into_inner();
    let rest = api.compliance().list_frequency_caps(list(page.next_page_token)).await?.into_inner();
    let purposes: Vec<_> = page.frequency_caps.iter().chain(&rest.frequency_caps).map(|c| c.purpose.as_str()).collect();
    assert_eq!((purposes, rest.next_page_token.as_str()), (vec!["marketing", "*"], ""));
    let delete = |etag: &str| v1::DeleteFrequencyCapRequest {
        name: again.name.clone(),
        etag: etag.into(),
        ..Default::default()
    };
    let old = api.compliance().delete_frequency_cap(delete(&first.etag)).await.unwrap_err();
    assert_eq!((old.code(), reason(&old).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    api.compliance().delete_frequency_cap(delete(&again.etag)).await?;
    let gone = api.compliance().delete_frequency_cap(delete("")).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "NOT_FOUND"));
    let exempt = api.compliance().set_frequency_cap(cap("service", 1)).await.unwrap_err();
    assert_eq!((exempt.code(), fields(&exempt)), (Code::InvalidArgument, vec!["frequency_cap.purpose".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn addresses_are_suppressed_and_taken_off_the_list_many_at_once() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let phone = |value: &str| v1::Address { kind: v1::AddressKind::Phone.into(), value: value.into() };
    let suppression = |value: &str| v1::Suppression {
        address: Some(phone(value)),
        reason: "INVALID_NUMBER".into(),
        ..Default::default()
    };
    let add = |suppressions| v1::AddSuppressionsRequest { suppressions, ..Default::default() };
    let wrong = add(vec![suppression("98123 45671"), suppression("12"), v1::Suppression::default()]);
    let refused = api.compliance().add_suppressions(wrong).await.unwrap_err();
    let expected = ["suppressions[1].address.value", "suppressions[2].address"].map(str::to_owned).to_vec();
    assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, expected));
    let right = add(vec![suppression("98123 45671"), suppression("+919812345672")]);
    assert_eq!(api.compliance().add_suppressions(right).await?.into_inner().added_count, 2);
    let list = v1::ListSuppressionsRequest { address: Some(phone("+919812345671")), ..Default::default() };
    let found = api.compliance().list_suppressions(list.clone()).await?.into_inner().suppressions;
    assert_eq!((found.len(), found[0].reason.as_str(), found[0].source.as_str()), (1, "INVALID_NUMBER", "API"));
    let remove = v1::RemoveSuppressionsRequest { addresses: vec![phone("98123 45671")], ..Default::default() };
    assert_eq!(api.compliance().remove_suppressions(remove).await?.into_inner().removed_count, 1);
    assert_eq!(api.compliance().list_suppressions(list).await?.into_inner().suppressions, []);
    Ok(())
}

#[tokio::test]
async fn a_channel_keeps_its_limits_its_price_and_what_its_providers_are_told() -> anyhow::Result<()> {
    let api = Api::start().await?;
    api.world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
    let told: std::collections::BTreeMap<_, _> = [("dlt_entity_id".to_owned(), "1101".to_owned())].into();
    let channel = v1::Channel {
        name: "channels/sms-main".into(),
        parts_per_second: 30.0,
        recipients_per_day: 1000,
        price: Some(v1::Money { currency_code: "INR".into(), micros: 125_000 }),
        provider_parameters: told.clone(),
        required_parameters: vec!["dlt_entity_id".into(), "dlt_template_id".into()],
        ..Default::default()
    };
    let update = |channel| v1::UpdateChannelRequest { channel: Some(channel), ..Default::default() };
    let kept = api.channels().update_channel(update(channel.clone())).await?.into_inner();
    assert_eq!((kept.parts_per_second, kept.recipients_per_day, kept.price), (30.0, 1000, channel.price.clone()));
    assert_eq!((kept.provider_parameters, kept.required_parameters.len()), (told, 2));
    let wrong = v1::Channel {
        name: "channels/sms-main".into(),
        parts_per_second: -1.0,
        price: Some(v1::Money { currency_code: "rupees".into(), micros: -1 }),
        required_parameters: vec!["Entity".into()],
        ..Default::default()
    };
    let refused = api.channels().update_channel(update(wrong)).await.unwrap_err();
    let expected = ["parts_per_second", "price.currency_code", "price.micros", "required_parameters[0]"];
    assert_eq!(fields(&refused), expected.map(|field| format!("channel.{field}")));
    sqlx::query("update channel set channel_type = 'VOICE'").execute(&api.world.db.pool).await?;
    let parts = v1::Channel { parts_per_second: 5.0, ..channel };
    let refused = api.channels().update_channel(update(parts)).await.unwrap_err();
    assert_eq!(fields(&refused), ["channel.parts_per_second"]);
    Ok(())
}
