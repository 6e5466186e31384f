//! Lists beside a million rows of others: no plan may read a whole table or sort.

use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use uuid::Uuid;

use super::super::dialect::Dialect;
use super::super::event;
use super::super::schema::{MIGRATIONS, statements};
use super::super::sql::{Bind, Cells, execute, fetch};
use super::super::types::{Decision, EventId, JobId, Lane, Outcome, State};
use super::{JobFilter, Page, list};

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
    let filters = [
        (all(), "PRIMARY KEY"),
        (
            JobFilter {
                tenant: acme(),
                ..all()
            },
            "job_tenant",
        ),
        (
            JobFilter {
                lane: Some(Lane::from_key("acme/docusign")),
                ..all()
            },
            "job_tenant",
        ),
        (
            JobFilter {
                event: Some(EventId(Uuid::nil())),
                ..all()
            },
            "job_event",
        ),
        (
            JobFilter {
                state: Some(State::Queued),
                ..all()
            },
            "job_open",
        ),
        (
            JobFilter {
                state: Some(State::Running),
                ..all()
            },
            "job_running",
        ),
        (
            JobFilter {
                state: Some(State::Held),
                ..all()
            },
            "job_held",
        ),
        (
            JobFilter {
                why: Some("approval".into()),
                ..all()
            },
            "job_held",
        ),
        (
            JobFilter {
                outcome: Some(Outcome::Failed),
                ..all()
            },
            "job_ended",
        ),
        (
            JobFilter {
                dead: Some(true),
                ..all()
            },
            "job_ended",
        ),
        (
            JobFilter {
                person: Some("ada@acme.example".into()),
                ..all()
            },
            "event_person",
        ),
    ];
    for (filter, index) in filters {
        for before in [None, Some(JobId(Uuid::max()))] {
            let (from, bind) = list(&filter, &Page { before, limit: 100 });
            let plan = plan(&mut connection, format!("SELECT job.id {from}"), bind).await;
            assert!(plan.contains(index), "{filter:?}: {plan}");
        }
    }
    for decision in [None, Some(Decision::Leaver)] {
        let (sql, bind) = event::list(&("acme".into(), decision, Page::default()));
        let plan = plan(&mut connection, sql, bind).await;
        assert!(plan.contains("event_tenant"), "{plan}");
    }
}

async fn plan(connection: &mut AnyConnection, sql: String, bind: Bind) -> String {
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
