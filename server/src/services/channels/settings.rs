//! Whether the settings of providers can be used: every problem of every provider at once, never a secret.

use domain::channel::ChannelType;

use super::ProviderWrite;
use crate::{
    channels::{registry, settings::SettingProblem},
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

fn connector_problem(channel_type: ChannelType, provider: &ProviderWrite) -> Option<Violation> {
    let fitting =
        || registry::KINDS.iter().filter(|k| k.channel_type == channel_type).map(|k| k.name).collect::<Vec<_>>();
    let words = match registry::find(&provider.connector) {
        Some(kind) if kind.channel_type == channel_type => return None,
        Some(kind) => {
            format!("serves {}, not {channel_type}; choose one of {}", kind.channel_type, fitting().join(", "))
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
