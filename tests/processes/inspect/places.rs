//! Where a program listens: the socket is its user's alone, nothing of another process is used, and
//! an address asks for a token.

use super::{Home, Inspected, UNIX, exchange, tcp};
use crate::support::{Process, is_root, run, until};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_socket_is_its_users_alone() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    assert_eq!((mode(&program.socket), mode(program.socket.parent().unwrap())), (0o600, 0o700));
    let info = program.get("/info").json();
    assert_eq!(info["listen"], format!("unix:{}", program.socket.display()));
    assert_eq!((&info["pid"], &info["state"]), (&program.process.id().into(), &"running".into()));
    program.stop();
}

/// A program whose process id is known before it looks at its socket's path.
fn after(home: &Home, prepare: &str, yaml: &str) -> Process {
    let command = home.command("threads", yaml);
    let mut shell = Command::new("/bin/sh");
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_str().unwrap()).collect();
    let exec = format!("exec {} {}", command.get_program().to_str().unwrap(), arguments.join(" "));
    shell
        .arg("-c")
        .arg(format!("set -e; cd {}; S=selvedge/inspected-$$.sock; {prepare}; {exec}", home.path().display()));
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    Process::start(&mut shell)
}

/// Where the program listens instead.
fn other_place(home: &Home, process: u32) -> std::path::PathBuf {
    // SAFETY: has no preconditions.
    let user = unsafe { libc::geteuid() };
    home.path().join(format!("tmp/selvedge-{user}/inspected-{process}.sock"))
}

/// It listens in the other folder, and says why.
fn falls_back(prepare: &str, why: &str) {
    let home = Home::new();
    std::fs::create_dir(home.path().join("tmp")).unwrap();
    let prepare = format!("export TMPDIR={}/tmp; {prepare}", home.path().display());
    let mut process = after(&home, &prepare, UNIX);
    let stderr = process.watch_stderr();
    process.wait_for("ready");
    let socket = other_place(&home, process.id());
    let program = Inspected { process, socket };
    assert_eq!(program.get("/info").status, 200, "{why}");
    until(why, || stderr.lock().unwrap().contains(why));
    program.stop();
}

#[test]
fn what_is_in_the_way_is_not_used() {
    falls_back(
        "mkdir -m 700 selvedge; touch $S",
        ".sock is there and is no socket; remove it; so it listens elsewhere",
    );
    falls_back("mkdir -m 700 selvedge; ln -s /dev/null $S", ".sock is there and is no socket");
    falls_back("mkdir -m 700 elsewhere; ln -s elsewhere selvedge", "/selvedge cannot be used: it is a symbolic link");
    falls_back("mkdir -m 755 selvedge", "it has mode 0755, so that other users can enter it; chmod 700 it");
    falls_back("touch selvedge", "/selvedge cannot be used: it is no folder");
    falls_back("export XDG_RUNTIME_DIR=$PWD/none", "/none/selvedge cannot be used: it cannot be made");
    let long = "a".repeat(100);
    falls_back(
        &format!("mkdir {long}; export XDG_RUNTIME_DIR=$PWD/{long}"),
        " bytes, and that of a socket in it 107 at most",
    );
}

#[test]
fn another_users_folder_is_not_used() {
    if is_root() {
        falls_back("mkdir -m 700 selvedge; chown 12345 selvedge", "it belongs to the user 12345");
        falls_back("mkdir -m 700 selvedge; mkfifo $S; chown 12345 $S", "is no socket");
    }
}

/// Any user can do that to a service without `XDG_RUNTIME_DIR`.
#[test]
fn another_users_folder_keeps_no_program_from_starting() {
    if !is_root() {
        return;
    }
    for (make, file) in [("mkdir -m 700", ""), ("ln -s /nowhere", ""), ("touch", "log: log4rs.yaml")] {
        let home = Home::new();
        home.write(
            "log4rs.yaml",
            "appenders: { all: { kind: file, path: all.log } }\nroot: { level: info, appenders: [all] }\n",
        );
        // SAFETY: has no preconditions.
        let folder = format!("selvedge-{}", unsafe { libc::geteuid() });
        let prepare = format!("unset XDG_RUNTIME_DIR; {make} {folder}; chown -h 12345 {folder}");
        let mut process = after(&home, &prepare, &format!("{UNIX}\n{file}"));
        process.wait_for("ready");
        process.signal(libc::SIGTERM);
        let ended = process.end();
        assert_eq!(ended.code(), 0, "{make}: {}", ended.stderr);
        let log = std::fs::read_to_string(home.path().join("all.log")).unwrap_or_default();
        let told = if file.is_empty() { &ended.stderr } else { &log };
        assert!(told.contains("it belongs to the user 12345; remove it, or set XDG_RUNTIME_DIR"), "{make}: {told}");
        assert!(told.contains("runs without the inspection"), "{make}: {told}");
    }
}

