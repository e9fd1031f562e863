//! The mail connector and a real server with TLS and a login: what it trusts, what it refuses, and how it says so.

use domain::{
    channel::{Address, AddressKind},
    delivery::FailureClass,
    message::Content,
};
use serde_json::{Value, json};
use server::channels::{
    Connector, Outbound, Sent,
    registry::find,
    settings::{ProcessSecrets, ProviderSettings},
};
use std::{path::Path, sync::Arc};
use testkit::instances::{Authority, Identity, Smtp};

const MODES: [(&str, &str); 2] = [("starttls", "starttls"), ("implicit", "tls")];

fn connector(folder: &Path, port: u16, tls: &str, more: Value) -> anyhow::Result<Arc<dyn Connector>> {
    std::fs::write(folder.join("password"), "open sesame\n")?;
    let mut settings = json!({"host": "localhost", "port": port, "tls": tls, "username": "mailer", "timeout_seconds": 10,
        "password_file": folder.join("password")});
    settings.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let settings = ProviderSettings::new(settings.as_object().expect("an object").clone(), Arc::new(ProcessSecrets));
    let kind = find("smtp").expect("the connector");
    (kind.build)(&settings).map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

fn mail() -> Outbound {
    Outbound {
        delivery_id: uuid::Uuid::now_v7(),
        attempt: 1,
        to: Address { kind: AddressKind::Email, value: "asha@example.org".to_owned() },
        from: "\"जल विभाग\" <alerts@example.org>".to_owned(),
        content: Content::Email {
            subject: "Water".to_owned(),
            text: "It is back.".to_owned(),
            html: None,
            attachments: vec![],
        },
        window_open: false,
        public_url: "https://alerts.example.org".to_owned(),
        provider_id: 7,
        in_reply_to: None,
        unsubscribe_url: None,
        parameters: std::collections::BTreeMap::new(),
    }
}

async fn server(mode: &str, identity: &Identity) -> anyhow::Result<Smtp> {
    Smtp::start_with_tls(mode, identity, "mailer", "open sesame").await
}

#[tokio::test]
async fn mail_goes_over_starttls_and_over_tls_to_a_relay_of_a_private_authority() -> anyhow::Result<()> {
    let (authority, folder) = (Authority::new().await?, tempfile::tempdir()?);
    let identity = authority.identity("localhost").await?;
    for (mode, tls) in MODES {
        let relay = server(mode, &identity).await?;
        let smtp = connector(folder.path(), relay.port, tls, json!({"ca_file": authority.certificate()}))?;
        assert_eq!(smtp.check().await, Ok(()), "{mode}");
        let mail = mail();
        let expected = Sent::Accepted { provider_message_id: format!("<{}@example.org>", mail.delivery_id) };
        assert_eq!(smtp.send(&mail).await, expected, "{mode}");
        let received = relay.mails()?;
        assert_eq!((received.len(), received[0].body.trim_end()), (1, "It is back."), "{mode}");
        assert_eq!(received[0].header("from"), Some("जल विभाग <alerts@example.org>"), "{mode}");
        assert_eq!(received[0].from, "alerts@example.org");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_named_and_nothing_is_sent() -> anyhow::Result<()> {
    let (authority, other, folder) = (Authority::new().await?, Authority::new().await?, tempfile::tempdir()?);
    let (good, misnamed) = (authority.identity("localhost").await?, authority.identity("mail.example.org").await?);
    for (mode, tls) in MODES {
        for (identity, more, fault) in [
            (&good, json!({}), "is of an authority that is not trusted: name that authority in ca_file"),
            (&good, json!({"ca_file": other.certificate()}), "is of an authority that is not trusted"),
            (&misnamed, json!({"ca_file": authority.certificate()}), "is for another name than host"),
        ] {
            let relay = server(mode, identity).await?;
            let smtp = connector(folder.path(), relay.port, tls, more)?;
            let sent = smtp.send(&mail()).await;
            let says = |detail: &str| detail.starts_with("the relay's certificate ") && detail.contains(fault);
            assert!(matches!(&sent, Sent::NotSent { detail } if says(detail)), "{mode}, {fault}: {sent:?}");
            let check = smtp.check().await.expect_err("the certificate does not fit");
            assert!(check.contains(fault), "{check}");
            assert!(relay.mails()?.is_empty());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_starttls_park_the_channel_and_say_why() -> anyhow::Result<()> {
    let (authority, folder) = (Authority::new().await?, tempfile::tempdir()?);
    let identity = authority.identity("localhost").await?;
    let trusted = json!({"ca_file": authority.certificate()});
    let refused = |sent: &Sent| match sent {
        Sent::Refused(refusal) => (Some(refusal.class), refusal.code.clone(), refusal.is_own()),
        _ => (None, format!("{sent:?}"), false),
    };
    for (mode, tls) in MODES {
        let relay = Smtp::start_with_tls(mode, &identity, "mailer", "another").await?;
        let sent = connector(folder.path(), relay.port, tls, trusted.clone())?.send(&mail()).await;
        let (class, code, own) = refused(&sent);
        assert_eq!((class, own), (Some(FailureClass::ParkChannel), false), "{mode}: {sent:?}");
        assert!(code.starts_with("535"), "{mode}: {code}");
    }
    let plain = Smtp::start_with_login("mailer", "open sesame").await?;
    let sent = connector(folder.path(), plain.port, "starttls", trusted)?.send(&mail()).await;
    assert_eq!(refused(&sent), (Some(FailureClass::ParkChannel), "local.no_starttls".to_owned(), true));
    let talking_tls = connector(folder.path(), plain.port, "tls", json!({}))?.send(&mail()).await;
    assert!(matches!(talking_tls, Sent::NotSent { .. }), "TLS to a port without it: {talking_tls:?}");
    assert!(plain.mails()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_file_that_holds_no_authority_is_refused_with_the_settings() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ca.pem");
    let der = "MIIBszCCAVmgAwIBAgIUQ0FuT3RBQ2VydGlmaWNhdGU=";
    for words in ["not a certificate", &format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")] {
        std::fs::write(&file, words)?;
        let problem =
            connector(folder.path(), 25, "starttls", json!({"ca_file": file})).expect_err("no authority").to_string();
        assert!(problem.contains("\"ca\"") && problem.contains("holds no certificate"), "{problem}");
    }
    let gone = connector(folder.path(), 25, "starttls", json!({"ca_file": folder.path().join("gone")}));
    assert!(gone.expect_err("no file").to_string().contains("\"ca\""));
    Ok(())
}
