//! Accounts and who is in them: memberships, groups, signing groups, permission profiles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::ids;
use crate::limits::Meter;

/// A membership's status, as GET spells it. DELETE and group answers use lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Created, the activation mail is still to be sent.
    ActivationRequired,
    /// Invited; "Pending" in DocuSign's pages.
    ActivationSent,
    /// In use.
    Active,
    /// Closed: what a leaver's membership must become.
    Closed,
    /// Locked by an administrator.
    Disabled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::ActivationRequired,
        Self::ActivationSent,
        Self::Active,
        Self::Closed,
        Self::Disabled,
    ];

    /// The spelling of GET users.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ActivationRequired => "ActivationRequired",
            Self::ActivationSent => "ActivationSent",
            Self::Active => "Active",
            Self::Closed => "Closed",
            Self::Disabled => "Disabled",
        }
    }

    /// Reads a status in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

/// Administration rights of somebody who is not an account administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delegation {
    /// None.
    #[default]
    None,
    /// "Users and Groups": may close everybody but administrators.
    UsersAndGroups,
    /// "Users, Groups and Administrators".
    UsersGroupsAndAdministrators,
}

/// A permission profile of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionProfile {
    /// A number, written as text.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl PermissionProfile {
    /// What DocuSign gives somebody who only signs: the profile that is left when another is taken away.
    pub(crate) fn viewer() -> Self {
        Self {
            id: "2301416".to_owned(),
            name: "DocuSign Viewer".to_owned(),
        }
    }

    /// The profile of ordinary users.
    pub(crate) fn sender() -> Self {
        Self {
            id: "2301415".to_owned(),
            name: "DocuSign Sender".to_owned(),
        }
    }

    /// The profile of administrators.
    pub(crate) fn administrator() -> Self {
        Self {
            id: "2301414".to_owned(),
            name: "Account Administrator".to_owned(),
        }
    }
}

/// One person's membership of one account. The same `user_id` may be a member of several accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// GUID, lower case.
    pub user_id: String,
    /// Full name.
    pub user_name: String,
    /// Address as it was entered: any case. Several memberships of one account may share it.
    pub email: String,
    /// Status of this membership.
    pub status: Status,
    /// Whether the user administers the account.
    pub is_admin: bool,
    /// Whether the user becomes administrator when the last one is closed.
    pub is_alternate_admin: bool,
    /// Rights of somebody who is no administrator.
    pub delegation: Delegation,
    /// Whether an identity provider owns the membership.
    pub managed_by_scim: bool,
    /// What the user may do in the account.
    pub permission_profile: PermissionProfile,
    /// When the user was added, as DocuSign writes dates.
    pub created: String,
    /// DELETE items that named this membership, whatever came of them.
    pub deletes: u64,
    /// DELETE items that named this membership when it was closed already.
    pub second_deletes: u64,
    /// Reads that still show the status before the close, and that status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<(u32, Status)>,
}

impl User {
    /// An active user with this address, a fresh id and a name made from the address.
    #[must_use]
    pub fn new(email: &str) -> Self {
        let local = email.split('@').next().unwrap_or_default();
        Self {
            user_id: ids::guid(),
            user_name: local.replace(['.', '_'], " "),
            email: email.to_owned(),
            status: Status::Active,
            is_admin: false,
            is_alternate_admin: false,
            delegation: Delegation::None,
            managed_by_scim: false,
            permission_profile: PermissionProfile::sender(),
            created: "2024-03-18T08:15:42.2630000Z".to_owned(),
            deletes: 0,
            second_deletes: 0,
            stale: None,
        }
    }

    /// The same user with this id.
    #[must_use]
    pub fn with_id(mut self, user_id: &str) -> Self {
        self.user_id = user_id.to_ascii_lowercase();
        self
    }

    /// The same user with this name.
    #[must_use]
    pub fn with_name(mut self, user_name: &str) -> Self {
        user_name.clone_into(&mut self.user_name);
        self
    }

    /// The same user in this status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same user as an account administrator.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.is_admin = true;
        self.permission_profile = PermissionProfile::administrator();
        self
    }

    /// The same user with delegated administration rights.
    #[must_use]
    pub fn with_delegation(mut self, delegation: Delegation) -> Self {
        self.delegation = delegation;
        self
    }

    /// The same user, owned by an identity provider.
    #[must_use]
    pub fn scim(mut self) -> Self {
        self.managed_by_scim = true;
        self
    }

    /// Whether the membership counts: every status but closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status != Status::Closed
    }
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// A number, written as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Ids of its users.
    pub users: BTreeSet<String>,
}

/// A signing group: addresses, each of which gets the mail and may sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningGroup {
    /// A number, written as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub emails: BTreeSet<String>,
}

