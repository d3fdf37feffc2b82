//! Each stack is whole, from the thread's first function on, or begins with a remark that it is
//! not: below signals, in code that no table tells of, in code that was made at run time, on stacks
//! of others. No caller is invented.
//!
//! What is expected here was looked at once with gdb 13, at a breakpoint in the leaf of each: `bt`
//! gives the same functions from `main` on. Where `[broken]` is expected, gdb stops too; for
//! `asm_room` it invents callers, from the remains of earlier calls.
#![cfg(all(feature = "profiling", target_os = "linux", target_arch = "x86_64"))]

use crate::measure::{all_options, alone, folded};
use crate::support::{Folder, in_own_process};
use selvedge::profile::{self, Engine, Options};
use std::arch::global_asm;
use std::ffi::{CString, c_int, c_void};
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

/// Each line's stack, and how many samples the profile calls broken. `work` is recorded again, for
/// twice as long each time, until it was met in `leaf`.
fn stacks_of(leaf: &str, options: &Options, mut work: impl FnMut(Duration)) -> (Vec<String>, u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = Duration::from_millis(100);
    loop {
        let recording = profile::start(options.clone()).unwrap();
        work(length);
        let profile = recording.finish();
        let text = folded(&profile);
        let stacks = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(stack, _)| stack);
        let met: Vec<String> = stacks.filter(|stack| stack.contains(leaf)).map(String::from).collect();
        let broken = profile.threads().iter().map(|thread| thread.broken()).sum();
        if !met.is_empty() {
            return (met, broken);
        }
        assert!(Instant::now() < deadline, "{leaf} not seen in {length:?}:\n{text}");
        length *= 2;
    }
}

fn options() -> Options {
    Options::new().engine(Engine::Timer)
}

/// Rounds of a loop of two instructions that take about this time. The loops of this file count
/// them down.
fn rounds(length: Duration) -> u64 {
    length.as_nanos() as u64 * 2
}

/// From the thread's first function on, by way of the test's and `between`, the root first.
fn assert_whole(stacks: &[String], test: &str, between: &[&str]) {
    let test = format!("profiles::stack_ends::{test}");
    for stack in stacks {
        let functions: Vec<&str> = stack.strip_prefix("main;test;").unwrap().split(';').collect();
        assert!(!functions[0].starts_with('['), "{stack}");
        let mut rest = functions.iter();
        for expected in [&*test].iter().chain(between) {
            assert!(rest.any(|function| function.starts_with(expected)), "no {expected} in {stack}");
        }
    }
}

#[inline(never)]
fn burn(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        black_box(end);
    }
}

// ---- Signals

extern "C" fn on_alarm(_: c_int) {
    burn(Duration::from_millis(50));
}

#[inline(never)]
fn interrupted() {
    // SAFETY: it has a handler, which calculates.
    unsafe { libc::raise(libc::SIGALRM) };
    black_box(());
}

fn on_alarm_with(flags: c_int) {
    // SAFETY: all-zero is a valid sigaction; the handler may be called at any time.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as extern "C" fn(c_int) as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()), 0);
    }
}

#[test]
fn below_a_signal_handler_is_what_it_interrupted() {
    let test = "below_a_signal_handler_is_what_it_interrupted";
    if in_own_process(module_path!(), test) {
        return;
    }
    let _alone = alone();
    on_alarm_with(0);
    for options in all_options() {
        let (stacks, broken) = stacks_of("::on_alarm", &options, |_| interrupted());
        assert_whole(&stacks, test, &["profiles::stack_ends::interrupted", "profiles::stack_ends::on_alarm"]);
        assert_eq!(broken, 0, "{stacks:#?}");
    }
}

