//! A server of Pyroscope's protocol, written from the published messages, that can also fail in
//! many ways. It shares no code with the crate.

use flate2::read::GzDecoder;
use prost::Message;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// `push.v1.PushRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) series: Vec<RawProfileSeries>,
}

/// `push.v1.RawProfileSeries`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawProfileSeries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<RawSample>,
}

/// `types.v1.LabelPair`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelPair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `push.v1.RawSample`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) id: String,
}

impl RawProfileSeries {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
    }

    pub(crate) fn profile(&self) -> pprof::protos::Profile {
        let [sample] = &self.samples[..] else { panic!("{} samples", self.samples.len()) };
        <pprof::protos::Profile as pprof::protos::Message>::decode(&*gunzipped(&sample.raw_profile)).unwrap()
    }

    /// The nanoseconds of the samples whose thread has that label.
    pub(crate) fn nanos(&self, thread: &str) -> i64 {
        let profile = self.profile();
        let text = |index: i64| profile.string_table[index as usize].as_str();
        let is_of = |sample: &&pprof::protos::Sample| {
            sample.label.iter().any(|label| text(label.key) == "thread" && text(label.str) == thread)
        };
        profile.sample.iter().filter(is_of).map(|sample| sample.value[1]).sum()
    }
}

pub(crate) fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut all).unwrap();
    all
}

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Reads it, and answers with this status line and these headers.
    Status(&'static str),
    /// The same, with a body.
    Body(&'static str, Vec<u8>),
    /// Reads it slowly, and takes it.
    Slow,
    /// Reads it, and says no more until `release`.
    Hang,
    /// Reads it, and answers with half a head.
    Half,
    /// Closes the connection in the middle of the request.
    Close,
}

pub(crate) const TAKE: Answer = Answer::Status("200 OK\r\nContent-Length: 0");

/// A request that came whole.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) is_taken: bool,
}

pub(crate) struct Receiver {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    requests: Mutex<Vec<Request>>,
    /// Connections that hang now.
    hanging: AtomicUsize,
    released: AtomicBool,
    over: AtomicBool,
    answer: Box<dyn Fn(usize) -> Answer + Send + Sync>,
}

/// A port that refuses connections until a receiver listens there. No other program can have it
/// meanwhile.
pub(crate) struct Unused(TcpListener);

impl Unused {
    pub(crate) fn new() -> Unused {
        // SAFETY: has no preconditions.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0);
        // SAFETY: the descriptor was just made, and nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: all zero is a value of it: any port.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is whole, and has that length.
        assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) }, 0);
        Unused(TcpListener::from(socket))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    pub(crate) fn listen(self) -> TcpListener {
        // SAFETY: has no memory preconditions; the descriptor is open.
        assert_eq!(unsafe { libc::listen(self.0.as_raw_fd(), 128) }, 0);
        self.0
    }
}

impl Receiver {
    /// `answer` gets the number of the connection.
    pub(crate) fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Receiver {
        Receiver::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Receiver {
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            hanging: AtomicUsize::new(0),
            released: AtomicBool::new(false),
            over: AtomicBool::new(false),
            answer: Box::new(answer),
        });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if of_thread.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = of_thread.clone();
                std::thread::spawn(move || shared.serve(stream.unwrap(), number));
            }
        });
        Receiver { shared, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The messages of the requests that it took.
    pub(crate) fn taken(&self) -> Vec<PushRequest> {
        let requests = self.requests();
        let taken = requests.iter().filter(|request| request.is_taken);
        taken.map(|request| PushRequest::decode(&*request.body).unwrap()).collect()
    }

    pub(crate) fn hanging(&self) -> usize {
        self.shared.hanging.load(Ordering::SeqCst)
    }

    pub(crate) fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }

    /// The nanoseconds of all that it took, of that kind and with that label of the thread.
    pub(crate) fn nanos(&self, kind: &str, thread: &str) -> i64 {
        let taken = self.taken();
        let series = taken.iter().flat_map(|request| &request.series);
        series.filter(|series| series.label("__name__") == Some(kind)).map(|series| series.nanos(thread)).sum()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.release();
        self.shared.over.store(true, Ordering::SeqCst);
        // The thread comes by, and ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream, number: usize) {
        let answer = (self.answer)(number);
        if let Answer::Close = answer {
            let _ = stream.read_exact(&mut [0; 64]);
            return;
        }
        let pause = if let Answer::Slow = answer { Duration::from_millis(5) } else { Duration::ZERO };
        let Some((head, body)) = read(&mut stream, pause) else { return };
        let (text, bytes) = match &answer {
            Answer::Status(text) => (format!("HTTP/1.1 {text}\r\n\r\n"), Vec::new()),
            Answer::Body(text, bytes) => {
                (format!("HTTP/1.1 {text}\r\nContent-Length: {}\r\n\r\n", bytes.len()), bytes.clone())
            }
            Answer::Slow => ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), Vec::new()),
            Answer::Half => ("HTTP/1.1 200 OK\r\nConte".to_owned(), Vec::new()),
            Answer::Hang => {
                self.hang(&stream);
                return;
            }
            Answer::Close => return,
        };
        let is_taken = text.starts_with("HTTP/1.1 2") && text.ends_with("\r\n\r\n");
        // Before the answer: a test that has seen the end of the program looks at once.
        self.requests.lock().unwrap().push(Request { head, body, is_taken });
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(&bytes));
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }

    /// Until it is released, or the client has gone.
    fn hang(&self, mut stream: &TcpStream) {
        self.hanging.fetch_add(1, Ordering::SeqCst);
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        while !self.released.load(Ordering::SeqCst) {
            match stream.read(&mut [0; 64]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(_) => break,
            }
        }
        self.hanging.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The head and the body of a request. `None`: it does not come whole.
fn read(stream: &mut TcpStream, pause: Duration) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let end = bytes.windows(4).position(|part: &[u8]| part == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.expect("a length").parse().unwrap();
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        std::thread::sleep(pause);
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
