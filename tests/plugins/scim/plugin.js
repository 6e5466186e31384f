// A SCIM 2.0 connector (RFC 7643, RFC 7644): finds a leaver's users and deactivates them.
//
// The host keeps the key, sends the requests and decides what happens; this file only speaks the target's language.

import { now } from 'exeunt:connector/clock@0.1.0';
import { apiKey } from 'exeunt:connector/credentials@0.1.0';
import { send as ask } from 'exeunt:connector/http@0.1.0';
import { get as settings } from 'exeunt:connector/settings@0.1.0';

// Settings: which attributes may hold the address that an event names.
const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    match: {
      description: "Attributes that may hold the leaver's address. Default: userName and emails.value",
      type: 'array',
      minItems: 1,
      items: { enum: ['userName', 'emails.value'] },
    },
  },
};
const DEACTIVATE = JSON.stringify({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations: [{ op: 'replace', path: 'active', value: false }],
});
const PAGE = 100;

export const descriptor = {
  describe() {
    const line = (verb, method, path, body) => ({ verb, endpoint: 'scim', method, path, query: [], body, optional: false });
    return {
      name: 'scim',
      version: '0.1.0',
      settingsSchema: JSON.stringify(SCHEMA),
      endpoints: [{ name: 'scim', purpose: 'the SCIM service, such as https://acme.example/scim/v2' }],
      keys: [{
        name: 'token',
        purpose: 'bearer token of the SCIM service',
        kind: { tag: 'api-key', val: { tag: 'bearer' } },
        usableAt: ['scim'],
      }],
      reach: [
        line('find', 'get', '/Users'),
        line('find', 'get', '/Users/{any}'),
        line('read', 'get', '/Users/{account}'),
        line('close', 'patch', '/Users/{account}', DEACTIVATE),
        line('page', 'get', '/Users'),
      ],
    };
  },
};

export const tokenMinting = {
  mint() {
    try {
      return apiKey('token');
    } catch (error) {
      const { tag, val } = payload(error);
      throw tag === 'denied' ? { tag, val } : { tag: 'unavailable', val: 'there is no token' };
    }
  },
};

export const userClosure = {
  find(person, token) {
    const { targetId: id, email } = person;
    // The host asks for nobody of whom it has neither.
    if (id === undefined) return search(email, token);
    const user = get(id, token);
    const known = user === undefined ? [] : [account(user, email)];
    // An id that leads to nobody, or to a closed user, is wrong where the address has an open one.
    if (email !== undefined && known.every(isClosed)) {
      const open = search(email, token).find((other) => !isClosed(other));
      if (open !== undefined) {
        const message = `the event's id ${id} is not of ${open.id}, the open user of its address`;
        throw refused('TARGET_ID_DOES_NOT_FIT', message);
      }
    }
    return known;
  },

  read(id, token) {
    const user = get(id, token);
    return user === undefined ? undefined : account(user);
  },

  close(id, token) {
    const body = new TextEncoder().encode(DEACTIVATE);
    const answer = send('patch', `/Users/${encodeURIComponent(id)}`, [], token, body);
    if (answer.status >= 200 && answer.status < 300) return;
    if ([400, 404, 409, 412, 422, 501].includes(answer.status)) {
      const code = complaint(answer).scimType || `HTTP ${answer.status}`;
      throw refused(code, words(answer));
    }
    throw failure(answer);
  },

  page(cursor, token) {
    if (cursor !== undefined && !/^[0-9]+$/.test(cursor)) throw unexpected('the cursor is not a position in the list');
    const start = Number(cursor ?? '1');
    const { users, total } = listing([['startIndex', String(start)], ['count', String(PAGE)]], token);
    if (users.length === 0 && start <= total) throw unexpected(`the list of ${total} users ends before user ${start}`);
    const after = start + users.length;
    const next = after <= total ? String(after) : undefined;
    return { items: users.map((user) => account(user)), next };
  },
};

// All users that have an address, in any of the attributes that may hold it.
function search(email, token) {
  const found = new Map();
  for (const attribute of JSON.parse(settings()).match ?? ['userName', 'emails.value']) {
    // A string of a SCIM filter is written as in JSON.
    const filter = `${attribute} eq ${JSON.stringify(email)}`;
    const { users, total } = listing([['filter', filter], ['count', String(PAGE)]], token);
    if (total > users.length) throw unexpected(`the target lists ${total} users for one address`);
    for (const user of users) {
      // Filters are not exact everywhere.
      if (holds(user, email)) found.set(user.id, account(user, email));
    }
  }
  return [...found.values()];
}

