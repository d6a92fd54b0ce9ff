//! Shell: how a client proves who it is (ZooKeeperServer.processPacket and processSasl,
//! AuthenticationHelper.java).
//!
//! Packets of `auth` and `sasl` are answered at once, before requests that wait.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::zk::code::ErrorCode;
use common::zk::data::Id;
use common::zk::jute::Reader as JuteReader;
use common::zk::request::{AuthPacket, SaslToken};

use crate::auth::sasl::{Failure, Step};
use crate::auth::schemes::SUPER;
use crate::auth::{identities, key};
use crate::pipeline::commit::Commit;
use crate::pipeline::reply;
use crate::pipeline::run::Pipeline;
use crate::state::watches::ConnectionId;

/// Random bytes in a nonce.
const NONCE_BYTES: usize = 30;

impl<C: Commit> Pipeline<C> {
    /// Handles an authentication packet; who fails is sent away.
    pub(super) fn authenticate(
        &mut self,
        id: ConnectionId,
        xid: i32,
        reader: &mut JuteReader,
    ) -> Result<(), String> {
        let packet: AuthPacket = reader
            .read()
            .map_err(|e| format!("no authentication packet: {e}"))?;
        if packet.scheme.as_deref() == Some("ensemble") && self.is_other_ensemble(&packet) {
            // Without an answer: the client is to try another server.
            return Err("the client looks for another ensemble".to_owned());
        }
        let result = match self.proved(id, &packet) {
            Ok(proved) => {
                self.identify(id, proved);
                Ok(())
            }
            Err(reason) => {
                tracing::warn!("{reason}");
                Err(ErrorCode::AuthFailed)
            }
        };
        self.send(id, |out| reply::put_bare_reply(xid, 0, result, out));
        if result.is_err() {
            self.close(id);
        }
        Ok(())
    }

    /// The identities that a packet proves, or why it proves none.
    fn proved(&self, id: ConnectionId, packet: &AuthPacket) -> Result<Vec<Id>, String> {
        let scheme = packet.scheme.as_deref().unwrap_or_default();
        let options = &self.options.auth;
        if !options.schemes.has(scheme) {
            return Err(format!("No authentication provider for scheme: {scheme}"));
        }
        match (scheme, &packet.auth) {
            ("digest", Some(password)) => {
                let proved = options.digest_algorithm.id_of(password);
                let mut ids = Vec::new();
                if options.super_digest.as_ref() == Some(&proved) {
                    ids.push(Id::new(SUPER, ""));
                }
                ids.push(Id::new("digest", proved));
                Ok(ids)
            }
            ("ip", _) => {
                let client = self.clients.get(id);
                Ok(client
                    .map(|client| client.address_id())
                    .into_iter()
                    .collect())
            }
            ("x509", _) => {
                let client = self.clients.get(id);
                let subject = client.and_then(|client| client.link.subject.clone());
                let subject = subject.ok_or(
                    "Authentication failed for scheme: x509 (the client has shown no certificate)",
                )?;
                Ok(self.options.auth.certificate_ids(&subject))
            }
            ("ensemble", _) => Ok(Vec::new()),
            ("key", Some(proof)) if self.opens(proof) => Ok(vec![Id::new("key", "")]),
            (scheme, _) => Err(format!("Authentication failed for scheme: {scheme}")),
        }
    }

    /// Whether a client's proof fits the znode of the scheme `key`.
    fn opens(&self, proof: &[u8]) -> bool {
        match self.db.tree.get(key::PATH).and_then(|node| node.data()) {
            Some(number) => key::opens(number, proof),
            None => true,
        }
    }

    fn is_other_ensemble(&self, packet: &AuthPacket) -> bool {
        let options = &self.options.auth;
        let name = packet.auth.as_deref().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        options.schemes.has("ensemble")
            && !name.is_empty()
            && options
                .ensemble_names
                .as_ref()
                .is_some_and(|names| !names.iter().any(|known| *known == name))
    }

