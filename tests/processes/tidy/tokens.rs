//! The tokens of a Rust source file, without comments; and its prose: comments and strings.

/// A name, a number, a sign, `::`, or a string, whose text begins with a quote.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// Whether a token is a name or a keyword.
pub(super) fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// A piece of a source file.
enum Piece<'a> {
    Code(&'a str),
    Comment(&'a str),
    Text(&'a str),
}

pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    pieces(source, |piece, line| match piece {
        Piece::Code(text) => found.push(Token { text: text.to_owned(), line }),
        Piece::Text(text) => found.push(Token { text: format!("\"{text}"), line }),
        Piece::Comment(_) => {}
    });
    found
}

/// Comments and strings, each with the line where it begins. Comment lines that follow each other
/// are separate pieces.
pub(super) fn prose(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    pieces(source, |piece, line| match piece {
        Piece::Comment(text) => found.push((line, text.trim_start_matches(['/', '!', '*']).to_owned())),
        Piece::Text(text) => found.push((line, text.to_owned())),
        Piece::Code(_) => {}
    });
    found
}

fn pieces<'a>(source: &'a str, mut take: impl FnMut(Piece<'a>, usize)) {
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (piece, length) = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            (Some(Piece::Comment(&rest[..length])), length)
        } else if rest.starts_with("/*") {
            let length = rest.find("*/").map_or(rest.len(), |end| end + 2);
            (Some(Piece::Comment(&rest[..length])), length)
        } else if let Some((begin, end, length)) = string(rest) {
            (Some(Piece::Text(&rest[begin..end])), length)
        } else if first == '\'' {
            (None, quote(rest))
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            (Some(Piece::Code(&rest[..length])), length)
        } else if rest.starts_with("::") {
            (Some(Piece::Code("::")), 2)
        } else {
            let length = first.len_utf8();
            (if first.is_whitespace() { None } else { Some(Piece::Code(&rest[..length])) }, length)
        };
        if let Some(piece) = piece {
            take(piece, line);
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
}

/// Where the text of a string begins and ends, and the length of its literal, if one begins here.
fn string(rest: &str) -> Option<(usize, usize, usize)> {
    let prefix = rest.find(|c| !"bcr".contains(c))?;
    let raw = rest[..prefix].contains('r');
    let hashes = if raw { rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len() } else { 0 };
    let begin = prefix + hashes + 1;
    if !rest[prefix + hashes..].starts_with('"') || prefix > 2 {
        return None;
    }
    let end = if raw {
        begin + rest[begin..].find(&format!("\"{}", "#".repeat(hashes)))?
    } else {
        let mut escaped = false;
        let ends = |c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        };
        begin + rest[begin..].find(ends)?
    };
    Some((begin, end, end + 1 + hashes))
}

/// The length of a character literal, or of a lifetime, which begins with a quote too.
fn quote(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            rest[escaped + 1..].find('\'').map_or(rest.len(), |end| escaped + end + 2)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => rest[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(rest.len(), |end| end + 1),
    }
}