/// On its alternate stack, where that has room for the sampler's handler as well.
#[test]
fn an_alternate_stack_leads_to_interrupted_code() {
    let test = "an_alternate_stack_leads_to_interrupted_code";
    if in_own_process(module_path!(), test) {
        return;
    }
    let _alone = alone();
    on_alarm_with(libc::SA_ONSTACK);
    for (kib, is_whole) in [(512, true), (32, false)] {
        let mut memory = vec![0_u64; kib * 128];
        let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: kib * 1024 };
        let mut before = stack;
        // SAFETY: the memory lives until the stack that was there before is set again.
        unsafe { assert_eq!(libc::sigaltstack(&stack, &mut before), 0) };
        let (stacks, broken) =
            stacks_of(if is_whole { "::on_alarm" } else { "[other stack]" }, &options(), |_| interrupted());
        // SAFETY: as it was.
        unsafe { libc::sigaltstack(&before, std::ptr::null_mut()) };
        assert_eq!(broken == 0, is_whole, "{stacks:#?}");
        if is_whole {
            assert_whole(&stacks, test, &["profiles::stack_ends::interrupted", "profiles::stack_ends::on_alarm"]);
        }
    }
}

// ---- Code that no table tells of

global_asm!(
    // A leaf with nothing on the stack.
    ".type asm_leaf,@function",
    "asm_leaf: 2: dec rdi",
    "jnz 2b",
    "ret",
    ".size asm_leaf,.-asm_leaf",
    // It makes room, and leaves there what was there before.
    ".type asm_room,@function",
    "asm_room: push rbp",
    "xor ebp, ebp",
    "sub rsp, 512",
    "2: dec rdi",
    "jnz 2b",
    "add rsp, 512",
    "pop rbp",
    "ret",
    ".size asm_room,.-asm_room",
    // It has a frame pointer.
    ".type asm_framed,@function",
    "asm_framed: push rbp",
    "mov rbp, rsp",
    "sub rsp, 64",
    "mov qword ptr [rsp], 0",
    "2: dec rdi",
    "jnz 2b",
    "leave",
    "ret",
    ".size asm_framed,.-asm_framed",
    // Its table says that it has no caller.
    ".type asm_outermost,@function",
    "asm_outermost: .cfi_startproc",
    ".cfi_undefined rip",
    "push rbp",
    "2: dec rdi",
    "jnz 2b",
    "pop rbp",
    "ret",
    ".cfi_endproc",
    ".size asm_outermost,.-asm_outermost",
    // It ends with a call, as of a function that does not return: the return address is the next
    // function's.
    ".type asm_ends,@function",
    "asm_ends: .cfi_startproc",
    "sub rsp, 24",
    ".cfi_adjust_cfa_offset 24",
    "call asm_takes",
    ".cfi_endproc",
    ".size asm_ends,.-asm_ends",
    // It takes its return address and its caller's room from the stack, and returns to the caller's
    // caller.
    ".type asm_takes,@function",
    "asm_takes: .cfi_startproc",
    "2: dec rdi",
    "jnz 2b",
    "add rsp, 32",
    ".cfi_adjust_cfa_offset -32",
    "ret",
    ".cfi_endproc",
    ".size asm_takes,.-asm_takes",
);

unsafe extern "C" {
    fn asm_leaf(rounds: u64);
    fn asm_room(rounds: u64);
    fn asm_framed(rounds: u64);
    fn asm_outermost(rounds: u64);
    fn asm_ends(rounds: u64);
}

/// Calls that return leave their return addresses on the stack, where the next call makes its room.
#[inline(never)]
fn leave_addresses(depth: u32) -> u32 {
    if depth == 0 { 1 } else { black_box(leave_addresses(depth - 1)) + black_box(depth) }
}

macro_rules! callers {
    ($($caller:ident $callee:ident)*) => {$(
        #[inline(never)]
        fn $caller(length: Duration) {
            leave_addresses(black_box(20));
            // SAFETY: it counts, and keeps all registers as a function has to.
            unsafe { $callee(rounds(length)) };
            black_box(());
        }
    )*};
}

