//! From one machine to many: the journal moves, and the work goes on there.

use serde_json::json;

use crate::books::Books;
use crate::client::Client;
use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_moves_to_postgres_keeps_everything_and_goes_on() {
    let mut house = House::sqlite().await;
    let books = Books::default();
    books.add(&house.world.simulator, "acme", 20).await;
    let host = house.start().await;
    let client = Client::new(&house, &host);
    books.send_all(&client).await;
    client.idle().await;
    // Half is done; the other half is only accepted, and a pause is in force.
    assert_eq!(
        client
            .post("/v1/pause", &json!({ "reason": "moving" }))
            .await
            .expect("an answer")
            .0,
        204
    );
    books.add(&house.world.simulator, "acme", 20).await;
    books.send_all(&client).await;
    let before = client.jobs("").await;
    host.stop().await;

    let exported = house.exeunt(&["journal", "export", "copy.jsonl"]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    house.move_to_postgres();
    let imported = house.exeunt(&["journal", "import", "copy.jsonl"]).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let twice = house.exeunt(&["journal", "import", "copy.jsonl"]).await;
    assert_eq!(
        twice.code, 2,
        "a journal that holds something is not written over: {twice:?}"
    );

    let host = house.start().await;
    let client = Client::new(&house, &host);
    assert_eq!(client.jobs("").await, before);
    assert_eq!(client.see("/v1/lanes").await["pauses"][0]["reason"], "moving");
    assert_eq!(client.post("/v1/resume", &json!({})).await.expect("an answer").0, 200);
    client.idle().await;
    books.balance(&client, &house.world.simulator).await;
    host.stop().await;
}
