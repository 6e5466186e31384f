"""A SCIM 2.0 connector (RFC 7643, RFC 7644): finds a leaver's users and deactivates them.

The host keeps the key, sends the requests and decides what happens; this file only speaks the target's language.
"""

import json
from urllib.parse import quote

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import descriptor as said
from wit_world.exports.descriptor import Endpoint, Key, KeyKind_ApiKey, Method as Declared, Placement_Bearer, Verb
from wit_world.exports.user_closure import Accounts
from wit_world.imports import clock, credentials, http, settings
from wit_world.imports.types import (
    Account, Failure_Denied, Failure_Misconfigured, Failure_RateLimited, Failure_Refused, Failure_Unauthorized,
    Failure_Unavailable, Failure_Unexpected, Limit, LimitKind, Refusal, Standing,
)

# Settings: which attributes may hold the address that an event names.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "match": {
            "description": "Attributes that may hold the leaver's address. Default: userName and emails.value",
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["userName", "emails.value"]},
        }
    },
}
DEACTIVATE = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "path": "active", "value": False}],
}
PAGE = 100


class Descriptor(exports.Descriptor):
    def describe(self):
        def line(verb, method, path, body=None):
            return said.Reach(verb, "scim", method, path, [], body, False)

        return said.Descriptor(
            name="scim",
            version="0.1.0",
            settings_schema=json.dumps(SCHEMA),
            endpoints=[Endpoint("scim", "the SCIM service, such as https://acme.example/scim/v2", None)],
            keys=[Key("token", "bearer token of the SCIM service", KeyKind_ApiKey(Placement_Bearer()), ["scim"])],
            reach=[
                line(Verb.FIND, Declared.GET, "/Users"),
                line(Verb.FIND, Declared.GET, "/Users/{any}"),
                line(Verb.READ, Declared.GET, "/Users/{account}"),
                line(Verb.CLOSE, Declared.PATCH, "/Users/{account}", json.dumps(DEACTIVATE)),
                line(Verb.PAGE, Declared.GET, "/Users"),
            ],
            trace_header=None,
        )


class TokenMinting(exports.TokenMinting):
    def mint(self):
        try:
            return credentials.api_key("token")
        except Err as error:
            if isinstance(error.value, credentials.GrantError_Denied):
                raise Err(Failure_Denied(error.value.value))
            raise Err(Failure_Unavailable("there is no token"))


class UserClosure(exports.UserClosure):
    def find(self, person, token):
        if person.target_id is None:
            # The host asks for nobody of whom it has neither.
            return search(person.email, token)
        user = get(person.target_id, token)
        known = [] if user is None else [account(user, person.email)]
        # An id that leads to nobody, or to a closed user, is wrong where the address has an open one.
        if person.email is not None and all(is_closed(one) for one in known):
            for other in search(person.email, token):
                if not is_closed(other):
                    message = f"the event's id {person.target_id} is not of {other.id}, the open user of its address"
                    raise refused("TARGET_ID_DOES_NOT_FIT", message)
        return known

    def read(self, id, token):
        user = get(id, token)
        return None if user is None else account(user, None)

    def close(self, id, token):
        answer = send(http.Method.PATCH, f"/Users/{quote(id, safe='')}", [], token, json.dumps(DEACTIVATE).encode())
        if 200 <= answer.status < 300:
            return
        if answer.status in (400, 404, 409, 412, 422, 501):
            said = complaint(answer)
            code = said.get("scimType") or f"HTTP {answer.status}"
            raise refused(code, words(answer))
        raise Err(failure(answer))

    def page(self, cursor, token):
        if cursor is not None and not cursor.isdecimal():
            raise Err(Failure_Unexpected("the cursor is not a position in the list"))
        start = int(cursor or "1")
        users, total = listing([("startIndex", str(start)), ("count", str(PAGE))], token)
        if not users and start <= total:
            raise Err(Failure_Unexpected(f"the list of {total} users ends before user {start}"))
        after = start + len(users)
        return Accounts([account(user, None) for user in users], str(after) if after <= total else None)


