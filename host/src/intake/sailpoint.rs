//! SailPoint Identity Security Cloud's events.
//!
//! Four families carry leavers, and they differ in their field names (developer.sailpoint.com, event triggers):
//!
//! | family | told by | changes |
//! |---|---|---|
//! | native change (account created, updated, deleted) | `eventType` | `singleValueAttributeChanges`: `name`, `newValue` |
//! | account created, updated, deleted V2 | `event.type` | the same, in updated only |
//! | account attributes changed | `account` and `changes` | `changes`: `attribute`, `newValue` |
//! | identity attributes changed | `changes` alone | the same |
//!
//! An account that is not correlated has a system-generated identity, which is no person (native change guide), and a
//! machine account's identity is at most its owner. Neither ever names a leaver.

use serde_json::{Map, Value};

use super::json::{shown_value, type_of};
use super::person::Person;
use crate::tenant::quoted;

const NATIVE: [&str; 3] = ["ACCOUNT_CREATED", "ACCOUNT_UPDATED", "ACCOUNT_DELETED"];
const V2: [&str; 3] = ["ACCOUNT_CREATED_V2", "ACCOUNT_UPDATED_V2", "ACCOUNT_DELETED_V2"];

/// An event of a known family, its fields of the right types.
#[derive(Debug)]
pub(crate) struct Event<'e> {
    pub(crate) family: Family,
    pub(crate) identity: Identity<'e>,
    pub(crate) changes: Vec<Change<'e>>,
    account: Option<&'e Map<String, Value>>,
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    NativeChange { deleted: bool },
    AccountV2 { deleted: bool },
    AccountAttributes,
    IdentityAttributes,
}

/// Who the event is about, in its own words.
#[derive(Debug)]
pub(crate) struct Identity<'e> {
    pub(crate) id: &'e str,
    pub(crate) name: Option<&'e str>,
    pub(crate) email: Option<&'e str>,
}

/// One attribute that changed.
#[derive(Debug)]
pub(crate) struct Change<'e> {
    pub(crate) attribute: &'e str,
    /// The value before; absent for the lists of multi-valued attributes.
    pub(crate) before: Option<&'e Value>,
    /// The values that it has now, or that were added. Null is not among them.
    pub(crate) now: Vec<&'e Value>,
}

impl<'e> Event<'e> {
    /// Tells the family and checks the types of what is used.
    pub(crate) fn read(event: &'e Map<String, Value>) -> Result<Self, String> {
        let family = family(event)?;
        let identity = read_identity(event)?;
        let account = optional_object(event, "account")?;
        let mut changes = Vec::new();
        match family {
            Family::NativeChange { .. } | Family::AccountV2 { .. } => {
                read_changes(event, "singleValueAttributeChanges", "name", &mut changes)?;
                read_additions(event, &mut changes)?;
            }
            Family::AccountAttributes | Family::IdentityAttributes => {
                read_changes(event, "changes", "attribute", &mut changes)?;
            }
        }
        Ok(Self {
            family,
            identity,
            changes,
            account,
        })
    }

