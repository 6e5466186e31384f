//! Jobs can be found.

use std::time::Duration;

use exeunt::journal::{
    Decision, Finish, JobFilter, JobId, MAX_LOOK, MAX_PAGE, NewEvent, Options, Outcome, Page, Scope, State,
};

use crate::on_both;
use crate::rig::{Rig, end, event, held, lane, leaver, queued};

async fn ids(rig: &Rig, filter: JobFilter) -> Vec<JobId> {
    let jobs = rig.journal.jobs(&filter, Page::default()).await.expect("a query");
    jobs.items.iter().map(|job| job.id).collect()
}

on_both! {
    async fn a_list_is_cut_into_pages_newest_first(rig: Rig) {
        let mut all = Vec::new();
        for number in 0..25 {
            // From one lane to another and back, so that the order is not that of lanes.
            let connector = ["docusign", "other"][number % 2];
            all.push(rig.queue(&lane("acme", connector)).await);
            rig.queue(&lane("globex", "docusign")).await;
            rig.clock.advance(Duration::from_millis(1));
        }
        all.reverse();
        let tenant = || JobFilter { tenant: Some("acme".into()), ..JobFilter::default() };
        for filter in [tenant(), JobFilter { state: Some(State::Queued), ..tenant() }] {
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let page = rig.journal.jobs(&filter, Page { before, limit: 10 }).await.expect("a query");
                seen.extend(page.items.iter().map(|job| job.id));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "{filter:?}");
        }
        let none = rig.journal.jobs(&JobFilter::default(), Page { before: None, limit: 0 }).await.expect("a query");
        assert_eq!((none.items, none.next), (vec![], None));
    }

    async fn a_page_has_an_end(rig: Rig) {
        let jobs = || (0..64).map(|n| queued(&format!("c{n}"))).collect();
        for _ in 0..8 {
            rig.accept(event("acme", jobs(), rig.now())).await;
        }
        let page = rig.journal.jobs(&JobFilter::default(), Page { before: None, limit: u32::MAX }).await;
        assert_eq!(page.expect("a query").items.len(), MAX_PAGE as usize);
    }

    async fn a_look_ends_after_so_many_rows_that_do_not_fit_and_says_where_to_go_on(rig: Rig) {
        let wanted = rig.queue(&lane("acme", "wanted")).await;
        rig.clock.advance(Duration::from_millis(1));
        let jobs = |count| (0..count).map(|n| queued(&format!("c{n}"))).collect();
        let others = MAX_LOOK as usize - 1;
        for _ in 0..others / 64 {
            rig.accept(event("acme", jobs(64), rig.now())).await;
        }
        rig.accept(event("acme", jobs(others % 64), rig.now())).await;
        let filter = JobFilter { lane: Some(lane("acme", "wanted")), ..JobFilter::default() };
        let look = async |before| rig.journal.jobs(&filter, Page { before, limit: 1 }).await.expect("a query");
        let at_limit = look(None).await;
        assert_eq!((at_limit.items[0].id, at_limit.next), (wanted, Some(wanted)));
        assert_eq!(look(at_limit.next).await.next, None);

        rig.accept(event("acme", jobs(1), rig.now())).await;
        let past = look(None).await;
        assert_eq!(past.items, []);
        assert_eq!(look(past.next).await.items[0].id, wanted);
        assert!(ids(&rig, JobFilter { tenant: Some("acme".into()), ..JobFilter::default() }).await.len() > 1);
    }

    async fn events_that_do_not_fit_are_passed_over_to_the_same_limit(rig: Rig) {
        let other = || NewEvent { decision: Decision::NotALeaver, ..event("acme", vec![], rig.now()) };
        let others = async |count| {
            let accepted = futures_util::future::join_all((0..count).map(|_| rig.accept(other()))).await;
            assert_eq!(accepted.len(), count);
        };
        let wanted = rig.accept(event("acme", vec![], rig.now())).await.event;
        rig.clock.advance(Duration::from_millis(1));
        for _ in 0..9 {
            others(1111).await;
        }
        let look = async |before| {
            let page = Page { before, limit: 1 };
            rig.journal.events("acme", Some(Decision::Leaver), page).await.expect("a query")
        };
        let at_limit = look(None).await;
        assert_eq!((at_limit.items[0].id, at_limit.next), (wanted, Some(wanted)));
        others(1).await;
        let past = look(None).await;
        assert_eq!(past.items, []);
        assert_eq!(look(past.next).await.items[0].id, wanted);
    }

    async fn each_filter_finds_its_own(rig: Rig) {
        let mut rig = rig;
        // Fewer than make the lane pause, which the running job would then have for itself.
        rig.reopen(Options { max_attempts: 3, ..rig.options() }).await;
        let (docusign, other) = (lane("acme", "docusign"), lane("acme", "other"));
        let person = NewEvent { person_key: Some("Grace@Acme.Example".into()), ..leaver(&lane("globex", "docusign"), rig.now()) };
        let running = rig.queue(&docusign).await;
        assert_eq!(rig.claim_one().await.id(), running);
        let failed = rig.queue(&docusign).await;
        let job = rig.claim_one().await;
        rig.finish(&job.fence, end(Outcome::Failed)).await;
        let dead = rig.queue(&docusign).await;
        let mut retries = 0;
        while let [job] = &rig.claim(1).await[..] {
            rig.finish(&job.fence, Finish::Retry { at: rig.now(), reason: "down".into() }).await;
            retries += 1;
        }
        assert_eq!(retries, 3);
        let waiting = rig.queue(&other).await;
        let held = rig.accept(event("acme", vec![held("docusign", "approval")], rig.now())).await.jobs[0];
        let grace = rig.accept(person).await;
        let all = JobFilter::default;
        let acme = || Some("acme".to_owned());
        let sorted = |mut ids: Vec<JobId>| {
            ids.sort();
            ids
        };
        let cases = [
            (JobFilter { tenant: acme(), ..all() }, vec![running, failed, dead, waiting, held]),
            (JobFilter { lane: Some(other.clone()), ..all() }, vec![waiting]),
            (JobFilter { lane: Some(docusign.clone()), tenant: acme(), ..all() }, vec![running, failed, dead, held]),
            (JobFilter { event: Some(grace.event), ..all() }, grace.jobs.clone()),
            (JobFilter { state: Some(State::Running), ..all() }, vec![running]),
            (JobFilter { state: Some(State::Running), tenant: Some("globex".into()), ..all() }, vec![]),
            (JobFilter { state: Some(State::Queued), ..all() }, vec![waiting, grace.jobs[0]]),
            (JobFilter { state: Some(State::Queued), tenant: acme(), ..all() }, vec![waiting]),
            (JobFilter { state: Some(State::Queued), lane: Some(other.clone()), tenant: acme(), ..all() }, vec![waiting]),
            (JobFilter { state: Some(State::Queued), lane: Some(docusign.clone()), ..all() }, vec![]),
            (JobFilter { state: Some(State::Queued), outcome: Some(Outcome::Failed), ..all() }, vec![]),
            (JobFilter { state: Some(State::Held), tenant: acme(), ..all() }, vec![held]),
            (JobFilter { state: Some(State::Held), tenant: Some("globex".into()), ..all() }, vec![]),
            (JobFilter { state: Some(State::Held), why: Some("approval".into()), ..all() }, vec![held]),
            (JobFilter { state: Some(State::Held), why: Some("breaker".into()), ..all() }, vec![]),
            (JobFilter { state: Some(State::Ended), ..all() }, vec![failed, dead]),
            (JobFilter { outcome: Some(Outcome::Failed), ..all() }, vec![failed, dead]),
            (JobFilter { outcome: Some(Outcome::Closed), ..all() }, vec![]),
            (JobFilter { outcome: Some(Outcome::Failed), tenant: acme(), ..all() }, vec![failed, dead]),
            (JobFilter { outcome: Some(Outcome::Failed), tenant: Some("globex".into()), ..all() }, vec![]),
            (JobFilter { dead: Some(true), tenant: acme(), ..all() }, vec![dead]),
            (JobFilter { why: Some("approval".into()), tenant: acme(), ..all() }, vec![held]),
            (JobFilter { dead: Some(true), ..all() }, vec![dead]),
            (JobFilter { dead: Some(false), state: Some(State::Ended), ..all() }, vec![failed]),
            (JobFilter { person: Some("grace@ACME.example".into()), ..all() }, grace.jobs.clone()),
            (JobFilter { person: Some("grace@acme.example".into()), tenant: acme(), ..all() }, vec![]),
            (JobFilter { person: Some("%".into()), ..all() }, vec![]),
            (
                JobFilter { person: Some("ada@acme.example".into()), lane: Some(other.clone()), state: Some(State::Queued), ..all() },
                vec![waiting],
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(sorted(ids(&rig, filter.clone()).await), sorted(expected), "{filter:?}");
        }
    }

    async fn a_tenants_actions_are_found_among_those_of_others(rig: Rig) {
        let wanted = rig.queue(&lane("acme", "docusign")).await;
        rig.journal.cancel(wanted, "ops", "she stays").await.expect("an act");
        rig.clock.advance(Duration::from_millis(1));
        // Names that begin alike are others.
        for name in ["acm", "acme2", "acmé", "x"] {
            let scope = Scope::Tenant(name.to_owned());
            rig.journal.pause(&scope, "ops", "why", None).await.expect("a pause");
            rig.clock.advance(Duration::from_millis(1));
        }
        rig.journal.pause(&Scope::All, "ops", "everything", None).await.expect("a pause");
        let found = async |tenant: Option<&str>, before| {
            let page = Page { before, limit: 3 };
            rig.journal.actions(tenant, None, page).await.expect("a query")
        };
        let listed = found(Some("acme"), None).await;
        let shown: Vec<_> = listed.items.iter().map(|done| (done.scope.to_string(), done.job, done.action.detail.as_str())).collect();
        assert_eq!(shown, [("everything".to_owned(), None, "everything"), ("acme/docusign".to_owned(), Some(wanted), "she stays")]);
        assert_eq!(listed.next, None);
        let first = found(None, None).await;
        let second = found(None, first.next).await;
        assert_eq!((first.items.len(), second.items.len(), second.next.is_some()), (3, 3, true));
        assert_eq!(second.items[2].job, Some(wanted));
        assert_eq!(found(None, second.next).await.items, []);
    }

    async fn jobs_are_found_by_when_they_came_and_by_whether_an_account_may_be_open(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let mut jobs = Vec::new();
        for outcome in [Some(Outcome::Closed), Some(Outcome::AlreadyClosed), Some(Outcome::NoAccount), Some(Outcome::Failed), None] {
            let job = rig.queue(&docusign).await;
            if let Some(outcome) = outcome {
                rig.finish(&rig.claim_one().await.fence, end(outcome)).await;
            }
            jobs.push((job, rig.now()));
            rig.clock.advance(Duration::from_secs(60));
        }
        let of = |lane: bool| JobFilter { lane: lane.then(|| docusign.clone()), ..JobFilter::default() };
        for by_lane in [false, true] {
            let open = JobFilter { not_closed: true, ..of(by_lane) };
            assert_eq!(ids(&rig, open).await, [jobs[4].0, jobs[3].0]);
            let (since, until) = (Some(jobs[1].1), Some(jobs[3].1));
            let between = JobFilter { since, until, ..of(by_lane) };
            assert_eq!(ids(&rig, between.clone()).await, [jobs[2].0, jobs[1].0]);
            let none = JobFilter { state: Some(State::Queued), ..between };
            assert_eq!(ids(&rig, none).await, []);
        }
        let queued = JobFilter { state: Some(State::Queued), since: Some(jobs[4].1), ..JobFilter::default() };
        assert_eq!(ids(&rig, queued).await, [jobs[4].0]);
        let page = Page { before: Some(jobs[2].0), limit: 1 };
        let until = JobFilter { until: Some(jobs[4].1), ..JobFilter::default() };
        assert_eq!(rig.journal.jobs(&until, page).await.expect("a query").items[0].id, jobs[1].0);
    }
}
