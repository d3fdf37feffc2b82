//! The wire format of Protocol Buffers, as far as a pprof file needs it: numbers, text, nested
//! messages. Knows no particular message; `pprof.rs` does.

/// A message while it is written: its encoded fields, in the order in which they are added. A field
/// with the value zero and an empty list are left out, as in version 3 of the format.
#[derive(Default)]
pub(crate) struct Message(Vec<u8>);

/// Wire type: the value follows as a varint.
const VARINT: u64 = 0;

/// Wire type: the length follows as a varint, then that many bytes.
const LENGTH: u64 = 2;

impl Message {
    pub(super) fn unsigned(&mut self, field: u32, value: u64) -> &mut Message {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value);
        }
        self
    }

    /// An `int64`: a negative number takes ten bytes.
    pub(super) fn signed(&mut self, field: u32, value: i64) -> &mut Message {
        self.unsigned(field, value as u64)
    }

    pub(super) fn boolean(&mut self, field: u32, value: bool) -> &mut Message {
        self.unsigned(field, value.into())
    }

    /// A packed list.
    pub(super) fn unsigned_list(&mut self, field: u32, values: impl IntoIterator<Item = u64>) -> &mut Message {
        let mut packed = Message::default();
        for value in values {
            packed.varint(value);
        }
        if packed.0.is_empty() {
            return self;
        }
        self.bytes(field, &packed.0)
    }

    /// A packed list of `int64`.
    pub(super) fn signed_list(&mut self, field: u32, values: impl IntoIterator<Item = i64>) -> &mut Message {
        self.unsigned_list(field, values.into_iter().map(|value| value as u64))
    }

    /// An element of a list of texts: written even if it is empty.
    pub(crate) fn text(&mut self, field: u32, text: &str) -> &mut Message {
        self.bytes(field, text.as_bytes())
    }

    /// A message, single or an element of a list: written even if it is empty.
    pub(crate) fn message(&mut self, field: u32, message: &Message) -> &mut Message {
        self.bytes(field, &message.0)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Message {
        self.tag(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn tag(&mut self, field: u32, wire_type: u64) {
        self.varint(u64::from(field) << 3 | wire_type);
    }

    /// Seven bits in each byte, the lowest first; the top bit says that more bytes follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn fields_are_encoded_as_the_format_says() {
        let mut inner = Message::default();
        inner.unsigned(1, 150).boolean(2, true).boolean(3, false).signed(4, -1);
        let mut outer = Message::default();
        outer.message(16, &inner).text(2, "ab").unsigned_list(3, [0, 300]).signed_list(4, []).unsigned(5, 0);
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let mut expected = vec![0x82, 0x01, 16, 0x08, 0x96, 0x01, 0x10, 0x01, 0x20];
        expected.extend_from_slice(&minus_one);
        expected.extend_from_slice(&[0x12, 2, b'a', b'b', 0x1a, 3, 0, 0xac, 0x02]);
        assert_eq!(outer.as_bytes(), expected);
    }
}
