//! Pure: may these identities do this here, and is an ACL well formed
//! (ZooKeeperServer.checkACL, PrepRequestProcessor.fixupACL).

use common::zk::code::ErrorCode;
use common::zk::data::{Acl, Id};

use crate::auth::schemes::{SUPER, Schemes, is_anyone};

/// Stands for an id that is null, which the real server trips over.
pub const NULL_ID: &str = "\0";

/// Whether an ACL gives any of the permissions `perm` to somebody with these identities.
pub fn allows(schemes: &Schemes, acl: &[Acl], perm: i32, ids: &[Id]) -> bool {
    if acl.is_empty() {
        return true;
    }
    let granted = |entry: &&Acl| entry.perms & perm != 0;
    if acl.iter().filter(granted).any(|entry| is_anyone(&entry.id)) {
        return true;
    }
    if ids.iter().any(|id| &*id.scheme == SUPER) {
        return true;
    }
    acl.iter()
        .filter(granted)
        .any(|entry| ids.iter().any(|id| schemes.matches(id, &entry.id)))
}

/// The ACL to store for the one a client sent: without duplicates, and with `auth` replaced by
/// the client's own identities.
pub fn resolve(schemes: &Schemes, acl: &[Acl], ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
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
        if &*entry.id.scheme == "auth" {
            let before = resolved.len();
            let own = ids.iter().filter(|id| schemes.is_authenticated(id));
            resolved.extend(own.map(|id| Acl::new(entry.perms, id.clone())));
            if resolved.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
        } else if &*entry.id.id == NULL_ID && schemes.asks_for_id(&entry.id.scheme) {
            return Err(ErrorCode::MarshallingError);
        } else if schemes.is_valid(&entry.id) {
            resolved.push(entry.clone());
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    Ok(resolved)
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
            resolve(&Schemes::default(), &wanted, &ids),
            Ok(vec![Acl::new(perms::ALL, Id::new("digest", "u:h"))])
        );
        assert_eq!(
            resolve(&Schemes::default(), &wanted, &ids[..1]),
            Err(ErrorCode::InvalidAcl)
        );
        assert_eq!(
            resolve(&Schemes::default(), &[], &ids),
            Err(ErrorCode::InvalidAcl)
        );
    }

    #[test]
    fn only_granted_permissions_count() {
        let acl = Acl::read_only();
        assert!(allows(
            &Schemes::default(),
            &acl,
            perms::READ | perms::ADMIN,
            &[]
        ));
        assert!(!allows(&Schemes::default(), &acl, perms::WRITE, &[]));
        assert!(allows(
            &Schemes::default(),
            &acl,
            perms::WRITE,
            &[Id::new("super", "")]
        ));
        let acl = [Acl::new(perms::WRITE, Id::new("ip", "10.0.0.0/8"))];
        assert!(allows(
            &Schemes::default(),
            &acl,
            perms::WRITE,
            &[Id::new("ip", "10.9.8.7")]
        ));
    }
}
