//! Sockets whose accept, read, write and connect end when a signal goes.
#![cfg(unix)]

use crate::support::{DEADLINE, until};
use selvedge::net::{ListenTill, SocketTill, connect_till, connect_unix_till, is_stopped};
use selvedge::{JoinHandle, Signal, Thread, Till, spawn};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Until the thread waits for something of this kind; its name.
fn waits_for(thread: &Thread, kind: &str) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match thread.waiting_for() {
            Some(wait) if wait.kind() == kind => return wait.name().to_owned(),
            other => assert!(Instant::now() < deadline && thread.is_alive(), "{kind}: {other:?}"),
        }
        std::thread::yield_now();
    }
}

/// What the thread gives when it was asked to stop while it waited for that.
fn stopped<T: Send + 'static>(thread: JoinHandle<T>, kind: &str, name: &str) -> T {
    assert_eq!(waits_for(thread.thread(), kind), name);
    thread.stop();
    thread.join_till(&Till::after(DEADLINE)).expect("it ends").unwrap()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A socket file that goes with its folder.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Path {
        let path = std::env::temp_dir().join(format!("selvedge-net-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Path(path)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_accept_ends_on_please_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = spawn("tcp", move |please_stop| listener.accept_till(please_stop).map(drop).unwrap_err());
    drop(waits_for(tcp.thread(), "connection on"));
    // A dump leaves out what it cannot read in a moment.
    let shown = format!("for connection on \"{address}\"");
    until("the dump shows it", || selvedge::dump().to_string().contains(&shown));
    assert!(is_stopped(&stopped(tcp, "connection on", &address.to_string())));
    let path = Path::new("accept");
    let listener = UnixListener::bind(&path.0).unwrap();
    let unix = spawn("unix", move |please_stop| listener.incoming_till(please_stop).count());
    assert_eq!(stopped(unix, "connection on", path.0.to_str().unwrap()), 0);
}

#[test]
fn a_read_ends_on_please_stop() {
    let (client, server) = tcp_pair();
    let peer = client.local_addr().unwrap();
    let has_read = Signal::new("has read");
    let goes = has_read.clone();
    let tcp = spawn("tcp", move |please_stop| {
        let mut stream = server.till(please_stop);
        let mut bytes = [0; 3];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"abc");
        goes.go();
        // Would try again without end if the error were an interruption.
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        // The socket is as it was.
        let mut server = stream.into_inner();
        server.write_all(b"bye").unwrap();
        error
    });
    (&client).write_all(b"abc").unwrap();
    // It may wait for these three bytes too.
    assert!(has_read.wait_for_go_timeout(DEADLINE));
    let error = stopped(tcp, "data from", &peer.to_string());
    assert!(is_stopped(&error), "{error}");
    assert!(error.to_string().contains("tcp please_stop"), "{error}");
    let mut rest = String::new();
    (&client).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye");

    let path = Path::new("read");
    let listener = UnixListener::bind(&path.0).unwrap();
    let client = UnixStream::connect(&path.0).unwrap();
    let unix = spawn("unix", move |please_stop| {
        let mut line = String::new();
        BufReader::new(client.till(please_stop)).read_line(&mut line).unwrap_err()
    });
    assert!(is_stopped(&stopped(unix, "data from", path.0.to_str().unwrap())));
    drop(listener);
}

#[test]
fn a_write_ends_on_please_stop() {
    let (client, server) = tcp_pair();
    let peer = client.local_addr().unwrap();
    let writer = spawn("writer", move |please_stop| {
        let mut stream = server.till(please_stop);
        let mut written = 0_usize;
        loop {
            match stream.write(&[7; 64 * 1024]) {
                Ok(count) => written += count,
                Err(error) => return (written, error),
            }
        }
    });
    let (written, error) = stopped(writer, "room to send to", &peer.to_string());
    assert!(is_stopped(&error));
    let mut read = Vec::new();
    (&client).read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), written, "what was written has arrived");
}

