//! The habits of the AIPs, each as one test over the whole contract.

use prost_reflect::Kind;

use super::descriptors::{behaviors, enums, files, messages, methods, reachable_from_requests};
use super::{report, upper_snake};

const OPTIONAL: i32 = 1;
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const IDENTIFIER: i32 = 8;

/// Requests that are safe to repeat by themselves: by the key of what they carry, or because the last word holds.
const REPEATABLE: &[&str] = &[
    // Streams, which are opened again and again; what they carry has ids of its own.
    "ConnectorService.AttachConnector",
    "ConnectorService.StreamDeliveries",
    "WebChatService.StreamMessages",
    "ControllerService.StreamIntents",
    // The message's own id is the key.
    "ConnectorService.IngestInbound",
    "WebChatService.SendMessage",
    // Evidence only rises, outcomes are fenced by the token of their claim, what is claimed is leased.
    "ConnectorService.ReportReceipt",
    "ConnectorService.AckDelivery",
    "ConnectorService.ClaimDeliveries",
    "ConnectorService.MarkAttempts",
    "ConnectorService.ReportOutcomes",
    "WebChatService.AcknowledgeMessages",
    "WebChatService.SetTyping",
];

/// What a method's name begins with when it changes nothing and so needs no `request_id`.
const READS: &[&str] = &[
    "Get",
    "List",
    "Search",
    "Export",
    "Count",
    "Watch",
    "Subscribe",
    "Resolve",
    "Validate",
    "Simulate",
    "Render",
    "Preview",
    "Check",
    "DryRun",
];

#[test]
fn the_first_value_of_every_enum_is_unspecified() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for one in enums() {
        looked_at += 1;
        let wanted = format!("{}_UNSPECIFIED", upper_snake(one.name()));
        if one.values().next().is_none_or(|value| value.number() != 0 || value.name() != wanted) {
            violations.push(one.full_name().to_owned());
        }
    }
    report(looked_at, &violations);
}

#[test]
fn values_of_enums_of_the_package_carry_its_name_and_nested_ones_do_not() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for one in enums() {
        let prefix = format!("{}_", upper_snake(one.name()));
        for value in one.values().filter(|value| value.number() != 0) {
            looked_at += 1;
            if value.name().starts_with(&prefix) != one.parent_message().is_none() {
                violations.push(format!("{}: {}", one.full_name(), value.name()));
            }
        }
    }
    report(looked_at, &violations);
}

#[test]
fn lists_are_paged_and_never_streamed() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for method in methods().iter().filter(|method| method.name().starts_with("List")) {
        looked_at += 1;
        let (input, output) = (method.input(), method.output());
        let ok = input.get_field_by_name("page_size").is_some_and(|field| field.kind() == Kind::Int32)
            && input.get_field_by_name("page_token").is_some_and(|field| field.kind() == Kind::String)
            && output.get_field_by_name("next_page_token").is_some_and(|field| field.kind() == Kind::String)
            && output.fields().next().is_some_and(|field| field.is_list())
            && !method.is_server_streaming();
        if !ok {
            violations.push(method.full_name().to_owned());
        }
    }
    report(looked_at, &violations);
}

#[test]
fn requests_that_change_something_have_a_request_id() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for method in methods().iter().filter(|method| !READS.iter().any(|read| method.name().starts_with(read))) {
        looked_at += 1;
        let input = method.input();
        if REPEATABLE.iter().any(|one| method.full_name().ends_with(&format!(".{one}"))) {
            continue;
        }
        // A stream has it in the options of its first message.
        let options = input.get_field_by_name("options").and_then(|field| field.kind().as_message().cloned());
        let holder = if method.is_client_streaming() { options.unwrap_or(input) } else { input };
        if holder.get_field_by_name("request_id").is_none_or(|field| field.kind() != Kind::String) {
            violations.push(method.full_name().to_owned());
        }
    }
    report(looked_at, &violations);
}

#[test]
fn updates_have_a_mask_and_deletes_an_etag() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for method in methods() {
        let wanted = match method.name() {
            name if name.starts_with("Update") || name.starts_with("Upsert") => "update_mask",
            name if name.starts_with("Delete") => "etag",
            _ => continue,
        };
        looked_at += 1;
        if method.input().get_field_by_name(wanted).is_none() {
            violations.push(format!("{}: no {wanted}", method.full_name()));
        }
    }
    report(looked_at, &violations);
}

#[test]
fn every_field_that_a_request_can_carry_says_how_it_behaves() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for field in reachable_from_requests().iter().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        looked_at += 1;
        let said = behaviors(&field);
        let ways = [OPTIONAL, REQUIRED, OUTPUT_ONLY, IDENTIFIER].iter().filter(|way| said.contains(way)).count();
        if ways != 1 {
            violations.push(field.full_name().to_owned());
        }
    }
    report(looked_at, &violations);
}

#[test]
fn the_state_of_a_resource_is_output_only_and_its_first_field_is_its_name() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for message in messages() {
        let Some(name) = message.fields().find(|field| behaviors(field).contains(&IDENTIFIER)) else { continue };
        looked_at += 1;
        let state = message.get_field_by_name("state");
        if name.name() != "name" || name.number() != 1 || state.is_some_and(|state| behaviors(&state) != [OUTPUT_ONLY])
        {
            violations.push(message.full_name().to_owned());
        }
    }
    report(looked_at, &violations);
}

#[test]
fn every_service_has_a_file_of_its_name() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for file in files() {
        for service in &file.service {
            looked_at += 1;
            let wanted = format!("switchboard/v1/{}.proto", upper_snake(service.name()).to_lowercase());
            if file.name() != wanted || file.service.len() != 1 {
                violations.push(format!("{} in {}", service.name(), file.name()));
            }
        }
    }
    report(looked_at, &violations);
}

#[test]
fn every_file_has_the_options_that_other_languages_need() {
    let (mut looked_at, mut violations) = (0, Vec::new());
    for file in files() {
        looked_at += 1;
        let options = file.options.clone().unwrap_or_default();
        if options.go_package().is_empty() || options.java_package().is_empty() || !options.java_multiple_files() {
            violations.push(file.name().to_owned());
        }
    }
    report(looked_at, &violations);
}
