//! Shell: prints the transactions of one log, one a line.

use std::io::{self, Write};
use std::path::Path;

use common::zk::code::{ErrorCode, OpCode};
use common::zk::txn::{TxnBody, TxnEntry};

use crate::offline::run::OfflineError;
use crate::offline::text;
use crate::storage::log_file::{End, LogFile};

/// Prints every entry; an error says where the log is damaged, after everything before it has
/// been printed.
pub fn dump(path: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let mut log = LogFile::open(path)?;
    let mut count = 0_u64;
    while let Some(entry) = log.next_entry()? {
        line(&entry, out)?;
        count += 1;
    }
    match log.end() {
        Some(End::Torn { offset }) => writeln!(
            out,
            "# {count} transactions; an entry at offset {offset} was never written completely, a server drops it"
        )?,
        Some(End::Empty) => writeln!(out, "# the file has no header: the log never began")?,
        _ => writeln!(
            out,
            "# {count} transactions, the end is at offset {}",
            log.offset()
        )?,
    }
    Ok(())
}

fn line(entry: &TxnEntry, out: &mut impl Write) -> io::Result<()> {
    let header = &entry.header;
    write!(
        out,
        "zxid 0x{:x} session 0x{:x} cxid 0x{:x} {} ",
        header.zxid,
        header.client_id,
        header.cxid,
        text::time(header.time_ms)
    )?;
    body(name(header.op), &entry.body, out)?;
    if let Some(digest) = entry.digest {
        write!(out, " digest {},0x{:x}", digest.version, digest.tree_digest)?;
    }
    writeln!(out)
}

fn name(op: i32) -> &'static str {
    OpCode::from_code(op).map_or("unknown", OpCode::name)
}

fn body(name: &str, body: &TxnBody, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{name}")?;
    match body {
        TxnBody::Create(txn) => {
            let kind = if txn.ephemeral { " ephemeral" } else { "" };
            let (path, data, acl) = (&txn.path, txn.data.as_deref(), &txn.acl);
            write!(
                out,
                "{kind} {} data {} acl {} cversion {}",
                text::quoted(path),
                text::data(data),
                text::acl(acl),
                txn.parent_cversion
            )
        }
        TxnBody::CreateContainer(txn) => write!(
            out,
            " {} data {} acl {} cversion {}",
            text::quoted(&txn.path),
            text::data(txn.data.as_deref()),
            text::acl(&txn.acl),
            txn.parent_cversion
        ),
        TxnBody::CreateTtl(txn) => write!(
            out,
            " {} data {} acl {} cversion {} ttl {}",
            text::quoted(&txn.path),
            text::data(txn.data.as_deref()),
            text::acl(&txn.acl),
            txn.parent_cversion,
            txn.ttl_ms
        ),
        TxnBody::Delete(txn) => write!(out, " {}", text::quoted(&txn.path)),
        TxnBody::SetData(txn) => write!(
            out,
            " {} data {} version {}",
            text::quoted(&txn.path),
            text::data(txn.data.as_deref()),
            txn.version
        ),
        TxnBody::SetAcl(txn) => write!(
            out,
            " {} acl {} aversion {}",
            text::quoted(&txn.path),
            text::acl(&txn.acl),
            txn.version
        ),
        TxnBody::Check(txn) => {
            write!(out, " {} version {}", text::quoted(&txn.path), txn.version)
        }
        TxnBody::Multi(txn) => {
            for (number, (op, part)) in txn.txns.iter().enumerate() {
                write!(out, "{}", if number == 0 { " [" } else { "; " })?;
                self::body(op.name(), part, out)?;
            }
            write!(out, "]")
        }
        TxnBody::CreateSession(txn) => write!(out, " timeout {}", txn.timeout_ms),
        TxnBody::CloseSession(txn) => {
            for path in txn.iter().flat_map(|txn| &txn.paths) {
                write!(out, " {}", text::quoted(path))?;
            }
            Ok(())
        }
        TxnBody::Error(txn) => {
            let name = ErrorCode::from_code(txn.err).map_or("unknown", ErrorCode::name);
            write!(out, " {} {name}", txn.err)
        }
    }
}
