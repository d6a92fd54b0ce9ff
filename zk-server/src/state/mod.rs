//! What the server knows, and how it changes.

pub mod acl_cache;
pub mod apply;
pub mod checkpoint;
pub mod database;
pub mod digest;
pub mod nodes;
pub mod odd;
pub mod pending;
pub mod permission;
pub mod prepare;
pub mod prepare_multi;
pub mod quota;
pub mod read;
pub mod request;
pub mod sessions;
pub mod text;
pub mod tree;
pub mod watch_table;
pub mod watches;
pub mod znode;
