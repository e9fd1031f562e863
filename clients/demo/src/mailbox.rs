//! The mailbox: what the SMTP server of the demo received, as JSON files (`scripts/smtp_server.py`).

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

/// A mail as it was received, decoded.
#[derive(Debug, Clone, Deserialize)]
pub struct Mail {
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The plain text part.
    pub body: String,
}

/// The folder of mails, and what was in it before we began.
#[derive(Debug, Clone)]
pub struct Mailbox {
    folder: PathBuf,
    old: HashSet<PathBuf>,
}

impl Mailbox {
    /// The mailbox in `folder`; what is in it now is not ours.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let old = files(folder)?.into_iter().collect();
        Ok(Self { folder: folder.to_owned(), old })
    }

    /// The mails that came since, oldest first.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn mails(&self) -> anyhow::Result<Vec<Mail>> {
        let new = files(&self.folder)?.into_iter().filter(|file| !self.old.contains(file));
        new.map(|file| {
            let text = std::fs::read_to_string(&file)?;
            serde_json::from_str(&text).with_context(|| format!("{} is not a mail", file.display()))
        })
        .collect()
    }
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("there is no mailbox at {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
