//! What the suite asked for.

use serde_json::Value;

use crate::attacks::Attack;
use crate::bindings::exeunt::connector::settings;
use crate::bindings::exports::exeunt::connector::descriptor::Verb;

/// The settings.
pub(crate) struct Settings {
    /// The attack, if there is one.
    pub(crate) attack: Option<Attack>,
    /// During which verb; `find` where it is not said.
    verb: String,
    /// How much of it.
    pub(crate) amount: usize,
    /// Which variation of it.
    pub(crate) kind: String,
    /// `static`, `jwt` or `client`.
    pub(crate) token: String,
}

impl Settings {
    /// Reads them; a test that misspells an attack must not pass, so that is a panic.
    pub(crate) fn read() -> Self {
        let settings: Value = serde_json::from_str(&settings::get()).expect("settings are JSON");
        let text = |name: &str, usual: &str| settings[name].as_str().unwrap_or(usual).to_owned();
        let attack = settings["attack"].as_str().map(|wanted| {
            let found = Attack::ALL.iter().find(|(name, _)| *name == wanted);
            found.expect("the attack is in the list").1
        });
        Self {
            attack,
            verb: text("verb", "find"),
            amount: settings["amount"].as_u64().unwrap_or(0) as usize,
            kind: text("kind", ""),
            token: text("token", "static"),
        }
    }

    /// The attack, if it is this verb's turn.
    pub(crate) fn attack_on(&self, verb: Verb) -> Option<Attack> {
        let name = match verb {
            Verb::Mint => "mint",
            Verb::Find => "find",
            Verb::Read => "read",
            Verb::Close => "close",
            Verb::Page => "page",
        };
        self.attack.filter(|_| self.verb == name)
    }
}