callers! {
    calls_leaf asm_leaf
    calls_room asm_room
    calls_framed asm_framed
    calls_outermost asm_outermost
    calls_ends asm_ends
}

#[test]
fn assembler_has_its_caller_or_is_broken() {
    let _alone = alone();
    all_options().iter().for_each(assembler);
}

fn assembler(options: &Options) {
    let test = "assembler_has_its_caller_or_is_broken";
    let (stacks, broken) = stacks_of("asm_leaf", options, calls_leaf);
    assert_whole(&stacks, test, &["profiles::stack_ends::calls_leaf", "asm_leaf"]);
    assert_eq!(broken, 0, "{stacks:#?}");
    let (stacks, broken) = stacks_of("asm_framed", options, calls_framed);
    assert_whole(&stacks, test, &["profiles::stack_ends::calls_framed", "asm_framed"]);
    assert_eq!(broken, 0, "{stacks:#?}");
    let (stacks, broken) = stacks_of("asm_room", options, calls_room);
    assert_eq!(stacks, ["main;test;[broken];asm_room"]);
    assert!(broken > 0);
}

#[test]
fn a_table_without_caller_is_no_root() {
    let _alone = alone();
    for options in all_options() {
        let (stacks, broken) = stacks_of("asm_outermost", &options, calls_outermost);
        assert_eq!(stacks, ["main;test;[broken];asm_outermost"]);
        assert!(broken > 0);
    }
}

#[test]
fn a_final_call_belongs_to_its_function() {
    let _alone = alone();
    for options in all_options() {
        let (stacks, broken) = stacks_of("asm_takes", &options, calls_ends);
        let between = ["profiles::stack_ends::calls_ends", "asm_ends", "asm_takes"];
        assert_whole(&stacks, "a_final_call_belongs_to_its_function", &between);
        assert_eq!(broken, 0, "{stacks:#?}");
    }
}

// ---- Code that was made at run time

type Made = extern "C" fn(u64);

fn make(code: &[u8]) -> Made {
    // SAFETY: a new page, which is never given back; what is written there counts its argument down
    // and returns.
    unsafe {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let page = libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast(), code.len());
        std::mem::transmute::<*mut c_void, Made>(page)
    }
}

#[inline(never)]
fn calls_made(made: Made, length: Duration) {
    leave_addresses(black_box(20));
    made(rounds(length));
    black_box(());
}

#[test]
fn jit_code_needs_frame_pointers() {
    let _alone = alone();
    all_options().iter().for_each(jit_code);
}

fn jit_code(options: &Options) {
    // push rbp; mov rbp, rsp; L: dec rdi; jnz L; pop rbp; ret
    let framed = make(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0xff, 0xcf, 0x75, 0xfb, 0x5d, 0xc3]);
    let (stacks, broken) = stacks_of("[unknown code]", options, |length| calls_made(framed, length));
    let test = "jit_code_needs_frame_pointers";
    assert_whole(&stacks, test, &["profiles::stack_ends::calls_made", "[unknown code]"]);
    assert_eq!(broken, 0, "{stacks:#?}");
    // Without the frame pointer, and the same with room that it leaves as it was.
    let bare = make(&[0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3]);
    // sub rsp, 256; L: dec rdi; jnz L; add rsp, 256; ret
    let with_room = [0x48, 0x81, 0xec, 0, 1, 0, 0, 0x48, 0xff, 0xcf, 0x75, 0xfb, 0x48, 0x81, 0xc4, 0, 1, 0, 0, 0xc3];
    for made in [bare, make(&with_room)] {
        let (stacks, broken) = stacks_of("[unknown code]", options, |length| calls_made(made, length));
        assert_eq!(stacks, ["main;test;[broken];[unknown code]"]);
        assert!(broken > 0);
    }
}