#[test]
fn writing_to_a_closed_connection_is_an_error() {
    let (client, server) = UnixStream::pair().unwrap();
    drop(client);
    let mut stream = server.till(&Signal::never());
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_connect_ends_on_please_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: the descriptor is open; listening again changes the backlog.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    // As many as the system takes, and then one for which there is no room.
    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        assert!(Instant::now() < deadline, "there is room for each connection");
        let next = spawn("connect", move |please_stop| {
            let connected = connect_till(address, please_stop).map(drop);
            please_stop.wait_for_go();
            connected
        });
        until("it is connected, or waits for long", || match next.thread().waiting_for() {
            Some(wait) if wait.kind() == "connection to" => {
                assert_eq!(wait.name(), address.to_string());
                wait.elapsed() > Duration::from_millis(200)
            }
            wait => wait.is_some_and(|wait| wait.kind() == "signal"),
        });
        next.stop();
        // On a busy machine, a connection may come after a long wait, just before the stop.
        if let Err(error) = next.join_till(&Till::after(DEADLINE)).expect("it ends").unwrap() {
            break error;
        }
    };
    assert!(is_stopped(&error), "{error}");

    let path = Path::new("connect");
    let listener = UnixListener::bind(&path.0).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let mut connected = Vec::new();
    let path_of = path.0.clone();
    let unix = spawn("unix", move |please_stop| {
        loop {
            match connect_unix_till(&path_of, please_stop) {
                Ok(stream) => connected.push(stream),
                Err(error) => return error,
            }
        }
    });
    assert!(is_stopped(&stopped(unix, "connection to", path.0.to_str().unwrap())));
}

#[test]
fn a_connect_succeeds_or_tells_why_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut stream = connect_till(address, &Signal::new("stop")).unwrap();
    let (mut accepted, peer) = listener.accept_till(&Signal::new("stop")).unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
    // Both are in blocking mode.
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        accepted.read_exact(&mut byte).unwrap();
        accepted.write_all(&byte).unwrap();
    });
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    echo.join().unwrap();
    drop(listener);
    assert_eq!(connect_till(address, &Signal::never()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let missing = connect_unix_till("/nowhere/socket", &Signal::never()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let long = "x".repeat(200);
    let error = connect_unix_till(&long, &Signal::never()).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("from 1 to 10"), "{error}");
}

#[test]
fn several_threads_accept_from_one_listener() {
    const EACH: usize = 20;
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let listener = listener.clone();
            spawn(format!("acceptor-{n}"), move |please_stop| {
                listener.incoming_till(please_stop).map(|stream| drop(stream.unwrap().write(b"!"))).count()
            })
        })
        .collect();
    for _ in 0..3 * EACH {
        assert_eq!(TcpStream::connect(address).unwrap().read(&mut [0; 2]).unwrap(), 1);
    }
    threads.iter().for_each(|thread| drop(waits_for(thread.thread(), "connection on")));
    let counts = threads.into_iter().map(|thread| stopped(thread, "connection on", &address.to_string()));
    assert_eq!(counts.sum::<usize>(), 3 * EACH);
}

#[test]
fn one_thread_reads_while_another_writes() {
    let (client, server) = tcp_pair();
    let stop = Signal::new("stop");
    let stream = Arc::new(server.till(&stop));
    let (reads, writes) = (stream.clone(), stream);
    let done = Signal::new("read");
    let read = done.clone();
    let reader = spawn("reader", move |_| {
        (&*reads).read_exact(&mut [0; 1000]).unwrap();
        read.go();
        is_stopped(&(&*reads).read(&mut [0; 1]).unwrap_err())
    });
    let writer = spawn("writer", move |_| (&*writes).write_all(&[1; 300_000]).map_err(|error| is_stopped(&error)));
    let mut received = vec![0; 300_000];
    (&client).write_all(&[2; 1000]).unwrap();
    (&client).read_exact(&mut received).unwrap();
    assert_eq!(writer.join().unwrap(), Ok(()));
    done.wait_for_go();
    stop.go();
    assert!(reader.join().unwrap());
}

