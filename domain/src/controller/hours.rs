//! Opening hours, as conditions ask for them.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::quiet_hours::Window;

/// Hours with a name, by the clock on one wall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// The name, as a variable: letters, digits and `_`.
    pub name: String,
    /// The IANA time zone, such as `Asia/Kolkata`.
    pub time_zone: String,
    /// When it is open, such as `mon-fri 09:00-17:00`; at least one.
    pub open: Vec<String>,
}

/// The same, read.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) name: String,
    zone: Tz,
    windows: Vec<Window>,
}

impl Open {
    pub(super) fn new(hours: &Hours) -> Option<Self> {
        let zone = hours.time_zone.parse().ok()?;
        let windows = hours.open.iter().map(|text| Window::parse(text).ok()).collect::<Option<_>>()?;
        Some(Self { name: hours.name.clone(), zone, windows })
    }

    /// Whether it is open at this time.
    pub(super) fn at(&self, now: DateTime<Utc>) -> bool {
        self.windows.iter().any(|window| window.is_quiet(now, self.zone))
    }
}
