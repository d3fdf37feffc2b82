//! The page: one document that loads nothing else. Only its own script runs in it, which it names
//! by a number that is new each time.

use super::response::Response;
use super::token::Token;

const PAGE: &str = include_str!("page.html");

/// In the document, where the number goes.
const NONCE: &str = "__NONCE__";

/// # Errors
/// The answer if the system gives no random bytes.
pub(super) fn page() -> Result<Response, Response> {
    let nonce = Token::random().map_err(|error| Response::text(500, format!("no random bytes: {error}")))?;
    let nonce = nonce.text();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; \
         connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let response = Response::new(200, "text/html; charset=utf-8", PAGE.replace(NONCE, nonce));
    Ok(response.with("Content-Security-Policy", policy))
}
