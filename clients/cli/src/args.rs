//! The command line as a whole: what every command takes, and the commands.

use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};
use clap_complete::Shell;

use crate::call::Call;
use crate::client::{Client, Settings};
use crate::contract::describe::Describe;
use crate::error::Error;
use crate::health::Health;
use crate::input::duration;
use crate::nouns::{
    audiences::Audiences, call_lists::CallLists, campaigns::Campaigns, channels::Channels, compliance::Compliance,
    contacts::Contacts, controllers::Controllers, conversations::Conversations, events::Events, messages::Messages,
    notifications::Notifications, policies::Policies, sources::Sources, templates::Templates, triggers::Triggers,
    web_chats::WebChats, webhooks::Webhooks,
};
use crate::out::Out;
use crate::session::Session;

/// The command line of Switchboard: reach people on WhatsApp, SMS, voice and email, and see what became of it.
#[derive(Debug, Parser)]
#[command(
    name = "switchboard-cli",
    version,
    propagate_version = false,
    max_term_width = 110,
    after_help = "Ends with 0 when it was done, 2 when the command line is wrong, 64 INVALID_ARGUMENT, 65 when the answer \
says that something is wrong, 66 NOT_FOUND, 69 UNAVAILABLE, 70 INTERNAL, 73 ALREADY_EXISTS, 74 files and output, 75 when it \
may be repeated, 77 not allowed, 124 when it took too long, 1 for any other refusal.

Examples:
  switchboard-cli health
  switchboard-cli contacts import people.csv --country IN
  switchboard-cli notifications send --address +919812345678 --policy urgent --template welcome --watch
  switchboard-cli --json notifications list --state exhausted --limit 0
  switchboard-cli campaigns watch monsoon
  switchboard-cli describe FallbackPolicy
  switchboard-cli call ContactService.GetContact '{\"name\": \"contacts/42\"}'"
)]
pub struct Cli {
    /// The address of the server.
    #[arg(
        long,
        global = true,
        env = "SWITCHBOARD_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7440",
        help_heading = "Everywhere"
    )]
    server: String,
    /// Write answers as proto3 JSON: one object indented, lists and streams an object a line.
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// Give up after so long, such as 10s. Without it a call may take 30s, and imports and watches any time.
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse, help_heading = "Everywhere")]
    timeout: Option<Duration>,
    /// Repeat a call so often while the server is unavailable.
    #[arg(long, global = true, value_name = "N", default_value_t = 4, help_heading = "Everywhere")]
    retries: u32,
    /// Use this id for the write instead of a fresh one: the same id with the same content is done once.
    #[arg(long, global = true, value_name = "UUID", help_heading = "Everywhere")]
    request_id: Option<String>,
    /// Say who acts, such as operators/asha: events and timelines of conversations tell it.
    #[arg(long, global = true, env = "SWITCHBOARD_ACTOR", value_name = "NAME", help_heading = "Everywhere")]
    actor: Option<String>,
    /// Write nothing but the answer: no notes, no bars.
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    quiet: bool,
    /// Write without colours, as when the output is not a terminal or NO_COLOR is set.
    #[arg(long, global = true, action = ArgAction::SetTrue, help_heading = "Everywhere")]
    no_color: bool,
    #[command(subcommand)]
    command: Command,
}

