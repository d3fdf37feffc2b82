//! For the fuzz target and a test like it: any bytes as the answer of a server. What must hold of
//! an answer is said here a second time.

use super::body::Body;
use super::response::{Outcome, head, outcome};

/// # Panics
/// An answer is read past its end, is taken although its status says otherwise, or is told in a
/// text that a log cannot have.
pub fn check(input: &[u8]) {
    let text = match head(input) {
        Ok(None) => return,
        Err(why) => why,
        Ok(Some(head)) => {
            assert!(head.length <= input.len() && input[..head.length].ends_with(b"\n"));
            let line = String::from_utf8_lossy(&input[..head.length]).into_owned();
            for has_ended in [false, true] {
                if let Body::Whole(body) | Body::Partial(body) = head.framing.body(&input[head.length..], has_ended) {
                    assert!(body.len() <= input.len() - head.length, "{line}");
                }
            }
            // Behind `HTTP/1.1 `.
            let status = line.trim_start().get(9..12).and_then(|status| status.parse::<u16>().ok());
            match outcome(&head, input[head.length..].to_vec()) {
                Outcome::Taken(body) => {
                    assert!(status.is_some_and(|status| (200..300).contains(&status)), "{line}");
                    assert_eq!(body, input[head.length..]);
                    return;
                }
                Outcome::Refused(why) | Outcome::Failed { why, .. } | Outcome::Later { why, .. } => why,
                Outcome::GaveUp => panic!("no signal has gone"),
            }
        }
    };
    assert!(!text.chars().any(char::is_control) && text.chars().count() < 600, "{text:?}");
}