    /// Whether the identity is the person that the account belongs to.
    pub(crate) fn check_person(&self) -> Result<(), String> {
        let expected = match self.family {
            Family::NativeChange { .. } | Family::AccountV2 { .. } => true,
            Family::AccountAttributes | Family::IdentityAttributes => false,
        };
        match self.flag("correlated")? {
            Some(true) => {}
            Some(false) => {
                return Err(
                    "the account is not correlated (account.correlated is false): its identity is system \
                            generated and no person; correlate the account in SailPoint"
                        .to_owned(),
                );
            }
            None if expected => {
                return Err(
                    "account.correlated is missing, so it is not known whether the identity is a person; \
                            forward the event whole"
                        .to_owned(),
                );
            }
            None => {}
        }
        match self.flag("isMachine")? {
            Some(true) => Err(
                "the account is a machine account (account.isMachine is true): its identity is its \
                               owner, who did not leave by this"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// The event's own word for what it is.
    pub(crate) fn kind<'w>(&self, whole: &'w Value) -> &'w str {
        let word = |pointer| whole.pointer(pointer).and_then(Value::as_str);
        let name: &'static str = self.family.name();
        match self.family {
            Family::NativeChange { .. } => word("/eventType").unwrap_or(name),
            Family::AccountV2 { .. } => word("/event/type").unwrap_or(name),
            Family::AccountAttributes | Family::IdentityAttributes => name,
        }
    }

    /// Where an address stands in the event that the usual place does not give.
    pub(crate) fn path_to_an_address(&self) -> Option<String> {
        let attributes = self.account?.get("attributes")?.as_object()?;
        let (name, _) = attributes.iter().find(|(name, value)| {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            plain && name.to_lowercase().contains("mail") && value.as_str().is_some_and(|text| text.contains('@'))
        })?;
        Some(format!("$.account.attributes.{name}"))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.account.and_then(|account| account.get(name)) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(other) => Err(format!(
                "account.{name} must be true or false, is {}",
                shown_value(other)
            )),
        }
    }
}

impl Family {
    /// What SailPoint calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NativeChange { .. } => "native change",
            Self::AccountV2 { .. } => "account V2",
            Self::AccountAttributes => "account attributes changed",
            Self::IdentityAttributes => "identity attributes changed",
        }
    }
}

fn family(event: &Map<String, Value>) -> Result<Family, String> {
    if let Some(kind) = event.get("eventType") {
        let kind = text(kind, "eventType")?;
        let known = NATIVE.contains(&kind);
        return known
            .then(|| Family::NativeChange {
                deleted: kind == NATIVE[2],
            })
            .ok_or_else(|| format!("unknown eventType {}; expected {}", quoted(kind), NATIVE.join(", ")));
    }
    if let Some(inner) = optional_object(event, "event")? {
        let kind = text(inner.get("type").unwrap_or(&Value::Null), "event.type")?;
        let known = V2.contains(&kind);
        return known
            .then(|| Family::AccountV2 { deleted: kind == V2[2] })
            .ok_or_else(|| format!("unknown event.type {}; expected {}", quoted(kind), V2.join(", ")));
    }
    match (event.contains_key("changes"), event.contains_key("account")) {
        (true, true) => Ok(Family::AccountAttributes),
        (true, false) => Ok(Family::IdentityAttributes),
        (false, _) => Err(unknown_shape(event)),
    }
}

fn unknown_shape(event: &Map<String, Value>) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<String> = event.keys().take(SHOWN).map(|name| quoted(name)).collect();
    if event.len() > SHOWN {
        names.push("…".to_owned());
    }
    let saw = if names.is_empty() {
        "nothing in it".to_owned()
    } else {
        names.join(", ")
    };
    format!(
        "unknown event: expected a native change (`eventType`), account created, updated or deleted V2 (`event.type`), \
         or identity or account attributes changed (`changes`); saw {saw}"
    )
}

fn read_identity(event: &Map<String, Value>) -> Result<Identity<'_>, String> {
    let identity = optional_object(event, "identity")?
        .ok_or("the event lacks `identity`; expected an object with the person's id, name and email")?;
    let field = |name: &str| match identity.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text(value, &format!("identity.{name}")).map(|text| Some(text).filter(|t| !t.trim().is_empty())),
    };
    let id = field("id")?.ok_or("the event lacks `identity.id`, the person's id in SailPoint")?;
    Ok(Identity {
        id,
        name: field("name")?,
        email: field("email")?,
    })
}

fn read_changes<'e>(
    event: &'e Map<String, Value>,
    list: &str,
    name: &str,
    changes: &mut Vec<Change<'e>>,
) -> Result<(), String> {
    for (index, item) in optional_list(event, list)?.iter().enumerate() {
        let place = format!("{list}[{index}]");
        let change = object(item, &place)?;
        let attribute = text(change.get(name).unwrap_or(&Value::Null), &format!("{place}.{name}"))?;
        let now = match change.get("newValue") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values.iter().filter(|value| !value.is_null()).collect(),
            Some(value) => vec![value],
        };
        changes.push(Change {
            attribute,
            before: change.get("oldValue"),
            now,
        });
    }
    Ok(())
}

