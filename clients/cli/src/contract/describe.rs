//! `describe`: the contract with its comments, as it is written in the proto files.

use std::io;

use clap::Args;
use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};
use serde_json::json;

use super::comments::{at, first_sentence, of_message, of_value};
use super::{all_names, bare, enumeration, message, method, nearest, pool, service, services};
use crate::error::Error;
use crate::out::{Out, Tone};

/// How wide comments are.
const WIDTH: usize = 110;

/// Print the contract with its comments.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  switchboard-cli describe
  switchboard-cli describe NotificationService
  switchboard-cli describe NotificationService.SendNotification
  switchboard-cli describe FallbackPolicy
  switchboard-cli describe Notification.State
  switchboard-cli --json describe | jq -r .method")]
pub struct Describe {
    /// A service, a method (Service.Method), a message or an enum; without it all services are listed.
    name: Option<String>,
}

impl Describe {
    /// Prints it.
    ///
    /// # Errors
    /// `Error::Usage` when there is nothing of this name, with the nearest names.
    pub fn run(&self, out: &mut Out) -> Result<(), Error> {
        let Some(name) = &self.name else { return Ok(overview(out)?) };
        if let Some(service) = service(name) {
            return Ok(of_service(out, &service)?);
        }
        if let Some(message) = message(name) {
            return Ok(of_fields(out, &message)?);
        }
        if let Some(descriptor) = enumeration(name) {
            return Ok(of_values(out, &descriptor)?);
        }
        if let Ok(method) = method(name) {
            of_method(out, &method, "")?;
            out.line("")?;
            of_fields(out, &method.input())?;
            out.line("")?;
            return Ok(of_fields(out, &method.output())?);
        }
        let names = all_names();
        let near = nearest(bare(name), names.iter().map(String::as_str));
        Err(Error::Usage(format!("the contract has no `{name}`{near}; `switchboard-cli describe` lists all")))
    }
}

fn overview(out: &mut Out) -> io::Result<()> {
    for service in services() {
        if !out.json {
            let name = out.paint(Tone::Strong, service.name());
            out.line(&name)?;
        }
        for method in service.methods() {
            let comment = at(&service.parent_file(), method.path());
            let comment = first_sentence(&comment);
            if out.json {
                let name = format!("{}.{}", service.name(), method.name());
                let (request, response) = (signature_side(&method, true), signature_side(&method, false));
                let line = json!({"method": name, "request": request, "response": response, "comment": comment});
                out.line(&line.to_string())?;
            } else {
                out.line(&format!("  {:<26} {comment}", method.name()))?;
            }
        }
    }
    Ok(())
}

fn of_service(out: &mut Out, service: &ServiceDescriptor) -> io::Result<()> {
    comment(out, &at(&service.parent_file(), service.path()), "")?;
    let name = out.paint(Tone::Strong, service.name());
    out.line(&format!("service {name} {{"))?;
    for method in service.methods() {
        of_method(out, &method, "  ")?;
    }
    out.line("}")
}

fn of_method(out: &mut Out, method: &MethodDescriptor, indent: &str) -> io::Result<()> {
    comment(out, &at(&method.parent_service().parent_file(), method.path()), indent)?;
    let name = out.paint(Tone::Strong, method.name());
    let (request, response) = (signature_side(method, true), signature_side(method, false));
    out.line(&format!("{indent}rpc {name}({request}) returns ({response});"))
}

fn signature_side(method: &MethodDescriptor, request: bool) -> String {
    let (streams, message) = if request {
        (method.is_client_streaming(), method.input())
    } else {
        (method.is_server_streaming(), method.output())
    };
    format!("{}{}", if streams { "stream " } else { "" }, bare(message.full_name()))
}

