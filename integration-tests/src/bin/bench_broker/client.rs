//! Shell: a client that costs next to nothing: prepared requests out, answers looked at only where they must be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_wire::message::{Message, Request, decode_exact};
use kafka_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use kafka_wire::messages::delete_topics::DeleteTopicsRequest;
use kafka_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use crate::frames::{self, ANSWER_HEADER, FetchTerms, Fetched};

/// How long a broker may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Versions whose headers have no tagged fields.
const CREATE_VERSION: i16 = 4;
const DELETE_VERSION: i16 = 3;
const METADATA_VERSION: i16 = 8;
/// How much is thrown away in one system call, in bytes.
const DISCARD_BYTES: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    nowhere: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            stream,
            received: Vec::new(),
            nowhere: Vec::new(),
        })
    }

    /// Another handle on the same connection: one thread may send while another receives.
    pub fn share(&self) -> Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            received: Vec::new(),
            nowhere: Vec::new(),
        })
    }

    /// Sends one request and waits for its answer. For versions without tagged fields.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(&frames::frame(request, version)?)?;
        let frame = self.receive()?;
        let body = Bytes::copy_from_slice(&frame[ANSWER_HEADER..]);
        decode_exact(body, version).with_context(|| R::Response::NAME.to_owned())
    }

    /// Sends bytes that were prepared.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Waits for one answer; it begins with its size.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(size) = whole(&self.received) {
                return Ok(self.received.drain(..size).collect());
            }
            self.receive_more()?;
        }
    }

    /// Waits for at least one answer to a produce request and says how many came.
    pub fn receive_produced(&mut self, topic: &str) -> Result<usize> {
        let mut count = 0;
        let mut start = 0;
        while count == 0 {
            self.receive_more()?;
            while let Some(size) = whole(&self.received[start..]) {
                frames::check_produced(&self.received[start..start + size], topic)?;
                start += size;
                count += 1;
            }
        }
        self.received.drain(..start);
        Ok(count)
    }

    fn receive_more(&mut self) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        let bytes = self.stream.read(&mut buffer)?;
        ensure!(bytes > 0, "the broker closed the connection");
        self.received.extend_from_slice(&buffer[..bytes]);
        Ok(())
    }

    /// Reads what stands before the records in a fetch's answer.
    pub fn receive_fetched(&mut self, topic: &str) -> Result<Fetched> {
        let mut head = [0; 256];
        let head = &mut head[..frames::fetch_answer_head(topic)];
        self.stream.read_exact(head)?;
        frames::fetched(head, topic)
    }

    /// Throws the records away that follow; as a consumer, it takes them out of the system's buffers first.
    pub fn discard_fetched(&mut self, topic: &str, answer: Fetched) -> Result<()> {
        let mut left = answer.size + 4 - frames::fetch_answer_head(topic);
        self.nowhere.resize(DISCARD_BYTES, 0);
        while left > 0 {
            let bytes = self
                .stream
                .read(&mut self.nowhere[..left.min(DISCARD_BYTES)])?;
            ensure!(bytes > 0, "the broker closed the connection");
            left -= bytes;
        }
        Ok(())
    }

    /// Makes a topic and waits until its partitions have leaders.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> Result<()> {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.into(),
                num_partitions: partitions,
                replication_factor: 1,
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let answer = self.call(&request, CREATE_VERSION)?;
            let mut errors = answer.topics.iter().map(|topic| topic.error_code);
            // A broker that has just started may not be the controller yet; a topic may still be on its way out.
            if errors.all(|error| error == 0) {
                break;
            }
            ensure!(Instant::now() < deadline, "{answer:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        while !self.is_led(topic, partitions)? {
            ensure!(Instant::now() < deadline, "{topic} got no leaders");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether all partitions of a topic have a leader.
    pub fn is_led(&mut self, topic: &str, partitions: i32) -> Result<bool> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.into()),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = self.call(&request, METADATA_VERSION)?;
        let Some(topic) = answer.topics.first() else {
            bail!("no metadata of {topic}")
        };
        let led = topic
            .partitions
            .iter()
            .filter(|partition| partition.error_code == 0 && partition.leader_id >= 0);
        Ok(i32::try_from(led.count())? == partitions)
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, topic: &str) -> Result<()> {
        let request = DeleteTopicsRequest {
            topic_names: vec![topic.into()],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = self.call(&request, DELETE_VERSION)?;
        ensure!(
            answer.responses.iter().all(|topic| topic.error_code == 0),
            "{answer:?}"
        );
        Ok(())
    }
}

/// Bytes of the first answer with its size, if all of it is here.
fn whole(received: &[u8]) -> Option<usize> {
    let size = i32::from_be_bytes(*received.first_chunk()?);
    let whole = 4 + usize::try_from(size).ok()?;
    (received.len() >= whole).then_some(whole)
}

/// Sends one batch again and again, `in_flight` of them at a time, up to `most` or `until` then; answers how often it did.
pub fn produce_many(
    address: SocketAddr,
    (topic, partition): (&str, i32),
    (acks, batch): (i16, &Bytes),
    (in_flight, most): (usize, u64),
    until: Instant,
) -> Result<u64> {
    let mut client = Client::connect(address)?;
    let frame = frames::produce(topic, partition, acks, batch.clone())?;
    let several = frame.repeat(in_flight);
    client.send(&several)?;
    let (mut sent, mut answered) = (in_flight as u64, 0);
    while answered < sent {
        let came = client.receive_produced(topic)?;
        answered += came as u64;
        if sent < most && Instant::now() < until {
            client.send(&several[..came * frame.len()])?;
            sent += came as u64;
        }
    }
    Ok(answered)
}

/// Fetches a partition again and again from its start; answers how many bytes of whole batches came.
pub fn fetch_many(
    address: SocketAddr,
    (topic, partition): (&str, i32),
    (batch_bytes, records): (usize, usize),
    terms: FetchTerms,
    until: Instant,
) -> Result<u64> {
    let mut client = Client::connect(address)?;
    let mut frame = frames::fetch(topic, partition, terms)?;
    let (mut offset, mut bytes) = (0, 0);
    client.send(&frame)?;
    loop {
        let answer = client.receive_fetched(topic)?;
        // Apache's broker cuts the last batch where the limit is; what is cut comes again.
        let batches = answer.record_bytes / batch_bytes;
        ensure!(batches > 0, "a fetch at {offset} brought no whole batch");
        offset += i64::try_from(batches * records)?;
        if offset >= answer.high_watermark {
            offset = 0;
        }
        let goes_on = Instant::now() < until;
        if goes_on {
            // As a consumer does: the next request is under way while the records are worked on.
            frames::set_offset(&mut frame, offset);
            client.send(&frame)?;
        }
        client.discard_fetched(topic, answer)?;
        bytes += (batches * batch_bytes) as u64;
        if !goes_on {
            return Ok(bytes);
        }
    }
}
