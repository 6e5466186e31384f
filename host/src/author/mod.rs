//! The connector author's kit: verbs run against a script, a recording or a new project, without a target.
//!
//! What runs is the real thing: the sandbox, the descriptor, the grant with its reach, headers, limits and scrubbing.
//! Only what would leave the host is answered by [`Stage`]'s target instead of the network, so a case that passes here
//! meets the same rules in production. A mock of the host for each language, which is what kits usually are, lost: it
//! would be three more programs to keep true, and none of them would be the sandbox.

mod case;
mod coverage;
mod expect;
mod replay;
mod stage;
mod target;
mod template;
mod test;

pub use case::{Case, Script};
pub use coverage::Coverage;
pub use expect::describe;
pub use replay::{Replayed, asked, read_calls, replay};
pub use stage::{Stage, StageKeys};
pub use target::{Body, Difference, ScriptedTarget, Step};
pub use template::{Language, new_project};
pub use test::{Played, ScriptError, play};
