//! Damages a YAML file as people, editors and broken disks do. Seeded, so that each run damages the
//! same way.
#![allow(unreachable_pub)] // shared by tests inside and outside of the crate

use crate::random::Random;

pub fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
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
    let at = random.index(bytes.len());
    match random.below(7) {
        0 => bytes[at] = random.below(256) as u8,
        1 => drop(bytes.drain(at..bytes.len().min(at + 1 + random.index(20)))),
        2 => drop(bytes.splice(at..at, random.of(&NASTY).bytes())),
        3 => {
            let piece = bytes[at..bytes.len().min(at + random.index(200))].to_vec();
            let to = random.index(bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        kind => {
            let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(Vec::from).collect();
            let (from, to) = (random.index(lines.len()), random.index(lines.len()));
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
