//! The tables of keys, by the area that they belong to.

pub mod all;
pub mod auth;
pub mod ensemble;
pub mod file;
pub mod jvm;
pub mod operator;
pub mod protocol;
pub mod storage;
pub mod tls;
