//! The words of the record.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use super::error::JournalError;

/// Longest name of a tenant, source or connector, in bytes. Twice what the tenant files allow, so that a later, longer
/// rule there needs no migration here.
pub const MAX_NAME_BYTES: usize = 128;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(super) Uuid);

        impl $name {
            /// The id as a UUID.
            #[must_use]
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// Names an event. UUIDv7: sorts by the time of arrival.
    EventId
);
id!(
    /// Names a job. UUIDv7: sorts by the time of arrival.
    JobId
);

id!(
    /// Names what somebody did. UUIDv7: sorts by the time when it was done.
    ActionId
);

/// The first id that may have been made at that time, in milliseconds since 1970.
pub(super) fn first_id(milliseconds: i64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(milliseconds).unwrap_or(0), &[0; 10]).into_uuid()
}

/// The time in a row's id.
pub(super) fn written_at(id: Uuid) -> Timestamp {
    let time = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    let milliseconds = i64::try_from(time.0).unwrap_or(0).saturating_mul(1000) + i64::from(time.1 / 1_000_000);
    date(milliseconds)
}

/// A tenant's connector, with its own cap, rate limit, breaker and place in the round.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    tenant: String,
    connector: String,
}

impl Lane {
    /// The lane of a tenant's connector.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] for a name that is empty, longer than [`MAX_NAME_BYTES`], or holds `/` or a control
    /// character.
    pub fn new(tenant: impl Into<String>, connector: impl Into<String>) -> Result<Self, JournalError> {
        let (tenant, connector) = (tenant.into(), connector.into());
        check_name("tenant", &tenant)?;
        check_name("connector", &connector)?;
        Ok(Self { tenant, connector })
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The connector.
    #[must_use]
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// `tenant/connector`, the lane's key.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.connector)
    }

    /// The lane of a stored key.
    pub(super) fn from_key(key: &str) -> Self {
        let (tenant, connector) = key.split_once('/').unwrap_or((key, ""));
        Self {
            tenant: tenant.to_owned(),
            connector: connector.to_owned(),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.connector)
    }
}

/// Refuses a name that could not be told apart in a lane's key, or not be stored.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), JournalError> {
    let refuse = |why: &str| Err(JournalError::Invalid(format!("{what} name {name:?} {why}")));
    match name {
        "" => refuse("is empty"),
        _ if name.len() > MAX_NAME_BYTES => refuse("is longer than 128 bytes"),
        _ if name.contains('/') => refuse("holds a slash"),
        _ if name.chars().any(char::is_control) => refuse("holds a control character"),
        _ => Ok(()),
    }
}

/// What shows that a job is still ours. Made by a claim, worthless after the job was finished or reclaimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub(super) job: JobId,
    pub(super) lane: Lane,
    pub(super) token: i64,
}

impl Fence {
    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The job's lane.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }
}

/// A closed set of words that is stored as a number. Numbers are never reused.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $code:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$item_doc])* $item,)* }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$item,)*];

            /// The word for it in text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word,)* }
            }

            pub(super) fn code(self) -> i64 {
                match self { $(Self::$item => $code,)* }
            }

            pub(super) fn from_code(code: i64) -> Result<Self, JournalError> {
                match code {
                    $($code => Ok(Self::$item),)*
                    _ => Err(JournalError::Database {
                        message: format!(concat!("{} is no ", stringify!($name)), code),
                        code: None,
                    }),
                }
            }
        }

        impl FromStr for $name {
            type Err = JournalError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|item| item.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|item| item.as_str()).collect();
                    JournalError::Invalid(format!("{text:?} is none of {}", known.join(", ")))
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
words! {
    /// How a job ended.
    Outcome {
        /// We closed the account and saw it closed.
        Closed = 0, "closed";
        /// It was closed before we came.
        AlreadyClosed = 1, "already_closed";
        /// The target holds no account for the person.
        NoAccount = 2, "no_account";
        /// A dry run: what would have been done.
        Planned = 3, "planned";
        /// Policy or the target said no.
        Refused = 4, "refused";
        /// It did not work, or could not be proved.
        Failed = 5, "failed";
        /// An operator ended it.
        Cancelled = 6, "cancelled";
    }
}

words! {
    /// What was decided about an event.
    Decision {
        /// Somebody left.
        Leaver = 0, "leaver";
        /// Nothing to do.
        NotALeaver = 1, "not_a_leaver";
        /// Somebody left, and the event does not say who well enough.
        Refused = 2, "refused";
        /// Made no job when it came, and was judged again: another event stands for it.
        Replayed = 3, "replayed";
    }
}

words! {
    /// Where a job is on its way.
    State {
        /// Waits for its turn.
        Queued = 0, "queued";
        /// Somebody works on it.
        Running = 1, "running";
        /// Waits for an operator.
        Held = 2, "held";
        /// Has its outcome.
        Ended = 3, "ended";
    }
}

/// Milliseconds since 1970 as a date. What lies outside the calendar becomes its nearest end.
pub(super) fn date(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// A duration in milliseconds, at most 292 million years.
pub(super) fn milliseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
