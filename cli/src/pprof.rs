//! Reads a gzipped `profile.proto` as stacks. A thread's path, which selvedge's files have as the
//! label `thread`, becomes the root of its stacks, as in folded lines.

use crate::folded::Stacks;
use std::collections::HashMap;
use std::io::Read;

/// A file that unpacks to more is no profile.
const MOST_BYTES: u64 = 1 << 30;

/// A field of a message: its number, and its value.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// `Ok(None)` at the end.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.field().map(Some).ok_or_else(|| "it is cut off or no pprof file".to_owned())
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

/// Calls `each` with each field of a message.
fn fields<'a>(message: &'a [u8], mut each: impl FnMut(u64, Value<'a>) -> Result<(), String>) -> Result<(), String> {
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        each(number, value)?;
    }
    Ok(())
}

/// A repeated number, packed or not.
fn numbers(value: &Value<'_>, into: &mut Vec<u64>) -> Result<(), String> {
    match value {
        Value::Number(number) => into.push(*number),
        Value::Bytes(bytes) => {
            let mut packed = Fields(bytes);
            while !packed.0.is_empty() {
                into.push(packed.varint().ok_or("a list of numbers is cut off")?);
            }
        }
    }
    Ok(())
}

/// The numbers of two fields of a message; 0 for a field that is not there.
fn pair(message: &[u8], first: u64, second: u64) -> Result<(u64, u64), String> {
    let mut found = (0, 0);
    fields(message, |number, value| {
        match value {
            Value::Number(value) if number == first => found.0 = value,
            Value::Number(value) if number == second => found.1 = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

#[derive(Default)]
struct Parts<'a> {
    /// Index of the unit's name, of each value.
    units: Vec<u64>,
    samples: Vec<&'a [u8]>,
    /// Functions by the locations' ids, the innermost of inlined ones first.
    locations: HashMap<u64, Vec<u64>>,
    addresses: HashMap<u64, u64>,
    /// Indices of names by the functions' ids.
    functions: HashMap<u64, u64>,
    strings: Vec<&'a [u8]>,
}

/// # Errors
/// The file is not gzipped, or no `profile.proto`.
pub(crate) fn parse(file: &[u8]) -> Result<Stacks, String> {
    let mut message = Vec::new();
    let gzip = flate2::read::MultiGzDecoder::new(file).take(MOST_BYTES);
    { gzip }.read_to_end(&mut message).map_err(|error| format!("it cannot be unpacked: {error}"))?;
    let mut parts = Parts::default();
    fields(&message, |number, value| parts.field(number, value))?;
    parts.stacks()
}

impl<'a> Parts<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<(), String> {
        let Value::Bytes(bytes) = value else { return Ok(()) };
        match number {
            1 => self.units.push(pair(bytes, 1, 2)?.1),
            2 => self.samples.push(bytes),
            4 => self.location(bytes)?,
            5 => {
                let (id, name) = pair(bytes, 1, 2)?;
                self.functions.insert(id, name);
            }
            6 => self.strings.push(bytes),
            _ => {}
        }
        Ok(())
    }

    fn location(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        let (mut id, mut address, mut lines) = (0, 0, Vec::new());
        fields(bytes, |number, value| {
            match (number, value) {
                (1, Value::Number(number)) => id = number,
                (3, Value::Number(number)) => address = number,
                (4, Value::Bytes(line)) => lines.push(pair(line, 1, 2)?.0),
                _ => {}
            }
            Ok(())
        })?;
        self.locations.insert(id, lines);
        self.addresses.insert(id, address);
        Ok(())
    }

    fn string(&self, index: u64) -> String {
        let bytes = usize::try_from(index).ok().and_then(|index| self.strings.get(index).copied());
        String::from_utf8_lossy(bytes.unwrap_or_default()).replace(';', ":")
    }

    fn stacks(&self) -> Result<Stacks, String> {
        if self.units.is_empty() || self.strings.is_empty() {
            return Err("it has no sample types; is it a pprof file?".to_owned());
        }
        // pprof itself shows the last value.
        let chosen = self.units.len() - 1;
        let is_time = self.string(self.units[chosen]) == "nanoseconds";
        let mut stacks = Stacks { is_time, ..Stacks::default() };
        for sample in &self.samples {
            let (mut locations, mut values, mut thread) = (Vec::new(), Vec::new(), None);
            fields(sample, |number, value| match (number, value) {
                (1, value) => numbers(&value, &mut locations),
                (2, value) => numbers(&value, &mut values),
                (3, Value::Bytes(label)) => self.thread(label).map(|found| thread = found.or(thread.take())),
                _ => Ok(()),
            })?;
            // Negative values, as in differences that pprof wrote, are no weights.
            let weight = values.get(chosen).map_or(0, |&value| i64::max(value as i64, 0) as u64);
            stacks.add(self.stack(&locations, thread), weight);
        }
        Ok(stacks)
    }

    fn thread(&self, label: &[u8]) -> Result<Option<String>, String> {
        let (key, text) = pair(label, 1, 2)?;
        Ok((self.string(key) == "thread").then(|| self.string(text)))
    }

    fn stack(&self, locations: &[u64], thread: Option<String>) -> String {
        let mut frames: Vec<String> = thread.iter().flat_map(|path| path.split('/').map(str::to_owned)).collect();
        for location in locations.iter().rev() {
            let functions = self.locations.get(location).map(Vec::as_slice).unwrap_or_default();
            for function in functions.iter().rev() {
                frames.push(self.string(self.functions.get(function).copied().unwrap_or(0)));
            }
            if functions.is_empty() {
                frames.push(format!("{:#x}", self.addresses.get(location).copied().unwrap_or(0)));
            }
        }
        frames.join(";")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }

    fn packed(message: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(message).unwrap();
        gzip.finish().unwrap()
    }

    /// Two samples of the thread main/a: `outer` with `inlined` in it, and an address without name.
    fn profile() -> Vec<u8> {
        let strings = ["", "samples", "count", "cpu", "nanoseconds", "thread", "main/a", "outer", "inl;ined"];
        let mut all = Vec::new();
        all.extend(bytes(1, &[number(1, 1), number(2, 2)].concat()));
        all.extend(bytes(1, &[number(1, 3), number(2, 4)].concat()));
        let label = bytes(3, &[number(1, 5), number(2, 6)].concat());
        all.extend(bytes(2, &[bytes(1, &[1]), bytes(2, &[1, 100]), label.clone()].concat()));
        all.extend(bytes(2, &[number(1, 2), number(1, 1), number(2, 1), number(2, 50), label].concat()));
        let lines = [bytes(4, &number(1, 2)), bytes(4, &number(1, 1))].concat();
        all.extend(bytes(4, &[number(1, 1), lines].concat()));
        all.extend(bytes(4, &[number(1, 2), number(3, 0xabc)].concat()));
        all.extend(bytes(5, &[number(1, 1), number(2, 7)].concat()));
        all.extend(bytes(5, &[number(1, 2), number(2, 8)].concat()));
        strings.iter().for_each(|text| all.extend(bytes(6, text.as_bytes())));
        all
    }

    #[test]
    fn stacks_stand_on_the_thread() {
        let stacks = parse(&packed(&profile())).unwrap();
        let wanted = [("main;a;outer;inl:ined", 100), ("main;a;outer;inl:ined;0xabc", 50)];
        let found: Vec<_> = stacks.weights.iter().map(|(stack, weight)| (stack.as_str(), *weight)).collect();
        assert_eq!(found, wanted);
        assert!(stacks.is_time);
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = profile();
        assert!(parse(b"not gzip").is_err());
        assert!(parse(&packed(b"")).is_err());
        let mut refused = 0;
        for cut in 0..whole.len() {
            refused += usize::from(parse(&packed(&whole[..cut])).is_err());
        }
        assert!(refused > whole.len() / 2, "{refused} of {}", whole.len());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            // Whatever comes of it: it ends.
            let _ = parse(&packed(&damaged));
        }
    }
}
