//! Breaks the subtitle of a picture into lines. inferno writes it as one line, whose ends are cut if it is
//! wider than the picture.

use std::io::{self, Write};

/// The width of a picture at first, less its borders, by the width of a character.
const MOST_CHARACTERS: usize = 160;
/// There is room for so many above the frames.
const MOST_LINES: usize = 3;
const SEPARATOR: &str = " · ";
const BEGIN: &str = "<text id=\"subtitle\"";
const END: &str = "</text>";

/// Writes the picture with its subtitle in as many lines as it needs. No sentence is divided, and what is
/// more than fits stays in the last line.
pub(super) fn write_broken(svg: &str, mut out: impl Write) -> io::Result<()> {
    let Some((before, text, after)) = parts(svg) else { return out.write_all(svg.as_bytes()) };
    let lines = lines(text);
    if lines.len() < 2 {
        return out.write_all(svg.as_bytes());
    }
    out.write_all(before.as_bytes())?;
    // inferno has a single line at 48, and the frames begin at 60.
    let (first, step) = if lines.len() == 2 { (41, 13) } else { (37, 11) };
    for (n, line) in lines.iter().enumerate() {
        let y = first + step * n;
        write!(out, "<tspan x=\"50.0000%\" y=\"{y}.00\">{line}</tspan>")?;
    }
    out.write_all(after.as_bytes())
}

/// What is before the subtitle's text, the text, and the rest.
fn parts(svg: &str) -> Option<(&str, &str, &str)> {
    let tag = svg.find(BEGIN)?;
    let begin = tag + svg[tag..].find('>')? + 1;
    let end = begin + svg[begin..].find(END)?;
    Some((&svg[..begin], &svg[begin..end], &svg[end..]))
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in text.split(SEPARATOR) {
        let is_last = lines.len() == MOST_LINES;
        match lines.last_mut() {
            Some(line)
                if is_last || line.chars().count() + SEPARATOR.len() + part.chars().count() <= MOST_CHARACTERS =>
            {
                line.push_str(SEPARATOR);
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(svg: String) -> String {
        let mut out = Vec::new();
        write_broken(&svg, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn picture(subtitle: &str) -> String {
        format!(
            "<svg><text id=\"title\">t</text><text id=\"subtitle\" x=\"50.0000%\" y=\"48.00\">{subtitle}</text></svg>"
        )
    }

    #[test]
    fn a_long_subtitle_is_broken_between_its_sentences() {
        let short = picture("287 samples · 100 Hz");
        assert_eq!(broken(short.clone()), short);
        let sentence = "x".repeat(70);
        let long = broken(picture(&[&*sentence; 5].join(SEPARATOR)));
        let both = format!("{sentence} · {sentence}");
        for (y, line) in [(37, &both), (48, &both), (59, &sentence)] {
            assert!(long.contains(&format!("<tspan x=\"50.0000%\" y=\"{y}.00\">{line}</tspan>")), "{long}");
        }
        // More than there is room for: nothing is lost.
        let longer = broken(picture(&[&*sentence; 9].join(SEPARATOR)));
        assert_eq!((longer.matches(&sentence).count(), longer.matches("<tspan").count()), (9, 3));
        assert_eq!(broken("<svg></svg>".into()), "<svg></svg>");
    }
}
