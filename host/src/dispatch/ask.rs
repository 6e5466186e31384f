//! One verb call by itself, without the procedure around it: for authors and replays.

use std::sync::Arc;

use super::gate::Gate;
use super::guard;
use super::live::Connector;
use super::stop::Stop;
use crate::capability::{Call, CallRecord, Grant, Token, Verb};
use crate::evidence::{Answer, Answers, Question};
use crate::intake;
use crate::sandbox::{Ended, Person, Plugin};

/// Asks a plugin one thing, and returns its answer and what it did for it. `mint` needs no token and gets none.
///
/// Cancelling it is as cancelling the verb: see [`Call::send`].
pub async fn ask(plugin: &Plugin, grant: &Arc<Grant>, question: &Question, token: &Token) -> (Answer, CallRecord) {
    let account = question.account().map(str::to_owned);
    let call = Call::new(Arc::clone(grant), question.verb(), account);
    match question {
        Question::Mint => said(plugin.mint(call).await),
        Question::Find(who) => said(plugin.find(call, &person(who), token).await),
        Question::Read(_) => said(plugin.read(call, token).await),
        Question::Close(_) => said(plugin.close(call, token).await),
        Question::Page(cursor) => said(plugin.page(call, cursor.as_deref(), token).await),
    }
}

fn said<T: Answers>(ended: Ended<T>) -> (Answer, CallRecord) {
    (Answer::of(&ended), ended.record)
}

/// The person in the contract's words.
pub(super) fn person(person: &intake::Person) -> Person {
    Person {
        id: person.id.clone(),
        target_id: person.target_id.clone(),
        email: person.email.clone(),
        name: person.name.clone(),
        attributes: person.attributes.clone(),
    }
}

/// A verb call that somebody made by hand.
#[derive(Debug)]
pub struct Asked {
    /// What was asked.
    pub question: Question,
    /// What came of it.
    pub answer: Answer,
    /// What it did.
    pub record: CallRecord,
}

/// Asks a connector one thing by hand, with its own token and grant, after whatever must be asked before it: a token,
/// and, before a closure, the account. The last one is what was wanted, or what stands in its way.
///
/// A closure is not verified and not journaled; that is the procedure's.
///
/// # Errors
///
/// Before a closure: the guard's (protected people, administrators, the connector's own account), and that `read` answers
/// with no account or with another one.
///
/// Cancelling it may leave a closure of unknown effect behind.
pub async fn by_hand(connector: &Connector, question: Question) -> Result<Vec<Asked>, Stop> {
    let Connector { plugin, grant, .. } = connector;
    let minted = plugin.mint(Call::new(Arc::clone(grant), Verb::Mint, None)).await;
    let mut done = vec![Asked {
        question: Question::Mint,
        answer: Answer::of(&minted),
        record: minted.record,
    }];
    let Ok(Ok(token)) = minted.result else {
        return Ok(done);
    };
    if question == Question::Mint {
        return Ok(done);
    }
    if let Question::Close(id) = &question {
        let ended = plugin.read(connector.call(Verb::Read, Some(id)), &token).await;
        let account = match &ended.result {
            Ok(Ok(Some(account))) => Some(account.clone()),
            Ok(Ok(None)) => {
                return Err(Stop::Failed(format!(
                    "the target knows no account {id}; nothing was closed"
                )));
            }
            _ => None,
        };
        done.push(Asked {
            question: Question::Read(id.clone()),
            answer: Answer::of(&ended),
            record: ended.record,
        });
        let Some(account) = account else { return Ok(done) };
        // Else another account would be judged than the one that is closed.
        if !account.id.eq_ignore_ascii_case(id) {
            let text = format!(
                "`read` answered with the account {} when asked for {id}; nothing was closed",
                account.id
            );
            return Err(Stop::Failed(text));
        }
        guard::check(connector, &intake::Person::default(), &[account], &Gate::in_memory()).await?;
    }
    let (answer, record) = ask(plugin, grant, &question, &token).await;
    done.push(Asked {
        question,
        answer,
        record,
    });
    Ok(done)
}
