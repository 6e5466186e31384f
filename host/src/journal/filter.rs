//! Which jobs a list is about, and the conditions that say so.

use jiff::Timestamp;
use uuid::Uuid;

use super::query::{Conditions, Page};
use super::sql::Bind;
use super::types::{EventId, Lane, Outcome, State, first_id};

/// Which jobs are meant. Nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this lane's.
    pub lane: Option<Lane>,
    /// Only this event's.
    pub event: Option<EventId>,
    /// Only in this state. Parked jobs are queued.
    pub state: Option<State>,
    /// Only those that ended so.
    pub outcome: Option<Outcome>,
    /// Only dead letters, or only others.
    pub dead: Option<bool>,
    /// Only those that are held for this reason.
    pub why: Option<String>,
    /// Only those whose event has this [`person_key`](super::NewEvent::person_key), compared without case.
    pub person: Option<String>,
    /// Only those whose account may be open: that ended otherwise than closed, already closed or without account, or have
    /// not ended.
    pub not_closed: bool,
    /// Only those whose event came at this time or later.
    pub since: Option<Timestamp>,
    /// Only those whose event came before this time.
    pub until: Option<Timestamp>,
}

impl JobFilter {
    pub(super) fn is_of_the_queue(&self) -> bool {
        self.state == Some(State::Queued) && self.event.is_none() && self.person.is_none()
    }

    /// The rows that are walked through by their ids, where some of them may not fit. What is queued or runs, and what an
    /// event or a person has, is found without passing over much else.
    pub(super) fn walked(&self) -> Option<Conditions> {
        let is_found =
            self.event.is_some() || self.person.is_some() || matches!(self.state, Some(State::Queued | State::Running));
        // By tenant alone all fit, and so they do without a filter.
        let is_narrowed = self.lane.is_some()
            || self.state.is_some()
            || self.outcome.is_some()
            || self.dead.is_some()
            || self.why.is_some()
            || self.not_closed;
        if is_found || !is_narrowed {
            return None;
        }
        let mut rows = Conditions::default();
        let tenant = self.tenant();
        if self.state == Some(State::Held) || self.why.is_some() {
            rows.sql += " AND state = 2";
        } else if let (None, Some(outcome)) = (&tenant, self.ended_as().next()) {
            rows.sql = format!(" AND state = 3 AND outcome = {}", outcome.code());
        }
        rows.maybe("tenant =", tenant, |bind, tenant| bind.text(&tenant));
        Some(rows)
    }

    /// The first id that is young enough.
    pub(super) fn first(&self) -> Option<Uuid> {
        self.since.map(|since| first_id(since.as_millisecond()))
    }

    /// What all that is asked for comes before.
    pub(super) fn before(&self, page: &Page) -> Option<Uuid> {
        let until = self.until.map(|until| first_id(until.as_millisecond()));
        let before = page.before.map(|id| id.0);
        before.into_iter().chain(until).min()
    }

    fn tenant(&self) -> Option<String> {
        tenant_of(self.tenant.as_deref(), self.lane.as_ref())
    }

    /// All that were given up have failed, and that has an index.
    fn ended_as(&self) -> impl Iterator<Item = Outcome> {
        let given_up = (self.dead == Some(true)).then_some(Outcome::Failed);
        self.outcome.into_iter().chain(given_up)
    }

    /// What waits has an index by lane, so it has to be sorted; by ids alone, without looking at the jobs.
    pub(super) fn write_queued(&self, query: &mut Conditions, page: &Page, limit: i64) {
        let outer = std::mem::take(&mut query.sql);
        match &self.lane {
            Some(lane) => query.maybe("lane =", Some(lane.key()), |bind, lane| bind.text(&lane)),
            None => {
                query.maybe("tenant =", self.tenant.clone(), |bind, tenant| bind.text(&tenant));
                query.sql = format!(" AND lane IN (SELECT id FROM lane WHERE queued > 0{})", query.sql);
            }
        }
        query.maybe("id <", self.before(page), Bind::id);
        query.maybe("id >=", self.first(), Bind::id);
        let mark = query.next();
        query.bind = std::mem::take(&mut query.bind).int(limit);
        query.sql = format!(
            "{outer} AND job.id IN (SELECT id FROM job WHERE state = 0{} ORDER BY id DESC LIMIT {mark})",
            query.sql
        );
    }

    /// Numbers are literals, so that partial indexes match. Conditions are put so that each index that comes into
    /// question gives the order of ids, and leads to few of other tenants' jobs where one tenant is meant: sorting or
    /// passing over a million jobs for one page is what has to be avoided.
    pub(super) fn write(&self, query: &mut Conditions) {
        let text = |bind: Bind, value: String| bind.text(&value);
        let tenant = self.tenant();
        query.sql += match self.state {
            None => "",
            Some(State::Queued) => " AND job.state = 0",
            // Few, and the oldest of the unfinished ones.
            Some(State::Running) => " AND job.id IN (SELECT id FROM job WHERE state = 1)",
            // An event's few are found by it, and not among all that is held.
            Some(State::Held) if self.event.is_some() => " AND job.state + 0 = 2",
            Some(State::Held) => " AND job.state = 2",
            Some(State::Ended) => " AND job.state = 3",
        };
        if self.not_closed {
            let closed =
                [Outcome::Closed, Outcome::AlreadyClosed, Outcome::NoAccount].map(|end| end.code().to_string());
            let closed = closed.join(", ");
            query.sql = format!(
                "{} AND (job.outcome IS NULL OR job.outcome + 0 NOT IN ({closed}))",
                query.sql
            );
        }
        for outcome in self.ended_as() {
            // As an expression where it would lead to all tenants' jobs.
            let column = if tenant.is_some() {
                "job.outcome + 0"
            } else {
                "job.outcome"
            };
            query.sql = format!("{} AND job.state = 3 AND {column} = {}", query.sql, outcome.code());
        }
        if let Some(dead) = self.dead {
            query.sql = format!("{} AND job.dead = {}", query.sql, i64::from(dead));
        }
        if self.why.is_some() && self.event.is_none() {
            // Only what is held has a reason of this kind.
            query.sql += " AND job.state = 2";
        }
        query.maybe("job.event_id =", self.event.map(|event| event.0), Bind::id);
        query.maybe("job.why =", self.why.clone(), text);
        // As an expression, since the lane's own index would need a sort.
        query.maybe("job.lane || '' =", self.lane.as_ref().map(Lane::key), text);
        match &self.person {
            // As an expression, or SQLite would walk through all of the tenant's.
            None if self.event.is_some() => query.maybe("job.tenant || '' =", tenant, text),
            None => query.maybe("job.tenant =", tenant, text),
            Some(person) => {
                let people = query.people(person, tenant);
                query.sql = format!(
                    "{} AND job.event_id IN (SELECT id FROM event WHERE 1 = 1 {people})",
                    query.sql
                );
            }
        }
    }
}

/// Whose jobs are meant where a tenant, a lane or both are named.
pub(super) fn tenant_of(tenant: Option<&str>, lane: Option<&Lane>) -> Option<String> {
    tenant.or(lane.map(Lane::tenant)).map(str::to_owned)
}
