//! Pure: may these identities do this here, and is an ACL well formed
//! (ZooKeeperServer.checkACL, PrepRequestProcessor.fixupACL).

use common::zk::code::ErrorCode;
use common::zk::data::{Acl, Id};

use crate::auth::{digest, ip};

/// Whether an ACL gives any of the permissions `perm` to somebody with these identities.
pub fn allows(acl: &[Acl], perm: i32, ids: &[Id]) -> bool {
    if acl.is_empty() {
        return true;
    }
    let granted = |entry: &&Acl| entry.perms & perm != 0;
    if acl.iter().filter(granted).any(|entry| is_anyone(&entry.id)) {
        return true;
    }
    if ids.iter().any(|id| &*id.scheme == "super") {
        return true;
    }
    acl.iter()
        .filter(granted)
        .any(|entry| ids.iter().any(|id| matches(id, &entry.id)))
}

fn is_anyone(id: &Id) -> bool {
    &*id.scheme == "world" && &*id.id == "anyone"
}

fn matches(client: &Id, entry: &Id) -> bool {
    client.scheme == entry.scheme
        && match &*entry.scheme {
            "digest" => client.id == entry.id,
            "ip" => ip::matches(&client.id, &entry.id),
            _ => false,
        }
}

/// The ACL to store for the one a client sent: without duplicates, and with `auth` replaced by
/// the client's own identities.
pub fn resolve(acl: &[Acl], ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
    let mut unique: Vec<&Acl> = Vec::with_capacity(acl.len());
    for entry in acl {
        if !unique.contains(&entry) {
            unique.push(entry);
        }
    }
    if unique.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut resolved = Vec::with_capacity(unique.len());
    for entry in unique {
        let valid = match &*entry.id.scheme {
            "world" => &*entry.id.id == "anyone",
            "digest" => digest::is_valid(&entry.id.id),
            "ip" => ip::is_valid(&entry.id.id),
            "auth" => {
                let before = resolved.len();
                let own = ids.iter().filter(|id| is_authenticated(id));
                resolved.extend(own.map(|id| Acl::new(entry.perms, id.clone())));
                if resolved.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
                continue;
            }
            _ => false,
        };
        if !valid {
            return Err(ErrorCode::InvalidAcl);
        }
        resolved.push(entry.clone());
    }
    Ok(resolved)
}

/// Whether an identity was proved; an address is only observed.
fn is_authenticated(id: &Id) -> bool {
    &*id.scheme == "digest"
}

#[cfg(test)]
mod tests {
    use common::zk::data::perms;

    use super::*;

    #[test]
    fn auth_stands_for_the_proved_identities() {
        let ids = [Id::new("ip", "127.0.0.1"), Id::new("digest", "u:h")];
        let wanted = [Acl::new(perms::ALL, Id::new("auth", ""))];
        assert_eq!(
            resolve(&wanted, &ids),
            Ok(vec![Acl::new(perms::ALL, Id::new("digest", "u:h"))])
        );
        assert_eq!(resolve(&wanted, &ids[..1]), Err(ErrorCode::InvalidAcl));
        assert_eq!(resolve(&[], &ids), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn only_granted_permissions_count() {
        let acl = Acl::read_only();
        assert!(allows(&acl, perms::READ | perms::ADMIN, &[]));
        assert!(!allows(&acl, perms::WRITE, &[]));
        assert!(allows(&acl, perms::WRITE, &[Id::new("super", "")]));
        let acl = [Acl::new(perms::WRITE, Id::new("ip", "10.0.0.0/8"))];
        assert!(allows(&acl, perms::WRITE, &[Id::new("ip", "10.9.8.7")]));
    }
}
