//! Certificates for one test: an authority of its own, and servers' certificates that it signs. Made by `openssl`, gone with the
//! test.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::process::Command;

/// What makes a certificate one of an authority, and one of a server; settings of the machine are not asked.
const CONFIGURATION: &str = "[req]
distinguished_name = name
prompt = no
[name]
CN = NAME
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
";

/// An authority that nobody trusts but who is given its file.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

/// A server's certificate and key, as files.
#[derive(Debug)]
pub struct Identity {
    /// The certificate (PEM).
    pub certificate: PathBuf,
    /// The key (PEM).
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Errors
    /// When `openssl` is missing or fails.
    pub async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Two authorities of one name would be taken for each other, and told apart only by their signatures.
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::fs::write(folder.path().join("settings"), CONFIGURATION.replace("NAME", &name))?;
        let request = "req -x509 -config settings -extensions authority -newkey rsa:2048 -nodes -days 2";
        openssl(folder.path(), &format!("{request} -keyout authority.key -out authority.pem")).await?;
        Ok(Self { folder })
    }

    /// The file of its certificate (PEM).
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Signs a certificate for a server of that name, valid for two days.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub async fn identity(&self, name: &str) -> anyhow::Result<Identity> {
        let folder = self.folder.path();
        std::fs::write(folder.join(format!("{name}.ext")), format!("subjectAltName = DNS:{name}\n"))?;
        openssl(folder, &format!("req -config settings -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr"))
            .await?;
        let signed = format!("x509 -req -in {name}.csr -CA authority.pem -CAkey authority.key -set_serial 2 -days 2");
        openssl(folder, &format!("{signed} -extfile {name}.ext -out {name}.pem")).await?;
        Ok(Identity { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) })
    }
}

async fn openssl(folder: &Path, words: &str) -> anyhow::Result<()> {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().await;
    let output = output.context("openssl cannot be run: scripts/install installs it")?;
    ensure!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
