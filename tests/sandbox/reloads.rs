//! What a look at the files lets go.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use exeunt::clock::{Clock as _, SystemClock};
use exeunt::journal::{Decision, Dedupe, Finish, Lane, LaneStatus, NewEvent, NewJob, NewState};
use kit::noted;

use crate::house::STATIC_KEY;
use crate::plugin::hostile;
use crate::served::Served;

/// Parks the hostile tenant's lane, as a job does that finds its key refused.
async fn park(served: &Served) {
    let event = NewEvent {
        tenant: "hostile".to_owned(),
        source: "hr".to_owned(),
        dedupe: Dedupe::None,
        body: b"{}".to_vec(),
        received_at: SystemClock.now(),
        occurred_at: None,
        decision: Decision::Leaver,
        reason: "left".to_owned(),
        person: None,
        person_key: None,
        replays: None,
        actor: None,
        jobs: vec![NewJob {
            connector: "target".to_owned(),
            state: NewState::Queued,
        }],
    };
    served.journal.accept(event).await.unwrap();
    let job = served
        .journal
        .claim("host", Duration::from_secs(60), 1)
        .await
        .unwrap()
        .remove(0);
    let finish = Finish::Park {
        reason: "the key is refused".to_owned(),
    };
    served.journal.finish(&job.fence, finish, None).await.unwrap();
}

async fn lane(served: &Served) -> LaneStatus {
    let lanes = served.journal.lanes(Some("hostile")).await.unwrap();
    let lane = Lane::new("hostile", "target").unwrap();
    lanes.into_iter().find(|status| status.lane == lane).unwrap()
}

#[tokio::test]
async fn a_parked_lane_goes_on_also_where_what_mends_it_loads_at_the_second_try() {
    let served = Served::new().await;
    served.write("hostile", "").await;
    served.is_well();
    park(&served).await;
    // Deeper than is looked for changes, as behind a link.
    let folder = served.house.path("tenants/hostile/1/2/3/4/5");
    std::fs::create_dir_all(&folder).unwrap();
    let file = served.house.path("tenants/hostile.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("file:static", "file:1/2/3/4/5/static")).unwrap();
    served.tenants.refresh().await.unwrap();
    assert!(served.problem().contains("static"), "the key is not there yet");
    assert!(served.runs("hostile").is_ok(), "what runs goes on");
    assert!(lane(&served).await.parked.is_some());
    std::fs::write(folder.join("static"), STATIC_KEY).unwrap();
    std::fs::set_permissions(folder.join("static"), std::fs::Permissions::from_mode(0o600)).unwrap();
    served.tenants.refresh().await.unwrap();
    served.problem();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    served.tenants.refresh().await.unwrap();
    served.is_well();
    assert_eq!(lane(&served).await.parked, None);
}

#[tokio::test]
async fn a_plugin_that_lay_in_two_places_is_forgotten_when_nobody_runs_it() {
    let served = Served::new().await;
    std::fs::copy(
        served.house.path("plugins/hostile.wasm"),
        served.house.path("plugins/copy.wasm"),
    )
    .unwrap();
    served.write("hostile", "").await;
    served.write_plugin("neighbour", "copy.wasm").await;
    served.is_well();
    let plugin = |tenant: &str| Arc::downgrade(&served.runs(tenant).unwrap().plugin);
    let (one, two) = (plugin("hostile"), plugin("neighbour"));
    assert!(one.ptr_eq(&two));
    served.install(&noted(&hostile())).await;
    assert!(one.upgrade().is_some(), "the neighbour runs it");
    served.write("neighbour", "").await;
    assert!(one.upgrade().is_none());
}
