//! A program's functions have names wherever its file is: under the loader, deleted, out of reach,
//! without `/proc`, in little memory. And the profile's files are called as the program is.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::support::{Ended, Folder, is_root, program, run};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// A name of the program for this test alone.
fn linked(folder: &Folder, name: &str) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::hard_link(program("nameless").canonicalize().unwrap(), &file).unwrap();
    file
}

/// The program's functions are in what it has found.
fn is_named(ended: &Ended) {
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    let stacks = ended.stdout.lines().filter(|line| line.starts_with("main;"));
    let named = stacks.filter(|line| line.contains("programs::nameless::work")).count();
    assert!(named > 0 && !ended.stdout.contains(";[programs-"), "{}", ended.stdout);
}

#[test]
fn a_program_started_by_the_loader_has_names() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let loader =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/ld-")).unwrap();
    is_named(&run(Command::new(loader).arg(program("nameless")).arg("plain")));
}

#[test]
fn a_deleted_program_keeps_its_names() {
    let folder = Folder::new("own_file_replaced");
    let file = linked(&folder, "nameless");
    let ended = run(Command::new(&file).arg("replaced").arg(&file));
    is_named(&ended);
    assert!(!ended.stdout.contains("(deleted)"), "{}", ended.stdout);
}

#[test]
fn an_unprivileged_program_has_names() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("own_file_rights");
    let file = folder.path().join("nameless");
    // A copy made here is open for writing in each child that another test starts meanwhile, and cannot be started.
    assert!(Command::new("cp").arg("-L").arg(program("nameless")).arg(&file).status().unwrap().success());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    is_named(&run(Command::new(&file).arg("setuid")));
    is_named(&run(Command::new(&file).arg("chroot").arg(folder.path())));
}

#[test]
fn without_proc_the_program_is_named() {
    if !is_root() {
        return;
    }
    let script = "mount --make-rprivate / 2>/dev/null; umount -l /proc || exit 77; exec \"$0\" plain";
    let ended = run(Command::new("unshare").args(["--mount", "sh", "-c", script]).arg(program("nameless")));
    // A container that may not do that.
    if ended.stderr.contains("unshare failed") || ended.code() == 77 {
        eprintln!("this system permits no namespace without /proc, so it is not tested: {}", ended.stderr);
        return;
    }
    is_named(&ended);
    assert!(!ended.stdout.contains("[other stack]"), "{}", ended.stdout);
}

#[test]
fn a_dump_and_a_profile_take_little_memory() {
    let ended = run(Command::new(program("nameless")).arg("small"));
    is_named(&ended);
    assert!(ended.stdout.contains("nameless::main ("), "no line of a file in the dump: {}", ended.stdout);
}

/// With room for 8 MiB of addresses more, the debug information cannot be mapped, and the symbols
/// can.
#[test]
fn unread_names_are_told_with_reason() {
    let ended = run(Command::new(program("nameless")).arg("narrow"));
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    let told: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("cannot be read: ")).collect();
    let is_reason =
        |line: &&str| line.contains("Cannot allocate memory") || line.contains("are left for finding names");
    assert!(told.iter().all(is_reason), "{}", ended.stdout);
    let logged = told.iter().filter(|line| line.starts_with("log: WARN profiling: the debug information of "));
    assert!(logged.count() > 0, "{}", ended.stdout);
}

#[test]
fn profiles_keep_dots_of_program_names() {
    let folder = Folder::new("own_file_name");
    let output = folder.path().join("out");
    let config = folder.write("a.yaml", &format!("profile:\n  enabled: true\n  output: {}\n", output.display()));
    for name in ["acme.api", "acme.worker"] {
        let ended = run(Command::new(linked(&folder, name)).arg0("nameless").arg("run").arg(&config));
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
    }
    for file in ["acme.api.svg", "acme.worker.svg", "acme.api.folded", "acme.worker.pb.gz"] {
        assert!(output.join(file).exists(), "{file}");
    }
}
