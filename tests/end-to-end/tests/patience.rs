//! What takes its time: waits that end at a limit of half a minute. All at once, so that the suite waits once.

use docusign_sim::{Fault, FaultKind, Origin, ReadClosed, Status};
use end_to_end::{World, event, event_with_target_id};

const ANN: &str = "ann.english@acme.example";

#[tokio::test]
async fn waits_end_at_their_limits() {
    tokio::join!(
        a_target_that_says_closed_and_closes_nothing_is_found_out(),
        a_target_that_does_not_know_closed_users_by_id_leaves_nothing_green(),
        nor_does_it_where_the_answer_to_the_closure_is_lost(),
        a_close_that_was_lost_on_its_way_is_asked_for_again(),
        a_close_that_met_an_outage_is_asked_for_again(),
        an_answer_that_drips_for_ever_is_given_up_and_asked_for_again(),
        a_close_whose_answer_never_ends_is_found_out_by_reading(),
        what_stood_before_a_lost_closure_is_not_forgotten_by_the_next_attempt(),
    );
}

async fn a_target_that_says_closed_and_closes_nothing_is_found_out() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world
        .simulator
        .switch(|switches| switches.pretend_close = [ann.clone()].into());
    let said = ["the target accepted the closure", "but after", &ann, "is Active"];
    let job = world.run(&event(ANN)).await.ended_because("failed", 4, &said);
    assert_eq!(
        (&job["accounts"][0]["before"], &job["accounts"][0]["after"]),
        (&"Active".into(), &"Active".into())
    );
    assert_eq!(
        world.seen("DELETE", "/users").len(),
        1,
        "what was accepted is not asked for again"
    );
}

async fn a_target_that_does_not_know_closed_users_by_id_leaves_nothing_green() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world
        .simulator
        .switch(|switches| switches.read_closed = ReadClosed::Unknown);
    let said = [
        "the target accepted the closure",
        "but after",
        &ann,
        "is unknown to the target",
    ];
    let job = world.run(&event(ANN)).await.ended_because("failed", 4, &said);
    assert_eq!(job["accounts"][0]["after"], "unknown to the target");
    assert_eq!(world.status(&ann), Status::Closed);
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
}

/// By id, so that the next attempt finds nobody.
async fn nor_does_it_where_the_answer_to_the_closure_is_lost() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world
        .simulator
        .switch(|switches| switches.read_closed = ReadClosed::Unknown);
    world
        .simulator
        .fault(Fault::new(FaultKind::Drop).method("DELETE").after_effect());
    let by_id = event_with_target_id(&world, ANN, &ann);
    let said = [
        &format!("account {ann} was found before"),
        "the target does not know it any more",
    ];
    world.run(&by_id).await.ended_because("failed", 4, &said);
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
}

async fn a_close_that_was_lost_on_its_way_is_asked_for_again() {
    closed_by_the_second_delete(FaultKind::Drop).await;
}

async fn a_close_that_met_an_outage_is_asked_for_again() {
    closed_by_the_second_delete(FaultKind::Html { status: 502 }).await;
}

async fn closed_by_the_second_delete(kind: FaultKind) {
    let world = World::new().await;
    let ann = world.user(ANN);
    world.simulator.fault(Fault::new(kind).method("DELETE").before_effect());
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    let closes = world.seen("DELETE", "/users");
    assert_eq!(
        closes.iter().map(|record| record.effect).collect::<Vec<_>>(),
        [false, true]
    );
    let reads = world.seen("GET", &ann);
    assert!(
        reads
            .iter()
            .any(|read| read.seq > closes[0].seq && read.seq < closes[1].seq),
        "read before it is repeated"
    );
}

async fn an_answer_that_drips_for_ever_is_given_up_and_asked_for_again() {
    let world = World::new().await;
    let _ = world.user(ANN);
    let drip = FaultKind::Drip {
        bytes: 1,
        every_ms: 1000,
    };
    world
        .simulator
        .fault(Fault::new(drip).on(Origin::Esign).method("GET").path("*/users"));
    let job = world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(job["calls"][2]["error"], "no whole answer within 30 s");
    assert_eq!(job["calls"][2]["status"], serde_json::Value::Null);
}

async fn a_close_whose_answer_never_ends_is_found_out_by_reading() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let drip = FaultKind::Drip {
        bytes: 1,
        every_ms: 1000,
    };
    world.simulator.fault(Fault::new(drip).method("DELETE").after_effect());
    world.run(&event(ANN)).await.ended("closed", 0);
    let user = world.simulator.user(&ann).expect("Ann");
    assert_eq!((user.deletes, user.second_deletes), (1, 0));
}

async fn what_stood_before_a_lost_closure_is_not_forgotten_by_the_next_attempt() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let user = format!("*/users/{ann}");
    let drop = Fault::new(FaultKind::Drop).method("DELETE").after_effect();
    world.simulator.fault(drop);
    let outage = Fault::new(FaultKind::Html { status: 503 }).method("GET").path(&user);
    world.simulator.fault(outage.forever());
    let mended_for_the_second_attempt = async {
        while world.seen("GET", "/users").len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        world.simulator.clear_faults();
        std::future::pending::<()>().await;
    };
    let event = event(ANN);
    let ran = tokio::select! {
        ran = world.run(&event) => ran,
        () = mended_for_the_second_attempt => unreachable!("it never ends"),
    };
    let job = ran.ended_because("closed", 0, &["closed by an earlier attempt"]);
    assert_eq!(
        (&job["accounts"][0]["before"], &job["accounts"][0]["after"]),
        (&"Active".into(), &"Closed".into())
    );
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
}
