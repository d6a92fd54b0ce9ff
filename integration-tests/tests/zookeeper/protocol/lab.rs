//! Shell: runs hand-made frames against a server and writes down what it answers.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use integration_tests::at_once;
use integration_tests::compare;
use integration_tests::raw::{Body, Got, Hello, Raw, Welcome};
use integration_tests::stack::ZooKeeper;
use integration_tests::transcript::{Step, Transcript};

/// Sessions that outlive the test, so that no expiry moves a zxid. A tick longer than any test keeps even those that
/// ask for no time at all (a `createSession` from a client does).
const SETTINGS: &str = "tickTime=100000000\nminSessionTimeout=600000\nmaxSessionTimeout=6000000";

/// Wall clocks this near to the start of the test are times, in milliseconds.
const NEAR_MS: u64 = 3_600_000;

/// The type of the request after which a server hangs up.
const CLOSE_SESSION: i32 = -11;

/// A step uses no more zxids than this.
const NEAR_ZXIDS: i64 = 12;

/// A server, and what was seen of it.
pub struct Lab {
    pub address: SocketAddr,
    pub transcript: Transcript,
    observer: Raw,
    names: Vec<(Vec<u8>, String)>,
    started_ms: u64,
    last_zxid: i64,
    /// Whether the server will hang up after the answers.
    pub closing: bool,
}

