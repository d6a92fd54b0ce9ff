//! Shell: the forms in which a snapshot's bytes are stored: plain, gzip, or Snappy in blocks
//! (SnapStream.java; SnappyOutputStream.java of snappy-java).
//!
//! ```text
//! snappy = magic  int 1 (version)  int 1 (lowest version that can read it)  block*
//! block  = int n   n bytes: one raw Snappy block
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// How new snapshots are stored: `snapshot.compression.method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are; ZooKeeper calls this `CHECKED`.
    #[default]
    Plain,
    /// `gz`.
    Gzip,
    /// `snappy`.
    Snappy,
}

impl Compression {
    /// Reads the setting; what is neither `gz` nor `snappy` is plain, as for ZooKeeper.
    pub fn of_name(name: &str) -> Self {
        [Self::Gzip, Self::Snappy]
            .into_iter()
            .find(|method| method.name().eq_ignore_ascii_case(name))
            .unwrap_or_default()
    }

    /// The form of a stored snapshot, which its name tells.
    pub fn of_file(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.map_or(Self::Plain, Self::of_name)
    }

    /// The value of the setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "gz",
            Self::Snappy => "snappy",
        }
    }

    /// What ends the name of a file, dot included.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Snappy => ".snappy",
        }
    }
}

/// Writes one file in one of the forms.
pub enum Encoder {
    /// As it is.
    Plain(File),
    /// As gzip.
    Gzip(Box<GzEncoder<File>>),
    /// In Snappy blocks.
    Snappy(Box<SnappyWriter>),
}

impl Encoder {
    /// Begins a file; nothing is in it yet.
    pub fn new(file: File, method: Compression) -> io::Result<Self> {
        Ok(match method {
            Compression::Plain => Self::Plain(file),
            Compression::Gzip => Self::Gzip(Box::new(GzEncoder::new(
                file,
                flate2::Compression::default(),
            ))),
            Compression::Snappy => Self::Snappy(Box::new(SnappyWriter::new(file)?)),
        })
    }

    /// Takes more bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Snappy(writer) => writer.write_all(bytes),
        }
    }

    /// What has gone to the file so far goes to the disk.
    pub fn sync(&self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.sync_data(),
            Self::Gzip(encoder) => encoder.get_ref().sync_data(),
            Self::Snappy(writer) => writer.file.sync_data(),
        }
    }

    /// Writes what is still kept back.
    pub fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Snappy(writer) => writer.finish(),
        }
    }
}

/// The plain bytes of a stored file.
pub fn decoder(file: File, method: Compression) -> Box<dyn Read> {
    match method {
        Compression::Plain => Box::new(file),
        Compression::Gzip => {
            let file = io::BufReader::with_capacity(1 << 16, file);
            Box::new(MultiGzDecoder::new(file))
        }
        Compression::Snappy => Box::new(SnappyReader::new(file)),
    }
}

const SNAPPY_HEADER: [u8; 16] = *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";

/// The first half of the header, which also tells that a file goes on with another stream.
const SNAPPY_MAGIC_BYTES: usize = 8;

/// Plain bytes in one block: snappy-java's default.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;

/// No Snappy block grows by more than this when it is decompressed: its longest copy makes 64
/// bytes of 3.
const SNAPPY_MOST_GROWTH: usize = 22;

/// Gathers plain bytes into blocks.
pub struct SnappyWriter {
    file: File,
    plain: Vec<u8>,
    packed: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    fn new(mut file: File) -> io::Result<Self> {
        file.write_all(&SNAPPY_HEADER)?;
        Ok(Self {
            file,
            plain: Vec::with_capacity(SNAPPY_BLOCK_BYTES),
            packed: vec![0; 4 + snap::raw::max_compress_len(SNAPPY_BLOCK_BYTES)],
            encoder: snap::raw::Encoder::new(),
        })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let fits = bytes.len().min(SNAPPY_BLOCK_BYTES - self.plain.len());
            let (now, later) = bytes.split_at(fits);
            self.plain.extend_from_slice(now);
            bytes = later;
            if self.plain.len() == SNAPPY_BLOCK_BYTES {
                self.write_block()?;
            }
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        let length = self.encoder.compress(&self.plain, &mut self.packed[4..])?;
        let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.packed[..4].copy_from_slice(&prefix);
        self.plain.clear();
        self.file.write_all(&self.packed[..4 + length])
    }