#[test]
fn without_a_place_it_does_not_start() {
    let home = Home::new();
    std::fs::write(home.path().join("selvedge"), "").unwrap();
    let mut command = home.command("threads", UNIX);
    let ended = run(command.env("TMPDIR", home.path().join("selvedge")));
    assert_eq!(ended.code(), 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("inspect.listen: no Unix socket: "), "{}", ended.stderr);
}

#[test]
fn a_dead_process_leaves_its_place_and_a_living_one_does_not() {
    let home = Home::new();
    let mut dead = home.start("threads", UNIX, 1);
    dead.process.kill();
    let left = dead.socket.clone();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(dead.process.end().status.signal(), Some(libc::SIGKILL));
    assert!(left.exists());
    let mut process = after(&home, &format!("mv {} $S", left.display()), UNIX);
    process.wait_for("ready");
    let socket = home.socket(process.id());
    let program = Inspected { process, socket };
    assert_eq!(program.get("/info").json()["pid"], program.process.id());
    program.stop();
    // A socket on which a process listens.
    let listener = UnixListener::bind(home.path().join("living")).unwrap();
    falls_back(
        &format!("mkdir -m 700 selvedge; ln {} $S", home.path().join("living").display()),
        "another process listens on ",
    );
    drop(listener);
}

#[test]
fn a_long_name_is_cut_in_the_path() {
    let home = Home::new();
    let config = home.write("long.yaml", &format!("name: {}\n{UNIX}\n", "ü".repeat(90)));
    let mut command = home.command("threads", "");
    command = {
        let mut long = Command::new(command.get_program());
        long.arg("threads").arg(config).env("XDG_RUNTIME_DIR", home.path());
        long
    };
    let mut process = Process::start(&mut command);
    process.wait_for("ready");
    let folder = std::fs::read_dir(home.path().join("selvedge")).unwrap();
    let socket = folder.map(|entry| entry.unwrap().path()).next().unwrap();
    assert!(socket.to_str().unwrap().ends_with(&format!("ü-{}.sock", process.id())), "{socket:?}");
    let program = Inspected { process, socket };
    assert_eq!(program.get("/info").json()["name"], "ü".repeat(90));
    program.stop();
}

#[test]
fn an_address_asks_for_the_token() {
    let home = Home::new();
    let (mut process, port) = home.start_on_tcp("threads", "");
    let file = home.path().join("token");
    assert_eq!(mode(&file), 0o600);
    let token = std::fs::read_to_string(&file).unwrap().trim_end().to_owned();
    let ask = |path: &str, more: &str| {
        exchange(tcp(port), &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n"))
    };
    assert_eq!(ask("/info", "").status, 401);
    assert_eq!(ask("/info", "Authorization: Bearer wrong\r\n").status, 401);
    let answer = ask("/info", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!((answer.status, &answer.json()["listen"]), (200, &format!("tcp:127.0.0.1:{port}").into()));
    let welcome = ask(&format!("/?token={token}"), "");
    assert!(welcome.status == 303 && welcome.has("location: /"), "{}", welcome.head);
    // The port is taken now.
    let yaml = format!("inspect: {{ listen: \"127.0.0.1:{port}\", token_file: token }}");
    let ended = run(&mut home.command("threads", &yaml));
    assert_eq!(ended.code(), 78, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("inspect.listen: cannot listen on 127.0.0.1:{port}: ")), "{}", ended.stderr);
    process.signal(libc::SIGTERM);
    assert_eq!(process.end().code(), 0);
}

#[test]
fn the_environment_goes_before_the_file() {
    let home = Home::new();
    let mut process = Process::start(home.command("threads", UNIX).env("SELVEDGE_INSPECT", "off"));
    process.wait_for("ready");
    assert!(!home.socket(process.id()).exists());
    process.signal(libc::SIGTERM);
    assert_eq!(process.end().code(), 0);
    let mut process = Process::start(home.command("threads", "").env("SELVEDGE_INSPECT", "unix"));
    process.wait_for("ready");
    let socket = home.socket(process.id());
    Inspected { process, socket }.stop();
    let ended = run(home.command("threads", "").env("SELVEDGE_INSPECT", "0.0.0.0:1"));
    assert_eq!(ended.code(), 78, "{}", ended.stderr);
    // An address alone has no token file; the error names the variable and not the file's key.
    let ended = run(home.command("threads", "").env("SELVEDGE_INSPECT", "127.0.0.1:0"));
    assert_eq!(ended.code(), 78, "{}", ended.stderr);
    for text in ["the environment variable SELVEDGE_INSPECT: `127.0.0.1:0`: ", "token_file", "SELVEDGE_INSPECT=unix"] {
        assert!(ended.stderr.contains(text), "{text} is missing: {}", ended.stderr);
    }
}
