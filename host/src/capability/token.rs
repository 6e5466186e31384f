//! Access tokens and their cache.
//!
//! A token is minted once for a connector and shared by all its jobs until it is near its end. Whoever comes while
//! one is being minted waits for that one, also for its failure: ten thousand leavers on one morning ask the target
//! for one token, and a broken key for one refusal.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::descriptor::Placement;
use super::grant::{secret_part, with_parts};
use super::scrub::Scrubber;

/// A token is renewed when less than this is left; DocuSign's own advice, and longer than any job takes.
const RENEW_BEFORE_SECONDS: i64 = 600;

/// A token that the host keeps, and where it may go.
#[derive(Clone)]
pub struct Token {
    inner: Arc<Inner>,
    /// Finds it and its predecessor.
    scrubber: Scrubber,
}

struct Inner {
    secret: SecretString,
    placement: Placement,
    usable_at: Vec<String>,
    issued: Timestamp,
    expires: Option<Timestamp>,
    /// Finds it and what it was minted with.
    scrubber: Scrubber,
}

impl Token {
    /// A token as it was issued. `usable_at` names the endpoints that it may be sent to; `minted_with` finds what it
    /// was exchanged for, which a target may show at any later time.
    #[must_use]
    pub fn new(
        secret: SecretString,
        placement: Placement,
        usable_at: Vec<String>,
        issued: Timestamp,
        expires: Option<Timestamp>,
        minted_with: &Scrubber,
    ) -> Self {
        let is_pair = matches!(placement, Placement::Basic);
        let own = Scrubber::new(with_parts(secret_part(secret.expose_secret(), is_pair)));
        let scrubber = own.and(minted_with);
        Self {
            scrubber: scrubber.clone(),
            inner: Arc::new(Inner {
                secret,
                placement,
                usable_at,
                issued,
                expires,
                scrubber,
            }),
        }
    }

    /// The same, looked for together with its predecessor, which the target may go on accepting.
    fn after(self, previous: &Self) -> Self {
        Self {
            scrubber: self.scrubber.and(&previous.inner.scrubber),
            ..self
        }
    }

    /// When it expires, as the target said.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.inner.expires
    }

    /// Finds the token, what it was minted with, and its predecessor in what a target sends back.
    #[must_use]
    pub fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// Whether two handles are the same token.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(super) fn usable_at(&self) -> &[String] {
        &self.inner.usable_at
    }

    pub(super) fn placement(&self) -> &Placement {
        &self.inner.placement
    }

    pub(super) fn secret(&self) -> &str {
        self.inner.secret.expose_secret()
    }

    /// Fresh while more is left than [`RENEW_BEFORE_SECONDS`], or a sixth of a life that is shorter than an hour.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let Some(expires) = self.inner.expires else { return true };
        let life = expires.as_second() - self.inner.issued.as_second();
        expires.as_second() - now.as_second() > RENEW_BEFORE_SECONDS.min(life / 6)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.inner.expires)
            .finish_non_exhaustive()
    }
}

/// One connector's token. Shared by its jobs; `E` is why there is none.
#[derive(Debug)]
pub struct TokenCell<E> {
    /// How often minting has ended, to tell "failed while I waited" from "failed before I came".
    state: Mutex<State<E>>,
    ended: std::sync::atomic::AtomicU64,
}

#[derive(Debug)]
struct State<E> {
    last: Option<Result<Token, E>>,
    /// The last token, also when it is out of use.
    previous: Option<Token>,
}

impl<E> Default for TokenCell<E> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                last: None,
                previous: None,
            }),
            ended: std::sync::atomic::AtomicU64::new(0),
        }
    }
}

impl<E> TokenCell<E> {
    /// A cell without a token, whose first one is looked for together with the last one of `old`: the target may go on
    /// accepting that, and show it.
    ///
    /// One that is being minted meanwhile is not waited for.
    #[must_use]
    pub fn after(old: &Self) -> Self {
        let previous = old.state.try_lock().ok().and_then(|state| state.previous.clone());
        Self {
            state: Mutex::new(State { last: None, previous }),
            ..Self::default()
        }
    }
}

impl<E: Clone> TokenCell<E> {
    /// The token, fresh at `now`; `mint` is run if there is none and nobody else runs it.
    ///
    /// Cancelling the one that mints lets the next in line mint.
    ///
    /// # Errors
    ///
    /// That of the `mint` that was run, by this caller or the one it waited for.
    pub async fn get<F>(&self, now: Timestamp, mint: impl FnOnce() -> F) -> Result<Token, E>
    where
        F: Future<Output = Result<Token, E>>,
    {
        use std::sync::atomic::Ordering::SeqCst;
        let before = self.ended.load(SeqCst);
        let mut state = self.state.lock().await;
        match &state.last {
            Some(Ok(token)) if token.is_fresh(now) => return Ok(token.clone()),
            Some(Err(error)) if self.ended.load(SeqCst) != before => return Err(error.clone()),
            _ => {}
        }
        let minted = mint().await.map(|token| match &state.previous {
            Some(previous) => token.after(previous),
            None => token,
        });
        if let Ok(token) = &minted {
            state.previous = Some(token.clone());
        }
        state.last = Some(minted.clone());
        self.ended.fetch_add(1, SeqCst);
        minted
    }

