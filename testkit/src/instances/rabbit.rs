//! The RabbitMQ that all tests share, and the virtual host that each test gets in it.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;

use super::scripts;

/// The RabbitMQ node that all tests of this checkout share.
#[derive(Debug, Clone)]
pub struct Rabbit {
    url: String,
    /// Whose node it is: of an instance of the scripts, or one that was given to us and that we cannot administrate.
    instance: Option<String>,
}

impl Rabbit {
    /// The shared node: the one of `SWITCHBOARD_TEST_AMQP_URL` or `AMQP_URL`, else the private instance `test`, which is started
    /// when it does not run (several seconds).
    ///
    /// # Errors
    /// When it cannot be started; the text names the cause.
    pub async fn shared() -> anyhow::Result<Self> {
        static SHARED: OnceCell<Rabbit> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::find).await.cloned()
    }

    async fn find() -> anyhow::Result<Self> {
        let given = ["SWITCHBOARD_TEST_AMQP_URL", "AMQP_URL"].map(|name| std::env::var(name).ok());
        match given.into_iter().flatten().find(|url| !url.is_empty()) {
            Some(url) => Ok(Self { url, instance: None }),
            None => Self::start("test").await,
        }
    }

    /// The node of a private instance of this checkout, started when it does not run; that of `AMQP_URL` where it is set.
    ///
    /// # Errors
    /// When it cannot be started; the text names the cause.
    pub async fn instance(name: &str) -> anyhow::Result<Self> {
        match std::env::var("AMQP_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => Ok(Self { url, instance: None }),
            None => Self::start(name).await,
        }
    }

    pub(super) async fn start(instance: &str) -> anyhow::Result<Self> {
        let url = scripts::run("rabbitmq", instance, &["start"]).await?;
        Ok(Self { url, instance: Some(instance.to_owned()) })
    }

    /// The URL of the node's default virtual host.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A virtual host for one test, empty (about 40 ms). On a node that was given by URL we may not create one: there it is the
    /// one of the URL, shared by all tests, which then have to run one at a time.
    ///
    /// # Errors
    /// When the node does not run.
    pub async fn vhost(&self) -> anyhow::Result<TestVhost> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(instance) = &self.instance else {
            return Ok(TestVhost { url: self.url.clone(), owned: None });
        };
        let name = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // What a process with our id left.
        scripts::run("rabbitmq", instance, &["vhost", "delete", &name]).await?;
        scripts::run("rabbitmq", instance, &["vhost", "add", &name]).await?;
        let server = self.url.trim_end_matches("%2f");
        Ok(TestVhost { url: format!("{server}{name}"), owned: Some((instance.clone(), name)) })
    }
}

/// A virtual host of one test; deleted with this value, connections and queues included.
#[derive(Debug)]
pub struct TestVhost {
    /// The URL to connect to.
    pub url: String,
    /// Instance and name, where it is ours to delete.
    owned: Option<(String, String)>,
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        if let Some((instance, name)) = &self.owned {
            // A node that the test has stopped cannot delete, and is removed as a whole later.
            drop(scripts::run_blocking("rabbitmq", instance, &["vhost", "delete", name]));
        }
    }
}
