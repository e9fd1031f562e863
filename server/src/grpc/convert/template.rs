//! Templates, their versions, and previews.

use std::collections::BTreeMap;

use domain::{
    sms::{self, Encoding},
    template::{ContentTemplate, TemplateVersion, Variable},
};
use proto::v1::{self, render_template_request::Source as Given};

use super::{Faults, common, contact, content};
use crate::{
    grpc::mask::Mask,
    services::{
        etag,
        templates::{
            CONTACT, Change, Definition, New, Reference, Template, Version, name_of,
            render::{Preview, Question, Source},
        },
    },
};

const MAX_PARAMETERS: usize = 20;

/// A template of the contract.
#[must_use]
pub fn message(template: Template) -> v1::Template {
    let row = template.row;
    v1::Template {
        name: name_of(&row.slug),
        display_name: row.display_name,
        description: row.description,
        latest_version: template.latest.map(version_message),
        create_time: Some(common::timestamp(row.created_at)),
        update_time: Some(common::timestamp(row.updated_at)),
        etag: etag::of(row.version),
    }
}

/// A version of the contract. The variable that every template may use is not among its own.
#[must_use]
pub fn version_message(version: Version) -> v1::TemplateVersion {
    let (row, definition) = (version.row, version.definition);
    let own = definition.version.variables.into_iter().filter(|v| v.name != CONTACT);
    let mut parameters = definition.provider_parameters.into_iter();
    let contents = definition.version.contents.into_iter().map(|c| v1::TemplateContent {
        channel_type: common::of_channel_type(c.channel_type).into(),
        language: c.language,
        content: Some(content::of_body(c.body)),
        provider_parameters: parameters.next().unwrap_or_default(),
    });
    let contents = contents.collect();
    v1::TemplateVersion {
        name: format!("{}/versions/{}", name_of(&row.slug), row.number),
        version: row.number,
        default_language: definition.version.default_language,
        contents,
        variables: own.map(|v| variable_message(v, &definition.descriptions)).collect(),
        change_note: definition.change_note,
        create_time: Some(common::timestamp(row.created_at)),
    }
}

fn variable_message(variable: Variable, descriptions: &BTreeMap<String, String>) -> v1::TemplateVariable {
    v1::TemplateVariable {
        description: descriptions.get(&variable.name).cloned().unwrap_or_default(),
        name: variable.name,
        required: variable.required,
        default_value: variable.default.as_ref().map(common::of_json),
        example: variable.example.as_ref().map(common::of_json),
    }
}

/// A template to be created.
pub fn create(request: v1::CreateTemplateRequest, faults: &mut Faults) -> New {
    let slug = faults.slug("template_id", &request.template_id);
    let template = faults.required("template", request.template);
    let (display_name, description) = faults.inside("template", |f| names(template, f));
    let first = request.initial_version.map(|v| faults.inside("initial_version", |f| definition(v, f)));
    New { slug, display_name, description, first }
}

/// Which template changes, how, and what the caller has seen of it.
pub fn update(request: v1::UpdateTemplateRequest, faults: &mut Faults) -> (String, Change, String) {
    let template = faults.required("template", request.template);
    let writable =
        [("display_name", !template.display_name.is_empty()), ("description", !template.description.is_empty())];
    let mask = Mask::read(request.update_mask.as_ref(), &writable, &[], faults);
    let (slug, etag) = (faults.name("template.name", "templates", &template.name), template.etag.clone());
    let (display_name, description) = faults.inside("template", |f| names(template, f));
    let change = Change {
        display_name: mask.take("display_name", display_name),
        description: mask.take("description", description),
    };
    (slug, change, etag)
}

fn names(template: v1::Template, faults: &mut Faults) -> (String, String) {
    (faults.text("display_name", template.display_name, 200), faults.text("description", template.description, 2000))
}

/// Which template gets which version, and what the caller has seen of it.
pub fn add_version(request: v1::CreateTemplateVersionRequest, faults: &mut Faults) -> (String, Definition, String) {
    let slug = faults.name("parent", "templates", &request.parent);
    let version = faults.required("template_version", request.template_version);
    (slug, faults.inside("template_version", |f| definition(version, f)), request.etag)
}

