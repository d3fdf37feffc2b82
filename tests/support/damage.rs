//! Damages a YAML file as people, editors and broken disks do. Seeded, so that each run damages the
//! same way.
#![allow(unreachable_pub)] // shared by tests inside and outside of the crate

/// Marsaglia's xorshift, so that each run damages the same way.
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        const NASTY: [&str; 22] = [
            "\t",
            ":",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "#",
            "&a ",
            "*a",
            "!t ",
            "|\n",
            ">\n",
            "---\n",
            "<<: ",
            "\0",
            "\u{feff}",
            "99999999999999999999",
            "%Q",
            "$TIME{%",
        ];
        let at = self.below(bytes.len());
        match self.below(7) {
            0 => bytes[at] = self.below(256) as u8,
            1 => drop(bytes.drain(at..bytes.len().min(at + 1 + self.below(20)))),
            2 => drop(bytes.splice(at..at, NASTY[self.below(NASTY.len())].bytes())),
            3 => {
                let piece = bytes[at..bytes.len().min(at + self.below(200))].to_vec();
                let to = self.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            kind => {
                let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(Vec::from).collect();
                let (from, to) = (self.below(lines.len()), self.below(lines.len()));
                match kind {
                    4 => drop(lines.remove(from)),
                    5 => lines.insert(to, lines[from].clone()),
                    _ => lines.swap(from, to),
                }
                *bytes = lines.concat();
            }
        }
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
    }
}
