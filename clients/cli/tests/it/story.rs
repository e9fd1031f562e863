//! The binary against the real server, on a real Postgres and with the simulator in the provider's place: from a channel to a person
//! who was reached, and how it ends when something is wrong.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use server::app::{self, Roles, Running};
use server::clock::Clock;
use server::config::Config;
use server::storage::db::MIGRATOR;
use simulator::script::{Handset, MessageScript};
use simulator::{ClockMode, Simulator};
use tempfile::TempDir;
use testkit::instances::{Postgres, TestDatabase};

use crate::{Ended, command};

const ACCOUNT: &str = "AC00000000000000000000000000000000";
const TOKEN: &str = "a-token-of-the-account";

/// A server of its own, a provider behind it, and a folder for files.
struct Stage {
    server: Running,
    simulator: Simulator,
    folder: TempDir,
    address: String,
    _db: TestDatabase,
}

impl Stage {
    async fn set() -> Self {
        let db = Postgres::shared().await.unwrap().database(&MIGRATOR).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = simulator::Config { clock: ClockMode::Real, ..simulator::Config::default() };
        config.twilio.account_sid = ACCOUNT.into();
        config.twilio.auth_token = TOKEN.into();
        let simulator = Simulator::start(config).await.unwrap();
        let spool = folder.path().join("spool").display().to_string();
        // The provider calls back at the public address, which must be known before the server listens.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let public = format!("http://{free}");
        let settings = [
            ("DATABASE_URL", db.url.as_str()),
            ("SWITCHBOARD__GRPC__LISTEN", "127.0.0.1:0"),
            ("SWITCHBOARD__HTTP__LISTEN", &free),
            ("SWITCHBOARD__HTTP__PUBLIC_URL", &public),
            ("SWITCHBOARD__HTTP__SPOOL_DIR", &spool),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = Config::load(None, settings).unwrap();
        let server = app::start(&config, Clock::new(), Roles::ALL).await.unwrap();
        let address = format!("http://{}", server.grpc_addr.unwrap());
        Self { server, simulator, folder, address, _db: db }
    }

    fn file(&self, name: &str, words: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, words).unwrap();
        path.display().to_string()
    }

    /// Runs the binary to its end, off the threads that serve it.
    async fn run(&self, words: &[&str]) -> Ended {
        let mut command = command(&self.address, words);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs the binary, which must end with this code.
    async fn ends(&self, code: i32, words: &[&str]) -> Ended {
        let ended = self.run(words).await;
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        ended
    }

    /// A channel to the simulator, a template and a policy, each written as a file.
    async fn define(&self) {
        let secret = self.file("token", TOKEN);
        let channel = format!(
            "channel_type = \"SMS\"\nservice_identifier = \"+15550001111\"\n[[providers]]\nid = \"main\"\nconnector = \"twilio-sms\"\n\
             [providers.settings]\naccount_sid = \"{ACCOUNT}\"\nauth_token_file = \"{secret}\"\nbase_url = \"{}\"\n",
            self.simulator.base_url
        );
        let channel = self.file("channel.toml", &channel);
        self.ends(0, &["channels", "create", "sms-main", "--file", &channel]).await;
        self.ends(73, &["channels", "create", "sms-main", "--file", &channel]).await;
        self.ends(0, &["channels", "check", "sms-main"]).await;
        let template = self.file(
            "template.toml",
            "default_language = \"en\"\n[[variables]]\nname = \"hour\"\nrequired = true\n[[contents]]\nchannel_type = \"SMS\"\n\
             language = \"en\"\ncontent.text.text = \"Dear {{ contact.name }}, the dam opens at {{ hour }}.\"\n",
        );
        self.ends(0, &["templates", "create", "dam", "--version-file", &template]).await;
        let policy = self.file(
            "policy.toml",
            "display_name = \"Urgent\"\n[[steps]]\nchannel_type = \"SMS\"\nsuccess = \"DELIVERED\"\nwait = \"1h\"\n",
        );
        self.ends(0, &["policies", "create", "urgent", "--file", &policy, "--set", "steps[0].template=templates/dam"])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_person_of_a_file_is_reached_and_what_is_wrong_is_said() {
    let stage = Stage::set().await;
    stage.ends(0, &["health"]).await;
    stage.define().await;

    let people = stage
        .file("people.csv", "external_id,name,phone\nE1,Asha,+919812345678\nE2,Broken,12\nE3\nE4,Ravi,+919812345679\n");
    let imported = stage.ends(65, &["contacts", "import", &people, "--country", "IN"]).await;
    assert!(
        imported.out.contains("created               2") && imported.out.contains("rejected              2"),
        "{imported:?}"
    );
    let report = fs::read_to_string(Path::new(&people).with_extension("csv.rejected.csv")).unwrap();
    let lines: Vec<_> = report.lines().map(|line| line.split(',').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["line", "3", "4"], "{report}");

    stage.simulator.handset("+919812345678", Handset::sms(MessageScript::silent())).unwrap();
    let send = ["notifications", "send", "--contact", "external:E1", "--policy", "urgent", "--var", "hour=noon"];
    let watched = stage.ends(0, &[&send[..], &["--watch"]].concat()).await;
    assert!(watched.out.contains("REACHED"), "{watched:?}");
    assert!(watched.out.contains("step 1"), "{watched:?}");
    let listed = stage.ends(0, &["--json", "notifications", "list"]).await;
    let name = listed.out.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()).unwrap()["name"].clone();
    let got = stage.ends(0, &["--json", "notifications", "get", name.as_str().unwrap()]).await;
    let got: Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!((&got["name"], &got["state"]), (&name, &Value::from("REACHED")));
    assert_eq!(got["deliveries"][0]["content"]["text"]["text"], "Dear Asha, the dam opens at noon.");
    let shown = stage.ends(0, &["notifications", "get", name.as_str().unwrap()]).await;
    assert!(shown.out.contains("Step 1 of 1 succeeded"), "{shown:?}");
    assert!(!shown.out.contains("``"), "an empty status is not quoted: {shown:?}");
    assert_eq!(stage.simulator.calls_to("+919812345678").await.len(), 1);

    let missing = stage.ends(66, &["contacts", "get", "external:nobody"]).await;
    assert!(missing.err.contains("NOT_FOUND"), "{missing:?}");
    let without = stage.ends(64, &["notifications", "send", "--contact", "external:E4", "--policy", "urgent"]).await;
    assert!(without.err.contains("hour"), "the variable is named: {without:?}");
    let wrong = stage.file("wrong.toml", "[[steps]]\nchannel = \"channels/nope\"\nwait = \"400d\"\n");
    let wrong = stage.ends(64, &["policies", "create", "wrong", "--file", &wrong]).await;
    assert!(wrong.err.contains("steps[0].wait"), "{wrong:?}");

    let Stage { server, address, simulator, folder, _db } = stage;
    server.stop().await;
    let mut alone = command(&address, &["channels", "list", "--retries", "0"]);
    let ended = tokio::task::spawn_blocking(move || alone.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(69), "{}", String::from_utf8_lossy(&ended.stderr));
    drop((simulator, folder, _db));
}