/// One account and its memberships.
#[derive(Debug, Clone)]
pub struct Account {
    /// GUID, lower case.
    pub account_id: String,
    /// Its name.
    pub name: String,
    /// Where the account lives: scheme and host. Any other host answers 401.
    pub base_uri: String,
    /// Groups.
    pub groups: Vec<Group>,
    /// Signing groups.
    pub signing_groups: Vec<SigningGroup>,
    pub(crate) meter: Meter,
    users: Vec<User>,
    by_id: HashMap<String, usize>,
    // Ordered, so that a prefix is a range: a list by address stays cheap among a hundred thousand users.
    by_email: BTreeMap<String, Vec<usize>>,
}

impl Account {
    /// An empty account on demo.docusign.net, with a fresh id.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            account_id: ids::guid(),
            name: name.to_owned(),
            base_uri: "https://demo.docusign.net".to_owned(),
            groups: Vec::new(),
            signing_groups: Vec::new(),
            meter: Meter::default(),
            users: Vec::new(),
            by_id: HashMap::new(),
            by_email: BTreeMap::new(),
        }
    }

    /// The same account with this id.
    #[must_use]
    pub fn with_id(mut self, account_id: &str) -> Self {
        self.account_id = account_id.to_ascii_lowercase();
        self
    }

    /// Adds a membership, or replaces the one with the same id. Returns the user's id.
    pub fn add(&mut self, mut user: User) -> String {
        user.user_id.make_ascii_lowercase();
        let id = user.user_id.clone();
        if self.update(&id, |old| user.clone_into(old)) {
            return id;
        }
        let index = self.users.len();
        self.by_id.insert(id.clone(), index);
        self.by_email.entry(user.email.to_lowercase()).or_default().push(index);
        self.users.push(user);
        id
    }

    /// Every membership, oldest first.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The membership of this user; the id in any case.
    #[must_use]
    pub fn user(&self, user_id: &str) -> Option<&User> {
        self.by_id
            .get(&user_id.to_ascii_lowercase())
            .map(|index| &self.users[*index])
    }

    /// Changes a membership; its id stays. False when nobody has this id.
    pub fn update(&mut self, user_id: &str, change: impl FnOnce(&mut User)) -> bool {
        let user_id = user_id.to_ascii_lowercase();
        let Some(&index) = self.by_id.get(&user_id) else {
            return false;
        };
        let user = &mut self.users[index];
        let before = user.email.to_lowercase();
        change(user);
        user.user_id = user_id;
        let after = user.email.to_lowercase();
        if before != after {
            self.by_email.entry(before).or_default().retain(|other| *other != index);
            self.by_email.entry(after).or_default().push(index);
        }
        true
    }

    /// Memberships whose address is `email`, or begins with it, in any case.
    pub(crate) fn by_email(&self, email: &str, prefix: bool) -> Vec<&User> {
        let email = email.to_lowercase();
        let mut indices: Vec<usize> = self
            .by_email
            .range::<str, _>((Bound::Included(email.as_str()), Bound::Unbounded))
            .take_while(|(key, _)| {
                if prefix {
                    key.starts_with(&email)
                } else {
                    **key == email
                }
            })
            .flat_map(|(_, indices)| indices.iter().copied())
            .collect();
        indices.sort_unstable();
        indices.into_iter().map(|index| &self.users[index]).collect()
    }

    /// Adds a group with these users. Returns its id.
    pub fn add_group(&mut self, name: &str, users: &[&str]) -> String {
        let id = (4_312_700 + self.groups.len()).to_string();
        self.groups.push(Group {
            id: id.clone(),
            name: name.to_owned(),
            users: users.iter().map(|user| user.to_ascii_lowercase()).collect(),
        });
        id
    }

    /// Adds a signing group with these addresses. Returns its id.
    pub fn add_signing_group(&mut self, name: &str, emails: &[&str]) -> String {
        let id = (83_400 + self.signing_groups.len()).to_string();
        self.signing_groups.push(SigningGroup {
            id: id.clone(),
            name: name.to_owned(),
            emails: emails.iter().map(ToString::to_string).collect(),
        });
        id
    }

    /// The host of `base_uri`.
    pub(crate) fn host(&self) -> &str {
        let (_, rest) = self.base_uri.split_once("://").unwrap_or(("", &self.base_uri));
        rest.split(['/', ':']).next().unwrap_or_default()
    }

    /// Makes alternate administrators administrators when no other is left.
    pub(crate) fn promote_alternates(&mut self) {
        if self.users.iter().any(|user| user.is_admin && user.is_open()) {
            return;
        }
        for user in self
            .users
            .iter_mut()
            .filter(|user| user.is_alternate_admin && user.is_open())
        {
            user.is_admin = true;
        }
    }
}
