//! The contract as data: descriptors of services, methods, messages and enums, and how to find them by the names that
//! people type. Comments are in `comments`; nothing here calls a server.

pub mod comments;
pub mod describe;
mod described;

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, EnumDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

pub use self::described::Described;
use crate::error::Error;
use crate::rpcs::Rpc;

/// The package of the contract.
pub const PACKAGE: &str = "switchboard.v1";

static POOL: LazyLock<DescriptorPool> =
    // A set that cannot be read is a defect of the build: the tests of this file would fail, and an empty pool answers
    // every question with "there is no such thing".
    LazyLock::new(|| DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap_or_default());

/// All descriptors of the contract with what it imports.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The services of the contract by name.
pub fn services() -> Vec<ServiceDescriptor> {
    let mut services: Vec<_> = POOL.services().filter(|it| it.package_name() == PACKAGE).collect();
    services.sort_by(|a, b| a.name().cmp(b.name()));
    services
}

/// The method of a request of the table of RPCs.
///
/// # Errors
/// When the contract does not have it, which the test of `rpcs` rules out.
pub fn method_of<Q: Rpc>() -> Result<MethodDescriptor, Error> {
    method(&format!("{}.{}", Q::SERVICE, Q::METHOD))
}

/// Finds a method by `Service.Method`; the package before it, a slash between both and upper or lower case are free.
///
/// # Errors
/// `Error::Usage` when there is no such method, with the nearest names.
pub fn method(text: &str) -> Result<MethodDescriptor, Error> {
    let wanted = bare(text).replace('/', ".");
    let all = services().into_iter().flat_map(|service| service.methods().collect::<Vec<_>>());
    let named: Vec<_> =
        all.map(|method| (format!("{}.{}", method.parent_service().name(), method.name()), method)).collect();
    if let Some((_, method)) = named.iter().find(|(name, _)| name.eq_ignore_ascii_case(&wanted)) {
        return Ok(method.clone());
    }
    let near = nearest(&wanted, named.iter().map(|(name, _)| name.as_str()));
    Err(Error::Usage(format!("there is no method `{text}`{near}; `switchboard-cli describe` lists all")))
}

/// Finds a service by its name, with or without the package.
pub fn service(text: &str) -> Option<ServiceDescriptor> {
    services().into_iter().find(|it| it.name().eq_ignore_ascii_case(bare(text)))
}

/// Finds a message by its name, with or without the package; `Notification.State` is how nested ones are named.
pub fn message(text: &str) -> Option<MessageDescriptor> {
    let found = POOL.get_message_by_name(text);
    found.or_else(|| POOL.all_messages().find(|it| it.package_name() == PACKAGE && same(it.full_name(), text)))
}

/// Finds an enum by its name, with or without the package.
pub fn enumeration(text: &str) -> Option<EnumDescriptor> {
    POOL.all_enums().find(|it| it.package_name() == PACKAGE && same(it.full_name(), text))
}

/// The names of all services, methods, messages and enums, without the package.
pub fn all_names() -> Vec<String> {
    let mut names = Vec::new();
    for service in services() {
        names.extend(service.methods().map(|method| format!("{}.{}", service.name(), method.name())));
        names.push(service.name().to_owned());
    }
    let messages = POOL.all_messages().filter(|it| it.package_name() == PACKAGE && !it.is_map_entry());
    names.extend(messages.map(|it| bare(it.full_name()).to_owned()));
    names.extend(POOL.all_enums().filter(|it| it.package_name() == PACKAGE).map(|it| bare(it.full_name()).to_owned()));
    names
}

/// A name without the package of the contract.
pub fn bare(text: &str) -> &str {
    let text = text.trim_start_matches('/');
    text.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(text)
}

fn same(full_name: &str, text: &str) -> bool {
    bare(full_name).eq_ignore_ascii_case(bare(text))
}

/// `; did you mean a or b?` for the up to three names that are near to what was typed; empty when none is.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let wanted = wanted.to_lowercase();
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .collect();
    near.sort();
    near.truncate(3);
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<_> = near.into_iter().map(|(_, name)| format!("`{name}`")).collect();
    format!("; did you mean {}?", names.join(" or "))
}

/// How many letters must be added, taken away or changed (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let cost = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_methods_however_they_are_written() {
        for text in
            ["ContactService.GetContact", "switchboard.v1.ContactService/GetContact", "contactservice.getcontact"]
        {
            assert_eq!(method(text).unwrap().full_name(), "switchboard.v1.ContactService.GetContact", "{text}");
        }
    }

    #[test]
    fn a_misspelt_method_is_met_with_the_right_one() {
        let error = method("ContactService.GetContract").unwrap_err().to_string();
        assert!(error.contains("did you mean `ContactService.GetContact`"), "{error}");
    }

    #[test]
    fn finds_nested_messages_and_enums() {
        assert_eq!(enumeration("Notification.State").unwrap().full_name(), "switchboard.v1.Notification.State");
        assert_eq!(message("Content.Text").unwrap().full_name(), "switchboard.v1.Content.Text");
        assert!(message("Nothing").is_none());
    }
}
