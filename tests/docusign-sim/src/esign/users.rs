//! `…/users` and `…/users/{userId}`: lists, one user, and changes of a name.

use serde_json::{Value, json};

use super::{Caller, Refused, bad_parameter, is_administrator, lacks_permission, may_administer};
use crate::call::{Call, Reply};
use crate::state::State;
use crate::switches::{EmailFilter, NoMatch, ReadClosed, ReadOthers};
use crate::{Account, Status, User};

/// Most users a page may hold.
const MAX_COUNT: usize = 100;

/// What a list was asked for.
struct Query {
    email: Option<String>,
    statuses: Option<Vec<Status>>,
    email_part: Option<String>,
    name_part: Option<String>,
    group: Option<String>,
    count: usize,
    start: usize,
}

impl Query {
    fn parse(call: &Call) -> Result<Self, Refused> {
        let count = number(call, "count")?.unwrap_or(MAX_COUNT);
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(bad_parameter(
                "The request contained at least one invalid parameter. count must be 1 to 100.",
            ));
        }
        Ok(Self {
            email: call.param("email").filter(|email| !email.is_empty()),
            statuses: statuses(call)?,
            email_part: call.param("email_substring").map(|part| part.to_lowercase()),
            name_part: call.param("user_name_substring").map(|part| part.to_lowercase()),
            group: call.param("group_id"),
            count,
            start: number(call, "start_position")?.unwrap_or(0),
        })
    }

    /// Whether a user belongs to the list, apart from its exact address.
    fn fits(&self, account: &Account, user: &User) -> bool {
        let has = |part: &Option<String>, text: &str| part.as_ref().is_none_or(|p| text.to_lowercase().contains(p));
        let in_group = |id: &String| {
            account
                .groups
                .iter()
                .any(|group| group.id == *id && group.users.contains(&user.user_id))
        };
        self.statuses
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&shown_status(user)))
            && has(&self.email_part, &user.email)
            && has(&self.name_part, &user.user_name)
            && self.group.as_ref().is_none_or(in_group)
    }
}

fn number(call: &Call, name: &str) -> Result<Option<usize>, Refused> {
    let Some(text) = call.param(name) else {
        return Ok(None);
    };
    let value = text.parse().map_err(|_| {
        bad_parameter(&format!(
            "The request contained at least one invalid parameter. {name} is not a number."
        ))
    })?;
    Ok(Some(value))
}

fn statuses(call: &Call) -> Result<Option<Vec<Status>>, Refused> {
    let Some(text) = call.param("status").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let parsed: Option<Vec<Status>> = text.split(',').map(|name| Status::parse(name.trim())).collect();
    let parsed = parsed.ok_or_else(|| {
        bad_parameter("The request contained at least one invalid parameter. Invalid value specified for status.")
    })?;
    Ok(Some(parsed))
}

/// `GET …/users`: without `status`, closed users are in it; without a match it is an error.
pub(super) fn list(state: &mut State, call: &Call, caller: &Caller) -> Reply {
    let query = match Query::parse(call) {
        Ok(query) => query,
        Err(reply) => return *reply,
    };
    let account = &state.accounts[caller.account];
    let is_prefix = state.switches.email_filter == EmailFilter::Prefix;
    let matches: Vec<&User> = match &query.email {
        Some(email) => account
            .by_email(email, is_prefix)
            .into_iter()
            .filter(|user| query.fits(account, user))
            .collect(),
        None => account
            .users()
            .iter()
            .filter(|user| query.fits(account, user))
            .collect(),
    };
    if matches.is_empty() {
        return no_match(state);
    }
    let page: Vec<&User> = matches.iter().skip(query.start).take(query.count).copied().collect();
    let body = page_body(call, &query, &page, matches.len());
    let stale: Vec<String> = page
        .iter()
        .filter(|user| user.stale.is_some())
        .map(|user| user.user_id.clone())
        .collect();
    for user_id in stale {
        see(&mut state.accounts[caller.account], &user_id);
    }
    Reply::json(200, &body)
}

fn page_body(call: &Call, query: &Query, page: &[&User], total: usize) -> Value {
    let end = query.start + page.len();
    let mut body = json!({
        "users": page.iter().map(|user| information(user)).collect::<Vec<_>>(),
        "resultSetSize": page.len().to_string(),
        "totalSetSize": total.to_string(),
        "startPosition": query.start.to_string(),
        "endPosition": end.saturating_sub(1).to_string(),
    });
    if end < total {
        body["nextUri"] = Value::from(position_uri(call, end, query.count));
    }
    if query.start > 0 {
        let before = query.start.saturating_sub(query.count);
        body["previousUri"] = Value::from(position_uri(call, before, query.count));
    }
    body
}

