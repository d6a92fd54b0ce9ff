//! Pure: random messages written straight from Kafka's definitions, not by the codec under test.

use kafka_wire_codegen::schema::{Default, Field, Message, Struct, Type};

/// A small generator of repeatable random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// An integer: often an extreme or a small one.
    fn integer(&mut self) -> i64 {
        match self.below(5) {
            0 => -1,
            1 => i64::MIN,
            2 => i64::MAX,
            3 => self.below(100) as i64,
            _ => self.next() as i64,
        }
    }
}

/// Writes random messages of one definition in one version.
pub struct Vectors<'a> {
    /// The definition.
    pub message: &'a Message,
    /// The version.
    pub version: i16,
    /// Source of randomness.
    pub random: &'a mut Random,
}

impl Vectors<'_> {
    /// The bytes of one random message.
    pub fn message(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let message = self.message;
        self.structure(&mut out, &message.structs[0], 0, false);
        out
    }

    fn flexible(&self) -> bool {
        self.message.is_flexible(self.version)
    }

    fn structure(&mut self, out: &mut Vec<u8>, item: &Struct, depth: u64, set: bool) {
        let carried = |field: &&Field| field.versions.contains(self.version);
        let fields: Vec<&Field> = item.fields.iter().filter(carried).collect();
        let mut must_set = set;
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            self.field(out, field, depth, must_set);
            must_set = false;
        }
        if !self.flexible() {
            return;
        }
        let mut tagged: Vec<&&Field> = fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        tagged.retain(|_| self.random.one_in(2));
        uvarint(out, tagged.len() as u32);
        for field in tagged {
            let mut data = Vec::new();
            self.field(&mut data, field, depth, true);
            uvarint(out, field.tag.unwrap());
            uvarint(out, data.len() as u32);
            out.extend(data);
        }
    }

    /// Writes a field; `set` asks for a value other than the default.
    fn field(&mut self, out: &mut Vec<u8>, field: &Field, depth: u64, set: bool) {
        let nullable = field
            .nullable
            .is_some_and(|nullable| nullable.contains(self.version));
        if nullable && !(set && field.default == Default::Null) && self.random.one_in(4) {
            return self.null(out, &field.kind);
        }
        if nullable && matches!(field.kind, Type::Struct(_)) {
            out.push(1);
        }
        self.value(out, &field.kind, depth, set.then_some(&field.default));
    }

    fn null(&mut self, out: &mut Vec<u8>, kind: &Type) {
        match kind {
            Type::Struct(_) => out.push(0xff),
            _ if self.flexible() => out.push(0),
            Type::String => out.extend((-1i16).to_be_bytes()),
            _ => out.extend((-1i32).to_be_bytes()),
        }
    }

    /// Writes a value; `not` is a default that it must differ from.
    fn value(&mut self, out: &mut Vec<u8>, kind: &Type, depth: u64, not: Option<&Default>) {
        let least = usize::from(not.is_some());
        match kind {
            Type::Bool => out.push(match not {
                Some(Default::True) => 0,
                Some(_) => 1,
                None => self.random.below(2) as u8,
            }),
            Type::I8 => out.extend((self.integer_not(not) as i8).to_be_bytes()),
            Type::I16 => out.extend((self.integer_not(not) as i16).to_be_bytes()),
            Type::U16 => out.extend((self.integer_not(not) as u16).to_be_bytes()),
            Type::I32 => out.extend((self.integer_not(not) as i32).to_be_bytes()),
            Type::I64 => out.extend(self.integer_not(not).to_be_bytes()),
            Type::F64 => out.extend((self.random.integer() as f64 / 3.0).to_be_bytes()),
            Type::Uuid => {
                out.extend(self.random.next().to_be_bytes());
                out.extend(self.random.next().to_be_bytes());
            }
            Type::String => {
                let text = self.text(least);
                self.length16(out, text.len());
                out.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let length = self.size(least);
                self.length32(out, length);
                out.extend((0..length).map(|_| self.random.next() as u8));
            }
            Type::Struct(name) => {
                let message = self.message;
                let item = message
                    .find_struct(name)
                    .expect("definitions were resolved");
                self.structure(out, item, depth + 1, not.is_some());
            }
            Type::Array(element) => {
                let count = least + self.random.below(4u64.saturating_sub(depth) + 1) as usize;
                self.length32(out, count);
                for _ in 0..count {
                    self.value(out, element, depth, None);
                }
            }
        }
    }

    /// An integer that differs from the default in its lowest byte.
    fn integer_not(&mut self, not: Option<&Default>) -> i64 {
        let number = match not {
            Some(Default::Number(number)) => *number,
            Some(_) => 0,
            None => return self.random.integer(),
        };
        loop {
            let candidate = self.random.integer();
            if candidate as i8 != number as i8 {
                return candidate;
            }
        }
    }

    fn size(&mut self, least: usize) -> usize {
        least
            + match self.random.below(20) {
                0 => 5000,
                1 => 126 + self.random.below(4) as usize,
                _ => self.random.below(9) as usize,
            }
    }

    fn text(&mut self, least: usize) -> String {
        const LETTERS: [char; 6] = ['a', '-', '.', 'é', '日', '🜁'];
        let length = self.size(least);
        (0..length)
            .map(|_| LETTERS[self.random.below(6) as usize])
            .collect()
    }

    fn length16(&mut self, out: &mut Vec<u8>, length: usize) {
        if self.flexible() {
            uvarint(out, length as u32 + 1);
        } else {
            out.extend((length as i16).to_be_bytes());
        }
    }

    fn length32(&mut self, out: &mut Vec<u8>, length: usize) {
        if self.flexible() {
            uvarint(out, length as u32 + 1);
        } else {
            out.extend((length as i32).to_be_bytes());
        }
    }
}

fn uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
