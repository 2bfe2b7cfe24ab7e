//! What is done to bytes, numbers and texts.

/// SplitMix64: small, even, and the same on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 where it is 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A number at which arithmetic goes wrong, or one beside it.
    pub(super) fn number(&mut self) -> u64 {
        const EDGES: [u64; 18] = [
            0,
            1,
            511,
            512,
            4096,
            0x7fff,
            0xffff,
            4 << 20,
            64 << 20,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            16 << 40,
            i64::MAX as u64,
            1 << 63,
            u64::MAX - 511,
            u64::MAX,
        ];
        match self.below(4) {
            0 => self.next() >> self.below(64),
            1 => self.below(300) as u64,
            2 => self.of(&EDGES).wrapping_add(self.next() % 3).wrapping_sub(1),
            _ => *self.of(&EDGES),
        }
    }
}

/// Changes bytes in one to four places: bits, numbers, lengths; parts that go, come twice or come from elsewhere.
pub(super) fn bytes(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(600)).min(bytes.len());
        match random.below(9) {
            _ if bytes.is_empty() => bytes.extend_from_slice(&other[..random.below(other.len())]),
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next() as u8,
            3 => {
                let number = (random.number() as u32).to_le_bytes();
                let room = (bytes.len() - at).min(4);
                bytes[at..at + room].copy_from_slice(&number[..room]);
            }
            4 => {
                let number = random.number().to_le_bytes();
                let room = (bytes.len() - at).min(8);
                bytes[at..at + room].copy_from_slice(&number[..room]);
            }
            5 => drop(bytes.drain(at..end)),
            6 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            7 => {
                let from = random.below(other.len());
                let part = other[from..(from + 1 + random.below(600)).min(other.len())].to_vec();
                let until = if random.one_in(2) { at } else { end };
                bytes.splice(at..until, part);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// Changes a text of JSON lines: numbers to such at which arithmetic goes wrong, strings to paths that lead out, lines
/// that go, come twice or are nested deeper than anybody writes.
pub(super) fn lines(random: &mut Random, text: &mut Vec<u8>, other: &[u8]) {
    const STRINGS: [&str; 12] = [
        "..",
        "/",
        "/etc/shadow",
        "a/../b",
        "",
        "\\u0000",
        "\\ud800",
        "x\\u001b[2J",
        ".pitool-manifest.jsonl",
        "99.000000000",
        "-9223372036854775808.999999999",
        "ffff",
    ];
    for _ in 0..=random.below(3) {
        let at = random.below(text.len());
        match random.below(8) {
            // A number.
            0..=2 => {
                let digit = |byte: &u8| byte.is_ascii_digit();
                let Some(start) = text[at..].iter().position(digit).map(|offset| at + offset) else {
                    continue;
                };
                let length = text[start..].iter().take_while(|byte| digit(byte)).count();
                let sign = if random.one_in(6) { "-" } else { "" };
                let number = format!("{sign}{}", random.number());
                text.splice(start..start + length, number.into_bytes());
            }
            // A string.
            3 | 4 => {
                let quote =
                    |from: usize| text[from..].iter().position(|byte| *byte == b'"').map(|it| from + it);
                let Some(start) = quote(at) else { continue };
                let Some(end) = quote(start + 1) else { continue };
                text.splice(start + 1..end, random.of(&STRINGS).bytes());
            }
            // A line twice, or away.
            5 => {
                let line =
                    |from: usize| text[from..].iter().position(|byte| *byte == b'\n').map(|it| from + it + 1);
                let Some(start) = line(at) else { continue };
                let end = line(start).unwrap_or(text.len());
                let part = text[start..end].to_vec();
                if random.one_in(2) {
                    text.splice(start..start, part);
                } else {
                    text.drain(start..end);
                }
            }
            6 => {
                let deep = if random.one_in(2) { "[" } else { "{\"a\":" };
                text.splice(at..at, deep.repeat(random.below(2000)).into_bytes());
            }
            _ => bytes(random, text, other),
        }
        if text.is_empty() {
            text.extend_from_slice(b"\n");
        }
    }
}
