//! Shell: the nodes that the load works on, and the stream of requests of each kind.

use anyhow::Result;

use crate::load::{Limit, Link, Load, Pass};
use crate::server::Server;
use crate::wire;

/// Nodes of each size.
const NODES: usize = 1000;
/// Children of the node whose children are asked for.
const CHILDREN: usize = 20;
/// Sizes of data in bytes.
pub const SIZES: [usize; 2] = [100, 1024];
/// One in so many requests of a mix is a write.
const MIX_WRITES: u64 = 10;

/// What a pass does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Creates a node.
    Create,
    /// Sets the data of one of a thousand.
    Set,
    /// Reads the data of one of a thousand.
    Get,
    /// Asks for the Stat of one of a thousand.
    Exists,
    /// Asks for the names of twenty children.
    Children,
    /// Nine reads and one write.
    Mix,
}

impl Operation {
    /// Whether the disk is waited for.
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Set | Self::Mix)
    }
}

/// Operation, connections, requests of each on their way, bytes of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// What is asked for.
    pub operation: Operation,
    /// Sessions.
    pub connections: usize,
    /// Requests of each session on their way.
    pub depth: u64,
    /// Bytes of data of each node.
    pub bytes: usize,
}

impl Case {
    /// In words, for the table.
    pub fn name(self) -> String {
        let Self {
            operation,
            connections,
            depth,
            bytes,
        } = self;
        let operation = format!("{operation:?}").to_lowercase();
        format!("{operation} {bytes} B, {connections} x {depth}")
    }
}

/// The nodes on one server.
#[derive(Debug)]
pub struct Workload {
    nodes: [Vec<Vec<u8>>; 2],
    created: u64,
    seed: u64,
}

impl Workload {
    /// Makes the nodes.
    pub fn prepare(server: &Server) -> Result<Self> {
        let mut link = Link::begin_connect(server.address(), (0, [0; 16]))?;
        link.finish_connect()?;
        for path in ["/bench", "/bench/parent", "/bench/created"] {
            link.call(|xid, out| wire::put_create(xid, path.as_bytes(), b"", 0, out))?;
        }
        let nodes = SIZES.map(|bytes| {
            let path = |number| format!("/bench/of-{bytes}-{number:04}").into_bytes();
            (0..NODES).map(path).collect::<Vec<_>>()
        });
        let children = (0..CHILDREN).map(|n| format!("/bench/parent/child-{n:04}").into_bytes());
        let children: Vec<Vec<u8>> = children.collect();
        let mut load = Load::over(vec![link])?;
        for (paths, bytes) in [(&nodes[0], SIZES[0]), (&nodes[1], SIZES[1]), (&children, 0)] {
            let (mut paths, data) = (paths.iter(), vec![b'x'; bytes]);
            load.run(
                64,
                Limit::Operations(paths.len() as u64),
                &mut |xid, out| {
                    if let Some(path) = paths.next() {
                        wire::put_create(xid, path, &data, 0, out);
                    }
                },
            )?;
        }
        load.close()?;
        Ok(Self {
            nodes,
            created: 0,
            seed: 1,
        })
    }

    /// One pass over sessions that are open.
    pub fn run(&mut self, load: &mut Load, case: Case, limit: Limit) -> Result<Pass> {
        let data = vec![b'y'; case.bytes];
        let size = SIZES
            .iter()
            .position(|bytes| *bytes == case.bytes)
            .unwrap_or(0);
        let nodes = &self.nodes[size];
        let (created, seed) = (&mut self.created, &mut self.seed);
        let mut path = b"/bench/created/n-0000000000".to_vec();
        load.run(case.depth, limit, &mut |xid, out| {
            // xorshift: which nodes and when, the same in every run.
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            let node = &nodes[(*seed >> 20) as usize % NODES];
            match case.operation {
                Operation::Create => {
                    *created += 1;
                    put_number(*created, &mut path);
                    wire::put_create(xid, &path, &data, 0, out);
                }
                Operation::Set => wire::put_set(xid, node, &data, out),
                Operation::Get => wire::put_get(xid, node, false, out),
                Operation::Exists => wire::put_exists(xid, node, out),
                Operation::Children => wire::put_get_children(xid, b"/bench/parent", out),
                Operation::Mix if *seed % MIX_WRITES == 0 => wire::put_set(xid, node, &data, out),
                Operation::Mix => wire::put_get(xid, node, false, out),
            }
        })
    }
}

/// Writes a number over the last digits of a path.
pub fn put_number(mut number: u64, path: &mut [u8]) {
    for digit in path
        .iter_mut()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
    {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
