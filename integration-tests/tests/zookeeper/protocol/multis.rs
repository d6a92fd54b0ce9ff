//! Shell: good, odd and broken multis, for writing and for reading.

use anyhow::Result;
use integration_tests::raw::Body;

use super::lab::same;
use super::requests::{ask, create};

#[test]
fn odd_multis_are_answered_the_same() -> Result<()> {
    same("extendedTypesEnabled=true", |lab| {
        let end = |body: Body| body.multi_header(-1);
        let open = |body: Body, path: &str| body.string(path).string("").open_acl();
        for op in [14, 22] {
            let multi = || ask(op);
            let cases = [
                ("empty", end(multi())),
                ("no end", multi()),
                ("end with another type", multi().int(5).byte(1).int(0)),
                ("a type beside done", multi().int(1).byte(2).int(0)),
                (
                    "an operation without a record",
                    end(multi().multi_header(1)),
                ),
                ("an unknown operation", end(multi().multi_header(77))),
                ("a type of minus one", multi().int(-1).byte(0).int(-1)),
                ("exists", end(multi().multi_header(3).string("/").byte(0))),
                ("getData", end(multi().multi_header(4).string("/").byte(0))),
                (
                    "getData with a watch",
                    end(multi().multi_header(4).string("/zookeeper").byte(1)),
                ),
                (
                    "getChildren",
                    end(multi().multi_header(8).string("/zookeeper/quota").byte(1)),
                ),
                (
                    "a read and a write",
                    end(multi()
                        .multi_header(4)
                        .string("/")
                        .byte(0)
                        .multi_header(13)
                        .string("/")
                        .int(-1)),
                ),
                (
                    "a write and a read",
                    end(multi()
                        .multi_header(13)
                        .string("/")
                        .int(-1)
                        .multi_header(4)
                        .string("/")
                        .byte(0)),
                ),
                (
                    "checks",
                    end(multi()
                        .multi_header(13)
                        .string("/")
                        .int(-1)
                        .multi_header(13)
                        .string("/")
                        .int(0)),
                ),
                (
                    "a wrong check between",
                    end(open(multi().multi_header(1), "/m")
                        .int(0)
                        .multi_header(13)
                        .string("/")
                        .int(9)
                        .multi_header(2)
                        .string("/m")
                        .int(-1)),
                ),
                (
                    "a null path to create",
                    end(multi().multi_header(1).null().string("").open_acl().int(0)),
                ),
                (
                    "a null path to delete",
                    end(multi().multi_header(2).null().int(-1)),
                ),
                (
                    "a null path to set",
                    end(multi().multi_header(5).null().string("").int(-1)),
                ),
                (
                    "a null path to check",
                    end(multi().multi_header(13).null().int(-1)),
                ),
                (
                    "a null path to read",
                    end(multi()
                        .multi_header(4)
                        .null()
                        .byte(0)
                        .multi_header(8)
                        .string("/none")
                        .byte(0)),
                ),
                (
                    "a null ACL",
                    end(multi()
                        .multi_header(1)
                        .string("/m")
                        .string("")
                        .null()
                        .int(0)),
                ),
                (
                    "a null ACL with a time to live",
                    end(multi()
                        .multi_header(21)
                        .string("/m")
                        .string("")
                        .null()
                        .int(5)
                        .long(1000)),
                ),
                (
                    "a null path with a time to live",
                    end(multi()
                        .multi_header(21)
                        .null()
                        .string("")
                        .open_acl()
                        .int(5)
                        .long(1000)),
                ),
                (
                    "an unknown flag",
                    end(open(multi().multi_header(1), "/m").int(9)),
                ),
                (
                    "an unknown flag with a time to live",
                    end(open(multi().multi_header(21), "/m").int(9).long(1000)),
                ),
                (
                    "a time to live without need",
                    end(open(multi().multi_header(21), "/m").int(0).long(1000)),
                ),
                (
                    "a time to live of a sequence",
                    end(open(multi().multi_header(21), "/m").int(2).long(-1)),
                ),
                (
                    "a container with a time to live",
                    end(open(multi().multi_header(21), "/m").int(4).long(1000)),
                ),
                (
                    "no time to live",
                    end(open(multi().multi_header(21), "/m").int(5).long(0)),
                ),
                (
                    "a negative time to live",
                    end(open(multi().multi_header(21), "/m").int(5).long(-1)),
                ),
                (
                    "a long time to live",
                    end(open(multi().multi_header(21), "/m").int(6).long(i64::MAX)),
                ),
                (
                    "create with the flags of a container",
                    end(open(multi().multi_header(1), "/m").int(4)),
                ),
                (
                    "create2 with the flags of a container",
                    end(open(multi().multi_header(15), "/m2").int(4)),
                ),
                (
                    "createContainer with other flags",
                    end(open(multi().multi_header(19), "/m3").int(0)),
                ),
                (
                    "createContainer with ephemeral flags",
                    end(open(multi().multi_header(19), "/m3e").int(1)),
                ),
                (
                    "create with the flags of a time to live",
                    end(open(multi().multi_header(1), "/m4").int(5)),
                ),
                ("more behind the end", end(multi()).bytes(&[1, 2, 3])),
                (
                    "a good one, then nothing",
                    open(multi().multi_header(1), "/m5").int(0),
                ),
                (
                    "setACL",
                    end(multi().multi_header(7).string("/").open_acl().int(-1)),
                ),
                ("closeSession", end(multi().multi_header(-11))),
                ("a multi", end(end(multi().multi_header(14)))),
                ("deleteContainer", end(multi().multi_header(20).string("/"))),
                (
                    "reconfig",
                    end(multi().multi_header(16).null().null().null().long(-1)),
                ),
            ];
            for (name, frame) in cases {
                lab.exchange(&format!("opcode {op}: {name}"), &[frame])?;
            }
        }
        // What a failed multi has used up shows in the next sequence number and in the digest.
        let sequence = create(15, "/n-").int(2);
        lab.exchange("a sequence after them all", &[sequence])
    })
}
