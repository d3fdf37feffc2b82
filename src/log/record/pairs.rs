//! Keys and values in the text of a record, each as `length:text`.

use std::fmt::Write as _;

use ::log::kv::{self, Key, Value, VisitSource};

use super::format::format_into;
use super::text::Text;

pub(super) fn put_pair(text: &mut Text, key: &str, value: &str) {
    for part in [key, value] {
        // Writing to a text does not fail.
        let _ = write!(text, "{}:{part}", part.len());
    }
}

pub(super) struct Collect<'a>(pub(super) &'a mut Text);

impl<'kvs> VisitSource<'kvs> for Collect<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut text = String::new();
        // Not to_string, which panics where a Display gives up.
        format_into(&mut text, format_args!("{value}"));
        put_pair(self.0, key.as_str(), &text);
        Ok(())
    }
}

/// Keys and values, each as `length:text`.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Pairs<'a>(pub(super) &'a str);

impl<'a> Pairs<'a> {
    fn part(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_once(':')?;
        let (part, rest) = rest.split_at_checked(length.parse().ok()?)?;
        self.0 = rest;
        Some(part)
    }

    pub(in crate::log) fn get(self, key: &str) -> Option<&'a str> {
        self.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        Some((self.part()?, self.part()?))
    }
}

impl kv::Source for Pairs<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        for (key, value) in *self {
            visitor.visit_pair(Key::from_str(key), Value::from(value))?;
        }
        Ok(())
    }

    /// The first of a name, as it is with what the macros make.
    fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        Pairs::get(*self, key.as_str()).map(Value::from)
    }
}
