//! `DELETE …/users`: closes memberships. Each item has its own result, and the answer is 200 even where all failed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Caller, LACKS_MEMBERSHIP, LACKS_MEMBERSHIP_TEXT, Refused, bad_parameter, lacks_permission, may_administer,
};
use crate::call::{Call, Reply};
use crate::directory::PermissionProfile;
use crate::state::State;
use crate::switches::{AlreadyClosed, SelfClose, UnknownUser};
use crate::{Account, Delegation, ErrorDetails, Status};

/// What else goes when a membership is closed: the `delete` query.
#[derive(Default, Clone, Copy)]
struct Removal {
    groups: bool,
    permission_set: bool,
    signing_groups: bool,
}

impl Removal {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut removal = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "groups" => removal.groups = true,
                "permissionset" => removal.permission_set = true,
                "signinggroupsemail" => removal.signing_groups = true,
                _ => {
                    return Err(bad_parameter(&format!(
                        "The request contained at least one invalid parameter. Invalid value specified for delete: {name}."
                    )));
                }
            }
        }
        Ok(removal)
    }
}

#[derive(Deserialize)]
struct UserInfoList {
    users: Vec<UserInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserInfo {
    user_id: Option<String>,
}

/// `DELETE …/users` with a `userInfoList`.
pub(super) fn list(state: &mut State, call: &Call, caller: &Caller) -> Reply {
    let removal = match Removal::parse(&call.param("delete").unwrap_or_default()) {
        Ok(removal) => removal,
        Err(reply) => return *reply,
    };
    let Ok(body) = serde_json::from_slice::<UserInfoList>(&call.body) else {
        return bad_body();
    };
    if !call.is_json() || body.users.is_empty() {
        return bad_body();
    }
    let ids: Vec<String> = body
        .users
        .into_iter()
        .map(|user| user.user_id.unwrap_or_default().to_ascii_lowercase())
        .collect();
    close(state, caller, &ids, removal)
}

/// The article's single user.
pub(super) fn one(state: &mut State, caller: &Caller, user_id: &str) -> Reply {
    close(state, caller, &[user_id.to_ascii_lowercase()], Removal::default())
}

/// A body that is missing, empty or not what the operation takes.
pub(super) fn bad_body() -> Reply {
    Reply::error(
        400,
        "INVALID_REQUEST_BODY",
        "The request body is missing or improperly formatted.",
    )
}

fn close(state: &mut State, caller: &Caller, ids: &[String], removal: Removal) -> Reply {
    if !may_administer(state, caller) {
        return lacks_permission(state);
    }
    if let Some(reply) = refuse_all(state, caller, ids) {
        return reply;
    }
    let items: Vec<Value> = ids
        .iter()
        .map(|user_id| match close_item(state, caller, user_id, removal) {
            Ok(()) => json!({ "userId": user_id, "userStatus": "closed", "uri": format!("/users/{user_id}") }),
            Err(error) => json!({
                "userId": user_id,
                "errorDetails": { "errorCode": error.error_code, "message": error.message },
            }),
        })
        .collect();
    Reply::json(200, &json!({ "users": items }))
}

/// Switches under which one bad item refuses the whole request, before any takes effect.
fn refuse_all(state: &State, caller: &Caller, ids: &[String]) -> Option<Reply> {
    let account = &state.accounts[caller.account];
    if state.switches.unknown_user == UnknownUser::BadRequest && ids.iter().any(|id| account.user(id).is_none()) {
        return Some(super::lacks_membership(state));
    }
    if state.switches.self_close == SelfClose::BadRequest && ids.contains(&caller.user_id) {
        let error = self_close_error();
        return Some(Reply::error(400, &error.error_code, &error.message));
    }
    None
}

fn close_item(state: &mut State, caller: &Caller, user_id: &str, removal: Removal) -> Result<(), ErrorDetails> {
    let (account, switches) = (&mut state.accounts[caller.account], &state.switches);
    let lacks_membership = || ErrorDetails::new(LACKS_MEMBERSHIP, LACKS_MEMBERSHIP_TEXT);
    let Some(user) = account.user(user_id) else {
        return Err(lacks_membership());
    };
    let (status, is_admin) = (user.status, user.is_admin);
    let is_closed = status == Status::Closed;
    account.update(user_id, |user| {
        user.deletes += 1;
        user.second_deletes += u64::from(is_closed);
    });
    state.counters.second_deletes += u64::from(is_closed);
    if let Some(error) = switches.refusal(user_id) {
        return Err(error.clone());
    }
    if is_closed && switches.already_closed == AlreadyClosed::ErrorDetails {
        return Err(lacks_membership());
    }
    if user_id == caller.user_id && switches.self_close == SelfClose::ErrorDetails {
        return Err(self_close_error());
    }
    if is_admin && !may_close_admins(account, caller) {
        return Err(ErrorDetails::new(
            "USER_LACKS_PERMISSIONS",
            "This User lacks sufficient permissions.",
        ));
    }
    if is_closed || switches.pretends(user_id) {
        return Ok(());
    }
    let reads = switches.close_visible_after_reads;
    account.update(user_id, |user| {
        user.status = Status::Closed;
        user.stale = (reads > 0).then_some((reads, status));
    });
    remove(account, user_id, removal);
    account.promote_alternates();
    state.counters.closes += 1;
    Ok(())
}

fn may_close_admins(account: &Account, caller: &Caller) -> bool {
    account
        .user(&caller.user_id)
        .is_some_and(|user| user.is_admin || user.delegation == Delegation::UsersGroupsAndAdministrators)
}

fn self_close_error() -> ErrorDetails {
    ErrorDetails::new("USER_CANNOT_CLOSE_SELF", "A user cannot close its own membership.")
}

/// What `delete` names goes; a signing group that is not named keeps its mail going to the leaver.
fn remove(account: &mut Account, user_id: &str, removal: Removal) {
    let email = account.user(user_id).map(|user| user.email.clone()).unwrap_or_default();
    if removal.groups {
        for group in &mut account.groups {
            group.users.remove(user_id);
        }
    }
    if removal.permission_set {
        account.update(user_id, |user| user.permission_profile = PermissionProfile::viewer());
    }
    if removal.signing_groups {
        for group in &mut account.signing_groups {
            group.emails.retain(|other| !other.eq_ignore_ascii_case(&email));
        }
    }
}
