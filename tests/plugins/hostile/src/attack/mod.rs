//! Attacks by what they aim at. Every entry of the list is matched here, so none can be forgotten.

mod answers;
mod egress;
mod limits;
mod secrets;

pub(crate) use answers::{after_close, closes, found, paged, read};
pub(crate) use secrets::stray_token;

use crate::attacks::Attack;
use crate::bindings::exeunt::connector::credentials::AccessToken;
use crate::bindings::exeunt::connector::http::{self, HttpError, Request};
use crate::bindings::exeunt::connector::log;
use crate::bindings::exeunt::connector::types::Failure;
use crate::bindings::exports::exeunt::connector::descriptor::Verb;
use crate::settings::Settings;

/// One verb call, as an attack sees it.
pub(crate) struct Visit<'a> {
    pub(crate) verb: Verb,
    pub(crate) id: Option<&'a str>,
    pub(crate) token: Option<&'a AccessToken>,
    pub(crate) settings: Settings,
}

impl<'a> Visit<'a> {
    pub(crate) fn new(verb: Verb, id: Option<&'a str>, token: Option<&'a AccessToken>) -> Self {
        let settings = Settings::read();
        Self {
            verb,
            id,
            token,
            settings,
        }
    }

    /// Attacks, if it is this verb's turn. An attack that came to its end is a failure, which says what it saw;
    /// attacks that consist in a wrong answer go on from here.
    pub(crate) fn attack(&self) -> Result<(), Failure> {
        let Some(attack) = self.settings.attack_on(self.verb) else {
            return Ok(());
        };
        let amount = self.settings.amount;
        match attack {
            Attack::Spin => limits::spin(),
            Attack::SpinBetweenCalls => limits::spin_between_calls(),
            Attack::SleepByCalls => limits::sleep_by_calls(),
            Attack::GrowMemory | Attack::GrowTogether => limits::grow_memory(amount),
            Attack::Recurse => limits::recurse(amount),
            Attack::ClaimList => limits::claim_list(&self.settings.kind),
            Attack::HandOver => limits::hand_over(&self.settings.kind, amount),
            Attack::EndlessPages => limits::endless_pages(amount),
            Attack::FloodCalls => limits::flood_calls(amount),
            Attack::FloodLog => limits::flood_log(amount),
            Attack::LongLogLine => limits::long_log_line(amount),
            Attack::LogFields => limits::log_fields(amount),
            Attack::ForgeLogLine => limits::forge_log_line(),
            Attack::HoardHandles => limits::hoard_handles(amount),
            Attack::LeaveMemory => limits::leave_memory(),
            Attack::BigRequest => egress::big_request(self),
            Attack::InjectHeader => egress::inject_header(self),
            Attack::ReservedHeader => egress::reserved_header(self),
            Attack::EscapePath => egress::escape_path(self),
            Attack::WriteWhileReading => egress::write_while_reading(self),
            Attack::UnknownEndpoint => egress::unknown_endpoint(self),
            Attack::UndeclaredPath => egress::undeclared_path(self),
            Attack::FollowRedirect => egress::fetch(self, "redirect"),
            Attack::CompressedBomb => egress::fetch(self, "bomb"),
            Attack::EndlessBody | Attack::HoardAnswers => egress::fetch(self, "endless"),
            Attack::BrokenBody => egress::fetch(self, "broken"),
            Attack::SlowBody => egress::fetch(self, "slow"),
            Attack::EndlessHead => egress::fetch(self, &self.settings.kind),
            Attack::EchoToken => secrets::echo(self),
            Attack::EchoTokenLater => secrets::echo_later(self),
            Attack::GuessSecret => secrets::guess(self),
            Attack::EchoPieces => secrets::echo_page(self, "pieces"),
            Attack::EchoEarlier => secrets::echo_page(self, "recall"),
            Attack::Unscramble if self.settings.kind == "account" => Ok(()),
            Attack::Unscramble => secrets::unscramble(self),
            Attack::EchoAssertion => secrets::echo_assertion(self),
            Attack::UseAfterDrop => secrets::use_after_drop(),
            Attack::DropTwice => secrets::drop_twice(self),
            Attack::ForgeHandle => secrets::forge_handle(amount),
            Attack::TokenElsewhere => secrets::token_elsewhere(self),
            Attack::TwoTokens => secrets::two_tokens(),
            Attack::GrantWhileReading => secrets::grant_while_reading(),
            Attack::LongAssertion => secrets::long_assertion(amount),
            Attack::LongFailure => answers::long_failure(amount),
            Attack::Trap => answers::trap(),
            Attack::Panic => panic!("on purpose"),
            Attack::CloseTwice => answers::close_twice(self),
            Attack::CloseNameless => answers::close_nameless(self),
            Attack::CloseAnother => answers::close_another(self),
            Attack::CloseDoubled => answers::close_doubled(self),
            Attack::StrayToken
            | Attack::WrongAccount
            | Attack::ManyAccounts
            | Attack::OddId
            | Attack::OddAccount
            | Attack::ReadAnother
            | Attack::LieClosed
            | Attack::LieOpen
            | Attack::TrapAfterClose => Ok(()),
        }
    }
}

/// The attack came to its end, which some must not.
fn ended(what: &str) -> Result<(), Failure> {
    Err(Failure::Unexpected(format!("the attack came to its end: {what}")))
}

/// Sends requests of which the host should deny every one, and logs why it did. Says which one it did not deny.
fn each_denied(requests: impl IntoIterator<Item = Request>, token: Option<&AccessToken>) -> Result<(), Failure> {
    let mut texts = Vec::new();
    for request in requests {
        match http::send(&request, token) {
            Err(HttpError::Denied(text)) => {
                log::write(log::Level::Debug, &text, &[]);
                texts.push(text);
            }
            Ok(response) => return ended(&format!("{} went out: {}", shown(&request), response.status)),
            Err(error) => return ended(&format!("{} went out: {error}", shown(&request))),
        }
    }
    Err(Failure::Denied(texts.join(" | ")))
}

fn shown(request: &Request) -> String {
    let Request {
        endpoint,
        method,
        path,
        headers,
        ..
    } = request;
    format!("{method:?} {endpoint:?} {path:?} {headers:?}")
}
