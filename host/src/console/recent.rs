//! A short memory for what is costly to read and asked for by anybody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer counts as recent: a second. Health checks come every few seconds from each balancer, scrapes
/// every fifteen; neither needs a token, so without this anybody could keep the database busy.
const RECENT: Duration = Duration::from_secs(1);

/// The last answer. Who asks while it is being read waits for the same one.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Recent<T> {
    /// The last answer, or a new one where that is too old.
    pub(super) async fn get(&self, read: impl Future<Output = T>) -> Arc<T> {
        let mut slot = self.0.lock().await;
        if let Some((at, answer)) = &*slot
            && at.elapsed() < RECENT
        {
            return Arc::clone(answer);
        }
        let answer = Arc::new(read.await);
        *slot = Some((Instant::now(), Arc::clone(&answer)));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_read_once_until_it_is_old() {
        let recent = Recent::default();
        assert_eq!(*recent.get(async { 1 }).await, 1);
        tokio::time::advance(RECENT - Duration::from_millis(1)).await;
        assert_eq!(*recent.get(async { 2 }).await, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(*recent.get(async { 3 }).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_meanwhile_waits_for_the_same_answer() {
        let recent = Recent::default();
        let slow = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            1
        };
        let (first, second) = tokio::join!(recent.get(slow), recent.get(async { 2 }));
        assert_eq!((*first, *second), (1, 1));
    }
}
