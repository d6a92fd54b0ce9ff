//! Shell: the audit log: who changed what, a line for each change, in the form of ZooKeeper's
//! (org.apache.zookeeper.audit).
//!
//! The lines go to the server's log, or to a file of their own. That file is written by a thread;
//! when the disk cannot keep up the server waits for it, because no line may be missing.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::logging::write_timestamp;
use common::zk::code::OpCode;
use common::zk::data::{Acl, perms};
use common::zk::multi::MultiOp;
use common::zk::request::{CreateMode, Request};
use common::zk::txn::{TxnBody, TxnEntry};

use crate::auth::schemes::Schemes;
use crate::pipeline::clients::Client;
use crate::state::database::Database;
use crate::state::request::{Write, WriteBody};
use crate::storage::error::StorageError;

/// Lines on their way to the file at once.
const LINES_AHEAD: usize = 4096;

/// How often it is looked whether the file has been moved away, as programs that rotate logs do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditResult {
    /// It was done.
    Success,
    /// It was not.
    Failure,
    /// It has begun.
    Invoked,
}

impl AuditResult {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Invoked => "invoked",
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Entry {
    Line(String),
    Flush(SyncSender<()>),
}

/// Where the lines go.
#[derive(Clone, Debug)]
pub struct AuditLog {
    file: Option<SyncSender<Entry>>,
    /// The user that the server runs as.
    user: String,
}

impl AuditLog {
    /// A log in a file, or with the server's own.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(file: Option<&Path>, user: String) -> Result<Self, StorageError> {
        let Some(path) = file else {
            return Ok(Self { file: None, user });
        };
        let wrong = |action, error| StorageError::io(action, path, error);
        let opened = append_to(path).map_err(|e| wrong("open", e))?;
        let (lines, inbox) = sync_channel(LINES_AHEAD);
        let own = path.to_owned();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .stack_size(256 << 10)
            .spawn(move || write_lines(&own, opened, &inbox))
            .map_err(|e| wrong("start a thread for", e))?;
        Ok(Self {
            file: Some(lines),
            user,
        })
    }

    /// Something of the server itself: `serverStart`, `serverStop`.
    pub fn server(&self, operation: &str, result: AuditResult) {
        let line = format!("user={}\toperation={operation}", self.user);
        self.put(line, result);
    }

    /// Waits until everything is in the file.
    pub fn close(self) {
        if let Some(lines) = self.file {
            let (told, wait) = sync_channel(0);
            let _ = lines.send(Entry::Flush(told));
            let _ = wait.recv();
        }
    }

