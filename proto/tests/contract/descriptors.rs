//! Reads the contract's own descriptor set for the tests beside it: messages, methods, annotations, and the comment of
//! every element. It judges nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor, Value};

/// The package that is held to the rules.
const PACKAGE: &str = "switchboard.v1";

/// The path of an element inside its file, as `google.protobuf.SourceCodeInfo` has it.
pub type Path = Vec<i32>;

/// Decoded once: it takes a second without optimisation, and every test asks for it.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).expect("the descriptor set holds all its imports")
});

/// The files of the package.
pub fn files() -> Vec<FileDescriptorProto> {
    POOL.file_descriptor_protos().filter(|file| file.package() == PACKAGE).cloned().collect()
}

/// The messages of the package, without the entries of maps.
pub fn messages() -> Vec<MessageDescriptor> {
    POOL.all_messages().filter(is_ours).collect()
}

/// The enums of the package.
pub fn enums() -> Vec<EnumDescriptor> {
    POOL.all_enums().filter(|one| one.package_name() == PACKAGE).collect()
}

/// The methods of all services of the package.
pub fn methods() -> Vec<MethodDescriptor> {
    let services = POOL.services().filter(|service| service.package_name() == PACKAGE);
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// All messages that a request of any method can carry, the requests included.
pub fn reachable_from_requests() -> Vec<MessageDescriptor> {
    let mut found = BTreeMap::new();
    let mut open: Vec<MessageDescriptor> = methods().iter().map(MethodDescriptor::input).collect();
    while let Some(message) = open.pop() {
        if is_ours(&message) && found.insert(message.full_name().to_owned(), message.clone()).is_none() {
            open.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
        }
    }
    found.into_values().collect()
}

/// The numbers of `google.api.field_behavior` on a field.
pub fn behaviors(field: &FieldDescriptor) -> Vec<i32> {
    let extension = POOL.get_extension_by_name("google.api.field_behavior").expect("field_behavior.proto is imported");
    match field.options().get_extension(&extension).as_ref() {
        Value::List(values) => values.iter().filter_map(Value::as_enum_number).collect(),
        _ => Vec::new(),
    }
}

/// The leading comments of a file by the path of their element.
pub fn comments(file: &FileDescriptorProto) -> BTreeMap<Path, String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations.filter_map(|l| Some((l.path.clone(), l.leading_comments.as_ref()?.trim().to_owned()))).collect()
}

/// Every element of a file that needs a comment: its path and its name.
pub fn elements(file: &FileDescriptorProto) -> Vec<(Path, String)> {
    let mut all = vec![(vec![12], format!("{} (head of the file)", file.name()))];
    for (i, message) in file.message_type.iter().enumerate() {
        message_elements(message, below(&[], 4, i), message.name(), &mut all);
    }
    for (i, one) in file.enum_type.iter().enumerate() {
        enum_elements(one, below(&[], 5, i), one.name(), &mut all);
    }
    for (i, service) in file.service.iter().enumerate() {
        let path = below(&[], 6, i);
        for (j, method) in service.method.iter().enumerate() {
            all.push((below(&path, 2, j), format!("{}.{}", service.name(), method.name())));
        }
        all.push((path, service.name().to_owned()));
    }
    all
}

/// The path of the `i`-th element under `tag` of the element at `path`.
pub fn below(path: &[i32], tag: i32, i: usize) -> Path {
    let i = i32::try_from(i).expect("a file has fewer elements than fit in an i32");
    path.iter().copied().chain([tag, i]).collect()
}

fn message_elements(message: &DescriptorProto, path: Path, name: &str, all: &mut Vec<(Path, String)>) {
    if message.options.as_ref().is_some_and(|options| options.map_entry()) {
        return;
    }
    for (i, field) in message.field.iter().enumerate() {
        all.push((below(&path, 2, i), format!("{name}.{}", field.name())));
    }
    // A name that begins with `_` is the oneof behind an `optional` field: nobody wrote it.
    for (i, oneof) in message.oneof_decl.iter().enumerate().filter(|(_, oneof)| !oneof.name().starts_with('_')) {
        all.push((below(&path, 8, i), format!("{name}.{}", oneof.name())));
    }
    for (i, nested) in message.nested_type.iter().enumerate() {
        message_elements(nested, below(&path, 3, i), &format!("{name}.{}", nested.name()), all);
    }
    for (i, one) in message.enum_type.iter().enumerate() {
        enum_elements(one, below(&path, 4, i), &format!("{name}.{}", one.name()), all);
    }
    all.push((path, name.to_owned()));
}

fn enum_elements(one: &EnumDescriptorProto, path: Path, name: &str, all: &mut Vec<(Path, String)>) {
    for (i, value) in one.value.iter().enumerate() {
        all.push((below(&path, 2, i), format!("{name}.{}", value.name())));
    }
    all.push((path, name.to_owned()));
}

fn is_ours(message: &MessageDescriptor) -> bool {
    message.package_name() == PACKAGE && !message.is_map_entry()
}
