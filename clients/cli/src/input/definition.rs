//! Whole definitions: a file in JSON or TOML, single fields by `--set`, and both made into a message of the contract.

use std::path::PathBuf;

use clap::Args;
use prost_reflect::DynamicMessage;
use serde_json::{Map, Value};

use super::{pairs, relax, source};
use crate::contract::{self, Described};
use crate::error::Error;

/// Where the fields of a definition come from.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Definition {
    /// Read the definition from a JSON file, or a TOML file (*.toml); `-` is JSON from standard input.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Set one field, such as `display_name=Welcome` or `steps[0].wait=10m`; a value that is JSON counts as such.
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = pairs::parse)]
    pub set: Vec<(String, String)>,
}

impl Definition {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.set.is_empty()
    }

    /// Reads the definition as a message.
    ///
    /// # Errors
    /// `Error::Usage` with everything that is wrong, `Error::File` when the file cannot be read.
    pub fn read<T: Described>(&self) -> Result<T, Error> {
        let mut value = match &self.file {
            Some(path) => source::document(path)?,
            None => Value::Object(Map::new()),
        };
        for (field, text) in &self.set {
            let place = place(&mut value, field).map_err(Error::Usage)?;
            *place = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
        }
        let name = self.file.as_ref().map_or_else(|| "--set".to_owned(), |path| path.display().to_string());
        let Some(descriptor) = contract::message(T::NAME) else {
            return Err(Error::Usage(format!("the contract has no message {}", T::NAME)));
        };
        to_typed(&message(&descriptor, value, &name)?)
    }
}

/// Makes JSON into a message, with all problems named.
///
/// # Errors
/// `Error::Usage` with everything that is wrong.
pub fn message(
    descriptor: &prost_reflect::MessageDescriptor,
    mut value: Value,
    origin: &str,
) -> Result<DynamicMessage, Error> {
    let problems = relax::relax(descriptor, &mut value);
    if !problems.is_empty() {
        return Err(Error::Usage(format!("{origin}:\n  {}", problems.join("\n  "))));
    }
    let wrong = |error| Error::Usage(format!("{origin}: {}: {error}", contract::bare(descriptor.full_name())));
    DynamicMessage::deserialize(descriptor.clone(), value).map_err(wrong)
}

/// A message by descriptor as the type of the same name.
///
/// # Errors
/// `Error::Usage` when the types do not agree, which the tests rule out.
pub fn to_typed<T: prost::Message + Default>(message: &DynamicMessage) -> Result<T, Error> {
    message.transcode_to().map_err(|error| Error::Usage(error.to_string()))
}

/// The place of a path such as `steps[0].wait`; what is missing on the way is made.
fn place<'a>(root: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let wrong = || format!("--set {path}: must be like a.b or steps[0].wait");
    let mut at = root;
    for part in path.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, rest)) => {
                let index = rest.strip_suffix(']').and_then(|it| it.parse::<usize>().ok()).ok_or_else(wrong)?;
                (name, Some(index))
            }
            None => (part, None),
        };
        if name.is_empty() || index.is_some_and(|it| it > 100) {
            return Err(wrong());
        }
        at = at.as_object_mut().ok_or_else(wrong)?.entry(name).or_insert(Value::Null);
        if let Some(index) = index {
            if at.is_null() {
                *at = Value::Array(Vec::new());
            }
            let items = at.as_array_mut().ok_or_else(wrong)?;
            items.resize(items.len().max(index + 1), Value::Null);
            at = &mut items[index];
        }
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use proto::v1::{ChannelType, FallbackPolicy, step::Target};

    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Definition {
        Definition { file: None, set: pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect() }
    }

    #[test]
    fn fields_are_set_by_path() {
        let definition = set(&[
            ("display_name", "Urgent"),
            ("steps[0].channel_type", "sms"),
            ("steps[0].wait", "90s"),
            ("steps[1].call_list", "callLists/x"),
        ]);
        let policy: FallbackPolicy = definition.read().unwrap();
        assert_eq!(policy.display_name, "Urgent");
        assert_eq!(policy.steps[0].target, Some(Target::ChannelType(ChannelType::Sms.into())));
        assert_eq!(policy.steps[0].wait.unwrap().seconds, 90);
        assert_eq!(policy.steps.len(), 2);
    }

    #[test]
    fn an_unknown_field_is_named_with_a_suggestion() {
        let error = set(&[("stps[0].wait", "1s")]).read::<FallbackPolicy>().unwrap_err();
        assert!(error.to_string().contains("stps: FallbackPolicy has no such field; did you mean `steps`?"), "{error}");
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        for path in ["a[", "a[x]", ".a", "a[9999]"] {
            assert!(set(&[(path, "1")]).read::<FallbackPolicy>().unwrap_err().to_string().contains("must be like"));
        }
    }
}
