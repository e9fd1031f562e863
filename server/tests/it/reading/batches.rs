//! Many sends at once: all or nothing, unless the caller wants what is right.

use proto::v1::{self, batch_send_notifications_result::Result as BatchResult};

use super::{Served, reason, to_phone, violations};

fn batch(phones: &[&str], allow_partial: bool) -> v1::BatchSendNotificationsRequest {
    let requests = phones.iter().map(|phone| to_phone(phone)).collect();
    v1::BatchSendNotificationsRequest { requests, allow_partial, ..v1::BatchSendNotificationsRequest::default() }
}

#[tokio::test]
async fn one_wrong_entry_fails_all_unless_the_caller_says_otherwise() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let phones = ["+919812345671", "12", "+919812345673"];
    let refused = served.notifications().batch_send_notifications(batch(&phones, false)).await.unwrap_err();
    assert_eq!(violations(&refused), [("requests[1].address.value".to_owned(), "ADDRESS_INVALID".to_owned())]);
    assert_eq!(served.world.count("select count(*) from notification").await?, 0);
    let sent = served.notifications().batch_send_notifications(batch(&phones, true)).await?.into_inner();
    let results: Vec<BatchResult> = sent.results.into_iter().filter_map(|r| r.result).collect();
    let [BatchResult::Notification(one), BatchResult::Error(error), BatchResult::Notification(_)] = results.as_slice()
    else {
        anyhow::bail!("{results:?}");
    };
    assert_eq!((one.lane(), error.code, error.reason.as_str()), (v1::Lane::Bulk, 3, "ADDRESS_INVALID"));
    assert_eq!(served.world.count("select count(*) from notification").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_thousand_are_sent_and_one_more_is_too_many() -> anyhow::Result<()> {
    let served = Served::new().await?;
    let phones: Vec<String> = (0..1001).map(|n| format!("+9198123{n:05}")).collect();
    let phones: Vec<&str> = phones.iter().map(String::as_str).collect();
    let refused = served.notifications().batch_send_notifications(batch(&phones, false)).await.unwrap_err();
    assert_eq!(reason(&refused), "BATCH_TOO_LARGE");
    let sent = served.notifications().batch_send_notifications(batch(&phones[..1000], false)).await?.into_inner();
    assert_eq!(sent.results.len(), 1000);
    assert_eq!(served.world.count("select count(*) from delivery").await?, 1000);
    Ok(())
}