/// This list at another position, below the account's URL.
fn position_uri(call: &Call, start: usize, count: usize) -> String {
    let mut uri = url::form_urlencoded::Serializer::new(String::from("/users?"));
    let pairs = url::form_urlencoded::parse(call.query.as_deref().unwrap_or_default().as_bytes());
    uri.extend_pairs(pairs.filter(|(name, _)| name != "start_position" && name != "count"));
    uri.append_pair("start_position", &start.to_string())
        .append_pair("count", &count.to_string());
    uri.finish().replacen("?&", "?", 1)
}

/// `GET …/users/{userId}`.
pub(super) fn get(state: &mut State, caller: &Caller, user_id: &str) -> Reply {
    if !may_read(state, caller, user_id) {
        return lacks_permission(state);
    }
    let hides_closed = state.switches.read_closed == ReadClosed::Unknown;
    let account = &mut state.accounts[caller.account];
    let shown = |user: &&User| !hides_closed || shown_status(user) != Status::Closed;
    let Some(user) = account.user(user_id).filter(shown) else {
        return no_match(state);
    };
    let mut body = information(user);
    let groups = account
        .groups
        .iter()
        .filter(|group| group.users.contains(&user.user_id));
    body["groupList"] = groups
        .map(|group| json!({ "groupId": group.id, "groupName": group.name, "groupType": "customGroup" }))
        .collect();
    see(account, user_id);
    Reply::json(200, &body)
}

fn may_read(state: &State, caller: &Caller, user_id: &str) -> bool {
    caller.user_id.eq_ignore_ascii_case(user_id)
        || match state.switches.read_others {
            ReadOthers::Administrators => is_administrator(state, caller),
            ReadOthers::Managers => may_administer(state, caller),
            ReadOthers::Anybody => true,
        }
}

/// `PUT …/users/{userId}` changes names. A `userStatus` in it is ignored: it is in the schema, and no documented way to
/// close anybody.
pub(super) fn put(state: &mut State, call: &Call, caller: &Caller, user_id: &str) -> Reply {
    if !may_administer(state, caller) {
        return lacks_permission(state);
    }
    let Ok(change) = serde_json::from_slice::<Value>(&call.body) else {
        return super::close::bad_body();
    };
    let account = &mut state.accounts[caller.account];
    let is_known = account.update(user_id, |user| {
        if let Some(name) = change.get("userName").and_then(Value::as_str) {
            name.clone_into(&mut user.user_name);
        }
    });
    match account.user(user_id) {
        Some(user) if is_known => Reply::json(200, &information(user)),
        _ => no_match(state),
    }
}

fn no_match(state: &State) -> Reply {
    match state.switches.no_match {
        NoMatch::UserLacksMembership => super::lacks_membership(state),
        NoMatch::UserNotFound => Reply::error(
            state.switches.no_match_status,
            "USER_NOT_FOUND",
            "The User specified was not found.",
        ),
    }
}

/// The status that a read shows: the old one while a close is on its way.
fn shown_status(user: &User) -> Status {
    user.stale.map_or(user.status, |(_, before)| before)
}

/// Counts a read against the ones that still show the old status.
fn see(account: &mut Account, user_id: &str) {
    if account.user(user_id).is_some_and(|user| user.stale.is_some()) {
        account.update(user_id, |user| {
            user.stale = user
                .stale
                .and_then(|(left, before)| (left > 1).then_some((left - 1, before)));
        });
    }
}

/// `userInformation` of the wire: booleans and numbers are text.
fn information(user: &User) -> Value {
    let (first, last) = user.user_name.rsplit_once(' ').unwrap_or((&user.user_name, ""));
    json!({
        "userId": user.user_id,
        "userName": user.user_name,
        "firstName": first,
        "lastName": last,
        "email": user.email,
        "userType": "CompanyUser",
        "userStatus": shown_status(user).as_str(),
        "isAdmin": text(user.is_admin),
        "isAlternateAdmin": text(user.is_alternate_admin),
        "isManagedByScim": text(user.managed_by_scim),
        "isMembershipManagedByScim": text(user.managed_by_scim),
        "uri": format!("/users/{}", user.user_id),
        "createdDateTime": user.created,
        "userAddedToAccountDateTime": user.created,
        "permissionProfileId": user.permission_profile.id,
        "permissionProfileName": user.permission_profile.name,
        "loginStatus": "not_logged_in",
        "sendActivationOnInvalidLogin": "false",
    })
}

/// DocuSign's text of a boolean, as .NET writes it.
fn text(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
