//! The tables.
//!
//! Times are milliseconds since 1970, ids are 16 bytes (UUIDv7), JSON is text. `state` of a job: 0 queued, 1 running,
//! 2 held, 3 ended; partial indexes and queries write the number literally, since a planner cannot match a parameter
//! with an index's condition. `ready` of a lane is 1 where jobs are queued and it is not parked: an index on these two
//! would be written at each accept. Running jobs are indexed by lane and not by the end of their lease, which each
//! heartbeat moves: there are never more of them than the hosts' slots, so a reclaim looks at them all.

use super::dialect::Dialect;

/// The version that this release reads and writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Steps from an empty database to the present one. A released step is never edited.
pub(super) const MIGRATIONS: &[&str] = &[
    FIRST,
    INTENTS_BY_ACCOUNT,
    EVENTS_BY_TENANT,
    INTENTS_AS_SPELLED,
    HELD_BY_TENANT,
    REPLAYED_AS,
    SAID_AGAIN,
    EVIDENCE,
];

/// `BYTES` stands for the database's own type. `KEYED` is for tables of short rows that are found by their key: SQLite
/// then keeps the rows in the key's own tree, and an insert writes one tree less.
const FIRST: &str = "
CREATE TABLE event (
  id BYTES PRIMARY KEY, tenant TEXT NOT NULL, source TEXT NOT NULL, source_id TEXT, dedupe BYTES,
  received_at BIGINT NOT NULL, occurred_at BIGINT, decision BIGINT NOT NULL, reason TEXT NOT NULL,
  person TEXT, person_key TEXT, body BYTES NOT NULL);
CREATE UNIQUE INDEX event_dedupe ON event(dedupe);
CREATE INDEX event_person ON event(person_key, tenant) WHERE person_key IS NOT NULL;

CREATE TABLE lane (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, cap BIGINT, ready BIGINT NOT NULL, queued BIGINT NOT NULL, running BIGINT NOT NULL, held BIGINT NOT NULL,
  due_at BIGINT NOT NULL, not_before BIGINT NOT NULL, not_before_why TEXT, parked TEXT, parked_at BIGINT,
  breaker_since BIGINT NOT NULL, tripped TEXT, tripped_at BIGINT, served BIGINT NOT NULL, failures BIGINT NOT NULL) KEYED;
CREATE INDEX lane_ready ON lane(served, id) WHERE ready = 1;
CREATE INDEX lane_served ON lane(served);

CREATE TABLE job (
  id BYTES PRIMARY KEY, event_id BYTES NOT NULL, tenant TEXT NOT NULL, lane TEXT NOT NULL,
  state BIGINT NOT NULL, run_at BIGINT NOT NULL, attempts BIGINT NOT NULL DEFAULT 0,
  lapses BIGINT NOT NULL DEFAULT 0, fence BIGINT NOT NULL DEFAULT 0, owner TEXT, claimed_at BIGINT,
  lease_until BIGINT, why TEXT, reason TEXT, detail TEXT, outcome BIGINT, dead BIGINT NOT NULL DEFAULT 0,
  released TEXT NOT NULL DEFAULT '', ended_at BIGINT);
CREATE INDEX job_queued ON job(lane, run_at, id) WHERE state = 0;
CREATE INDEX job_running ON job(lane) WHERE state = 1;
CREATE INDEX job_held ON job(id) WHERE state = 2;
CREATE INDEX job_open ON job(id) WHERE state < 3;
CREATE INDEX job_ended ON job(outcome, id) WHERE state = 3;
CREATE INDEX job_event ON job(event_id);
CREATE INDEX job_tenant ON job(tenant, id);

CREATE TABLE attempt (
  job_id BYTES NOT NULL, fence BIGINT NOT NULL, number BIGINT NOT NULL, owner TEXT NOT NULL,
  started_at BIGINT NOT NULL, ended_at BIGINT NOT NULL, result TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (job_id, fence)) KEYED;

CREATE TABLE intent (
  job_id BYTES NOT NULL, account TEXT NOT NULL, lane TEXT NOT NULL, fence BIGINT NOT NULL, at BIGINT NOT NULL,
  PRIMARY KEY (job_id, account)) KEYED;
