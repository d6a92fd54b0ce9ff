//! Shell: the protocol itself, byte by byte and under many clients, against Apache's server.

mod acls;
mod handshake;
mod lab;
mod limits;
mod linear;
mod multis;
mod mutants;
mod random;
mod requests;
mod sessions;
