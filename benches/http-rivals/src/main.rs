//! The same answer as examples/04_http_server.rs, by tiny_http: its own pool reads the requests,
//! THREADS threads answer them. SIGTERM ends it as tiny_http's documentation proposes: `unblock`
//! each thread that waits for a request, then drop the server.
//!
//! `http-rivals ADDRESS [THREADS]`

use std::sync::Arc;
use tiny_http::{Response, Server};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8081".into());
    let threads = arguments.next().map_or(8, |threads| threads.parse().expect("a number of threads"));
    let server = Arc::new(Server::http(&address).expect("the address is free"));
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]).expect("a handler");
    println!("listening on {address}");
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let server = server.clone();
            std::thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    let _ = request.respond(Response::from_string("hello\n"));
                }
            })
        })
        .collect();
    signals.forever().next();
    workers.iter().for_each(|_| server.unblock());
    workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
}