#[test]
fn a_signal_that_has_gone_comes_before_data() {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.write_all(b"late").unwrap();
    let mut stream = (&server).till(&Signal::gone());
    assert!(is_stopped(&stream.read(&mut [0; 4]).unwrap_err()));
    assert!(is_stopped(&stream.write(b"x").unwrap_err()));
    assert!(stream.readable().unwrap(), "but what is there is told");
    stream.set_signal(&Signal::never());
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"late");
    assert!(!server.readable_till(&Till::after(Duration::from_millis(1))).unwrap());
}

#[test]
fn the_time_limits_of_a_stream_hold() {
    let (_client, server) = tcp_pair();
    server.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut stream = server.till(&Signal::new("stop"));
    let begin = Instant::now();
    assert_eq!(stream.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(stream.readable().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(begin.elapsed() >= Duration::from_millis(10));
    let limit = Till::after(Duration::from_millis(1));
    stream.get_ref().set_read_timeout(None).unwrap();
    stream.set_signal(&limit);
    assert!(is_stopped(&stream.read(&mut [0; 1]).unwrap_err()));
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_a_wait_without_free_descriptors() {
    if crate::support::in_own_process(module_path!(), "a_signal_ends_a_wait_without_free_descriptors") {
        return;
    }
    let (_client, server) = tcp_pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Connections that no accept has seen, and for which there will be no descriptor.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap();
    let _waiting = [(); 4].map(|()| TcpStream::connect(refused.local_addr().unwrap()).unwrap());
    let few = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: reads a valid rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &few) }, 0);
    let _all: Vec<_> = std::iter::from_fn(|| server.try_clone().ok()).collect();
    let reader = spawn("reader", move |please_stop| server.till(please_stop).read(&mut [0; 1]).unwrap_err());
    let acceptor = spawn("acceptor", move |please_stop| listener.incoming_till(please_stop).count());
    assert_eq!(waits_for(acceptor.thread(), "connection on"), address.to_string());
    let pauses = spawn("pauses", move |please_stop| {
        // The watch for hanging tests may have had one descriptor when all others were taken. Once it closes that
        // descriptor, the next connection takes it.
        let (_accepted, errors): (Vec<_>, Vec<_>) = refused.incoming_till(please_stop).partition(Result::is_ok);
        assert!(errors.iter().all(|error| error.as_ref().unwrap_err().raw_os_error() == Some(libc::EMFILE)));
        errors.len()
    });
    drop(waits_for(reader.thread(), "data from"));
    drop(waits_for(pauses.thread(), "signal"));
    for thread in [reader.thread(), acceptor.thread(), pauses.thread()] {
        thread.stop();
    }
    assert!(pauses.join_till(&Till::after(DEADLINE)).expect("it ends").unwrap() >= 1);
    assert!(is_stopped(&reader.join_till(&Till::after(DEADLINE)).expect("it ends").unwrap()));
    assert_eq!(acceptor.join_till(&Till::after(DEADLINE)).expect("it ends").unwrap(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn waits_leave_no_descriptors_behind() {
    if crate::support::in_own_process(module_path!(), "waits_leave_no_descriptors_behind") {
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let stop = Signal::new("stop");
    let (_client, server) = tcp_pair();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // The watch for hanging tests opens a folder now and then.
    let before = (0..20).map(|_| (std::thread::sleep(Duration::from_millis(5)), open()).1).min().unwrap();
    for _ in 0..100 {
        let brief = Till::after(Duration::from_micros(50));
        let either = &brief | &stop;
        assert!(!server.readable_till(&either).unwrap());
        assert!(is_stopped(&(&server).till(&either).read(&mut [0; 1]).unwrap_err()));
        assert_eq!(listener.incoming_till(&either).count(), 0);
    }
    until("the waits have closed all descriptors", || open() <= before);
}
