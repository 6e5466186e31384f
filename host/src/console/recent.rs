//! A short memory for what is costly to read and asked for by anybody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer counts as recent: a second. Health checks come every few seconds from each balancer, scrapes
/// every fifteen; neither needs a token, so without this anybody could keep the database busy.
const RECENT: Duration = Duration::from_secs(1);

/// How long a read may take: a minute, longer than a statement at the database. After that the next one to ask tries anew,
/// whatever became of it.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// The last answer. Who asks while it is being read waits for the same one.
#[derive(Debug)]
pub(super) struct Recent<T>(Arc<Mutex<Slot<T>>>);

type Slot<T> = Option<(Instant, Arc<T>)>;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + Sync + 'static> Recent<T> {
    /// The last answer, or a new one where that is too old. None where reading has taken too long.
    ///
    /// In a task of its own, which keeps the others waiting until it has ended: who hangs up, or gives up, must not leave
    /// the database at work and have the next one ask it again.
    pub(super) async fn get(&self, read: impl Future<Output = T> + Send + 'static) -> Option<Arc<T>> {
        let mut slot = Arc::clone(&self.0).lock_owned().await;
        if let Some(answer) = fresh(&slot) {
            return Some(answer);
        }
        let reading = tokio::spawn(async move {
            let answer = Arc::new(tokio::time::timeout(READ_WITHIN, read).await.ok()?);
            *slot = Some((Instant::now(), Arc::clone(&answer)));
            Some(answer)
        });
        reading.await.ok().flatten()
    }

    /// As [`get`](Self::get), where nothing is waited for.
    pub(super) async fn get_at_once(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut slot = self.0.lock().await;
        fresh(&slot).unwrap_or_else(|| {
            let answer = Arc::new(make());
            *slot = Some((Instant::now(), Arc::clone(&answer)));
            answer
        })
    }
}

fn fresh<T>(slot: &Slot<T>) -> Option<Arc<T>> {
    let (at, answer) = slot.as_ref()?;
    (at.elapsed() < RECENT).then(|| Arc::clone(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_read_once_until_it_is_old() {
        let recent = Recent::default();
        assert_eq!(recent.get(async { 1 }).await.as_deref(), Some(&1));
        tokio::time::advance(RECENT - Duration::from_millis(1)).await;
        assert_eq!(recent.get(async { 2 }).await.as_deref(), Some(&1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(recent.get(async { 3 }).await.as_deref(), Some(&3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_meanwhile_waits_for_the_same_answer() {
        let recent = Recent::default();
        let slow = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            1
        };
        let (first, second) = tokio::join!(recent.get(slow), recent.get(async { 2 }));
        assert_eq!((first.as_deref(), second.as_deref()), (Some(&1), Some(&1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_leaves_the_answer_to_the_next_and_nothing_is_read_twice() {
        let recent = Recent::default();
        let slow = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            1
        };
        let impatient = tokio::time::timeout(Duration::from_secs(1), recent.get(slow)).await;
        assert!(impatient.is_err());
        assert_eq!(recent.get(async { 2 }).await.as_deref(), Some(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_without_end_is_given_up_and_tried_again() {
        let recent = Recent::default();
        assert_eq!(recent.get(std::future::pending()).await, None);
        assert_eq!(recent.get(async { 2 }).await.as_deref(), Some(&2));
    }
}
