//! Lists beside a million rows of others: no plan may pass over a whole table, or sort one.

use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use uuid::Uuid;

use super::super::dialect::Dialect;
use super::super::event;
use super::super::filter::JobFilter;
use super::super::operator::{HeldFilter, select_held};
use super::super::schema::{MIGRATIONS, statements};
use super::super::sql::{Bind, Cells, execute, fetch};
use super::super::types::{Decision, EventId, JobId, Lane, Outcome, State};
use super::{Page, list, look};

#[tokio::test]
async fn each_list_is_found_by_an_index_that_gives_its_order() {
    install_default_drivers();
    let options: AnyConnectOptions = "sqlite::memory:".parse().expect("a database");
    let mut connection = AnyConnection::connect_with(&options).await.expect("a database");
    for statement in MIGRATIONS.iter().flat_map(|step| statements(step, Dialect::Sqlite)) {
        execute(&mut connection, AssertSqlSafe(statement), Bind::new())
            .await
            .expect("a schema");
    }
    let all = JobFilter::default;
    let acme = || Some("acme".to_owned());
    let lane = || Some(Lane::from_key("acme/docusign"));
    let state = |state| JobFilter {
        state: Some(state),
        ..all()
    };
    let failed = || JobFilter {
        outcome: Some(Outcome::Failed),
        ..all()
    };
    let dead = || JobFilter {
        dead: Some(true),
        ..all()
    };
    let approvals = || JobFilter {
        why: Some("approval".into()),
        ..all()
    };
    let ada = || JobFilter {
        person: Some("ada@acme.example".into()),
        ..all()
    };
    let event = || JobFilter {
        event: Some(EventId(Uuid::nil())),
        ..all()
    };
    let filters = [
        (all(), "sqlite_autoindex_job_1"),
        (
            JobFilter {
                tenant: acme(),
                ..all()
            },
            "job_tenant",
        ),
        (JobFilter { lane: lane(), ..all() }, "job_tenant"),
        (event(), "job_event"),
        (
            JobFilter {
                state: Some(State::Queued),
                ..event()
            },
            "job_event",
        ),
        (
            JobFilter {
                tenant: acme(),
                ..event()
            },
            "job_event",
        ),
        (
            JobFilter {
                tenant: acme(),
                state: Some(State::Held),
                why: Some("approval".into()),
                ..event()
            },
            "job_event",
        ),
        (
            JobFilter {
                lane: lane(),
                ..event()
            },
            "job_event",
        ),
        (
            JobFilter {
                tenant: acme(),
                not_closed: true,
                since: Some(jiff::Timestamp::UNIX_EPOCH),
                until: Some(jiff::Timestamp::MAX),
                ..all()
            },
            "job_tenant",
        ),
        (state(State::Queued), "job_queued (lane=?)"),
        (
            JobFilter {
                tenant: acme(),
                ..state(State::Queued)
            },
            "job_queued (lane=?)",
        ),
        (
            JobFilter {
                lane: lane(),
                ..state(State::Queued)
            },
            "job_queued (lane=?)",
        ),
        (state(State::Running), "job_running"),
        (
            JobFilter {
                tenant: acme(),
                ..state(State::Running)
            },
            "job_running",
        ),
        (state(State::Held), "job_held"),
        (
            JobFilter {
                tenant: acme(),
                ..state(State::Held)
            },
            "job_held_tenant",
        ),
        (approvals(), "job_held"),
        (
            JobFilter {
                tenant: acme(),
                ..approvals()
            },
            "job_held_tenant",
        ),
        (
            JobFilter {
                tenant: acme(),
                ..state(State::Ended)
            },
            "job_tenant",
        ),
        (failed(), "job_ended"),
        (
            JobFilter {
                tenant: acme(),
                ..failed()
            },
            "job_tenant",
        ),
        (dead(), "job_ended"),
        (
            JobFilter {
                tenant: acme(),
                ..dead()
            },
            "job_tenant",
        ),
        (ada(), "event_person"),
        (
            JobFilter {
                tenant: acme(),
                ..ada()
            },
            "event_person",
        ),
        (
            JobFilter {
                state: Some(State::Queued),
                ..ada()
            },
            "event_person",
        ),
    ];
    for (filter, index) in filters {
        for before in [None, Some(JobId(Uuid::max()))] {
            let end = before.map(|_| Uuid::nil());
            let (from, bind) = list(&filter, &Page { before, limit: 100 }, end);
            let plan = explain(&mut connection, format!("SELECT job.id {from}"), bind).await;
            assert!(plan.contains(index), "{filter:?}: {plan}");
            // Sorted is only what was found by event or person, or ids of the queue.
            let is_sorted = plan.contains("TEMP B-TREE");
            let may_be = ["job_event", "event_person", "job_queued (lane=?)"].contains(&index);
            assert!(may_be || !is_sorted, "{filter:?}: {plan}");
            let Some(rows) = filter.walked() else { continue };
            let (sql, bind) = look("job", rows, before.map(|id| id.0));
            let plan = explain(&mut connection, sql, bind).await;
            assert!(plan.contains(&format!("COVERING INDEX {index}")), "{filter:?}: {plan}");
        }
    }
    for decision in [None, Some(Decision::Leaver)] {
        let (sql, bind) = event::list(&("acme".into(), decision, Page::default()), Some(Uuid::nil()));
        let plan = explain(&mut connection, sql, bind).await;
        assert!(plan.contains("event_tenant"), "{plan}");
    }
    let held = HeldFilter {
        tenant: acme(),
        why: Some("breaker".to_owned()),
        ..HeldFilter::default()
    };
    let (sql, bind) = select_held(&held, Uuid::nil());
    let plan = explain(&mut connection, sql, bind).await;
    assert!(
        plan.contains("job_held_tenant (tenant=? AND id>?)") && !plan.contains("TEMP B-TREE"),
        "{plan}"
    );
    let (sql, bind) = look("event", event::of_tenant("acme"), None);
    let plan = explain(&mut connection, sql, bind).await;
    assert!(plan.contains("COVERING INDEX event_tenant"), "{plan}");
}

async fn explain(connection: &mut AnyConnection, sql: String, bind: Bind) -> String {
    let rows = fetch(connection, AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), bind)
        .await
        .expect("a plan");
    let mut plan = String::new();
    for row in &rows {
        let mut cells = Cells::of(row);
        for _ in 0..3 {
            cells.int().expect("a number");
        }
        plan += &format!("{}\n", cells.text().expect("a step"));
    }
    plan
}
