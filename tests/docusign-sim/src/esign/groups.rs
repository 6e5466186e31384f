//! Groups, signing groups and permission profiles, to be read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::not_found;
use crate::call::{Call, Reply};
use crate::directory::{Account, PermissionProfile, SigningGroup};

/// `GET …/groups`.
pub(super) fn groups(account: &Account) -> Reply {
    let groups: Vec<Value> = account
        .groups
        .iter()
        .map(|group| {
            json!({
                "groupId": group.id,
                "groupName": group.name,
                "groupType": "customGroup",
                "usersCount": group.users.len().to_string(),
            })
        })
        .collect();
    let mut body = positions(groups.len());
    body["groups"] = Value::from(groups);
    Reply::json(200, &body)
}

/// `GET …/groups/{groupId}/users`: statuses are in lower case here.
pub(super) fn group_users(account: &Account, group_id: &str) -> Reply {
    let Some(group) = account.groups.iter().find(|group| group.id == group_id) else {
        return not_found();
    };
    let users: Vec<Value> = group
        .users
        .iter()
        .filter_map(|user_id| account.user(user_id))
        .map(|user| {
            json!({
                "userId": user.user_id,
                "userName": user.user_name,
                "email": user.email,
                "userType": "CompanyUser",
                "userStatus": user.status.as_str().to_ascii_lowercase(),
                "uri": format!("/users/{}", user.user_id),
            })
        })
        .collect();
    let mut body = positions(users.len());
    body["users"] = Value::from(users);
    Reply::json(200, &body)
}

/// `GET …/signing_groups`, with users where `include_users=true`.
pub(super) fn signing_groups(account: &Account, call: &Call) -> Reply {
    let with_users = call
        .param("include_users")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let groups: Vec<Value> = account
        .signing_groups
        .iter()
        .map(|group| {
            let mut body = json!({
                "signingGroupId": group.id,
                "groupName": group.name,
                "groupType": "sharedSigningGroup",
            });
            if with_users {
                body["users"] = signers(account, group);
            }
            body
        })
        .collect();
    Reply::json(200, &json!({ "groups": groups }))
}

/// `GET …/signing_groups/{signingGroupId}/users`.
pub(super) fn signing_group_users(account: &Account, group_id: &str) -> Reply {
    match account.signing_groups.iter().find(|group| group.id == group_id) {
        Some(group) => Reply::json(200, &json!({ "users": signers(account, group) })),
        None => not_found(),
    }
}

/// `GET …/permission_profiles`.
pub(super) fn permission_profiles(account: &Account) -> Reply {
    let mut profiles: BTreeMap<String, (PermissionProfile, usize)> = [
        PermissionProfile::administrator(),
        PermissionProfile::sender(),
        PermissionProfile::viewer(),
    ]
    .into_iter()
    .map(|profile| (profile.id.clone(), (profile, 0)))
    .collect();
    for user in account.users().iter().filter(|user| user.is_open()) {
        let profile = &user.permission_profile;
        profiles
            .entry(profile.id.clone())
            .or_insert_with(|| (profile.clone(), 0))
            .1 += 1;
    }
    let profiles: Vec<Value> = profiles
        .into_values()
        .map(|(profile, users)| {
            json!({
                "permissionProfileId": profile.id,
                "permissionProfileName": profile.name,
                "userCount": users.to_string(),
            })
        })
        .collect();
    Reply::json(200, &json!({ "permissionProfiles": profiles }))
}

fn signers(account: &Account, group: &SigningGroup) -> Value {
    group
        .emails
        .iter()
        .map(|email| {
            let name = account
                .by_email(email, false)
                .first()
                .map_or(email.clone(), |user| user.user_name.clone());
            json!({ "userName": name, "email": email })
        })
        .collect()
}

fn positions(count: usize) -> Value {
    json!({
        "resultSetSize": count.to_string(),
        "totalSetSize": count.to_string(),
        "startPosition": "0",
        "endPosition": count.saturating_sub(1).to_string(),
    })
}
