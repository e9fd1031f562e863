//! Proves the rules that `README.md` promises on the contract's own descriptor set: every element is commented, and the
//! habits of the AIPs hold everywhere. It knows no message by name, so a new service is held to the rules by being
//! there.
#![cfg(test)]

mod comments;
mod descriptors;
mod rules;

/// Fails with all violations at once, and also when nothing was looked at.
fn report(looked_at: usize, violations: &[String]) {
    assert!(looked_at > 0, "the test found nothing to look at");
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// `ChannelType` as `CHANNEL_TYPE`.
fn upper_snake(camel: &str) -> String {
    let mut out = String::new();
    for (i, c) in camel.chars().enumerate() {
        if i > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}