CREATE INDEX intent_window ON intent(lane, at);

CREATE TABLE transcript (
  id BYTES PRIMARY KEY, job_id BYTES NOT NULL, fence BIGINT NOT NULL, data BYTES NOT NULL);
CREATE INDEX transcript_job ON transcript(job_id);

CREATE TABLE tally (lane TEXT NOT NULL, outcome BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (lane, outcome)) KEYED;

CREATE TABLE pause (scope TEXT PRIMARY KEY, actor TEXT NOT NULL, reason TEXT NOT NULL, at BIGINT NOT NULL);

CREATE TABLE action (
  id BYTES PRIMARY KEY, actor TEXT NOT NULL, verb TEXT NOT NULL, scope TEXT NOT NULL, job_id BYTES,
  detail TEXT NOT NULL);
CREATE INDEX action_job ON action(job_id);
";

/// Who else set out to close an account is asked before each closure.
const INTENTS_BY_ACCOUNT: &str = "CREATE INDEX intent_account ON intent(lane, account);";

/// A small tenant lists its events beside a million of another's. It takes the place of an index of unfinished jobs, which
/// was written as often: what waits is found by its lane, and is bounded, while events are kept for months.
const EVENTS_BY_TENANT: &str = "
CREATE INDEX event_tenant ON event(tenant, id);
DROP INDEX job_open;";

/// `account` is what accounts are told apart by, in small letters. Some targets' ids differ by case only, and must be read
/// as they were written; null where that is the same.
const INTENTS_AS_SPELLED: &str = "ALTER TABLE intent ADD COLUMN spelled TEXT;";

/// A tenant looks through what of its own is held, and releases it: not through what all others have held.
const HELD_BY_TENANT: &str = "CREATE INDEX job_held_tenant ON job(tenant, id) WHERE state = 2;";

/// An event that was refused and is replayed makes jobs once, however often and from wherever that is asked for.
const REPLAYED_AS: &str = "ALTER TABLE event ADD COLUMN replayed_as BYTES;";

/// An intent is said again by each claim that acts on it; `at` is when it last counted for the breaker.
const SAID_AGAIN: &str = "ALTER TABLE intent ADD COLUMN said_at BIGINT;";

/// What a job found, or shows to whoever decides about it: a kilobyte, which comes when it is put down. In the job's own
/// row it made that six times as long: each page of new jobs was split into six while they ended, and every claim and list
/// read past it. Not keyed: what is longer than a quarter of a page would lie beside the tree. `fence` is that of the claim
/// that found it; `job.detail` has it for jobs that a host of an earlier release put down.
const EVIDENCE: &str = "CREATE TABLE evidence (job_id BYTES PRIMARY KEY, fence BIGINT NOT NULL, data TEXT NOT NULL);";

/// The statements of one step, in the database's words.
pub(super) fn statements(step: &str, dialect: Dialect) -> Vec<String> {
    let written = step
        .replace(" BYTES", &format!(" {}", dialect.bytes()))
        .replace(" KEYED", dialect.keyed());
    written
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

/// A table, for what copies all of them.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
}

use Kind::{Bytes, Int, Text};