/// Dumps walk stacks in the same way.
#[test]
fn dumps_pass_signals_and_mark_early_ends() {
    if in_own_process(module_path!(), "dumps_pass_signals_and_mark_early_ends") {
        return;
    }
    let _alone = alone();
    on_alarm_with(0);
    let in_handler = selvedge::spawn("in-handler", |please_stop: &selvedge::Signal| {
        while !please_stop.is_go() {
            interrupted();
        }
    });
    let in_room = selvedge::spawn("in-room", |please_stop: &selvedge::Signal| {
        while !please_stop.is_go() {
            calls_room(Duration::from_millis(50));
        }
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_met = |dump: &str, thread: &str, parts: &[&str]| {
        let of_thread = dump.split_once(thread).map_or("", |(_, of_thread)| of_thread);
        let of_thread = of_thread.split("\nmain").next().unwrap();
        parts.iter().all(|part| of_thread.contains(part))
    };
    loop {
        let dump = selvedge::dump().to_string();
        let below = is_met(&dump, "main/test/in-handler", &["stack_ends::on_alarm", "stack_ends::interrupted"]);
        let early = is_met(&dump, "main/test/in-room", &["asm_room", "[the way on was not found]"]);
        if below && early {
            break;
        }
        assert!(Instant::now() < deadline, "{below} {early}: {dump}");
    }
    in_handler.stop();
    in_room.stop();
    in_handler.join().unwrap();
    in_room.join().unwrap();
}

// ---- Stacks and threads of others

#[inline(never)]
extern "C" fn on_another_stack() {
    burn(Duration::from_millis(50));
}

/// A coroutine's stack may be a part of the thread's: what the C library starts it with is not
/// where the thread started.
#[test]
fn a_coroutines_root_is_not_the_threads() {
    #[inline(never)]
    fn run_on(stack: &mut [u64]) {
        // SAFETY: all-zero is a valid ucontext_t. The function runs on the stack that it is given,
        // to its end, while it is borrowed.
        unsafe {
            let mut here: libc::ucontext_t = std::mem::zeroed();
            let mut there: libc::ucontext_t = std::mem::zeroed();
            assert_eq!(libc::getcontext(&mut there), 0);
            (there.uc_stack.ss_sp, there.uc_stack.ss_size) = (stack.as_mut_ptr().cast(), size_of_val(stack));
            there.uc_link = &mut here;
            libc::makecontext(&mut there, on_another_stack, 0);
            assert_eq!(libc::swapcontext(&mut here, &there), 0);
        }
    }
    let _alone = alone();
    let (stacks, broken) = stacks_of("on_another_stack", &options(), |_| run_on(&mut [0; 65536]));
    assert!(stacks.iter().all(|stack| stack.starts_with("main;test;[broken];")), "{stacks:#?}");
    assert!(broken > 0);
    let mut elsewhere = vec![0; 65536];
    let (stacks, broken) = stacks_of("[other stack]", &options(), |_| run_on(&mut elsewhere));
    assert!(stacks.iter().all(|stack| stack.starts_with("main;test;[other stack];")), "{stacks:#?}");
    assert!(broken > 0);
}

#[inline(never)]
extern "C" fn begun_by_c(length: *mut c_void) -> *mut c_void {
    let _late = selvedge::register("late");
    // SAFETY: the thread that has made this one waits for it.
    burn(unsafe { *length.cast::<Duration>() });
    std::ptr::null_mut()
}

#[test]
fn a_late_registered_c_thread_is_whole() {
    let _alone = alone();
    let (stacks, broken) = stacks_of(";late;", &options(), |mut length| {
        let mut thread = 0;
        // SAFETY: the thread is joined before its argument is gone.
        unsafe {
            let argument = (&raw mut length).cast();
            assert_eq!(libc::pthread_create(&mut thread, std::ptr::null(), begun_by_c, argument), 0);
            assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
        }
    });
    let burning = stacks.iter().filter(|stack| stack.contains("::burn"));
    for stack in burning {
        assert!(stack.starts_with("main;late;profiles::stack_ends::begun_by_c;profiles::stack_ends::burn"), "{stack}");
    }
    assert_eq!(broken, 0, "{stacks:#?}");
}

/// Compiles a library of C, loads it for good, and gives the address of its function `run`.
fn library(folder: &Folder, code: &str, flags: &[&str]) -> *mut c_void {
    let source = folder.write("library.c", code);
    let file = folder.path().join("library.so");
    let mut cc = Command::new("cc");
    assert!(cc.args(["-shared", "-fPIC"]).args(flags).arg("-o").arg(&file).arg(source).status().unwrap().success());
    let file = CString::new(file.to_str().unwrap()).unwrap();
    // SAFETY: a library whose constructors do nothing.
    let run = unsafe { libc::dlsym(libc::dlopen(file.as_ptr(), libc::RTLD_NOW), c"run".as_ptr()) };
    assert!(!run.is_null());
    run
}

/// Functions whose stack is aligned to more than calls promise: their tables find the caller's
/// stack by an expression.
#[test]
fn an_aligning_function_has_its_callers() {
    let _alone = alone();
    let folder = Folder::new("aligned");
    let code = "
        static __attribute__((noinline)) void use(volatile char *room, unsigned long rounds) {
            for (volatile unsigned long i = 0; i < rounds; i++) room[0] = 1;
        }
        __attribute__((noinline)) void aligned(unsigned long rounds, unsigned long size) {
            volatile char room[size];
            volatile char __attribute__((aligned(64))) other[64];
            other[0] = 0;
            use(room, rounds);
        }
        void run(unsigned long rounds) { aligned(rounds, 100); __asm__ volatile (\"\"); }
    ";
    let run = library(&folder, code, &["-O1", "-g"]);
    // SAFETY: its type, as written above.
    let run = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(u64)>(run) };
    let (stacks, broken) = stacks_of(";use", &options(), |length| run(rounds(length) / 4));
    assert_whole(&stacks, "an_aligning_function_has_its_callers", &["run", "aligned", "use"]);
    assert_eq!(broken, 0, "{stacks:#?}");
}

/// What C calls its threads' functions is the program's, also if the C library calls its own so.
#[test]
fn c_functions_named_like_machinery_are_shown() {
    let _alone = alone();
    let folder = Folder::new("root_names");
    let names = ["start", "start_thread", "thread_start", "clone3", "main", "worker"];
    let function = |name: &&str| format!("static void *{name}(void *end) {{ return spin(end); }}\n");
    let functions: String = names.iter().map(function).collect();
    let code = format!(
        "#include <pthread.h>
        static __attribute__((noinline)) void *spin(void *rounds) {{
            for (volatile unsigned long i = 0; i < (unsigned long)rounds; i++) ;
            return (void *)1;
        }}
        {functions}
        void run(unsigned long rounds) {{
            void *(*all[])(void *) = {{ {} }};
            for (int i = 0; i < {}; i++) {{
                pthread_t thread;
                pthread_create(&thread, 0, all[i], (void *)rounds);
                pthread_join(thread, 0);
            }}
        }}",
        names.join(", "),
        names.len()
    );
    let run = library(&folder, &code, &["-O1", "-g", "-fno-optimize-sibling-calls", "-fno-builtin"]);
    // SAFETY: its type, as written above.
    let run = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(u64)>(run) };
    let (mut missing, deadline) = (names.to_vec(), Instant::now() + Duration::from_secs(60));
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "never met: {missing:?}");
        let (stacks, _) = stacks_of(";spin", &options().unregistered(true), |length| run(rounds(length) / 2));
        for stack in stacks.iter().filter(|stack| !stack.contains("[other stack]")) {
            let (thread, name) = stack.split_once(";spin").unwrap().0.rsplit_once(';').unwrap();
            assert_eq!(thread.split(';').count(), 2, "nothing before {name}: {stack}");
            missing.retain(|other| *other != name);
        }
    }
}