/// `templates/welcome`, or one version of it.
pub fn reference(field: &str, name: &str, faults: &mut Faults) -> Reference {
    let (slug, number) = faults.versioned_name(field, "templates", name);
    Reference { slug, number }
}

/// What is to be rendered; none where the request was refused.
pub fn render(request: v1::RenderTemplateRequest, faults: &mut Faults) -> Option<Question> {
    let source = match request.source {
        Some(Given::Name(name)) => Some(Source::Stored(reference("name", &name, faults))),
        Some(Given::TemplateVersion(version)) => {
            Some(Source::Inline(Box::new(faults.inside("template_version", |f| definition(version, f)))))
        }
        None => {
            faults.note("name", "exactly one of name and template_version must be set");
            None
        }
    };
    let channel_type = faults.code("channel_type", request.channel_type, common::channel_type);
    let language = faults.locale("language", &request.language);
    let contact = Some(request.contact).filter(|c| !c.is_empty()).map(|c| contact::name("contact", &c, faults));
    let variables = request.variables.map(common::object).unwrap_or_default();
    let (source, channel_type) = (source?, channel_type?);
    Some(Question { source, channel_type, language, variables, contact, use_examples: request.use_examples })
}

/// How a template looks.
#[must_use]
pub fn preview(preview: Preview) -> v1::RenderTemplateResponse {
    let plain_text = preview.content.as_ref().map(domain::message::Content::plain_text).unwrap_or_default();
    v1::RenderTemplateResponse {
        template_version: preview.version,
        language: preview.language,
        sms: preview.segments.map(|segments| sms_info(segments, &plain_text)),
        plain_text,
        content: preview.content.map(content::message),
        missing_variables: preview.missing,
        problems: preview
            .problems
            .into_iter()
            .map(|(field, words)| common::problem(&field, "TEMPLATE_INVALID", words))
            .collect(),
    }
}

fn sms_info(segments: sms::Segments, text: &str) -> v1::SmsInfo {
    use v1::sms_info::Encoding as Code;
    let encoding = match segments.encoding {
        Encoding::Gsm7 => Code::Gsm7,
        Encoding::Ucs2 => Code::Ucs2,
    };
    let mut foreign: Vec<String> = Vec::new();
    for c in text.chars().map(String::from) {
        if sms::segments(&c).encoding == Encoding::Ucs2 && !foreign.contains(&c) {
            foreign.push(c);
        }
    }
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    v1::SmsInfo {
        encoding: encoding.into(),
        segment_count: segments.parts.into(),
        unit_count: count(segments.units),
        units_left: count(segments.remaining),
        non_gsm_characters: foreign,
    }
}

fn definition(given: v1::TemplateVersion, faults: &mut Faults) -> Definition {
    let change_note = faults.text("change_note", given.change_note, 500);
    let (mut variables, mut descriptions) = (Vec::new(), BTreeMap::new());
    for (index, v) in given.variables.into_iter().enumerate() {
        let description = faults.inside(format!("variables[{index}]"), |f| f.text("description", v.description, 500));
        if v.name == CONTACT {
            faults.note(format!("variables[{index}].name"), "is known to every template already");
        }
        if !description.is_empty() {
            descriptions.insert(v.name.clone(), description);
        }
        let (default, example) = (v.default_value.map(common::json), v.example.map(common::json));
        variables.push(Variable { name: v.name, required: v.required, default, example });
    }
    let (mut contents, mut provider_parameters) = (Vec::new(), Vec::new());
    for (index, c) in given.contents.into_iter().enumerate() {
        faults.inside(format!("contents[{index}]"), |f| {
            if c.provider_parameters.len() > MAX_PARAMETERS {
                f.note("provider_parameters", format!("has more than {MAX_PARAMETERS} entries"));
            }
            let channel_type = f.code("channel_type", c.channel_type, common::channel_type);
            let body = content::body("content", c.content, f);
            if let (Some(channel_type), Some(body)) = (channel_type, body) {
                contents.push(ContentTemplate { channel_type, language: c.language, body });
                provider_parameters.push(c.provider_parameters);
            }
        });
    }
    let version = TemplateVersion { default_language: given.default_language, variables, contents };
    Definition { version, change_note, descriptions, provider_parameters }
}
