//! Who is a client, and which identities does an ACL entry mean.

pub mod digest;
pub mod identities;
pub mod ip;
pub mod key;
pub mod options;
pub mod sasl;
pub mod schemes;
pub mod x509;
