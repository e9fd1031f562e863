//! Names of resources: `sms-main` stands for `channels/sms-main` wherever only a channel can be meant.

/// The full name in a collection; what holds a slash already is left as it is.
pub fn full(collection: &str, name: &str) -> String {
    if name.is_empty() || name.contains('/') { name.to_owned() } else { format!("{collection}/{name}") }
}

/// The full name, or the empty string when nothing was given.
pub fn optional(collection: &str, name: Option<&str>) -> String {
    name.map(|name| full(collection, name)).unwrap_or_default()
}

/// A version of a definition: `welcome/2` and `welcome@2` stand for `templates/welcome/versions/2`.
pub fn version(collection: &str, name: &str) -> String {
    match name.split_once(['@', '/']) {
        Some((id, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{collection}/{id}/versions/{number}")
        }
        _ => full(collection, name),
    }
}

/// A firing: `grievances/17` stands for `triggers/grievances/firings/17`.
pub fn firing(name: &str) -> String {
    match name.split_once('/') {
        Some((trigger, firing)) if trigger != "triggers" && !firing.contains('/') => {
            format!("triggers/{trigger}/firings/{firing}")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_full_ones_and_full_ones_stay() {
        assert_eq!(full("channels", "sms-main"), "channels/sms-main");
        assert_eq!(full("channels", "channels/sms-main"), "channels/sms-main");
        assert_eq!(full("contacts", "external:EMP-7"), "contacts/external:EMP-7");
        assert_eq!(optional("audiences", None), "");
    }

    #[test]
    fn versions_and_firings_have_short_forms() {
        assert_eq!(version("templates", "welcome@2"), "templates/welcome/versions/2");
        assert_eq!(version("templates", "welcome/2"), "templates/welcome/versions/2");
        assert_eq!(version("templates", "welcome"), "templates/welcome");
        assert_eq!(version("templates", "templates/welcome/versions/2"), "templates/welcome/versions/2");
        assert_eq!(firing("grievances/17"), "triggers/grievances/firings/17");
        assert_eq!(firing("triggers/grievances/firings/17"), "triggers/grievances/firings/17");
    }
}
