//! Which requests are answered: the Host and the Origin that a browser sends, and the token. A page
//! of another site can make a browser of this machine send requests; none of them may pass.

use super::request::Request;
use super::response::Response;
use super::token::{Token, decode_basic};

/// What a request must show.
pub(super) struct Access {
    /// `None`: on the Unix socket, whose folder lets no other user in.
    pub(super) secrets: Option<Secrets>,
}

pub(super) struct Secrets {
    pub(super) token: Token,
    /// What a browser gets for the token: good until the program ends.
    pub(super) session: Token,
    pub(super) port: u16,
}

/// The names of this machine that no other one can have. A name of another site that leads here
/// (DNS rebinding) is none of them.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Access {
    /// # Errors
    /// The answer to a request that may not pass; also the answer that gives a browser its cookie.
    pub(super) fn check(&self, request: &Request) -> Result<(), Response> {
        let host = request.header("host").ok_or_else(|| Response::text(400, "the request has no Host"))?;
        if !is_own_host(host) {
            let text = "this Host is not served, since another site could lead here by it; use localhost, 127.0.0.1 \
                        or [::1]";
            return Err(Response::text(403, text));
        }
        let is_own = |origin: &str| origin.strip_prefix("http://").is_some_and(|own| own.eq_ignore_ascii_case(host));
        if !request.header("origin").is_none_or(is_own) {
            return Err(Response::text(403, "a page of another origin may not ask"));
        }
        let site = request.header("sec-fetch-site").unwrap_or("none");
        if !matches!(site, "none" | "same-origin") && request.path != "/" {
            return Err(Response::text(403, "a page of another site may not ask; open this address yourself"));
        }
        match &self.secrets {
            None => Ok(()),
            Some(secrets) => secrets.check(request),
        }
    }
}

fn is_own_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    HOSTS.iter().any(|own| own.eq_ignore_ascii_case(name)) && port.is_none_or(is_port)
}

impl Secrets {
    fn check(&self, request: &Request) -> Result<(), Response> {
        if request.path == "/"
            && let Some(token) = request.parameter("token")
        {
            return Err(if self.token.is(token) { self.welcome() } else { refused("the token is wrong") });
        }
        let cookie = self.cookie(request).is_some_and(|cookie| self.session.is(cookie));
        let given = request.header("authorization").map(token_of);
        match given {
            _ if cookie => Ok(()),
            Some(Some(token)) if self.token.is(&token) => Ok(()),
            Some(_) => Err(refused("the token is wrong")),
            None => Err(refused("a token is needed")),
        }
    }

    fn name(&self) -> String {
        format!("selvedge-{}", self.port)
    }

    fn cookie<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let name = self.name();
        let mut pairs = request.header("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The browser shows the address without the token from now on.
    fn welcome(&self) -> Response {
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.name(), self.session.text());
        Response::text(303, "this way").with("Location", "/").with("Set-Cookie", cookie)
    }
}

/// Of `Bearer TOKEN`, or `Basic` with the token as its password.
fn token_of(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    let basic = scheme.eq_ignore_ascii_case("basic").then(|| decode_basic(rest))??;
    basic.split_once(':').map(|(_, password)| password.to_owned())
}

fn refused(why: &str) -> Response {
    let text = format!(
        "{why}: send the token of the program's token file as `Authorization: Bearer TOKEN`, as a password \
         (http://x:TOKEN@127.0.0.1/…), or open /?token=TOKEN in a browser"
    );
    Response::text(401, text).with("WWW-Authenticate", "Basic realm=\"selvedge\"")
}
