//! Messages that can be read from files, and the names by which their descriptors are found.

use proto::v1;

/// A message whose name in the contract is known.
pub trait Described: prost::Message + Default {
    /// The full name, such as `switchboard.v1.Contact`.
    const NAME: &'static str;
}

macro_rules! described {
    ($($message:ident),+ $(,)?) => {
        $(impl Described for v1::$message {
            const NAME: &'static str = concat!("switchboard.v1.", stringify!($message));
        })+

        #[cfg(test)]
        const NAMES: &[&str] = &[$(<v1::$message as Described>::NAME),+];
    };
}

described! {
    Audience, BatchSendNotificationsRequest, CallList, Campaign, Channel, Contact, Controller, Conversation, ExecuteActionsRequest, FallbackPolicy, Schedule,
    SendNotificationRequest, Source, Template, TemplateVersion, Trigger, Webhook,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_is_one_of_the_contract() {
        for name in super::NAMES {
            assert!(crate::contract::pool().get_message_by_name(name).is_some(), "{name}");
        }
    }
}