def search(email, token):
    """All users that have an address, in any of the attributes that may hold it."""
    found = {}
    for attribute in json.loads(settings.get()).get("match", ["userName", "emails.value"]):
        # A string of a SCIM filter is written as in JSON.
        users, total = listing([("filter", f"{attribute} eq {json.dumps(email)}"), ("count", str(PAGE))], token)
        if total > len(users):
            raise Err(Failure_Unexpected(f"the target lists {total} users for one address"))
        for user in users:
            # Filters are not exact everywhere.
            if holds(user, email):
                found[user["id"]] = account(user, email)
    return list(found.values())


def is_closed(account):
    return account.standing == Standing.CLOSED


def refused(code, message):
    return Err(Failure_Refused(Refusal(code, message)))


def send(method, path, query, token, body=None):
    headers = [("accept", "application/scim+json")]
    if body is not None:
        headers.append(("content-type", "application/scim+json"))
    try:
        return http.send(http.Request("scim", method, path, query, headers, body), token)
    except Err as error:
        match error.value:
            case http.HttpError_Denied(text):
                raise Err(Failure_Denied(text))
            case http.HttpError_TooLarge(text):
                raise Err(Failure_Unexpected(text))
            case http.HttpError_NotSent(text) | http.HttpError_NoAnswer(text):
                raise Err(Failure_Unavailable(text))


def get(id, token):
    answer = send(http.Method.GET, f"/Users/{quote(id, safe='')}", [], token)
    if answer.status == 404:
        return None
    return parsed(answer)


def listing(query, token):
    answer = send(http.Method.GET, "/Users", query, token)
    body = parsed(answer)
    users, total = body.get("Resources", []), body.get("totalResults")
    if not isinstance(users, list) or not isinstance(total, int):
        raise Err(Failure_Unexpected(f"the answer is no list: {words(answer)}"))
    return users, total


def parsed(answer):
    if answer.status != 200:
        raise Err(failure(answer))
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Err(Failure_Unexpected(f"the answer is not a JSON object: {words(answer)}"))
    return body


def addresses(user):
    """All addresses of a user, the primary one first."""
    emails = [email for email in user.get("emails") or [] if isinstance(email, dict) and email.get("value")]
    emails.sort(key=lambda email: email.get("primary") is not True)
    name = user.get("userName") or ""
    return [email["value"] for email in emails] + ([name] if "@" in name else [])


def holds(user, address):
    return any(held.lower() == address.lower() for held in addresses(user))


def account(user, wanted):
    if not isinstance(user, dict) or not isinstance(user.get("id"), str):
        raise Err(Failure_Unexpected("the answer has a user without id"))
    held = addresses(user)
    fitting = [address for address in held if wanted is not None and address.lower() == wanted.lower()]
    active = user.get("active")
    return Account(
        id=user["id"],
        email=next(iter(fitting + held), None),
        name=user.get("displayName") or user.get("userName"),
        # RFC 7643 leaves `active` to the service. Where it is not said, the user counts as open.
        standing=Standing.CLOSED if active is False else Standing.ACTIVE,
        native_status="active absent" if active is None else f"active={json.dumps(active)}",
        admin=any("admin" in str(role.get("value", "")).lower() for role in user.get("roles") or []),
        externally_managed=False,
        attributes=[("userName", user["userName"])] if user.get("userName") else [],
    )


def complaint(answer):
    """The target's error (RFC 7644 section 3.12), where the body is one."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def words(answer):
    said = complaint(answer).get("detail") or answer.body[:300].decode(errors="replace") or "empty body"
    return f"{said} (HTTP {answer.status})"


def failure(answer):
    status, said = answer.status, words(answer)
    if status == 401:
        return Failure_Unauthorized(said)
    if status == 403:
        return Failure_Misconfigured(f"the token may not do this; give it the right to: {said}")
    if status == 404 or 300 <= status < 400:
        return Failure_Misconfigured(f"there is no SCIM service at endpoint `scim`; bind its base URL: {said}")
    if status == 429:
        wait = next((value for name, value in answer.headers if name == "retry-after"), "")
        until = clock.now() + int(wait) if wait.isdecimal() else None
        return Failure_RateLimited(Limit(LimitKind.BURST, until, said))
    if status == 408 or status >= 500:
        return Failure_Unavailable(said)
    return Failure_Unexpected(said)
