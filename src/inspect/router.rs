//! From a request to its answer: whether the client may ask, then which file makes it. Each answer
//! is the same for GET and HEAD; none changes anything in the program.

use super::client::{Client, Made, Reply};
use super::program::Program;
use super::record::Shown;
use super::request::{Method, Request};
use super::response::Response;
use super::{events, index, metrics, page, pprof, record, threads};

/// Answers that record.
const RECORDS: [&str; 7] =
    ["/flame.svg", "/waits", "/blame", "/folded", "/timeline", "/accounts", "/debug/pprof/profile"];

/// Go's endpoints are below this.
pub(super) const PPROF: &str = "/debug/pprof/";

pub(super) fn reply(program: &Program, request: &Request, client: &Client<'_>) -> Reply {
    if let Err(refused) = program.access.check(request) {
        return Reply::Whole(marked(request, refused));
    }
    if let Err(refused) = check_method(request) {
        return Reply::Whole(marked(request, refused));
    }
    if request.path == "/events" {
        return Reply::Events(events::head());
    }
    match answer(program, request, client) {
        Ok(Made::Whole(response)) => Reply::Whole(response),
        Ok(Made::Rest(bytes)) => Reply::Rest(bytes),
        Err(refused) => Reply::Whole(marked(request, refused)),
    }
}

/// As Go's server marks the errors of these endpoints.
fn marked(request: &Request, response: Response) -> Response {
    match response.status >= 400 && request.path.starts_with(PPROF) {
        true => response.with("X-Go-Pprof", "1"),
        false => response,
    }
}

fn check_method(request: &Request) -> Result<(), Response> {
    let takes_post = request.path == "/debug/pprof/symbol";
    match request.method {
        Method::Get | Method::Head => Ok(()),
        Method::Post if takes_post => Ok(()),
        Method::Post | Method::Other => {
            let allowed = if takes_post { "GET, HEAD, POST" } else { "GET, HEAD" };
            Err(Response::text(405, format!("here only these methods are known: {allowed}")).with("Allow", allowed))
        }
    }
}

fn answer(program: &Program, request: &Request, client: &Client<'_>) -> Result<Made, Response> {
    let made = match request.path.as_str() {
        "/" => page::page(),
        "/info" => Ok(threads::info(program)),
        "/threads" => threads::threads(program, request),
        "/dump" => Ok(threads::dump()),
        "/log" => threads::log(request),
        "/metrics" => Ok(metrics::metrics(program, request)),
        // A recording for an answer without a body would be in vain.
        path if request.method == Method::Head && RECORDS.contains(&path) => Ok(Response::text(200, "")),
        "/flame.svg" => return record::flame(program, request, record::shown(request)?, client),
        "/waits" => return record::flame(program, request, Shown::Waits, client),
        "/blame" => return record::flame(program, request, Shown::Blame, client),
        "/folded" => return record::folded(program, request, client),
        "/timeline" => return record::timeline(program, request, client),
        "/debug/pprof/profile" => return record::profile(program, request, client),
        "/accounts" => record::accounts(program, request, &client.cancel),
        "/debug/pprof" => Ok(Response::text(301, "this way").with("Location", PPROF)),
        PPROF => Ok(index::index(program)),
        path => match path.strip_prefix(PPROF) {
            Some(name @ ("block" | "mutex")) if request.method != Method::Head => {
                return record::contention(program, request, name, client);
            }
            Some(name) => pprof::profile(program, request, name, &client.cancel),
            None => {
                Err(Response::text(404, "there is nothing here; / is the page, /debug/pprof/ lists Go's endpoints"))
            }
        },
    };
    made.map(Made::Whole)
}
