//! Placeholder
use super::Context;
use domain::channel::ChannelType;
/// url
pub fn url(_c: &Context, _a: i64, _t: ChannelType, _p: &str) -> Option<String> {
    None
}