    /// Adds identities to those of a connection.
    pub(super) fn identify(&mut self, id: ConnectionId, proved: Vec<Id>) {
        if let Some(client) = self.clients.get_mut(id) {
            for identity in proved {
                identities::add(&mut client.ids, identity);
            }
        }
    }

    /// Handles a SASL token.
    pub(super) fn sasl(
        &mut self,
        id: ConnectionId,
        xid: i32,
        reader: &mut JuteReader,
    ) -> Result<(), String> {
        let request: SaslToken = reader.read().map_err(|e| format!("no SASL token: {e}"))?;
        let token = request.token.ok_or("a SASL token that is null")?;
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let Some(users) = &self.options.auth.sasl_users else {
            // The real server goes on without one, and so do clients that get none.
            self.send(id, |out| reply::put_sasl(xid, Ok(()), None, out));
            return Ok(());
        };
        match client.sasl.step(&token, users, nonce) {
            Step::Challenge(challenge) => {
                self.send(id, |out| {
                    reply::put_sasl(xid, Ok(()), Some(&challenge), out)
                });
            }
            Step::Done(verified) => {
                self.logged_in(id, &verified.user);
                self.send(id, |out| {
                    reply::put_sasl(xid, Ok(()), Some(&verified.reply), out)
                });
            }
            Step::Failed(failure) => return self.sasl_failed(id, xid, &failure),
        }
        Ok(())
    }

    fn logged_in(&mut self, id: ConnectionId, user: &str) {
        let session = self.clients.get(id).map_or(0, |client| client.session);
        tracing::info!(
            "Session 0x{session:x}: adding SASL authorization for authorizationID: {user}"
        );
        let mut ids = vec![Id::new("sasl", user.to_owned())];
        let mut supers = self.options.auth.sasl_super_users.iter();
        if !user.is_empty() && supers.any(|name| name == user) {
            tracing::info!("Session 0x{session:x}: Authenticated Id '{user}' as super user");
            ids.push(Id::new(SUPER, ""));
        }
        self.identify(id, ids);
    }

    fn sasl_failed(&mut self, id: ConnectionId, xid: i32, failure: &Failure) -> Result<(), String> {
        let reason = format!("failed to SASL authenticate: {failure}");
        if failure.is_fatal() {
            return Err(reason);
        }
        let options = &self.options.auth;
        let result = match (options.requires_sasl(), options.allow_sasl_failed) {
            (true, _) => Err(ErrorCode::SessionClosedRequireSaslAuth),
            (false, true) => Ok(()),
            (false, false) => Err(ErrorCode::AuthFailed),
        };
        let session = self.clients.get(id).map_or(0, |client| client.session);
        let then = if result.is_err() { "closed" } else { "kept" };
        tracing::warn!("Session 0x{session:x} {reason}; its connection is {then}");
        self.send(id, |out| reply::put_sasl(xid, result, None, out));
        if result.is_err() {
            self.close(id);
        }
        Ok(())
    }

    /// Whether a client may send requests; if not it is told so and sent away.
    pub(super) fn may_request(&mut self, id: ConnectionId, xid: i32) -> bool {
        let enforced = &self.options.auth.enforced_schemes;
        if enforced.is_empty() {
            return true;
        }
        let Some(client) = self.clients.get(id) else {
            return false;
        };
        if client
            .ids
            .iter()
            .any(|id| enforced.iter().any(|scheme| **scheme == *id.scheme))
        {
            return true;
        }
        let schemes: Vec<&str> = client.ids.iter().map(|id| &*id.scheme).collect();
        tracing::error!(
            "Client authentication scheme(s) {schemes:?} does not match with any of the expected authentication scheme {enforced:?}, closing session."
        );
        let error = Err(ErrorCode::SessionClosedRequireSaslAuth);
        self.send(id, |out| reply::put_bare_reply(xid, 0, error, out));
        self.close(id);
        false
    }
}

fn nonce() -> String {
    STANDARD.encode(rand::random::<[u8; NONCE_BYTES]>())
}
