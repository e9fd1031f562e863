//! Real processes, really killed, while people write: each contact keeps one conversation, each message is in it once, in order.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use testkit::eventually;

use super::{Stage, channel};

const PEOPLE: usize = 12;
const EACH: usize = 20;

/// A process that is killed when the test ends, however it ends.
struct Switchboard(Child);

impl Switchboard {
    fn start(stage: &Stage) -> anyhow::Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .arg("all")
            .env("DATABASE_URL", &stage.served.world.db.url)
            .env("TOKEN", "secret")
            .env("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD__HTTP__SPOOL_DIR", std::env::temp_dir().join(uuid::Uuid::new_v4().to_string()))
            .env("SWITCHBOARD__TELEMETRY__LOG_LEVEL", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Switchboard {
    /// `kill -9`.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn killed_processes_lose_double_and_reorder_nothing_that_people_wrote() -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    let mail = channel(&stage.served, "mail-main", "EMAIL", "us@example.org").await?;
    let (phone, mailbox) = (|n: usize| format!("+9198126000{n:02}"), |n: usize| format!("p{n}@example.org"));
    for n in 0..PEOPLE {
        let contact = stage.served.world.contact(&phone(n)).await?;
        sqlx::query(
            "with a as (insert into address (kind, value, created_at) values ('email', $2, now()) returning id)
             insert into contact_address (contact_id, address_id, position) select $1, id, 1 from a",
        )
        .bind(contact)
        .bind(mailbox(n))
        .execute(&stage.served.world.db.pool)
        .await?;
    }
    let mut processes = vec![Switchboard::start(&stage)?, Switchboard::start(&stage)?];
    for k in 0..EACH {
        for n in 0..PEOPLE {
            match k % 2 {
                0 => stage.arrives(stage.whatsapp, &phone(n), &k.to_string()).await?,
                _ => stage.arrives(mail, &mailbox(n), &k.to_string()).await?,
            };
        }
        if k % 5 == 4 {
            // One dies where it stands, another comes.
            processes.remove(0);
            processes.push(Switchboard::start(&stage)?);
        }
    }
    eventually(Duration::from_secs(90), async || {
        let left = stage.count("select count(*) from inbound_inbox").await?;
        anyhow::ensure!(left == 0, "{left} messages wait");
        Ok(())
    })
    .await?;
    drop(processes);
    for n in 0..PEOPLE {
        let all = stage.all(&phone(n)).await?;
        assert_eq!(all.len(), 1, "one conversation with {}", phone(n));
        let said: Vec<String> = (0..EACH).map(|k| k.to_string()).collect();
        assert_eq!(stage.words(&all[0].name).await?, said, "each message once, in the order of arrival");
    }
    stage.is_sound().await
}
