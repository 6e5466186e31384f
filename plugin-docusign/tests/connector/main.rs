//! The connector's logic against scripted answers: what it sends, and what it makes of what comes back.

mod close;
mod describe;
mod errors;
mod find;
mod mint;
mod page;
mod properties;
mod read;
mod script;
