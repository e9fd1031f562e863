//! Who takes part besides the contact: joins, leaves, changes its role. Operators who answer or help count as agents; who reads
//! along, bots, controllers and applications do not.

use domain::conversation::{Event, Intent, Kind, Role, participant::is_agent};
use serde_json::json;
use uuid::Uuid;

use super::{
    closing,
    held::{By, Held, name_of},
};
pub use crate::storage::participants::ParticipantRow as Participant;
use crate::{
    services::{Context, Error, Result},
    storage::{
        Conn,
        conversation_state::{self, Note, Shown},
        participants,
    },
};

/// Who is to join.
#[derive(Debug, Clone)]
pub struct Joining {
    /// What it is.
    pub kind: Kind,
    /// Its resource name, such as `operators/asha`.
    pub subject: String,
    /// What people call it.
    pub display_name: String,
    /// In which role.
    pub role: Role,
}

/// Lets someone join. One who is in already stays as it is, if its role is the same.
///
/// # Errors
/// STATE_WRONG when nobody can join now, or when it is in with another role.
pub async fn join(conn: &mut Conn, held: &mut Held, who: &Joining, by: By<'_>) -> Result<Participant> {
    if let Some(present) = participants::present(conn, held.id(), &who.subject).await? {
        return match present.role == who.role {
            true => Ok(present),
            false => Err(wrong(format!("{} takes part already, as {}; change its role", who.subject, present.role))),
        };
    }
    let agent = is_agent(who.kind, who.role);
    if agent && !held.apply(Event::AgentJoined) {
        return Err(wrong(format!("no agent can join {}, which is {}", name_of(held.id()), held.state())));
    }
    let new = Participant {
        id: Uuid::now_v7(),
        conversation_id: held.id(),
        kind: who.kind,
        subject: who.subject.clone(),
        display_name: who.display_name.clone(),
        role: who.role,
        joined_at: by.at,
        left_at: None,
        left_reason: None,
    };
    participants::add(conn, &new).await?;
    say(conn, held, &new, "joined", agent.then_some(Intent::AgentJoined), "", by).await?;
    held.settle(conn, "AGENT_JOINED", by).await?;
    Ok(new)
}

/// Lets a participant leave; one who has left stays as it is.
///
/// # Errors
/// What storage says.
pub async fn leave(
    context: &Context,
    conn: &mut Conn,
    held: &mut Held,
    who: &Participant,
    reason: &str,
    by: By<'_>,
) -> Result<()> {
    if who.left_at.is_some() {
        return Ok(());
    }
    let agent = is_agent(who.kind, who.role);
    if agent {
        held.apply(Event::AgentLeft { wrap_up: false });
    }
    participants::leave(conn, who.id, reason, by.at).await?;
    say(conn, held, who, "left", agent.then_some(Intent::AgentLeft), reason, by).await?;
    closing::if_gone(context, conn, held, "AGENT_LEFT", by).await
}

/// Gives a participant another role.
///
/// # Errors
/// STATE_WRONG when it has left, or cannot become an agent now; a violation when its kind cannot have the role.
pub async fn change_role(
    context: &Context,
    conn: &mut Conn,
    held: &mut Held,
    who: &Participant,
    role: Role,
    by: By<'_>,
) -> Result<Participant> {
    if !role.fits(who.kind) {
        return Err(Error::invalid("role", format!("{role} is no role of a participant of kind {}", who.kind)));
    }
    if who.left_at.is_some() {
        return Err(wrong(format!("{} has left", who.subject)));
    }
    let possible = match (is_agent(who.kind, who.role), is_agent(who.kind, role)) {
        (false, true) => held.apply(Event::AgentJoined),
        (true, false) => held.apply(Event::AgentLeft { wrap_up: false }),
        (true, true) | (false, false) => true,
    };
    if !possible {
        return Err(wrong(format!("no agent can join {}, which is {}", name_of(held.id()), held.state())));
    }
    let changed = Participant { role, ..who.clone() };
    if who.role != role {
        participants::set_role(conn, who.id, role).await?;
        say(conn, held, &changed, "role_changed", None, who.role.as_str(), by).await?;
    }
    closing::if_gone(context, conn, held, "ROLE_CHANGED", by).await?;
    Ok(changed)
}

/// Says of those who are left in a conversation that is being closed that they left; its facts say so already.
///
/// # Errors
/// What storage says.
pub(super) async fn all_leave(conn: &mut Conn, held: &Held, reason: &str, by: By<'_>) -> Result<()> {
    for who in participants::all_present(conn, held.id()).await? {
        participants::leave(conn, who.id, reason, by.at).await?;
        say(conn, held, &who, "left", None, reason, by).await?;
    }
    Ok(())
}

async fn say(
    conn: &mut Conn,
    held: &Held,
    who: &Participant,
    word: &str,
    intent: Option<Intent>,
    cause: &str,
    by: By<'_>,
) -> Result<()> {
    let note = Note {
        conversation_id: held.id(),
        kind: "participant",
        id: who.id,
        r#type: word,
        from: None,
        to: None,
        cause,
        actor: by.actor,
        channel_id: None,
        intent: intent.map(Intent::as_str),
        data: json!({"participant": who.subject, "kind": who.kind.as_str().to_uppercase(), "role": who.role.as_str()}),
        shown: Some(Shown { kind: "participant", subject: who.subject.clone(), word }),
        at: by.at,
    };
    Ok(conversation_state::note(conn, &note).await?)
}

fn wrong(message: String) -> Error {
    Error::WrongState { reason: "STATE_WRONG", message }
}
