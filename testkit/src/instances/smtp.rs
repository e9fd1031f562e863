//! A real SMTP server for one test (`scripts/smtp_server.py`, aiosmtpd): its mailbox can be read, and it refuses, hesitates or
//! hangs up when told to. It ends with the test, also when the test is killed.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::certificates::Identity;
use super::scripts;

/// An SMTP server on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Smtp {
    /// The port it listens on.
    pub port: u16,
    folder: TempDir,
    behaviour: Mutex<Behaviour>,
    /// Killed when dropped; its standard input is the pipe whose end tells it that we are gone.
    _process: Child,
}

#[derive(Debug, Default)]
struct Behaviour {
    refuse: BTreeMap<String, u16>,
    delay_ms: u64,
    drop_after_data: bool,
}

/// A mail that the server accepted, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients that were not refused.
    pub to: Vec<String>,
    /// The subject, decoded.
    pub subject: String,
    /// All headers in their order, decoded.
    pub headers: Vec<(String, String)>,
    /// The plain text part (the HTML part where there is no plain one), decoded.
    pub body: String,
    /// The HTML part.
    pub html: Option<String>,
    /// File names of the attachments.
    pub attachments: Vec<String>,
}

impl Mail {
    /// The first header of that name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Smtp {
    /// Starts a server that takes mail from anyone (about half a second).
    ///
    /// # Errors
    /// When python3-aiosmtpd is missing: `scripts/install` installs it.
    pub async fn start() -> anyhow::Result<Self> {
        Self::launch(&[], None).await
    }

    /// Starts a server that takes mail only after `AUTH` with this user and password (PLAIN or LOGIN, without TLS).
    ///
    /// # Errors
    /// As for [`Smtp::start`].
    pub async fn start_with_login(user: &str, password: &str) -> anyhow::Result<Self> {
        Self::launch(&["--user", user], Some(password)).await
    }

    /// Starts a server with a login and TLS: `starttls` is demanded before anything else, `implicit` is TLS from the first byte.
    ///
    /// # Errors
    /// As for [`Smtp::start`].
    pub async fn start_with_tls(mode: &str, identity: &Identity, user: &str, password: &str) -> anyhow::Result<Self> {
        let (certificate, key) = (identity.certificate.to_string_lossy(), identity.key.to_string_lossy());
        let arguments = ["--user", user, "--tls", mode, "--certificate", &certificate, "--key", &key];
        Self::launch(&arguments, Some(password)).await
    }

    async fn launch(arguments: &[&str], password: Option<&str>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Debian's package belongs to Debian's python, whatever comes first in PATH.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(scripts::in_repository("scripts/smtp_server.py")).arg("--folder").arg(folder.path());
        command.arg("--until-stdin-closes").args(arguments).env("SMTP_PASSWORD", password.unwrap_or_default());
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("/usr/bin/python3 cannot be run: scripts/install installs it")?;
        let printed = process.stdout.take().context("the SMTP server has no output")?;
        let mut lines = BufReader::new(printed).lines();
        let port = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let port = port.context("the SMTP server does not start")??;
        let port =
            port.context("the SMTP server ended: is python3-aiosmtpd there? scripts/install installs it")?.parse()?;
        Ok(Self { port, folder, behaviour: Mutex::default(), _process: process })
    }

    /// `smtp://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// What was accepted until now, in order.
    ///
    /// # Errors
    /// When a file of the mailbox cannot be read.
    pub fn mails(&self) -> anyhow::Result<Vec<Mail>> {
        let folder = self.folder.path().join("received");
        let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        let mut files: Vec<_> =
            files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "json")).collect();
        files.sort();
        files.iter().map(|file| read_mail(&serde_json::from_slice(&std::fs::read(file)?)?)).collect()
    }

    /// From now on refuses this recipient with the code: 550 no such user, 552 mailbox full, 451 try again later, and what else
    /// RFC 5321 names between 400 and 599. 250 takes the refusal back.
    ///
    /// # Errors
    /// When the code is none of these.
    pub fn refuse(&self, address: &str, code: u16) -> anyhow::Result<()> {
        ensure!(code == 250 || (400..600).contains(&code), "{code} is neither a refusal (400 to 599) nor 250");
        self.change(|behaviour| {
            let address = address.to_lowercase();
            if code == 250 {
                behaviour.refuse.remove(&address)
            } else {
                behaviour.refuse.insert(address, code)
            };
        })
    }

    /// From now on waits between keeping a mail and saying so.
    ///
    /// # Errors
    /// When the server's folder cannot be written.
    pub fn answer_after(&self, delay: Duration) -> anyhow::Result<()> {
        let delay_ms = u64::try_from(delay.as_millis())?;
        self.change(|behaviour| behaviour.delay_ms = delay_ms)
    }

    /// From now on keeps a mail and then cuts the connection instead of saying so: the sender cannot know.
    ///
    /// # Errors
    /// When the server's folder cannot be written.
    pub fn drop_after_data(&self, drop: bool) -> anyhow::Result<()> {
        self.change(|behaviour| behaviour.drop_after_data = drop)
    }

    fn change(&self, how: impl FnOnce(&mut Behaviour)) -> anyhow::Result<()> {
        let mut behaviour = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut behaviour);
        let text = json!({
            "refuse": behaviour.refuse, "delay_ms": behaviour.delay_ms, "drop_after_data": behaviour.drop_after_data,
        });
        // The server reads the file at any moment: it must be whole.
        let unfinished = self.folder.path().join("behaviour.part");
        std::fs::write(&unfinished, text.to_string())?;
        std::fs::rename(&unfinished, self.folder.path().join("behaviour.json"))?;
        Ok(())
    }
}

fn read_mail(value: &Value) -> anyhow::Result<Mail> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("the mailbox holds no text where it should");
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<anyhow::Result<Vec<_>>>();
    let header = |pair: &Value| Ok((text(&pair[0])?, text(&pair[1])?));
    Ok(Mail {
        from: text(&value["from"])?,
        to: texts(&value["to"])?,
        subject: text(&value["subject"])?,
        headers: value["headers"].as_array().into_iter().flatten().map(header).collect::<anyhow::Result<_>>()?,
        body: text(&value["body"])?,
        html: value["html"].as_str().map(str::to_owned),
        attachments: texts(&value["attachments"])?,
    })
}
