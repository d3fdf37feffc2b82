//! The encoder of kind `pattern`. It is given patterns that `log/pattern_syntax.rs` has accepted.

use std::io;
use std::iter::Peekable;
use std::str::Chars;

use ::log::{Level, Record};
use log4rs::config::{Deserialize, Deserializers};
use log4rs::encode::{Color, Encode, Style, Write};

use super::date::Date;
use super::fields::Fields;
use super::one_piece::{NEWLINE, in_one_piece};
use super::width::Width;
use crate::log::pattern_syntax::fault;
use crate::log::record::{Captured, with_context};

const DEFAULT: &str = "{d} {l} {t} - {m}{n}";

#[derive(Debug)]
pub(crate) struct PatternEncoder {
    chunks: Vec<Chunk>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pattern: Option<String>,
}

pub(super) struct FromConfig;

impl Deserialize for FromConfig {
    type Trait = dyn Encode;
    type Config = Config;

    fn deserialize(&self, config: Config, _: &Deserializers) -> anyhow::Result<Box<dyn Encode>> {
        Ok(Box::new(PatternEncoder::from_config(config)?))
    }
}

impl Default for PatternEncoder {
    fn default() -> PatternEncoder {
        PatternEncoder { chunks: Parser { rest: DEFAULT.chars().peekable() }.chunks(false) }
    }
}

impl PatternEncoder {
    pub(crate) fn from_config(config: Config) -> anyhow::Result<PatternEncoder> {
        let encoder = PatternEncoder::new(config.pattern.as_deref().unwrap_or(DEFAULT));
        encoder.map_err(|fault| anyhow::anyhow!("the pattern {fault}"))
    }

    /// Writes the record where nothing is to be kept from seeing half of it.
    pub(crate) fn print<W: Write>(&self, out: &mut W, captured: &Captured) -> io::Result<()> {
        write_all(&self.chunks, out, captured)
    }

    /// An error in words that follow "the pattern".
    pub(crate) fn new(pattern: &str) -> Result<PatternEncoder, String> {
        match fault(pattern) {
            Some(fault) => Err(fault),
            None => Ok(PatternEncoder { chunks: Parser { rest: pattern.chars().peekable() }.chunks(false) }),
        }
    }
}

impl Encode for PatternEncoder {
    fn encode(&self, out: &mut dyn Write, record: &Record<'_>) -> anyhow::Result<()> {
        in_one_piece(out, |line| Ok(with_context(|context| write_all(&self.chunks, line, &(record, context)))?))
    }
}

#[derive(Debug)]
enum Chunk {
    Text(String),
    Part(Part),
    Fitted(Part, Width),
}

#[derive(Debug)]
enum Part {
    Date(Date),
    Level,
    Message,
    Module,
    File,
    Line,
    Thread,
    ThreadId,
    Process,
    Target,
    Newline,
    Mdc(String, String),
    KeyValue(String, String),
    Group(Vec<Chunk>),
    Highlight(Vec<Chunk>),
}

fn write_all<W: Write + ?Sized, F: Fields>(chunks: &[Chunk], out: &mut W, record: &F) -> io::Result<()> {
    chunks.iter().try_for_each(|chunk| match chunk {
        Chunk::Text(text) => out.write_all(text.as_bytes()),
        Chunk::Part(part) => part.write(out, record),
        Chunk::Fitted(part, width) => width.apply(out, |out| part.write(out, record)),
    })
}

impl Part {
    fn write<W: Write + ?Sized, F: Fields>(&self, out: &mut W, record: &F) -> io::Result<()> {
        let text = match self {
            Part::Date(date) => return date.write(record.time(), out),
            Part::Level => record.level().as_str(),
            Part::Message => return record.write_message(out),
            Part::Module => record.module().unwrap_or("???"),
            Part::File => record.file().unwrap_or("???"),
            Part::Line => match record.line() {
                Some(line) => return write!(out, "{line}"),
                None => "???",
            },
            Part::Thread => record.thread().unwrap_or("unnamed"),
            Part::ThreadId => return write!(out, "{}", record.thread_id()),
            Part::Process => return write!(out, "{}", std::process::id()),
            Part::Target => record.target(),
            Part::Newline => NEWLINE,
            Part::Mdc(key, default) => record.mdc(key).unwrap_or(default),
            Part::KeyValue(key, default) => match record.write_value(key, out)? {
                true => return Ok(()),
                false => default,
            },
            Part::Group(chunks) => return write_all(chunks, out, record),
            Part::Highlight(chunks) => {
                let style = style(record.level());
                if let Some(style) = &style {
                    out.set_style(style)?;
                }
                write_all(chunks, out, record)?;
                return style.map_or(Ok(()), |_| out.set_style(&Style::new()));
            }
        };
        out.write_all(text.as_bytes())
    }
}

