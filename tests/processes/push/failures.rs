//! Servers that fail. The program goes on, tries again, counts what is lost, and ends in time.

use super::receiver::{Answer, Receiver, TAKE, Unused};
use super::{Pushing, sent_in_time, within_one_percent};
use crate::support::{undisturbed, until};
use std::time::Duration;

/// Runs the cases at the same time: each is a program that mostly waits.
fn side_by_side<T: Send, const N: usize>(cases: [T; N], run: impl Fn(T) + Sync) {
    let run = &run;
    std::thread::scope(|scope| {
        cases.into_iter().for_each(|case| drop(scope.spawn(move || run(case))));
    });
}

/// A server that fails at first in this way, and then takes each interval: nothing is lost.
fn comes_back(test: &str, fails: Answer, says: &str) {
    let (receiver, ended) = sent_in_time(|| {
        let fails = fails.clone();
        let receiver = Receiver::start(move |number| if number < 1 { fails.clone() } else { TAKE });
        let mut program = Pushing::start(test, receiver.port(), "", "");
        until("it takes intervals again", || receiver.taken().len() >= 2);
        program.work();
        (receiver, program.end())
    });
    let (log, taken) = (&ended.log, receiver.taken().len());
    assert_eq!(ended.ended.code(), 0, "{}", ended.ended.stderr);
    assert_eq!(ended.summary(), format!("{taken} intervals pushed to http://127.0.0.1:{}", receiver.port()));
    within_one_percent(receiver.nanos("process_cpu", "main/burner-*"), ended.burnt(), "the burners");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("push: no profile to http://")).collect();
    assert!(told.len() == 1 && told[0].contains(says) && told[0].starts_with("WARN "), "{log}");
    assert!(
        log.lines()
            .any(|line| line.starts_with("INFO main/selvedge/push push: ") && line.ends_with("takes profiles again")),
        "{log}"
    );
}

