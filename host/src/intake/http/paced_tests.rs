use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::advance;

use super::*;

const TIMES: Times = Times {
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    write: Duration::from_secs(5),
};

fn pair(room: usize) -> (Paced<DuplexStream>, Arc<Phase>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    let phase = Arc::new(Phase::default());
    (Paced::new(ours, Arc::clone(&phase), TIMES), phase, theirs)
}

/// Polls a future, once.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Whether a read is still waiting, just before and just after `seconds`.
async fn ends_after(stream: &mut Paced<DuplexStream>, seconds: u64) -> bool {
    let mut room = [0; 64];
    let read = stream.read(&mut room);
    tokio::pin!(read);
    assert!(once(&mut read).await.is_pending());
    advance(Duration::from_secs(seconds) - Duration::from_millis(2)).await;
    assert!(once(&mut read).await.is_pending(), "it ended early");
    advance(Duration::from_millis(4)).await;
    matches!(once(&mut read).await, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut)
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_requests_may_be_long() {
    let (mut stream, _, _theirs) = pair(64);
    assert!(ends_after(&mut stream, 75).await);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_the_first_byte_however_often_another_comes() {
    let (mut stream, _, mut theirs) = pair(64);
    let mut room = [0; 64];
    for second in 0..10 {
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(stream.read(&mut room).await.unwrap(), 1, "after {second} seconds");
        assert!(once(&mut std::pin::pin!(stream.read(&mut room))).await.is_pending());
        advance(Duration::from_millis(990)).await;
    }
    let late = stream.read(&mut room);
    tokio::pin!(late);
    assert!(once(&mut late).await.is_pending());
    advance(Duration::from_millis(102)).await;
    assert!(late.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_being_answered_has_no_time_here_and_the_next_pause_starts_after_it() {
    let (mut stream, phase, mut theirs) = pair(64);
    let mut room = [0; 64];
    theirs.write_all(b"head").await.unwrap();
    assert_eq!(stream.read(&mut room).await.unwrap(), 4);
    phase.begin();
    assert!(once(&mut std::pin::pin!(stream.read(&mut room))).await.is_pending());
    advance(Duration::from_secs(1000)).await;
    assert!(once(&mut std::pin::pin!(stream.read(&mut room))).await.is_pending());
    phase.end();
    assert!(ends_after(&mut stream, 75).await);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up_and_one_that_reads_slowly_is_not() {
    let (mut stream, _, mut theirs) = pair(4);
    let mut room = [0; 4];
    for _ in 0..3 {
        assert!(once(&mut std::pin::pin!(stream.write_all(b"12345"))).await.is_pending());
        advance(Duration::from_secs(4)).await;
        theirs.read_exact(&mut room).await.unwrap();
        assert!(stream.write(b"").await.is_ok());
    }
    let stalled = stream.write_all(b"12345");
    tokio::pin!(stalled);
    assert!(once(&mut stalled).await.is_pending());
    advance(Duration::from_millis(5002)).await;
    assert_eq!(stalled.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_a_second_for_the_peer_to_end() {
    let (mut stream, _, mut theirs) = pair(64);
    let mut closing = Box::pin(async move { stream.shutdown().await });
    theirs.write_all(b"the rest of a body").await.unwrap();
    assert!(once(&mut closing).await.is_pending());
    advance(Duration::from_millis(1002)).await;
    closing.await.unwrap();

    let (mut stream, _, theirs) = pair(64);
    drop(theirs);
    let _ = stream.shutdown().await;
    assert!(stream.lingered.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pause_begins_with_the_flush_of_an_answer_though_nobody_reads() {
    let (mut stream, phase, mut theirs) = pair(64);
    theirs.write_all(b"x").await.unwrap();
    let mut room = [0; 64];
    assert_eq!(stream.read(&mut room).await.unwrap(), 1);
    phase.begin();
    assert!(once(&mut std::pin::pin!(stream.read(&mut room))).await.is_pending());
    phase.end();
    // The task is polled, as hyper's is, with nothing to read, and then only when it is woken.
    let mut is_flushed = false;
    let connection = std::future::poll_fn(|cx| {
        if !is_flushed {
            is_flushed = true;
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut room);
        Pin::new(&mut stream).poll_read(cx, &mut buffer)
    });
    let ended = tokio::time::timeout(TIMES.idle * 2, connection)
        .await
        .expect("it was woken");
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