/// All tables with all their columns, in the order in which they are exported.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "event",
        columns: &[
            ("id", Bytes),
            ("tenant", Text),
            ("source", Text),
            ("source_id", Text),
            ("dedupe", Bytes),
            ("received_at", Int),
            ("occurred_at", Int),
            ("decision", Int),
            ("reason", Text),
            ("person", Text),
            ("person_key", Text),
            ("body", Bytes),
            ("replayed_as", Bytes),
        ],
    },
    Table {
        name: "lane",
        columns: &[
            ("id", Text),
            ("tenant", Text),
            ("cap", Int),
            ("ready", Int),
            ("queued", Int),
            ("running", Int),
            ("held", Int),
            ("due_at", Int),
            ("not_before", Int),
            ("not_before_why", Text),
            ("parked", Text),
            ("parked_at", Int),
            ("breaker_since", Int),
            ("tripped", Text),
            ("tripped_at", Int),
            ("served", Int),
            ("failures", Int),
        ],
    },
    Table {
        name: "job",
        columns: &[
            ("id", Bytes),
            ("event_id", Bytes),
            ("tenant", Text),
            ("lane", Text),
            ("state", Int),
            ("run_at", Int),
            ("attempts", Int),
            ("lapses", Int),
            ("fence", Int),
            ("owner", Text),
            ("claimed_at", Int),
            ("lease_until", Int),
            ("why", Text),
            ("reason", Text),
            ("detail", Text),
            ("outcome", Int),
            ("dead", Int),
            ("released", Text),
            ("ended_at", Int),
        ],
    },
    Table {
        name: "attempt",
        columns: &[
            ("job_id", Bytes),
            ("fence", Int),
            ("number", Int),
            ("owner", Text),
            ("started_at", Int),
            ("ended_at", Int),
            ("result", Text),
            ("reason", Text),
        ],
    },
    Table {
        name: "intent",
        columns: &[
            ("job_id", Bytes),
            ("account", Text),
            ("lane", Text),
            ("fence", Int),
            ("at", Int),
            ("spelled", Text),
            ("said_at", Int),
        ],
    },
    Table {
        name: "transcript",
        columns: &[("id", Bytes), ("job_id", Bytes), ("fence", Int), ("data", Bytes)],
    },
    Table {
        name: "tally",
        columns: &[("lane", Text), ("outcome", Int), ("n", Int)],
    },
    Table {
        name: "pause",
        columns: &[("scope", Text), ("actor", Text), ("reason", Text), ("at", Int)],
    },
    Table {
        name: "action",
        columns: &[
            ("id", Bytes),
            ("actor", Text),
            ("verb", Text),
            ("scope", Text),
            ("job_id", Bytes),
            ("detail", Text),
        ],
    },
    Table {
        name: "evidence",
        columns: &[("job_id", Bytes), ("fence", Int), ("data", Text)],
    },
];

#[cfg(test)]
mod tests {
    use super::{Dialect, Kind, MIGRATIONS, TABLES, statements};

    #[test]
    fn the_list_of_columns_is_what_the_migrations_make() {
        let mut made = Vec::new();
        for statement in MIGRATIONS.iter().flat_map(|step| statements(step, Dialect::Sqlite)) {
            if let Some(added) = statement.strip_prefix("ALTER TABLE ") {
                let words: Vec<&str> = added.split(' ').collect();
                let (table, column, kind) = match *words.as_slice() {
                    [table, "ADD", "COLUMN", column, "TEXT"] => (table, column, Kind::Text),
                    [table, "ADD", "COLUMN", column, "BLOB"] => (table, column, Kind::Bytes),
                    [table, "ADD", "COLUMN", column, "BIGINT"] => (table, column, Kind::Int),
                    _ => panic!("{statement}"),
                };
                let last = made
                    .iter()
                    .rposition(|(name, ..): &(String, String, Kind)| name == table);
                let place = last.expect("the table is made before") + 1;
                made.insert(place, (table.to_owned(), column.to_owned(), kind));
            }
            let Some(table) = statement.strip_prefix("CREATE TABLE ") else {
                continue;
            };
            let (name, columns) = table.split_once('(').expect("a table has columns");
            let columns = columns
                .split_once("PRIMARY KEY (")
                .map_or(columns, |(columns, _)| columns);
            for column in columns
                .split(',')
                .map(str::trim)
                .filter(|column| !column.is_empty() && *column != ")")
            {
                let mut words = column.split([' ', ')']);
                let kind = match (words.next(), words.next()) {
                    (Some(column), Some("BIGINT")) => (column, Kind::Int),
                    (Some(column), Some("TEXT")) => (column, Kind::Text),
                    (Some(column), Some("BLOB")) => (column, Kind::Bytes),
                    other => panic!("{other:?} in {name}"),
                };
                made.push((name.trim().to_owned(), kind.0.to_owned(), kind.1));
            }
        }
        let listed: Vec<_> = TABLES
            .iter()
            .flat_map(|table| {
                table
                    .columns
                    .iter()
                    .map(|(column, kind)| (table.name.into(), (*column).into(), *kind))
            })
            .collect();
        assert_eq!(made, listed);
    }
}
