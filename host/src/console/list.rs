//! `GET /v1/jobs`: the query, and a page of what fits.

use std::fmt::Display;

use axum::extract::RawQuery;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::access::Caller;
use super::parameters::Parameters;
use super::problem::Problem;
use super::router::Shared;
use super::view::{JobPage, JobView, state_word};
use crate::dispatch::{HOLD_ADMINISTRATOR, HOLD_SEVERAL};
use crate::intake::{AGE_HOLD, OLD_HOLD, SAMPLE_HOLD};
use crate::journal::{
    BREAKER_HOLD, EventId, JobFilter, Lane, Listed, MAX_PAGE, Outcome, Page, Scope, State, UNSETTLED_HOLD,
};
use crate::tenant::did_you_mean;

/// Most looks at the journal for one page of an answer. A look may end before the page is full: the journal does not tell
/// parked jobs from queued ones, so a list of either is picked from both, and it passes over so many rows and no more.
pub const MAX_SCANS: usize = 10;

const PARAMETERS: [&str; 13] = [
    "tenant",
    "connector",
    "event",
    "state",
    "outcome",
    "dead",
    "why",
    "person",
    "not_closed",
    "since",
    "until",
    "cursor",
    "limit",
];

const STATES: [&str; 5] = ["queued", "parked", "running", "held", "ended"];

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct JobQuery {
    filter: JobFilter,
    /// Only these words for a state; empty for all.
    state: Option<&'static str>,
    page: Page,
}

impl JobQuery {
    /// Reads a query. `None` where it asks for a tenant that does not exist for the caller.
    pub(super) fn parse(query: RawQuery, caller: &Caller) -> Result<Option<Self>, Problem> {
        let mut given = Parameters::read(query, &PARAMETERS)?;
        let state = given.take_as("state", parse_state)?;
        let page = given.page()?;
        let tenant = given.take("tenant");
        let mut filter = JobFilter {
            event: given.take_as("event", parse_event)?,
            state: state.map(journal_state),
            outcome: given.take_as("outcome", parse_outcome)?,
            dead: given.take_as("dead", |text| parse_bool("dead", text))?,
            why: given.take("why").map(known_hold).transpose()?,
            person: given.take("person"),
            not_closed: given
                .take_as("not_closed", |text| parse_bool("not_closed", text))?
                .unwrap_or(false),
            since: given.take_as("since", |text| parse_moment("since", text))?,
            until: given.take_as("until", |text| parse_moment("until", text))?,
            ..JobFilter::default()
        };
        let Ok(tenant) = caller.narrow(tenant) else {
            return Ok(None);
        };
        filter.lane = lane(tenant.as_deref(), given.take("connector"))?;
        filter.tenant = tenant;
        if filter.person.is_some() && filter.tenant.is_none() {
            return Err(Problem::invalid(
                "`person` needs `tenant`: people are looked up within one",
            ));
        }
        Ok(Some(Self { filter, state, page }))
    }

    /// Whose jobs are asked for.
    pub(super) fn scope(&self) -> Scope {
        match (&self.filter.lane, &self.filter.tenant) {
            (Some(lane), _) => Scope::Connector(lane.clone()),
            (None, Some(tenant)) => Scope::Tenant(tenant.clone()),
            (None, None) => Scope::All,
        }
    }

    /// A page of what fits.
    pub(super) async fn run(&self, shared: &Shared) -> Result<JobPage, Problem> {
        let picks = matches!(self.state, Some("queued" | "parked"));
        let step = if picks { MAX_PAGE } else { self.page.limit };
        let mut jobs = Picked::new(self.page);
        while let Some(before) = jobs.look() {
            let page = Page { before, limit: step };
            let found = shared.look().await.journal.jobs(&self.filter, page).await?;
            jobs.take(&found, |job| {
                let fits = self.state.is_none_or(|state| state == state_word(&job.state));
                (job.id, fits.then(|| JobView::from(job)))
            });
        }
        let next = jobs.next();
        Ok(JobPage { jobs: jobs.items, next })
    }
}

/// A page of an answer, picked from several looks at the journal.
pub(super) struct Picked<V, Id> {
    pub(super) items: Vec<V>,
    limit: usize,
    /// Before which the list goes on; none at its end.
    before: Option<Id>,
    looks: usize,
}