fn style(level: Level) -> Option<Style> {
    let mut style = Style::new();
    match level {
        Level::Error => style.text(Color::Red).intense(true),
        Level::Warn => style.text(Color::Yellow),
        Level::Info => style.text(Color::Green),
        Level::Debug => return None,
        Level::Trace => style.text(Color::Cyan),
    };
    Some(style)
}

/// Of a pattern without a fault.
struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn eat(&mut self, letter: char) -> bool {
        self.rest.next_if_eq(&letter).is_some()
    }

    /// Up to the end, or past the `)` of the argument. Escaped letters are chunks of their own, as
    /// in log4rs, where a key ends before one.
    fn chunks(&mut self, in_argument: bool) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut plain = String::new();
        while let Some(letter) = self.rest.next() {
            let escaped = match letter {
                ')' if in_argument => break,
                '{' if !self.eat('{') => {
                    end_text(&mut plain, &mut chunks);
                    chunks.push(self.formatter());
                    continue;
                }
                '\\' => self.rest.next(),
                '{' => Some('{'),
                // Doubled, or it would be a fault.
                '}' | '(' | ')' => self.rest.next(),
                letter => {
                    plain.push(letter);
                    continue;
                }
            };
            end_text(&mut plain, &mut chunks);
            chunks.extend(escaped.map(|letter| Chunk::Text(letter.to_string())));
        }
        end_text(&mut plain, &mut chunks);
        chunks
    }

    fn formatter(&mut self) -> Chunk {
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(|letter| letter.is_alphanumeric()) {
            name.push(letter);
        }
        let mut arguments = Vec::new();
        while self.eat('(') {
            arguments.push(self.chunks(true));
        }
        let width = self.width();
        self.eat('}');
        let part = part(&name, arguments);
        if width.is_any() { Chunk::Part(part) } else { Chunk::Fitted(part, width) }
    }

    fn width(&mut self) -> Width {
        let mut width = Width { fill: ' ', align_right: false, cut_left: false, least: None, greatest: None };
        if !self.eat(':') {
            return width;
        }
        let mut ahead = self.rest.clone();
        if let (Some(fill), Some('<' | '>')) = (ahead.next(), ahead.next()) {
            self.rest.next();
            width.fill = fill;
        }
        width.align_right = !self.eat('<') && self.eat('>');
        width.cut_left = self.eat('-');
        width.least = self.number();
        if self.eat('.') {
            width.greatest = self.number();
        }
        width
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.rest.peek().and_then(|letter| letter.to_digit(10)) {
            self.rest.next();
            number = Some(number.unwrap_or(0) * 10 + digit as usize);
        }
        number
    }
}

fn end_text(plain: &mut String, chunks: &mut Vec<Chunk>) {
    if !plain.is_empty() {
        chunks.push(Chunk::Text(std::mem::take(plain)));
    }
}

fn part(name: &str, mut arguments: Vec<Vec<Chunk>>) -> Part {
    let text = |argument: Option<&Vec<Chunk>>| match argument.and_then(|chunks| chunks.first()) {
        Some(Chunk::Text(text)) => text.clone(),
        _ => String::new(),
    };
    match name {
        "d" | "date" => {
            let format = arguments.first().map_or_else(
                || "%+".to_owned(),
                |chunks| chunks.iter().map(|chunk| if let Chunk::Text(text) = chunk { text } else { "" }).collect(),
            );
            let date = Date::new(&format, text(arguments.get(1)) == "utc");
            date.map_or(Part::Group(Vec::new()), Part::Date)
        }
        "l" | "level" => Part::Level,
        "m" | "message" => Part::Message,
        "M" | "module" => Part::Module,
        "n" => Part::Newline,
        "f" | "file" => Part::File,
        "L" | "line" => Part::Line,
        "T" | "thread" => Part::Thread,
        "I" | "i" | "tid" => Part::ThreadId,
        "P" | "pid" => Part::Process,
        "t" | "target" => Part::Target,
        "X" | "mdc" => Part::Mdc(text(arguments.first()), text(arguments.get(1))),
        "K" => Part::KeyValue(text(arguments.first()), text(arguments.get(1))),
        name => {
            let chunks = arguments.pop().unwrap_or_default();
            match name {
                "h" | "highlight" => Part::Highlight(chunks),
                "D" | "debug" if !cfg!(debug_assertions) => Part::Group(Vec::new()),
                "R" | "release" if cfg!(debug_assertions) => Part::Group(Vec::new()),
                _ => Part::Group(chunks),
            }
        }
    }
}
