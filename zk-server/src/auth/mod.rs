//! Who is a client, and which identities does an ACL entry mean.

pub mod digest;
pub mod ip;