    fn put(&self, mut line: String, result: AuditResult) {
        let failed = result == AuditResult::Failure;
        let _ = write!(line, "\tresult={}", result.name());
        match &self.file {
            None if failed => tracing::error!(target: "audit.Slf4jAuditLogger", "{line}"),
            None => tracing::info!(target: "audit.Slf4jAuditLogger", "{line}"),
            Some(lines) => {
                // The pattern that ZooKeeper's stock configuration has for it.
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                let mut stamp = String::new();
                let _ = write_timestamp(&mut stamp, now.as_millis() as i64);
                let stamp = stamp.trim_matches(['[', ']']);
                let level = if failed { "ERROR" } else { "INFO" };
                // The thread ends only with the process.
                let line = format!("{stamp} {level} audit.Slf4jAuditLogger: {line}\n");
                let _ = lines.send(Entry::Line(line));
            }
        }
    }
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_lines(path: &Path, mut file: File, inbox: &Receiver<Entry>) {
    let mut looked = Instant::now();
    while let Ok(entry) = inbox.recv() {
        if looked.elapsed() > LOOK_EVERY {
            looked = Instant::now();
            let here = file.metadata().map(|data| data.ino()).ok();
            let there = path.metadata().map(|data| data.ino()).ok();
            if here != there
                && let Ok(new) = append_to(path)
            {
                file = new;
            }
        }
        let (mut text, mut waiting) = (String::new(), Vec::new());
        for entry in std::iter::once(entry).chain(inbox.try_iter().take(LINES_AHEAD)) {
            match entry {
                Entry::Line(line) => text.push_str(&line),
                Entry::Flush(told) => waiting.push(told),
            }
        }
        if let Err(error) = file.write_all(text.as_bytes()) {
            let path = path.display();
            tracing::error!("the audit log {path} cannot be written: {error}");
        }
        for told in waiting {
            let _ = told.send(());
        }
    }
}

/// What has to be known of a write once it is done.
#[derive(Debug)]
struct Note {
    session: i64,
    users: Option<String>,
    address: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Create(String, &'static str),
    Delete(String),
    SetData(String),
    SetAcl(String, String),
    Multi(HashMap<String, &'static str>),
    Reconfig,
}

/// The audit of a pipeline: writes come in as they are submitted, and are told when they are done.
#[derive(Debug)]
pub struct Audit {
    log: AuditLog,
    /// One for each write under way, in order.
    notes: VecDeque<Option<Note>>,
}

impl Audit {
    /// Nothing under way.
    pub fn new(log: AuditLog) -> Self {
        Self {
            log,
            notes: VecDeque::new(),
        }
    }

    /// A write goes on its way.
    pub fn submitted(&mut self, write: &Write, client: Option<&Client>, schemes: &Schemes) {
        let note = client.zip(what(&write.body)).map(|(client, what)| Note {
            session: write.session,
            users: users(write, schemes),
            address: client.peer.ip().to_string(),
            what,
        });
        self.notes.push_back(note);
    }

    /// The oldest write under way is durable, and about to be applied.
    pub fn done(&mut self, entry: &TxnEntry, db: &Database) {
        if let TxnBody::CloseSession(_) = entry.body {
            let (session, user) = (entry.header.client_id, &self.log.user);
            for path in db.tree.ephemerals(session) {
                let line = format!(
                    "session=0x{session:x}\tuser={user}\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode={path}"
                );
                self.log.put(line, AuditResult::Success);
            }
        }
        let Some(Some(note)) = self.notes.pop_front() else {
            return;
        };
        let failed = matches!(entry.body, TxnBody::Error(_));
        let result = match failed {
            true => AuditResult::Failure,
            false => AuditResult::Success,
        };
        let asked = |asked: &str| match created_path(&entry.body) {
            Some(path) if !failed => path.to_owned(),
            _ => asked.to_owned(),
        };
        let tell = |line: Line<'_>, result| self.log.put(note.line(line), result);
        match &note.what {
            What::Create(path, mode) => {
                tell(Line::of("create", &asked(path)).with_mode(mode), result);
            }
            What::Delete(path) => tell(Line::of("delete", path), result),
            What::SetData(path) => tell(Line::of("setData", path), result),
            What::SetAcl(path, acl) => tell(
                Line {
                    acl: Some(acl),
                    ..Line::of("setAcl", path)
                },
                result,
            ),
            What::Reconfig => tell(Line::bare("reconfig"), result),
            What::Multi(modes) => {
                let wrong = |(_, body): &(OpCode, TxnBody)| matches!(body, TxnBody::Error(_));
                let done = match &entry.body {
                    TxnBody::Multi(multi) if !multi.txns.iter().any(wrong) => &multi.txns,
                    _ => return tell(Line::bare("multiOperation"), AuditResult::Failure),
                };
                for (op, body) in done {
                    let Some((operation, path)) = operation(*op, body) else {
                        continue;
                    };
                    let mode = modes.get(path).copied().filter(|_| operation == "create");
                    let line = Line::of(operation, path);
                    tell(Line { mode, ..line }, AuditResult::Success);
                }
            }
        }
    }
}

/// The parts of a line that say what was done.
#[derive(Clone, Copy)]
struct Line<'a> {
    operation: &'a str,
    path: Option<&'a str>,
    mode: Option<&'a str>,
    acl: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn bare(operation: &'a str) -> Self {
        Self {
            operation,
            path: None,
            mode: None,
            acl: None,
        }
    }

    fn of(operation: &'a str, path: &'a str) -> Self {
        Self {
            path: Some(path),
            ..Self::bare(operation)
        }
    }

    fn with_mode(self, mode: &'a str) -> Self {
        Self {
            mode: Some(mode),
            ..self
        }
    }
}

impl Note {
    fn line(&self, line: Line<'_>) -> String {
        let session = format!("0x{:x}", self.session);
        let fields = [
            ("session", Some(&*session)),
            ("user", self.users.as_deref()),
            ("ip", Some(&*self.address)),
            ("operation", Some(line.operation)),
            ("znode", line.path),
            ("znode_type", line.mode),
            ("acl", line.acl),
        ];
        let mut text = String::new();
        for (name, value) in fields {
            let Some(value) = value else { continue };
            let tab = if text.is_empty() { "" } else { "\t" };
            let _ = write!(text, "{tab}{name}=");
            // What was refused may have any path: it must not look like another line.
            for c in value.chars() {
                match c.is_control() {
                    true => text.extend(c.escape_default()),
                    false => text.push(c),
                }
            }
        }
        text
    }
}

/// What is told of a request. The real server is silent about createTTL outside of multis.
fn what(body: &WriteBody) -> Option<What> {
    let WriteBody::Client(request) = body else {
        return None;
    };
    Some(match request {
        Request::Create(r) | Request::Create2(r) | Request::CreateContainer(r) => {
            What::Create(r.path.to_string(), mode_name(r.flags)?)
        }
        Request::Delete(r) => What::Delete(r.path.to_string()),
        Request::SetData(r) => What::SetData(r.path.to_string()),
        Request::SetAcl(r) => What::SetAcl(
            r.path.to_string(),
            r.acl.iter().map(acl_text).collect::<String>(),
        ),
        Request::Multi(r) => What::Multi(
            r.ops
                .iter()
                .filter_map(|op| match op {
                    MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => {
                        Some((r.path.to_string(), mode_name(r.flags)?))
                    }
                    _ => None,
                })
                .collect(),
        ),
        Request::Reconfig(_) => What::Reconfig,
        _ => return None,
    })
}

/// The name and path of an operation of a multi.
fn operation(op: OpCode, body: &TxnBody) -> Option<(&'static str, &str)> {
    match body {
        TxnBody::Delete(txn) => Some(("delete", &txn.path)),
        TxnBody::SetData(txn) if op == OpCode::SetData => Some(("setData", &txn.path)),
        body => created_path(body).map(|path| ("create", path)),
    }
}

fn created_path(body: &TxnBody) -> Option<&str> {
    match body {
        TxnBody::Create(txn) => Some(&txn.path),
        TxnBody::CreateContainer(txn) => Some(&txn.path),
        TxnBody::CreateTtl(txn) => Some(&txn.path),
        _ => None,
    }
}

fn users(write: &Write, schemes: &Schemes) -> Option<String> {
    let names: Vec<&str> = write
        .ids
        .iter()
        .map(|id| schemes.user(id))
        .filter(|name| !name.trim().is_empty())
        .collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// Java's name of a CreateMode, in small letters.
fn mode_name(flags: i32) -> Option<&'static str> {
    Some(match CreateMode::from_flags(flags)? {
        CreateMode::Persistent => "persistent",
        CreateMode::Ephemeral => "ephemeral",
        CreateMode::PersistentSequential => "persistent_sequential",
        CreateMode::EphemeralSequential => "ephemeral_sequential",
        CreateMode::Container => "container",
        CreateMode::PersistentWithTtl => "persistent_with_ttl",
        CreateMode::PersistentSequentialWithTtl => "persistent_sequential_with_ttl",
    })
}

/// An entry of an ACL; the real server puts nothing between two of them.
fn acl_text(acl: &Acl) -> String {
    let mut text = format!("{}:{}:", acl.id.scheme, acl.id.id);
    for (perm, letter) in [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ] {
        if acl.perms & perm != 0 {
            text.push(letter);
        }
    }
    text
}