#[test]
fn a_server_that_comes_back_gets_all() {
    let not_ready = Answer::Body("503 Service Unavailable", b"the ingester is not ready\n".to_vec());
    let asks = Answer::Status("429 Too Many Requests\r\nRetry-After: 2\r\nContent-Length: 0");
    let agent = Answer::Body("500 Internal Server Error", br#"{"code":"internal"}"#.to_vec());
    side_by_side(
        [
            ("push-503", not_ready, "the server answers 503 (the ingester is not ready); the next attempt is in"),
            ("push-500", agent, "the server answers 500 ({\"code\":\"internal\"}); the next attempt is in"),
            ("push-half", Answer::Half, "the server has closed the connection without a whole answer"),
            // Closed with data unread, a connection is reset.
            ("push-close", Answer::Close, "push: no profile to"),
            ("push-429", asks, "the server answers 429; the next attempt is in 2.0s"),
        ],
        |(test, fails, says)| comes_back(test, fails, says),
    );
}

#[test]
fn a_server_that_reads_slowly_gets_all() {
    let (receiver, ended) = sent_in_time(|| {
        let receiver = Receiver::start(|_| Answer::Slow);
        let program = Pushing::start("push-slow", receiver.port(), "", "");
        until("two intervals", || receiver.taken().len() >= 2);
        (receiver, program.end())
    });
    assert_eq!(ended.pushed(), receiver.taken().len(), "{}", ended.log);
}

#[test]
fn a_server_that_comes_later_gets_the_intervals_from_before() {
    let (receiver, ended) = sent_in_time(|| {
        let unused = Unused::new();
        let program = Pushing::start("push-late", unused.port(), "", "");
        until("a refused connection", || program.log().contains("no connection to 127.0.0.1"));
        let receiver = Receiver::start_on(unused.listen(), |_| TAKE);
        until("three intervals", || receiver.taken().len() >= 3);
        (receiver, program.end())
    });
    assert_eq!(ended.pushed(), receiver.taken().len());
    within_one_percent(receiver.nanos("process_cpu", "main/burner-*"), ended.burnt(), "the burners");
}

#[test]
fn what_the_server_refuses_is_counted_exactly() {
    let bad = Answer::Body("400 Bad Request", br#"{"code":"invalid_argument"}"#.to_vec());
    let elsewhere = Answer::Status("307 Temporary Redirect\r\nLocation: https://elsewhere/\r\nContent-Length: 0");
    let unknown = Answer::Status("401 Unauthorized\r\nContent-Length: 0");
    side_by_side(
        [
            ("push-400", bad, r#"the server answers 400 ({"code":"invalid_argument"})"#),
            ("push-307", elsewhere, "a redirection to https://elsewhere/, which is not followed"),
            ("push-401", unknown, "the server answers 401; check push.token_file"),
        ],
        |(test, answer, says)| refuses(test, answer, says),
    );
}

/// A server that refuses every other interval in this way.
fn refuses(test: &str, answer: Answer, says: &str) {
    let (receiver, ended) = sent_in_time(|| {
        let answer = answer.clone();
        let receiver = Receiver::start(move |number| if number % 2 == 0 { answer.clone() } else { TAKE });
        let program = Pushing::start(test, receiver.port(), "", "");
        until("three requests", || receiver.requests().len() >= 3);
        (receiver, program.end())
    });
    let (taken, all) = (receiver.taken().len(), receiver.requests().len());
    assert_eq!((ended.pushed(), ended.lost("refused by the server")), (taken, all - taken), "{}", ended.log);
    let told: Vec<&str> =
        ended.log.lines().filter(|line| line.contains("the profile of 1 interval is lost: ")).collect();
    assert!(told.len() == 1 && told[0].contains(says), "{}", ended.log);
    // No attempt was made twice.
    let mut bodies: Vec<Vec<u8>> = receiver.requests().into_iter().map(|request| request.body).collect();
    bodies.dedup();
    assert_eq!(bodies.len(), all);
}

#[test]
fn an_interval_at_which_the_server_fails_keeps_no_other_from_the_end() {
    let (receiver, ended) = sent_in_time(|| {
        // The agent answers so whenever the server behind it refuses one.
        let receiver = Receiver::start(|number| match number {
            0 | 1 => Answer::Status("500 Internal Server Error\r\nContent-Length: 0"),
            _ => TAKE,
        });
        let program = Pushing::start("push-poison", receiver.port(), "", "");
        until("a failure", || !receiver.requests().is_empty());
        (receiver, program.end())
    });
    let (taken, tried) = (receiver.taken().len(), receiver.requests().len());
    // The end tries each once. Whether the second attempt was before it or in it, is open.
    assert!(taken >= 1 && ended.pushed() == taken, "{}", ended.log);
    let lost = if ended.log.contains("lost: ") { ended.lost("refused by the server") } else { 0 };
    assert!(lost <= 1 && tried == taken + 2, "{}", ended.log);
}

#[test]
fn a_server_that_hangs_holds_up_no_thread_of_the_user() {
    let receiver = Receiver::start(|_| Answer::Hang);
    let mut program = Pushing::start("push-hang", receiver.port(), "", "");
    until("it hangs", || receiver.hanging() > 0);
    // While it hangs: all of this is done, or the test ends with the alarm.
    program.work();
    until("it hangs again", || receiver.hanging() > 0);
    let begin = std::time::Instant::now();
    let ended = program.end();
    assert_eq!(ended.ended.code(), 0, "{}", ended.ended.stderr);
    // The program waits three seconds for the last interval. The rest is for a machine that is
    // busy.
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_eq!((ended.pushed(), receiver.taken().len()), (0, 0));
    assert!(ended.lost("not sent when the program ended") >= 2, "{}", ended.log);
}

#[test]
fn without_a_log_of_its_own_losses_are_told_on_stderr() {
    let unused = Unused::new();
    let port = unused.port();
    let run = || {
        let folder = crate::support::Folder::new("push-no-log");
        let yaml = format!("log: off\npush: {{ url: \"http://127.0.0.1:{port}\", every: 1m }}\n");
        let mut command = std::process::Command::new(crate::support::program("pushing"));
        command.arg(folder.write("selvedge.yaml", &yaml)).env_remove("SELVEDGE_PROFILE").env_remove("SELVEDGE_PUSH");
        let ended = crate::support::run(&mut command);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let last = "selvedge: push: 0 of 1 interval pushed to http://127.0.0.1:";
        let is_last = |line: &str| line.starts_with(last) && line.ends_with("1 not sent when the program ended");
        assert!(ended.stderr.lines().any(is_last), "{}", ended.stderr);
        ended.stderr
    };
    // On a busy machine the end may come before the first attempt, which fails.
    let has_failed =
        |said: &String| said.lines().any(|line| line.starts_with("selvedge: push: no profile to http://127.0.0.1:"));
    let said = undisturbed(run, |said| !has_failed(said));
    assert!(has_failed(&said), "{said}");
}

#[test]
fn an_exit_pushes_the_last_interval_too() {
    let (receiver, ended) = sent_in_time(|| {
        let receiver = Receiver::start(|_| TAKE);
        let mut program = Pushing::start("push-exit", receiver.port(), "", "");
        until("an interval", || !receiver.taken().is_empty());
        program.order("exit");
        (receiver, program.wait())
    });
    assert_eq!(ended.ended.code(), 3, "{}", ended.ended.stderr);
    assert_eq!(ended.pushed(), receiver.taken().len(), "{}", ended.log);
}
