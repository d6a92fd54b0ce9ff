//! Shell: how a client proves who it is (ZooKeeperServer.processPacket).

use common::zk::code::ErrorCode;
use common::zk::data::Id;
use common::zk::jute::Reader as JuteReader;
use common::zk::request::AuthPacket;

use crate::auth::schemes::SUPER;
use crate::auth::{digest, identities};
use crate::pipeline::commit::Commit;
use crate::pipeline::reply;
use crate::pipeline::run::Pipeline;
use crate::state::watches::ConnectionId;

impl<C: Commit> Pipeline<C> {
    /// Handles an authentication packet; it is answered at once, and who fails is sent away.
    pub(super) fn authenticate(
        &mut self,
        id: ConnectionId,
        xid: i32,
        reader: &mut JuteReader,
    ) -> Result<(), String> {
        let packet: AuthPacket = reader
            .read()
            .map_err(|e| format!("no authentication packet: {e}"))?;
        let proved = self.proved(id, &packet);
        let result = match proved {
            Ok(proved) => {
                self.identify(id, proved);
                Ok(())
            }
            Err(reason) => {
                tracing::warn!("{reason}");
                self.stats.connections.auth_failures += 1;
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
        let scheme = &*packet.scheme;
        let schemes = &self.options.auth.schemes;
        if !schemes.has(scheme) {
            return Err(format!("No authentication provider for scheme: {scheme}"));
        }
        match scheme {
            "digest" => {
                let proved = digest::id_of(packet.auth.as_deref().unwrap_or_default());
                let mut ids = Vec::new();
                if self.options.auth.super_digest.as_ref() == Some(&proved) {
                    ids.push(Id::new(SUPER, ""));
                }
                ids.push(Id::new("digest", proved));
                Ok(ids)
            }
            "ip" => {
                let client = self.clients.get(id);
                let address = client.map(|client| client.peer.ip().to_string());
                Ok(address
                    .map(|text| Id::new("ip", text))
                    .into_iter()
                    .collect())
            }
            scheme => Err(format!("Authentication failed for scheme: {scheme}")),
        }
    }

    /// Adds identities to those of a connection.
    pub(super) fn identify(&mut self, id: ConnectionId, proved: Vec<Id>) {
        if let Some(client) = self.clients.get_mut(id) {
            for identity in proved {
                identities::add(&mut client.ids, identity);
            }
        }
    }
}
