//! Whether the settings of providers can be used: every problem of every provider at once, never a secret.

use domain::channel::ChannelType;

use super::ProviderWrite;
use crate::{
    channels::{external, registry, settings::SettingProblem, web_chat},
    services::{Error, Result, Violation, directory::Directory, error::all_right},
};

/// How the settings reader says that a variable or file is not there.
const NOT_THERE: &str = "is not there";

/// Builds each provider's connector to see whether its settings are right; `found` is what was wrong before.
///
/// # Errors
/// [`Error::Invalid`] with everything, or [`Error::SecretMissing`] where nothing else is wrong.
pub(super) fn check(
    directory: &Directory,
    channel_type: ChannelType,
    providers: &[ProviderWrite],
    mut found: Vec<Violation>,
) -> Result<()> {
    let mut secrets = Vec::new();
    found.extend(alone(providers));
    for (index, provider) in providers.iter().enumerate() {
        let path = format!("channel.providers[{index}]");
        if let Some(violation) = connector_problem(channel_type, provider) {
            found.push(violation.inside(&path));
            continue;
        }
        let Err(problems) = directory.try_build(&provider.connector, &provider.settings) else { continue };
        for problem in problems.iter() {
            let violation = violation(provider, problem).inside(&path);
            if problem.description.starts_with(NOT_THERE) {
                secrets.push((problem.field.clone(), violation));
            } else {
                found.push(violation);
            }
        }
    }
    if found.is_empty() && !secrets.is_empty() {
        let setting = secrets.iter().map(|(setting, _)| setting.as_str()).collect::<Vec<_>>().join(",");
        let words = secrets.iter().map(|(_, v)| format!("{} {}", v.field, v.description)).collect::<Vec<_>>();
        return Err(Error::SecretMissing { setting, message: words.join("; ") });
    }
    found.extend(secrets.into_iter().map(|(_, violation)| violation));
    all_right(found)
}

/// What is handed to connectors outside, or shown in a web chat, cannot go over another provider in between: nobody would know
/// which of the two has a message.
fn alone(providers: &[ProviderWrite]) -> Option<Violation> {
    let lonely = [external::KIND.name, web_chat::KIND.name];
    let index =
        providers.iter().position(|p| lonely.contains(&p.connector.as_str())).filter(|_| providers.len() > 1)?;
    let words = "must be the only provider of its channel; several instances of one connector share it by themselves";
    Some(Violation::new(format!("channel.providers[{index}].connector"), words).because("SETTING_INVALID"))
}

fn connector_problem(channel_type: ChannelType, provider: &ProviderWrite) -> Option<Violation> {
    let fitting = || registry::KINDS.iter().filter(|k| k.serves(channel_type)).map(|k| k.name).collect::<Vec<_>>();
    let words = match registry::find(&provider.connector) {
        Some(kind) if kind.serves(channel_type) => return None,
        Some(kind) => {
            let served = kind.channel_types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("serves {served}, not {channel_type}; choose one of {}", fitting().join(", "))
        }
        None => format!("is none of this server's; choose one of {}", fitting().join(", ")),
    };
    Some(Violation::new("connector", words).because("SETTING_INVALID").with("connector", &provider.connector))
}

fn violation(provider: &ProviderWrite, problem: &SettingProblem) -> Violation {
    Violation::new(format!("settings.{}", problem.field), &problem.description)
        .because("SETTING_INVALID")
        .with("connector", &provider.connector)
        .with("setting", &problem.field)
}