    /// Forgets `token` if it is still the one in use: the target did not accept it.
    pub async fn discard(&self, token: &Token) {
        let mut state = self.state.lock().await;
        if matches!(&state.last, Some(Ok(current)) if current.is(token)) {
            state.last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(issued: i64, expires: i64) -> Token {
        let secret = SecretString::from(format!("a-secret-token-{issued}"));
        Token::new(
            secret,
            Placement::Bearer,
            vec!["api".to_owned()],
            at(issued),
            Some(at(expires)),
            &Scrubber::new([format!("assertion-{issued}").as_str()]),
        )
    }

    #[test]
    fn of_a_pair_the_password_is_blanked_and_the_user_is_an_ordinary_word() {
        let pair = "exeunt-connector@identity-corp.example:correct-horse-battery";
        let token = Token::new(
            SecretString::from(pair),
            Placement::Basic,
            Vec::new(),
            at(0),
            None,
            &Scrubber::default(),
        );
        let scrubbed = |text: &str| token.scrubber().text(text.to_owned());
        // Another person of the same domain: blanked, a connector would find no account of hers.
        let other = "{\"email\":\"king@identity-corp.example\"}";
        assert_eq!(scrubbed(other), other);
        assert_eq!(scrubbed("tried correct-horse-battery"), "tried [secret]");
        for echo in [
            pair.to_owned(),
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair),
        ] {
            let seen = scrubbed(&echo);
            assert!(seen.ends_with("[secret]"), "{seen}");
        }
    }

    #[tokio::test]
    async fn a_token_is_looked_for_after_another_cell_has_taken_its_place() {
        let cell = TokenCell::<String>::default();
        let old = cell.get(at(0), || async { Ok(token(0, 3600)) }).await.unwrap();
        for cell in [TokenCell::after(&cell), TokenCell::after(&TokenCell::after(&cell))] {
            let new = cell.get(at(1), || async { Ok(token(1, 3600)) }).await.unwrap();
            assert!(!new.is(&old), "it is minted anew");
            for secret in ["a-secret-token-0", "assertion-0", "a-secret-token-1"] {
                assert_eq!(new.scrubber().text(secret.to_owned()), "[secret]");
            }
        }
    }

    #[tokio::test]
    async fn many_that_ask_at_once_share_one_mint() {
        let cell = TokenCell::<String>::default();
        let minted = AtomicUsize::new(0);
        let mint = || async {
            tokio::task::yield_now().await;
            minted.fetch_add(1, Ordering::SeqCst);
            Ok(token(0, 3600))
        };
        let all = futures_util::future::join_all((0..100).map(|_| cell.get(at(0), mint))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(minted.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn those_that_waited_share_the_failure_and_the_next_one_tries_again() {
        let cell = TokenCell::<String>::default();
        let minted = AtomicUsize::new(0);
        let fail = || async {
            tokio::task::yield_now().await;
            minted.fetch_add(1, Ordering::SeqCst);
            Err("no consent".to_owned())
        };
        let all = futures_util::future::join_all((0..10).map(|_| cell.get(at(0), fail))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(minted.load(Ordering::SeqCst), 1);
        assert!(cell.get(at(0), || async { Ok(token(0, 3600)) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_is_renewed_with_ten_minutes_left() {
        let cell = TokenCell::<String>::default();
        let first = cell.get(at(0), || async { Ok(token(0, 3600)) }).await.unwrap();
        let same = cell.get(at(2999), || async { Ok(token(2999, 6599)) }).await.unwrap();
        assert!(first.is(&same));
        let next = cell.get(at(3000), || async { Ok(token(3000, 6600)) }).await.unwrap();
        assert!(!first.is(&next));
    }

    #[tokio::test]
    async fn a_discarded_token_is_not_used_again_and_a_newer_one_stays() {
        let cell = TokenCell::<String>::default();
        let first = cell.get(at(0), || async { Ok(token(0, 3600)) }).await.unwrap();
        cell.discard(&first).await;
        let second = cell.get(at(0), || async { Ok(token(0, 3600)) }).await.unwrap();
        assert!(!first.is(&second));
        cell.discard(&first).await;
        assert!(
            cell.get(at(0), || async { Err("must not run".to_owned()) })
                .await
                .unwrap()
                .is(&second)
        );
    }

    #[tokio::test]
    async fn a_token_is_looked_for_with_its_assertion_and_its_predecessor() {
        let cell = TokenCell::<String>::default();
        for issued in [0, 10_000, 20_000] {
            let minted = || async { Ok(token(issued, issued + 3600)) };
            let held = cell.get(at(issued), minted).await.unwrap();
            for of in [issued, issued - 10_000].into_iter().filter(|of| *of >= 0) {
                for secret in [format!("a-secret-token-{of}"), format!("assertion-{of}")] {
                    assert_eq!(held.scrubber().text(secret), crate::capability::BLANK);
                }
            }
            cell.discard(&held).await;
        }
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert!(!format!("{:?}", token(0, 1)).contains("a-secret-token"));
    }
}