impl Lab {
    fn new(address: SocketAddr) -> Result<Self> {
        let (observer, _) = Raw::with_session(address, &Hello::default())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self {
            address,
            transcript: Transcript::default(),
            observer,
            names: Vec::new(),
            started_ms: u64::try_from(now.as_millis())?,
            last_zxid: 0,
            closing: false,
        })
    }

    /// From now on these bytes go by a name.
    pub fn name(&mut self, bytes: &[u8], name: &str) {
        self.names.push((bytes.to_vec(), name.to_owned()));
    }

    /// A new session.
    pub fn client(&mut self) -> Result<Raw> {
        self.client_with(&Hello::default()).map(|(raw, _)| raw)
    }

    /// A new session by a greeting of the test's own.
    pub fn client_with(&mut self, hello: &Hello) -> Result<(Raw, Welcome)> {
        let (raw, welcome) = Raw::with_session(self.address, hello)?;
        self.name_session(&welcome);
        Ok((raw, welcome))
    }

    /// Session ids and passwords differ between servers.
    pub fn name_session(&mut self, welcome: &Welcome) {
        self.name(&welcome.session.to_be_bytes(), "{session}");
        self.name(&welcome.password, "{password}");
    }

    /// Bytes as text: printable runs as they are, the rest in hexadecimal, what differs between
    /// servers by its name.
    pub fn show_bytes(&self, bytes: &[u8]) -> String {
        let mut text = String::new();
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if let Some((known, name)) =
                self.names.iter().find(|(known, _)| rest.starts_with(known))
            {
                text.push_str(name);
                rest = &rest[known.len()..];
                continue;
            }
            // The last bytes of a time or zxid are not the first ones of what has a name.
            let later = |at: usize| rest.get(at..).unwrap_or_default();
            let named_soon = (1..8).any(|at| {
                let names = &mut self.names.iter();
                names.any(|(known, _)| later(at).starts_with(known))
            });
            let is_time = |bytes: &[u8]| {
                let eight = bytes.first_chunk::<8>();
                let number = eight.map_or(0, |eight| u64::from_be_bytes(*eight));
                number.abs_diff(self.started_ms) < NEAR_MS
            };
            if is_time(rest) && !named_soon {
                text.push_str("{time}");
                rest = &rest[8..];
                continue;
            }
            // So that one number too many shows once and not in every later step.
            if let Some(eight) = rest.first_chunk::<8>()
                && !named_soon
                && !(1..8).any(|at| is_time(later(at)))
                && (1..=NEAR_ZXIDS)
                    .contains(&i64::from_be_bytes(*eight).wrapping_sub(self.last_zxid))
            {
                text.push_str(&format!(
                    "{{+{}}}",
                    i64::from_be_bytes(*eight) - self.last_zxid
                ));
                rest = &rest[8..];
                continue;
            }
            match first {
                b'!'..=b'~' => text.push(char::from(*first)),
                _ => text.push_str(&format!(" {first:02x}")),
            }
            rest = &rest[1..];
        }
        text
    }

    /// A reply or event: its header's fields, the zxid counted from the step's beginning, and the rest.
    fn show_reply(&self, bytes: &[u8]) -> String {
        // The answer to a request for a session.
        if bytes.len() == 37 && bytes.starts_with(&[0; 4]) {
            return self.show_bytes(bytes);
        }
        let (Some(xid), Some(zxid), Some(err)) = (
            bytes.first_chunk().map(|b| i32::from_be_bytes(*b)),
            bytes.get(4..).and_then(<[u8]>::first_chunk),
            bytes.get(12..).and_then(<[u8]>::first_chunk),
        ) else {
            return self.show_bytes(bytes);
        };
        let (zxid, err) = (i64::from_be_bytes(*zxid), i32::from_be_bytes(*err));
        let zxid = match zxid {
            ..=0 => zxid.to_string(),
            _ => format!("+{}", zxid - self.last_zxid),
        };
        let rest = self.show_bytes(&bytes[16..]);
        format!("xid {xid} zxid {zxid} err {err}: {rest}")
    }

    /// What comes, up to the answer to a ping, or the end, or silence.
    pub fn collect(&mut self, raw: &mut Raw) -> Result<Vec<String>> {
        raw.send(&Body::request(-2, 11).framed());
        self.collect_until_ping(raw)
    }

    /// The same when a ping is on its way already.
    pub fn collect_until_ping(&mut self, raw: &mut Raw) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            match raw.listen()? {
                Got::Frame(bytes) if bytes.starts_with(&(-2_i32).to_be_bytes()) => {
                    // A server that has decided to hang up may still answer what is there.
                    if self.closing
                        || lines
                            .iter()
                            .any(|line: &String| line.contains("zxid -1 err -6"))
                    {
                        continue;
                    }
                    lines.push("alive".to_owned());
                    return Ok(lines);
                }
                Got::Frame(bytes) => lines.push(self.show_reply(&bytes)),
                Got::Closed => {
                    lines.push("closed".to_owned());
                    return Ok(lines);
                }
                Got::Silence => {
                    lines.push("silent".to_owned());
                    return Ok(lines);
                }
            }
        }
    }

    /// The last zxid that the server has applied.
    pub fn zxid(&mut self) -> Result<i64> {
        let exists = Body::request(1, 3).string("/").byte(0);
        self.observer.send(&exists.framed());
        let Got::Frame(bytes) = self.observer.receive()? else {
            anyhow::bail!("the server hung up on a bystander")
        };
        let zxid = bytes.get(4..12).context("a short reply")?;
        Ok(i64::from_be_bytes(zxid.try_into()?))
    }

    /// Writes a step down, with the last zxid.
    pub fn note(&mut self, title: &str, mut lines: Vec<String>) -> Result<()> {
        let zxid = self.zxid()?;
        lines.push(format!("zxid +{}", zxid - self.last_zxid));
        self.last_zxid = zxid;
        self.transcript.steps.push(Step {
            title: title.to_owned(),
            lines,
        });
        Ok(())
    }

    /// The last step's answers hold lists in no order: only what they are made of is compared.
    pub fn sort_bytes(&mut self) {
        for line in self
            .transcript
            .steps
            .last_mut()
            .into_iter()
            .flat_map(|step| &mut step.lines)
        {
            let mut characters: Vec<char> = line.chars().collect();
            characters.sort_unstable();
            *line = characters.into_iter().collect();
        }
    }

    /// A new session sends these frames; what comes is written down.
    pub fn exchange(&mut self, title: &str, frames: &[Body]) -> Result<()> {
        let mut raw = self.client()?;
        let bytes: Vec<u8> = frames.iter().flat_map(Body::framed).collect();
        raw.send(&bytes);
        self.closing = frames
            .iter()
            .any(|frame| frame.0.get(4..8) == Some(&CLOSE_SESSION.to_be_bytes()));
        let lines = self.collect(&mut raw)?;
        self.closing = false;
        self.note(title, lines)
    }
}

/// Runs a script on Apache's server and on ours and fails with the differences.
pub fn same(settings: &str, script: impl Fn(&mut Lab) -> Result<()> + Sync) -> Result<()> {
    same_settings(&format!("{SETTINGS}\n{settings}"), script)
}

/// The same with these settings alone.
pub fn same_settings(settings: &str, script: impl Fn(&mut Lab) -> Result<()> + Sync) -> Result<()> {
    let run = |maker| -> Result<Transcript> {
        let server = ZooKeeper::start_with(maker, settings)?;
        let mut lab = Lab::new(server.address())?;
        let outcome = script(&mut lab);
        if let Ok(directory) = std::env::var("TANDEM_TRANSCRIPTS") {
            let name = lab.transcript.steps.first().map_or("", |step| &step.title);
            let file = format!("{}.{maker:?}", name.replace(['/', ' '], "_"));
            std::fs::write(
                std::path::Path::new(&directory).join(file),
                lab.transcript.to_string(),
            )?;
        }
        outcome
            .with_context(|| format!("on {maker:?}, after {:?}", lab.transcript.steps.last()))?;
        Ok(lab.transcript)
    };
    let (reference, ours) = at_once::both(run)?;
    compare::ensure_same(&reference, &ours)
}
