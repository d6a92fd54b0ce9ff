//! Shell: good requests with something wrong in them, from a seed (`TANDEM_SEED`, `TANDEM_STEPS`).

use anyhow::Result;
use bytes::BytesMut;
use integration_tests::environment;
use integration_tests::raw::Body;
use integration_tests::requests::Random;

use super::lab::same;
use super::requests::{ask, create};

/// Ints that lengths, counts, flags and versions are replaced by.
const INTS: [i32; 12] = [
    -1,
    -2,
    0,
    1,
    2,
    3,
    7,
    100,
    101,
    0x000f_ffff,
    i32::MIN,
    i32::MAX,
];

/// Apache's server never answers a check that stands alone and holds.
const CHECK: i32 = 13;
/// Apache's server stops for good while it applies one of these with the flags of another create.
const CREATE_TTL: i32 = 21;

/// A random request with up to three things wrong in it.
fn mutant(random: &mut Random) -> Option<Body> {
    let request = random.request(50);
    let mut record = BytesMut::new();
    request.encode(&mut record);
    let mut bytes = ask(request.op().code()).bytes(&record).0;
    for _ in 0..random.below(4) {
        let at = 4 + usize::try_from(random.below(bytes.len() as u64 - 4)).ok()?;
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(8)),
            2 => bytes.extend([0, 0, 0, 1]),
            3 => bytes[at] = random.pick(&[0, 1, 0x2f, 0x7f, 0x80, 0xc3, 0xff]),
            _ => {
                let int = random.pick(&INTS).to_be_bytes();
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&int[..end - at]);
            }
        }
    }
    let op = i32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    let ttl_in_multi = op == 14 && bytes.windows(4).any(|w| w == CREATE_TTL.to_be_bytes());
    (!matches!(op, CHECK | CREATE_TTL) && !ttl_in_multi).then_some(Body(bytes))
}

/// Whether the answer lists children, which are in no order.
fn lists(request: &Body) -> bool {
    let op = request.0.get(7).copied().unwrap_or(0);
    matches!(op, 8 | 12 | 22 | 103 | 107)
}

#[test]
fn requests_with_something_wrong_are_answered_the_same() -> Result<()> {
    let seed = environment::number("TANDEM_SEED", 1)?;
    let steps = environment::number("TANDEM_STEPS", 600)?;
    same("extendedTypesEnabled=true", |lab| {
        let mut random = Random::new(seed);
        for step in 0..steps {
            if step % 50 == 0 {
                // So that there is something to do things to.
                let mut frames: Vec<Body> = ["/a", "/b", "/a/b", "/a/c", "/a/b/c"]
                    .iter()
                    .map(|path| create(1, path).int(0))
                    .collect();
                frames.push(ask(3).string("/").byte(0));
                lab.exchange(&format!("znodes for step {step}"), &frames)?;
            }
            let Some(frame) = mutant(&mut random) else {
                continue;
            };
            let title = format!("TANDEM_SEED={seed}, step {step}: {:x?}", frame.0);
            lab.exchange(&title, std::slice::from_ref(&frame))?;
            if lists(&frame) {
                lab.sort_bytes();
            }
        }
        Ok(())
    })
}
