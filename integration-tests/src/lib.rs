//! Shell: starts servers (ours and Apache's) and drives them with other people's clients; the tests live in `tests/`.

pub mod apache;
pub mod compare;
pub mod environment;
pub mod faults;
pub mod history;
pub mod ledger;
pub mod native;
pub mod new_topics;
pub mod normalise;
pub mod ours;
pub mod partition_view;
pub mod ports;
pub mod process;
pub mod python;
pub mod raw;
pub mod report;
pub mod requests;
pub mod saved;
pub mod scripts;
pub mod stack;
pub mod stock_tools;
pub mod talk;
pub mod transcript;
pub mod wait;
pub mod workspace;
pub mod zk;
