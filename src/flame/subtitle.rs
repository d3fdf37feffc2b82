//! Breaks the subtitle of a picture into lines. inferno writes it as one line, whose ends are cut if it is
//! wider than the picture.

/// The width of a picture at first, less its borders, by the width of a character.
const MOST_CHARACTERS: usize = 160;
/// There is room for so many above the frames.
const MOST_LINES: usize = 3;
const SEPARATOR: &str = " · ";
const BEGIN: &str = "<text id=\"subtitle\"";
const END: &str = "</text>";

/// The picture with its subtitle in as many lines as it needs. No sentence is divided, and what is more
/// than fits stays in the last line.
pub(super) fn broken(svg: String) -> String {
    let Some((before, tag, text, after)) = parts(&svg) else { return svg };
    let lines = lines(text);
    if lines.len() < 2 {
        return svg;
    }
    // inferno has a single line at 48, and the frames begin at 60.
    let (first, step) = if lines.len() == 2 { (41, 13) } else { (37, 11) };
    let spans = lines.iter().enumerate().map(|(n, line)| {
        let y = first + step * n;
        format!("<tspan x=\"50.0000%\" y=\"{y}.00\">{line}</tspan>")
    });
    format!("{before}{tag}{}{after}", spans.collect::<String>())
}

/// What is before the subtitle's tag, the tag, the text, and the rest.
fn parts(svg: &str) -> Option<(&str, &str, &str, &str)> {
    let (before, rest) = svg.split_at(svg.find(BEGIN)?);
    let (tag, rest) = rest.split_at(rest.find('>')? + 1);
    let (text, after) = rest.split_at(rest.find(END)?);
    Some((before, tag, text, after))
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
