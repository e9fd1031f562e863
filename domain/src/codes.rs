//! One macro for the closed lists of the vocabulary: each value has one stable name, used in SQL, JSON and logs alike.

/// Defines an enum whose variants have stable lower-case (or upper-case) names, with `ALL`, `as_str`, `FromStr`, `Display`
/// and serde by that name. Variants are ordered as written, so `Ord` is the rank where a list has one.
macro_rules! codes {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownCode;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err($crate::UnknownCode { list: stringify!($name), value: text.to_owned() }),
                }
            }
        }
    };
}

/// A name that is not in its list: data of a newer version, or a typing error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a known {list}")]
pub struct UnknownCode {
    /// The list that was asked.
    pub list: &'static str,
    /// What was given.
    pub value: String,
}