    fn finish(mut self) -> io::Result<File> {
        if !self.plain.is_empty() {
            self.write_block()?;
        }
        Ok(self.file)
    }
}

struct SnappyReader {
    file: io::BufReader<File>,
    begun: bool,
    packed: Vec<u8>,
    plain: Vec<u8>,
    position: usize,
    decoder: snap::raw::Decoder,
}

impl SnappyReader {
    fn new(file: File) -> Self {
        Self {
            file: io::BufReader::with_capacity(1 << 16, file),
            begun: false,
            packed: Vec::new(),
            plain: Vec::new(),
            position: 0,
            decoder: snap::raw::Decoder::new(),
        }
    }

    /// The length before a block; `None` at the end.
    fn prefix(&mut self) -> io::Result<Option<[u8; 4]>> {
        let mut prefix = [0; 4];
        let mut filled = 0;
        while filled < prefix.len() {
            match self.file.read(&mut prefix[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(Some(prefix))
    }

    /// Reads the next block into `plain`; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let bad = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        if !self.begun {
            let mut header = [0; SNAPPY_HEADER.len()];
            self.file.read_exact(&mut header)?;
            if header[..SNAPPY_MAGIC_BYTES] != SNAPPY_HEADER[..SNAPPY_MAGIC_BYTES] {
                return Err(bad("this is no Snappy stream"));
            }
            self.begun = true;
        }
        let prefix = loop {
            let Some(prefix) = self.prefix()? else {
                return Ok(false);
            };
            if prefix != SNAPPY_HEADER[..4] {
                break prefix;
            }
            // Another stream follows.
            let mut rest = [0; SNAPPY_HEADER.len() - 4];
            self.file.read_exact(&mut rest)?;
        };
        let length = i32::from_be_bytes(prefix);
        let length = u64::try_from(length).map_err(|_| bad("a block has a negative length"))?;
        self.packed.clear();
        // What is set aside grows with what is really there.
        let read = (&mut self.file)
            .take(length)
            .read_to_end(&mut self.packed)?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let plain = snap::raw::decompress_len(&self.packed)?;
        if plain > self.packed.len().saturating_mul(SNAPPY_MOST_GROWTH) {
            return Err(bad("a block claims to hold more than it can"));
        }
        self.plain.resize(plain, 0);
        self.decoder.decompress(&self.packed, &mut self.plain)?;
        self.position = 0;
        Ok(true)
    }
}

impl Read for SnappyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.plain.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = &self.plain[self.position..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(method: Compression, bytes: &[u8]) -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let mut encoder = Encoder::new(File::create(&path).unwrap(), method).unwrap();
        for part in bytes.chunks(1000) {
            encoder.write_all(part).unwrap();
        }
        encoder.finish().unwrap();
        let mut out = Vec::new();
        decoder(File::open(&path).unwrap(), method)
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    #[test]
    fn every_form_gives_back_what_went_in() {
        let bytes: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        for method in [Compression::Plain, Compression::Gzip, Compression::Snappy] {
            for length in [0, 1, SNAPPY_BLOCK_BYTES, bytes.len()] {
                assert_eq!(round_trip(method, &bytes[..length]), bytes[..length]);
            }
        }
    }

    #[test]
    fn names_are_read_as_zookeeper_reads_them() {
        assert_eq!(Compression::of_name("GZ"), Compression::Gzip);
        assert_eq!(Compression::of_name("snappy"), Compression::Snappy);
        assert_eq!(Compression::of_name("gzip"), Compression::Plain);
        let file = |name: &str| Compression::of_file(Path::new(name));
        assert_eq!(file("snapshot.1f.snappy"), Compression::Snappy);
        assert_eq!(file("snapshot.1f"), Compression::Plain);
    }

    #[test]
    fn a_block_that_lies_about_its_size_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let mut bytes = SNAPPY_HEADER.to_vec();
        // Five bytes that claim to be four GiB.
        bytes.extend_from_slice(&[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        std::fs::write(&path, bytes).unwrap();
        let read =
            decoder(File::open(&path).unwrap(), Compression::Snappy).read_to_end(&mut Vec::new());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
