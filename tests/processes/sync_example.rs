//! The checksums example as a program: however it stops, its output is the beginning of the whole
//! list.
#![cfg(unix)]

use crate::support::{Folder, Process, program, run};
use std::process::Command;

fn tree(test: &str, files: usize) -> Folder {
    let folder = Folder::new(test);
    for number in 0..files {
        // Of very different sizes, so that later ones are done first.
        let size = if number % 10 == 0 { 300_000 } else { number };
        folder.write(&format!("d{:02}/f{number:05}", number % 7), &"123456789".repeat(size / 9 + 1));
    }
    folder
}

fn checksums(folder: &Folder) -> Command {
    let mut command = Command::new(program("02_checksums"));
    command.arg(folder.path()).args(["--workers", "4"]);
    command
}

#[test]
fn the_list_is_whole_right_and_in_order() {
    let folder = tree("checksums", 100);
    let ended = run(&mut checksums(&folder));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    // Its log is on the console too.
    let paths: Vec<_> = ended.stdout.lines().filter_map(|line| line.split_once(folder.path().to_str()?)).collect();
    assert_eq!(paths.len(), 100, "{}", ended.stdout);
    assert!(paths.is_sorted_by_key(|(_, path)| *path));
    // The published check value of CRC-32 is that of "123456789".
    assert!(paths[1].0.starts_with("cbf43926 9 ") || paths.iter().any(|(sum, _)| *sum == "cbf43926 9 "), "{paths:?}");
    assert!(ended.stderr.contains("complete: 100 files"), "{}", ended.stderr);
}

#[test]
fn interrupted_output_is_a_beginning() {
    let folder = tree("checksums_stopped", 3000);
    let lines = |text: &str| -> Vec<String> {
        let inside = |line: &&str| line.contains(folder.path().to_str().expect("plain"));
        text.lines().filter(inside).map(str::to_owned).collect()
    };
    let whole = lines(&run(&mut checksums(&folder)).stdout);
    assert_eq!(whole.len(), 3000);

    let out_of_time = run(checksums(&folder).args(["--seconds", "0.05"]));
    assert_eq!(out_of_time.code(), 0);
    let part = lines(&out_of_time.stdout);
    assert_eq!(part, whole[..part.len()]);

    let mut process = Process::start(&mut checksums(&folder));
    process.wait_for(&whole[10]).signal(libc::SIGINT);
    let interrupted = process.end();
    let part = lines(&interrupted.stdout);
    assert_eq!(part, whole[..part.len()]);
    // On a fast machine it may have been done before the signal came.
    assert!(matches!(interrupted.code(), 130 | 0), "{}", interrupted.stderr);
    assert_eq!(interrupted.code() == 0, interrupted.stderr.contains("complete"), "{}", interrupted.stderr);
}

#[test]
fn folders_of_build_output_are_left_out() {
    let folder = tree("checksums_target", 10);
    folder.write("target/debug/huge", "x");
    folder.write("d01/.git/objects/huge", "x");
    let ended = run(&mut checksums(&folder));
    assert!(ended.stderr.contains("complete: 10 files"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("huge"), "{}", ended.stdout);
}

#[test]
fn what_it_does_not_understand_it_says() {
    let wrong =
        [&["--seconds", "soon"][..], &["--seconds", "-1"], &["--seconds", "NaN"], &["--workers", "0"], &["--loudly"]];
    for args in wrong {
        let ended = run(Command::new(program("02_checksums")).args(args));
        assert_eq!(ended.code(), 64, "{}", ended.stderr);
    }
}
