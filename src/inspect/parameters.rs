//! Parameters of a request, as numbers and choices. What fits none is an answer.

use super::request::Request;
use super::response::Response;

/// A parameter that is a number. `None`: it is not there, or empty.
///
/// # Errors
/// The answer to what is no number in that range.
pub(super) fn number(
    request: &Request,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Response> {
    let Some(text) = request.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_number && range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.map(Some).ok_or_else(|| {
        Response::text(400, format!("invalid value for \"{name}\": expected a whole number from {least} to {most}"))
    })
}

/// A parameter that is one of these words.
///
/// # Errors
/// The answer to another word.
pub(super) fn choice<T: Copy>(request: &Request, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Response> {
    let Some(text) = request.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
    chosen.map(Some).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        Response::text(400, format!("invalid value for \"{name}\": expected one of {}", words.join(", ")))
    })
}