const isClosed = (account) => account.standing === 'closed';

function send(method, path, query, token, body) {
  const headers = [['accept', 'application/scim+json']];
  if (body !== undefined) headers.push(['content-type', 'application/scim+json']);
  try {
    return ask({ endpoint: 'scim', method, path, query, headers, body }, token);
  } catch (error) {
    const { tag, val } = payload(error);
    const kinds = { denied: 'denied', 'too-large': 'unexpected' };
    throw { tag: kinds[tag] ?? 'unavailable', val };
  }
}

// What an import refused with; anything else is a fault of this file and ends the call.
function payload(error) {
  if (error?.payload === undefined) throw error;
  return error.payload;
}

function get(id, token) {
  const answer = send('get', `/Users/${encodeURIComponent(id)}`, [], token);
  return answer.status === 404 ? undefined : parsed(answer);
}

function listing(query, token) {
  const answer = send('get', '/Users', query, token);
  const { Resources: users = [], totalResults: total } = parsed(answer);
  if (!Array.isArray(users) || !Number.isInteger(total)) throw unexpected(`the answer is no list: ${words(answer)}`);
  return { users, total };
}

function parsed(answer) {
  if (answer.status !== 200) throw failure(answer);
  const body = json(answer);
  if (body === undefined) throw unexpected(`the answer is not a JSON object: ${words(answer)}`);
  return body;
}

function json(answer) {
  try {
    const body = JSON.parse(new TextDecoder().decode(answer.body));
    return body !== null && typeof body === 'object' && !Array.isArray(body) ? body : undefined;
  } catch {
    return undefined;
  }
}

// All addresses of a user, the primary one first.
function addresses(user) {
  const emails = (user.emails ?? []).filter((email) => email?.value);
  emails.sort((one, other) => (other.primary === true) - (one.primary === true));
  const name = user.userName?.includes('@') ? [user.userName] : [];
  return [...emails.map((email) => email.value), ...name];
}

const same = (one, other) => one.toLowerCase() === other.toLowerCase();
const holds = (user, address) => addresses(user).some((held) => same(held, address));

function account(user, wanted) {
  if (typeof user?.id !== 'string') throw unexpected('the answer has a user without id');
  const held = addresses(user);
  return {
    id: user.id,
    email: held.find((address) => wanted !== undefined && same(address, wanted)) ?? held[0],
    name: user.displayName || user.userName,
    // RFC 7643 leaves `active` to the service. Where it is not said, the user counts as open.
    standing: user.active === false ? 'closed' : 'active',
    nativeStatus: user.active === undefined ? 'active absent' : `active=${user.active}`,
    admin: (user.roles ?? []).some((role) => String(role?.value ?? '').toLowerCase().includes('admin')),
    externallyManaged: false,
    attributes: user.userName ? [['userName', user.userName]] : [],
  };
}

// The target's error (RFC 7644 section 3.12), where the body is one.
const complaint = (answer) => json(answer) ?? {};

function words(answer) {
  const said = complaint(answer).detail || new TextDecoder().decode(answer.body.slice(0, 300)) || 'empty body';
  return `${said} (HTTP ${answer.status})`;
}

const refused = (code, message) => ({ tag: 'refused', val: { code, message } });
const unexpected = (val) => ({ tag: 'unexpected', val });

function failure(answer) {
  const { status } = answer;
  const said = words(answer);
  if (status === 401) return { tag: 'unauthorized', val: said };
  if (status === 403) return { tag: 'misconfigured', val: `the token may not do this; give it the right to: ${said}` };
  if (status === 404 || (status >= 300 && status < 400)) {
    const val = `there is no SCIM service at endpoint \`scim\`; bind its base URL: ${said}`;
    return { tag: 'misconfigured', val };
  }
  if (status === 429) {
    const wait = answer.headers.find(([name]) => name === 'retry-after')?.[1] ?? '';
    const until = /^[0-9]+$/.test(wait) ? now() + BigInt(wait) : undefined;
    return { tag: 'rate-limited', val: { kind: 'burst', until, message: said } };
  }
  if (status === 408 || status >= 500) return { tag: 'unavailable', val: said };
  return unexpected(said);
}
