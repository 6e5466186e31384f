//! The users of one DocuSign account: the eSignature resource `Users`, as far as a leaver needs it.

use serde_json::Value;

use crate::descriptor::ESIGN;
use crate::reply::Reply;
use crate::user::{account, number, text};
use crate::{Account, Failure, Host, Level, Method, Request, Settings, Standing, errors};

/// Users of one page. The most that DocuSign gives (`count`, 1 to 100).
const PAGE_SIZE: u64 = 100;

/// The users of the account in the settings, as the token's user may see them.
pub(crate) struct Users<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) token: &'a H::Token,
    pub(crate) settings: Settings,
}

/// One page of a listing.
pub(crate) struct Listing {
    /// In DocuSign's order.
    pub(crate) accounts: Vec<Account>,
    /// Where the next page begins; none on the last one.
    pub(crate) next: Option<u64>,
    /// The answer it was read from.
    pub(crate) reply: Reply,
}

impl<'a, H: Host> Users<'a, H> {
    pub(crate) fn new(host: &'a H, token: &'a H::Token) -> Result<Self, Failure> {
        Ok(Self {
            host,
            token,
            settings: Settings::of(host)?,
        })
    }

    /// `/restapi/v2.1/accounts/{accountId}/users`
    pub(crate) fn path(&self) -> String {
        format!("/restapi/v2.1/accounts/{}/users", self.settings.account_id)
    }

    /// One user, or none where the account has none with this id, which must be a GUID.
    pub(crate) fn get(&self, id: &str) -> Result<Option<(Account, Reply)>, Failure> {
        self.unless_unknown(self.look_up(id))
    }

    /// One page of the users with the address `email`, from `start` on; none where DocuSign says that it knows no such
    /// user, which it does in place of an empty list.
    pub(crate) fn with_email(&self, email: &str, start: u64) -> Result<Option<Listing>, Failure> {
        self.unless_unknown(self.list(Some(email), start))
    }

    /// One page of all users, from `start` on.
    pub(crate) fn all(&self, start: u64) -> Result<Listing, Failure> {
        self.list(None, start).map_err(|miss| match miss {
            // Nobody was asked for, so the user that is not known can only be the caller.
            Miss::Unknown(words) => self.caller_is("is not a member any more", &words),
            Miss::Failed(failure) => failure,
        })
    }

    /// Makes sure that an unknown user is the one that was asked for.
    ///
    /// DocuSign answers with the same code when the one who asks is no member of the account any more. Taken for "no
    /// account", that would turn every leaver green, so the caller's own user is read.
    fn unless_unknown<T>(&self, looked: Result<T, Miss>) -> Result<Option<T>, Failure> {
        match looked {
            Ok(found) => return Ok(Some(found)),
            Err(Miss::Failed(failure)) => return Err(failure),
            Err(Miss::Unknown(_)) => {}
        }
        match self.look_up(&self.settings.user_id) {
            Ok((caller, _)) if caller.standing == Standing::Active => Ok(None),
            Ok((caller, reply)) => Err(self.caller_is(&format!("is `{}`", caller.native_status), &reply.place())),
            Err(Miss::Unknown(words)) => Err(self.caller_is("is not a member any more", &words)),
            Err(Miss::Failed(failure)) => Err(failure),
        }
    }

    fn caller_is(&self, problem: &str, words: &str) -> Failure {
        let Settings {
            user_id, account_id, ..
        } = &self.settings;
        Failure::Misconfigured(format!(
            "user {user_id}, whom the connector acts as, {problem} in account {account_id}; make it an active administrator \
             of that account, or write as settings.account_id an account that it belongs to: {words}"
        ))
    }

    fn look_up(&self, id: &str) -> Result<(Account, Reply), Miss> {
        let (reply, user) = self.fetch(format!("{}/{id}", self.path()), Vec::new())?;
        let account = account(&user).map_err(|problem| reply.unexpected(&problem))?;
        if account.id.eq_ignore_ascii_case(id) {
            return Ok((account, reply));
        }
        Err(reply
            .unexpected(&format!(
                "is about user {} and not about {id}, which was asked for",
                account.id
            ))
            .into())
    }

    /// Closed users are in it: without `status`, DocuSign lists them all.
    fn list(&self, email: Option<&str>, start: u64) -> Result<Listing, Miss> {
        let email = email.map(|email| ("email".to_owned(), email.to_owned()));
        let window = [("count", PAGE_SIZE), ("start_position", start)];
        let window = window.map(|(name, value)| (name.to_owned(), value.to_string()));
        let (reply, list) = self.fetch(self.path(), email.into_iter().chain(window).collect())?;
        let users = match list.get("users") {
            Some(Value::Array(users)) => users.as_slice(),
            None | Some(Value::Null) if number(&list, "resultSetSize") == Some(0) => &[],
            _ => return Err(reply.unexpected("has no list of users").into()),
        };
        let accounts: Result<Vec<Account>, String> = users.iter().map(account).collect();
        let accounts = accounts.map_err(|problem| reply.unexpected(&problem))?;
        let next = next(&list, start, accounts.len()).map_err(|problem| reply.unexpected(problem))?;
        Ok(Listing { accounts, next, reply })
    }

    fn fetch(&self, path: String, query: Vec<(String, String)>) -> Result<(Reply, Value), Miss> {
        let headers = vec![("accept".to_owned(), "application/json".to_owned())];
        let request = Request {
            endpoint: ESIGN.into(),
            method: Method::Get,
            path,
            query,
            headers,
            body: None,
        };
        let reply = Reply::to(self.host, &request, self.token)?;
        if reply.is_success() {
            let value = reply.json()?;
            return Ok((reply, value));
        }
        if errors::is_unmatched(&reply) {
            let words = reply.words();
            self.host.log(
                Level::Debug,
                &format!("DocuSign does not know such a user: {words}"),
                &reply.fields(&[]),
            );
            return Err(Miss::Unknown(words));
        }
        Err(errors::failure(self.host, &reply).into())
    }
}

/// Why there is no user, or no list.
enum Miss {
    /// DocuSign does not know the user that was asked for, or the one who asks; its words.
    Unknown(String),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Where the page after this one begins. `found` users were on this page, which began at `start`.
fn next(list: &Value, start: u64, found: usize) -> Result<Option<u64>, &'static str> {
    let end = start.saturating_add(u64::try_from(found).unwrap_or(u64::MAX));
    let more = match number(list, "totalSetSize") {
        Some(total) => total > end,
        None => text(list, "nextUri").is_some(),
    };
    match (more, found) {
        (false, _) => Ok(None),
        // The rest would be missing from an answer that must be whole.
        (true, 0) => Err("is an empty page where more users were announced"),
        (true, _) => Ok(Some(end)),
    }
}
