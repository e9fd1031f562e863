//! Which cases run, and how large they are. Pure.

/// How much is measured: all of it, or a small part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Whether it has to be quick.
    pub quick: bool,
}

impl Scale {
    /// The size for a full run, or for a quick one.
    #[must_use]
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The names that a selection means: all where it is empty, else those that begin with it; several are divided by commas.
///
/// # Errors
/// The part of the selection that means nothing.
pub fn select<'a>(names: &[&'a str], wanted: &str) -> Result<Vec<&'a str>, String> {
    let parts: Vec<&str> = wanted.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if let Some(unknown) = parts.iter().find(|part| !names.iter().any(|name| name.starts_with(**part))) {
        return Err((*unknown).to_owned());
    }
    let is_wanted = |name: &&str| parts.is_empty() || parts.iter().any(|part| name.starts_with(part));
    Ok(names.iter().copied().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["capture-writers", "capture-latency", "plan", "relay"];

    #[test]
    fn nothing_selects_everything() {
        assert_eq!(select(&NAMES, ""), Ok(NAMES.to_vec()));
        assert_eq!(select(&NAMES, " , "), Ok(NAMES.to_vec()));
    }

    #[test]
    fn a_prefix_selects_several_and_each_once() {
        assert_eq!(select(&NAMES, "capture"), Ok(vec!["capture-writers", "capture-latency"]));
        assert_eq!(select(&NAMES, "relay, capture-l,capture"), Ok(vec!["capture-writers", "capture-latency", "relay"]));
    }

    #[test]
    fn a_name_that_no_case_has_is_refused_and_not_ignored() {
        assert_eq!(select(&NAMES, "plan,replay"), Err("replay".to_owned()));
    }

    #[test]
    fn a_quick_run_is_smaller() {
        assert_eq!((Scale { quick: false }.of(100, 3), Scale { quick: true }.of(100, 3)), (100, 3));
    }
}
