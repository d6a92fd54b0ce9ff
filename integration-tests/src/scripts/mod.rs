//! Shell: what a user does, as scripts that run against any stack and record what was seen.

pub mod configs;
pub mod disk;
pub mod groups;
pub mod messages;
pub mod native_clients;
pub mod session;
pub mod topics;
pub mod whole_list;
pub mod znodes;
pub mod zookeeper_shell;
