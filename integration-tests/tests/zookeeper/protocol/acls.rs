//! Shell: good, odd and broken ACLs.

use anyhow::Result;
use integration_tests::raw::Body;

use super::lab::same;
use super::requests::{ask, create};

/// ACLs, each as bytes behind a path and data. There is none with an IPv6 address: ours takes
/// those, Apache's 3.8.4 does not.
fn acls() -> Vec<(&'static str, Body)> {
    let one = |scheme: &str, id: &str| Body::new().int(1).int(31).string(scheme).string(id);
    vec![
        ("null", Body::new().null()),
        ("none", Body::new().int(0)),
        ("count -2", Body::new().int(-2)),
        ("count without entries", Body::new().int(5)),
        (
            "null scheme",
            Body::new().int(1).int(31).null().string("anyone"),
        ),
        (
            "null id of world",
            Body::new().int(1).int(31).string("world").null(),
        ),
        (
            "null id of digest",
            Body::new().int(1).int(31).string("digest").null(),
        ),
        (
            "null id of ip",
            Body::new().int(1).int(31).string("ip").null(),
        ),
        (
            "null id of auth",
            Body::new().int(1).int(31).string("auth").null(),
        ),
        ("all null", Body::new().int(1).int(31).null().null()),
        ("empty scheme", one("", "")),
        ("another world", one("world", "anybody")),
        ("auth without", one("auth", "")),
        ("unknown scheme", one("kerberos", "me")),
        ("sasl", one("sasl", "me")),
        ("x509", one("x509", "CN=me")),
        ("super", one("super", "")),
        ("super with a name", one("super", "me")),
        ("digest", one("digest", "u:hash")),
        ("digest without colon", one("digest", "u")),
        ("digest with two colons", one("digest", "u:a:b")),
        ("digest of colons", one("digest", "::")),
        ("digest that ends in a colon", one("digest", "u:")),
        (
            "no rights",
            Body::new().int(1).int(0).string("world").string("anyone"),
        ),
        (
            "more rights than there are",
            Body::new().int(1).int(-1).string("world").string("anyone"),
        ),
        (
            "twice",
            Body::new()
                .int(2)
                .int(1)
                .string("world")
                .string("anyone")
                .int(1)
                .string("world")
                .string("anyone"),
        ),
        (
            "two",
            Body::new()
                .int(2)
                .int(1)
                .string("world")
                .string("anyone")
                .int(2)
                .string("world")
                .string("anyone"),
        ),
        ("ip", one("ip", "127.0.0.1")),
        ("ip with bits", one("ip", "127.0.0.0/8")),
        ("ip with too many bits", one("ip", "127.0.0.1/33")),
        ("ip with odd bits", one("ip", "127.0.0.1/x")),
        ("ip with minus bits", one("ip", "127.0.0.1/-1")),
        ("ip with two slashes", one("ip", "127.0.0.1/8/8")),
        ("short ip", one("ip", "127.0.0")),
        ("ip beyond bytes", one("ip", "127.0.0.256")),
        ("ip of names", one("ip", "localhost")),
    ]
}

#[test]
fn odd_acls_are_answered_the_same() -> Result<()> {
    same("", |lab| {
        for (name, acl) in acls() {
            let made = ask(1).string("/acl").string("").bytes(&acl.0).int(0);
            let multi = ask(14)
                .multi_header(1)
                .string("/acl2")
                .string("")
                .bytes(&acl.0)
                .int(0)
                .multi_header(-1);
            let set = ask(7).string("/open").bytes(&acl.0).int(-1);
            let get = |path| ask(6).string(path);
            let delete = |path| ask(2).string(path).int(-1);
            lab.exchange(
                &format!("create with ACL {name}"),
                &[made, get("/acl"), delete("/acl")],
            )?;
            lab.exchange(
                &format!("multi with ACL {name}"),
                &[multi, get("/acl2"), delete("/acl2")],
            )?;
            lab.exchange(
                &format!("setACL {name}"),
                &[
                    create(1, "/open").int(0),
                    set,
                    get("/open"),
                    ask(4).string("/open").byte(1),
                    delete("/open"),
                ],
            )?;
        }
        Ok(())
    })
}
