//! The simulator from outside: real TLS, real names, one test for each thing that it promises.

mod article;
mod binary;
mod client;
mod close;
mod control;
mod faults;
mod limits;
mod list;
mod token;
mod userinfo;
mod witness;
