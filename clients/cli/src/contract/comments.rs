//! The comments of the contract, found by the place of an element in its file.

use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{EnumValueDescriptor, FileDescriptor, MessageDescriptor};

/// The comment that stands before the element at this path of a file, as one paragraph; empty when there is none.
pub fn at(file: &FileDescriptor, path: &[i32]) -> String {
    let proto: &FileDescriptorProto = file.file_descriptor_proto();
    let locations = proto.source_code_info.iter().flat_map(|info| &info.location);
    let text = locations.into_iter().find(|it| it.path == path).map_or("", |it| it.leading_comments());
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The comment of a message.
pub fn of_message(message: &MessageDescriptor) -> String {
    at(&message.parent_file(), message.path())
}

/// The comment of an enum value: what the server means by it, in a sentence.
pub fn of_value(value: &EnumValueDescriptor) -> String {
    at(&value.parent_file(), value.path())
}

/// The first sentence of a comment.
pub fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[test]
    fn comments_are_found_for_messages_and_values() {
        let message = contract::message("Contact").unwrap();
        assert_eq!(of_message(&message), "A person known to the system.");
        let value = contract::enumeration("SkipReason").unwrap().get_value(1).unwrap();
        assert!(of_value(&value).starts_with("The person opted out"), "{}", of_value(&value));
    }

    #[test]
    fn the_first_sentence_ends_at_its_full_stop() {
        assert_eq!(first_sentence("One. Two."), "One.");
        assert_eq!(first_sentence("Only one."), "Only one.");
    }
}