fn of_fields(out: &mut Out, message: &MessageDescriptor) -> io::Result<()> {
    comment(out, &of_message(message), "")?;
    let name = out.paint(Tone::Strong, bare(message.full_name()));
    out.line(&format!("message {name} {{"))?;
    let mut open = None;
    for field in message.fields() {
        let oneof = field.containing_oneof().filter(|it| !it.is_synthetic());
        let name = oneof.as_ref().map(|it| it.name().to_owned());
        if open != name {
            if open.is_some() {
                out.line("  }")?;
            }
            if let Some(oneof) = &oneof {
                comment(out, &at(&message.parent_file(), oneof.path()), "  ")?;
                out.line(&format!("  oneof {} {{", oneof.name()))?;
            }
            open.clone_from(&name);
        }
        let indent = if open.is_some() { "    " } else { "  " };
        comment(out, &at(&message.parent_file(), field.path()), indent)?;
        let name = out.paint(Tone::Strong, field.name());
        out.line(&format!("{indent}{} {name} = {};{}", type_of(&field), field.number(), behaviour(&field)))?;
    }
    if open.is_some() {
        out.line("  }")?;
    }
    out.line("}")
}

fn of_values(out: &mut Out, descriptor: &EnumDescriptor) -> io::Result<()> {
    comment(out, &at(&descriptor.parent_file(), descriptor.path()), "")?;
    let name = out.paint(Tone::Strong, bare(descriptor.full_name()));
    out.line(&format!("enum {name} {{"))?;
    for value in descriptor.values() {
        comment(out, &of_value(&value), "  ")?;
        let name = out.paint(Tone::Strong, value.name());
        out.line(&format!("  {name} = {};", value.number()))?;
    }
    out.line("}")
}

fn type_of(field: &FieldDescriptor) -> String {
    let one = |kind: &Kind| match kind {
        Kind::Message(message) => bare(message.full_name()).to_owned(),
        Kind::Enum(descriptor) => bare(descriptor.full_name()).to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            format!("map<{}, {}>", one(&key), one(&value))
        }
        kind if field.cardinality() == Cardinality::Repeated => format!("repeated {}", one(&kind)),
        kind => one(&kind),
    }
}

/// What `google.api.field_behavior` says, such as `  // REQUIRED`.
fn behaviour(field: &FieldDescriptor) -> String {
    let Some(extension) = pool().get_extension_by_name("google.api.field_behavior") else { return String::new() };
    let options = field.options();
    let found = options.get_extension(&extension);
    let (Value::List(values), Kind::Enum(names)) = (&*found, extension.kind()) else { return String::new() };
    let names: Vec<_> =
        values.iter().filter_map(|it| names.get_value(it.as_enum_number()?)).map(|it| it.name().to_owned()).collect();
    if names.is_empty() { String::new() } else { format!("  // {}", names.join(", ")) }
}

/// Writes a comment in lines.
fn comment(out: &mut Out, text: &str, indent: &str) -> io::Result<()> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + word.len() > WIDTH {
            faint(out, indent, &line)?;
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.is_empty() { Ok(()) } else { faint(out, indent, &line) }
}

fn faint(out: &mut Out, indent: &str, line: &str) -> io::Result<()> {
    let text = out.paint(Tone::Faint, &format!("//{line}"));
    out.line(&format!("{indent}{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::tests::kept;

    fn described(name: &str) -> String {
        let (mut out, kept) = kept(false, false);
        Describe { name: Some(name.into()) }.run(&mut out).unwrap();
        kept.text()
    }

    #[test]
    fn a_message_is_shown_with_comments_types_and_behaviour() {
        let text = described("Step");
        assert!(text.contains("  oneof target {\n    // One configured channel, as `channels/{channel}`."), "{text}");
        assert!(text.contains("  google.protobuf.Duration wait = 6;  // OPTIONAL"), "{text}");
        assert!(described("Contact").contains("map<string, string> attributes = 7;"));
    }

    #[test]
    fn a_method_is_shown_with_its_messages() {
        let text = described("EventService.Subscribe");
        assert!(text.contains("rpc Subscribe(SubscribeRequest) returns (stream SubscribeResponse);"), "{text}");
        assert!(text.contains("message SubscribeRequest {") && text.contains("message SubscribeResponse {"), "{text}");
    }

    #[test]
    fn every_name_of_the_contract_can_be_described() {
        for name in all_names() {
            assert!(!described(&name).is_empty(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_met_with_the_nearest() {
        let (mut out, _) = kept(false, false);
        let error = Describe { name: Some("Contcat".into()) }.run(&mut out).unwrap_err().to_string();
        assert!(error.contains("did you mean `Contact`"), "{error}");
    }
}