/// What is done.
#[derive(Debug, Subcommand)]
enum Command {
    /// People, their addresses, their consent; import from CSV.
    #[command(subcommand)]
    Contacts(Contacts),
    /// Configured lines and the providers behind them.
    #[command(subcommand)]
    Channels(Channels),
    /// How often people may be written to, and to whom nothing is sent.
    #[command(subcommand)]
    Compliance(Compliance),
    /// What is said, in versions.
    #[command(subcommand)]
    Templates(Templates),
    /// In which order channels are tried, in versions; validate and simulate.
    #[command(subcommand)]
    Policies(Policies),
    /// People whom no channel reached, for a person to call.
    #[command(subcommand)]
    CallLists(CallLists),
    /// One person, to be reached about one thing: send, see, watch.
    #[command(subcommand)]
    Notifications(Notifications),
    /// One notification for each person of an audience: start, pause, watch.
    #[command(subcommand)]
    Campaigns(Campaigns),
    /// Who gets a campaign.
    #[command(subcommand)]
    Audiences(Audiences),
    /// Postgres databases that are watched or queried.
    #[command(subcommand)]
    Sources(Sources),
    /// Watched tables and schedules: what wakes the system without a caller.
    #[command(subcommand)]
    Triggers(Triggers),
    /// What conversations do by themselves, in versions.
    #[command(subcommand)]
    Controllers(Controllers),
    /// What was said with one contact, over all channels.
    #[command(subcommand)]
    Conversations(Conversations),
    /// Messages of all channels, in and out.
    #[command(subcommand)]
    Messages(Messages),
    /// Be a visitor of a web chat.
    #[command(subcommand)]
    WebChats(WebChats),
    /// Everything that happens, in one order, from a cursor.
    #[command(subcommand)]
    Events(Events),
    /// Addresses to which events are posted; what they did not take, and telling it again.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Call any method of the contract with JSON.
    Call(Call),
    /// Print the contract with its comments.
    Describe(Describe),
    /// Ask whether the server serves.
    Health(Health),
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:
  switchboard-cli completions bash > ~/.local/share/bash-completion/completions/switchboard-cli
  switchboard-cli completions zsh > ~/.zfunc/_switchboard-cli
  switchboard-cli completions fish > ~/.config/fish/completions/switchboard-cli.fish")]
    Completions {
        /// The shell: bash, zsh, fish, elvish or powershell.
        shell: Shell,
    },
}

impl Cli {
    /// The output that was asked for.
    pub fn out(&self) -> Out {
        let no_color = self.no_color || std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        Out::of_process(self.json, self.quiet, no_color)
    }

    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or what is wrong with the command line, a file or the output.
    pub async fn run(self, mut out: Out) -> Result<(), Error> {
        match &self.command {
            Command::Completions { shell } => return Ok(out.raw(&completions(*shell))?),
            Command::Describe(describe) => return describe.run(&mut out),
            _ => {}
        }
        let (server, timeout, retries) = (self.server, self.timeout, self.retries);
        let settings = Settings { server, timeout, retries, request_id: self.request_id, actor: self.actor };
        let mut session = Session { client: Client::new(settings)?, out };
        self.command.run(&mut session).await?;
        Ok(session.out.flush()?)
    }
}

impl Command {
    async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Contacts(it) => it.run(session).await,
            Self::Channels(it) => it.run(session).await,
            Self::Compliance(it) => it.run(session).await,
            Self::Templates(it) => it.run(session).await,
            Self::Policies(it) => it.run(session).await,
            Self::CallLists(it) => it.run(session).await,
            Self::Notifications(it) => it.run(session).await,
            Self::Campaigns(it) => it.run(session).await,
            Self::Audiences(it) => it.run(session).await,
            Self::Sources(it) => it.run(session).await,
            Self::Triggers(it) => it.run(session).await,
            Self::Controllers(it) => it.run(session).await,
            Self::Conversations(it) => it.run(session).await,
            Self::Messages(it) => it.run(session).await,
            Self::WebChats(it) => it.run(session).await,
            Self::Events(it) => it.run(session).await,
            Self::Webhooks(it) => it.run(session).await,
            Self::Call(it) => it.run(session).await,
            Self::Health(it) => it.run(session).await,
            Self::Describe(it) => it.run(&mut session.out),
            Self::Completions { shell } => Ok(session.out.raw(&completions(shell))?),
        }
    }
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "switchboard-cli", &mut script);
    script
}

#[cfg(test)]
mod tests;