fn read_additions<'e>(event: &'e Map<String, Value>, changes: &mut Vec<Change<'e>>) -> Result<(), String> {
    const LIST: &str = "multiValueAttributeChanges";
    for (index, item) in optional_list(event, LIST)?.iter().enumerate() {
        let place = format!("{LIST}[{index}]");
        let change = object(item, &place)?;
        let attribute = text(change.get("name").unwrap_or(&Value::Null), &format!("{place}.name"))?;
        let added = match change.get("addedValues") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(values)) => values.as_slice(),
            Some(other) => return Err(format!("{place}.addedValues must be a list, is {}", type_of(other))),
        };
        changes.push(Change {
            attribute,
            before: None,
            now: added.iter().collect(),
        });
    }
    Ok(())
}

fn text<'e>(value: &'e Value, place: &str) -> Result<&'e str, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Err(format!("{place} is missing or null; expected a string")),
        other => Err(format!("{place} must be a string, is {}", type_of(other))),
    }
}

fn object<'e>(value: &'e Value, place: &str) -> Result<&'e Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{place} must be an object, is {}", type_of(value)))
}

fn optional_object<'e>(event: &'e Map<String, Value>, name: &str) -> Result<Option<&'e Map<String, Value>>, String> {
    match event.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => object(value, name).map(Some),
    }
}

fn optional_list<'e>(event: &'e Map<String, Value>, name: &str) -> Result<&'e [Value], String> {
    match event.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(format!("{name} must be a list, is {}", type_of(other))),
    }
}

/// Why jobs are held whose event names one of SailPoint's published samples.
pub const SAMPLE_HOLD: &str = "sample-event";

/// Identity and account ids in the payloads that SailPoint's documentation and specification publish.
const SAMPLE_IDS: [&str; 14] = [
    "132rfvwfr14353yas56213l",
    "2c7180a46faadee4016fb4e018c20642",
    "2c91808378eb9fa30178fb9481a30afa",
    "2c91808568c529c60168cca6f90c1313",
    "2c91808978eb9fab0178fb8ca6d308fb",
    "52170a74-ca89-11ea-87d0-0242ac130003",
    "6805a47c09cc4dfca9083f1ce84552ee",
    "acc-789",
    "b3b17b0072f04da39b41e8802aaff01b",
    "e43ba47b265b4baf943efe3aaef886c8",
    "ee769173319b41d19ccec35ba52f237b",
    "ee769173319b41d19ccec6cea52f237b",
    "id-321",
    "2c9180835d2e5168015d32f890ca1581",
];

/// Whether the event is about an identity or account of SailPoint's published samples, as its test button sends them.
#[must_use]
pub fn is_documented_sample(event: &Value) -> bool {
    let ids = ["/identity/id", "/account/id"]
        .into_iter()
        .filter_map(|pointer| event.pointer(pointer)?.as_str());
    ids.into_iter().any(|id| SAMPLE_IDS.contains(&id))
}

/// Whether a person has an id of SailPoint's published samples: somebody's webhook, or a step of a workflow that is tested,
/// may pass it on. One who has such an id by chance waits for an operator, and is not lost.
pub(crate) fn is_sample_person(person: &Person) -> bool {
    let ids = [&person.id, &person.target_id].into_iter().flatten();
    ids.into_iter().any(|id| SAMPLE_IDS.contains(&id.as_str()))
}

/// Why the jobs of such an event wait for an operator.
pub(crate) fn sample_objection() -> (&'static str, String) {
    let reason = "it names an identity or account of SailPoint's published samples, as its test button sends them";
    (SAMPLE_HOLD, reason.to_owned())
}