impl<V, Id: Copy + Display> Picked<V, Id> {
    pub(super) fn new(page: Page<Id>) -> Self {
        Self {
            items: Vec::new(),
            limit: page.limit as usize,
            before: page.before,
            looks: 0,
        }
    }

    /// Before which to look next; none where the page is full, the list at its end, or enough was looked at.
    pub(super) fn look(&mut self) -> Option<Option<Id>> {
        let is_first = self.looks == 0;
        let goes_on = self.items.len() < self.limit && self.before.is_some() && self.looks < MAX_SCANS;
        self.looks += 1;
        (is_first || goes_on).then_some(self.before)
    }

    /// Takes what `pick` makes of the rows, with their ids, until the page is full.
    pub(super) fn take<T>(&mut self, found: &Listed<T, Id>, pick: impl Fn(&T) -> (Id, Option<V>)) {
        self.before = found.next;
        for row in &found.items {
            let (id, picked) = pick(row);
            self.items.extend(picked);
            if self.items.len() == self.limit {
                self.before = Some(id);
                return;
            }
        }
    }

    /// Where the next page begins.
    pub(super) fn next(&self) -> Option<String> {
        self.before.map(|id| id.to_string())
    }
}

/// The lane of a connector, which is named within its tenant.
pub(super) fn lane(tenant: Option<&str>, connector: Option<String>) -> Result<Option<Lane>, Problem> {
    match (tenant, connector) {
        (_, None) => Ok(None),
        (Some(tenant), Some(connector)) => Ok(Some(Lane::new(tenant, connector)?)),
        (None, Some(_)) => Err(Problem::invalid(
            "`connector` needs `tenant`: connectors are named within one",
        )),
    }
}

fn parse_state(text: &str) -> Result<&'static str, Problem> {
    if text.parse::<Outcome>().is_ok() {
        return Err(Problem::invalid(format!(
            "`{text}` is no state but an outcome; ask for `outcome` (--outcome {text})"
        )));
    }
    STATES
        .into_iter()
        .find(|state| *state == text)
        .ok_or_else(|| Problem::invalid(format!("unknown `state`; {}", did_you_mean(text, STATES))))
}

fn journal_state(word: &str) -> State {
    match word {
        "running" => State::Running,
        "held" => State::Held,
        "ended" => State::Ended,
        _ => State::Queued,
    }
}

fn parse_outcome(text: &str) -> Result<Outcome, Problem> {
    let known = Outcome::ALL.iter().map(|outcome| outcome.as_str());
    text.parse()
        .map_err(|_| Problem::invalid(format!("unknown `outcome`; {}", did_you_mean(text, known))))
}

/// The words for which jobs are held.
const HOLDS: [&str; 7] = [
    HOLD_ADMINISTRATOR,
    HOLD_SEVERAL,
    OLD_HOLD,
    AGE_HOLD,
    SAMPLE_HOLD,
    UNSETTLED_HOLD,
    BREAKER_HOLD,
];

/// One of them. A mistyped one would fit nothing, and look as if nothing were held.
pub(super) fn known_hold(why: String) -> Result<String, Problem> {
    if HOLDS.contains(&why.as_str()) {
        return Ok(why);
    }
    Err(Problem::invalid(format!(
        "unknown `why`; {}",
        did_you_mean(&why, HOLDS)
    )))
}

fn parse_event(text: &str) -> Result<EventId, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid("`event` is not the id of an event"))
}

fn parse_bool(name: &str, text: &str) -> Result<bool, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("`{name}` is true or false")))
}

/// A time, or the beginning of a day.
fn parse_moment(name: &str, text: &str) -> Result<Timestamp, Problem> {
    // Nothing but a day: a time without its offset would be read as one, too, and be cut.
    let day = |text: &str| text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    let day = |text: &str| TimeZone::UTC.to_timestamp(day(text)?.into()).ok();
    let moment = text.parse().ok().or_else(|| day(text));
    moment.ok_or_else(|| {
        Problem::invalid(format!(
            "`{name}` is neither a day nor a time; write 2026-11-30 or 2026-11-30T09:15:00Z"
        ))
    })
}
