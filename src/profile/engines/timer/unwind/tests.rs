//! Walks over made-up stacks and tables: none panics, and no wrong caller is accepted.

use super::super::modules::ModuleList;
use super::cache::Cache;
use super::memory::Memory;
use super::module::{Before, Module, Table};
use super::registers::{Registers, SAVED};
use super::start::Starts;
use super::walk::*;
use crate::profile::raw::Ending;
use std::ops::Range;

/// Values of a frame pointer or a word of the stack that is used otherwise, or was overwritten.
const ABSURD: [u64; 10] =
    [0, 1, 7, 8, 0x7fff_ffff_ffff_fff8, 0x8000_0000_0000_0000, u64::MAX, u64::MAX - 3, u64::MAX - 7, u64::MAX - 15];

fn walk(modules: &Modules, words: &[u64], instruction: u64, frame_pointer: u64) -> (Vec<u64>, Ending) {
    let stack = words.as_ptr_range();
    let stack = stack.start as u64..stack.end as u64;
    let registers = Registers::made_up(instruction, stack.start, frame_pointer, 0);
    let mut found = Vec::new();
    // SAFETY: the words are borrowed.
    let memory = unsafe { Memory::of_this_thread(stack, 0..0) };
    let ending = modules.walk(&registers, memory, &mut Cache::default(), |address| {
        found.push(address);
        found.len() < 200
    });
    (found, ending)
}

/// A module with that code, and with tables of these functions. A function is its first address
/// from the code's start, its length, and its instructions for unwinding.
fn module(code: &'static [u8], functions: &[(u64, u64, &[u8])]) -> Module {
    let start = code.as_ptr() as u64;
    let mut frames = Vec::new();
    // A common part: version 1, no augmentation, alignments 1 and -8, return address in column 16;
    // its address is that of the frame less 8.
    let common = [1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1, 0, 0];
    frames.extend((4 + common.len() as u32).to_le_bytes());
    frames.extend(0u32.to_le_bytes());
    frames.extend(common);
    let mut table = Vec::new();
    for (first, length, instructions) in functions {
        table.extend(first.to_le_bytes());
        table.extend((FRAMES + frames.len() as u64).to_le_bytes());
        frames.extend((4 + 16 + instructions.len() as u32).to_le_bytes());
        frames.extend((frames.len() as u32).to_le_bytes());
        frames.extend(first.to_le_bytes());
        frames.extend(length.to_le_bytes());
        frames.extend(*instructions);
    }
    frames.extend(0u32.to_le_bytes());
    /// Far from the code, as counted from its start.
    const FRAMES: u64 = 0x10_0000;
    // Version 1; all numbers are absolute, of eight bytes.
    let mut header = vec![1, 4, 4, 4];
    header.extend(FRAMES.to_le_bytes());
    header.extend((functions.len() as u64).to_le_bytes());
    header.extend(table);
    let range = start..start + code.len() as u64;
    Module {
        range: range.clone(),
        base: start,
        header: (FRAMES - 0x1000, Table::Copied(header.into())),
        frames: (FRAMES, Table::Copied(frames.into())),
        lasting: vec![range],
    }
}

fn of(module: Module) -> Modules {
    let mut modules = Modules::default();
    modules.add(module);
    modules
}

/// Code with calls of its first byte: at each multiple of 16 there is the return address of one.
fn calls() -> &'static [u8] {
    static CODE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut code = vec![0x90; 0x2000];
        for at in (16..code.len()).step_by(16) {
            code[at - 5] = 0xe8;
            code[at - 4..at].copy_from_slice(&(-(at as i32)).to_le_bytes());
        }
        code
    });
    &CODE
}

/// The frame is at an expression of two bytes: register 6, plus 8.
const BY_EXPRESSION: &[u8] = &[0x0f, 2, 0x76, 8];

/// The address of a frame is the frame pointer plus 8, by an expression, which wraps around.
#[test]
fn arithmetic_with_absurd_registers_does_not_panic() {
    let code = calls();
    let start = code.as_ptr() as u64;
    let modules = of(module(code, &[(0x1000, 0x1000, BY_EXPRESSION)]));
    // The second word is a return address, and the first where the frame pointer points: so the
    // table is read.
    let words = [0x5555, start + 0x1800, 0, 0];
    let (found, _) = walk(&modules, &words, start + 0x1500, words.as_ptr() as u64 + 8);
    assert_eq!(found, [start + 0x1500, start + 0x1800], "{found:x?}");
    for pointer in ABSURD {
        let broken = (vec![start + 0x1500], Ending::Broken);
        assert_eq!(walk(&modules, &words, start + 0x1500, pointer), broken, "{pointer:x}");
    }
}

/// Each function takes two words of the stack: its return address, and one more.
const TWO_WORDS: &[u8] = &[0x0e, 16];

/// More rules than there are registers, and how AArch64 signs a return address.
#[test]
fn rules_of_other_registers_do_not_matter() {
    let code = calls();
    let start = code.as_ptr() as u64;
    // DW_CFA_offset_extended of registers 20 to 119; DW_CFA_AARCH64_negate_ra_state.
    let mut instructions: Vec<u8> = (20..120).flat_map(|register| [0x05, register, 2]).collect();
    instructions.extend([0x2d, 0x0e, 16]);
    let modules = of(module(code, &[(0, 0x2000, &instructions)]));
    let words = [1, start + 0x100, 2, start + 0x200, 0, 0];
    assert_eq!(walk(&modules, &words, start + 8, 0).0, [start + 8, start + 0x100, start + 0x200]);
}

/// A return in the middle of a function: the row behind it is one from before.
#[test]
fn remembered_rows_come_back_in_order() {
    let code = calls();
    let start = code.as_ptr() as u64;
    // Two words, remembered; from 0x100 on four, remembered; from 0x200 on one; then from 0x300 on
    // four again, and from 0x400 on two.
    let instructions =
        [&[0x0e, 16, 0x0a, 0x03, 0, 1, 0x0e, 32, 0x0a, 0x03, 0, 1, 0x0e, 8][..], &[0x03, 0, 1, 0x0b, 0x03, 0, 1, 0x0b]]
            .concat();
    let modules = of(module(code, &[(0, 0x2000, &instructions)]));
    for (at, words) in [(0x8, 2), (0x108, 4), (0x208, 1), (0x308, 4), (0x408, 2), (0x1ff8, 2)] {
        let mut stack = [3; 8];
        stack[words - 1] = start + 0x500;
        assert_eq!(walk(&modules, &stack, start + at, 0).0, [start + at, start + 0x500], "{at:x}");
    }
    // A row comes back, but none was remembered.
    let modules = of(module(code, &[(0, 0x2000, &[0x0b, 0x0e, 16])]));
    assert_eq!(walk(&modules, &[1, start + 0x500, 0], start + 8, 0).0, [start + 8]);
}

#[test]
fn a_word_that_no_call_returns_to_is_no_caller() {
    let code = calls();
    let start = code.as_ptr() as u64;
    let modules = of(module(code, &[(0, 0x2000, TWO_WORDS)]));
    let words = [1, start + 0x100, 2, start + 0x200, 3, start + 0x2f8, 4, start + 0x400];
    let expected = (vec![start + 8, start + 0x100, start + 0x200], Ending::Broken);
    assert_eq!(walk(&modules, &words, start + 8, 0), expected);
}

/// A table that names no caller, or a frame pointer of 0, does not prove the thread's start.
#[test]
fn a_walk_is_complete_only_at_a_thread_start() {
    let code = calls();
    let start = code.as_ptr() as u64;
    // The second function has no caller: DW_CFA_undefined of the return address.
    let mut modules = of(module(code, &[(0, 0x1000, TWO_WORDS), (0x1000, 0x1000, &[0x07, 16])]));
    let words = [1, start + 0x100, 2, start + 0x1200, 0, 0];
    let expected = vec![start + 8, start + 0x100, start + 0x1200];
    assert_eq!(walk(&modules, &words, start + 8, 0), (expected.clone(), Ending::Broken));
    modules.starts = Starts::of(start + 0x1000..start + 0x2000);
    assert_eq!(walk(&modules, &words, start + 8, 0), (expected, Ending::Root));
    // A start has no caller, even if a table names one.
    modules.starts = Starts::of(start..start + 0x101);
    assert_eq!(walk(&modules, &words, start + 0x1008, 0), (vec![start + 0x1008], Ending::Broken));
    assert_eq!(walk(&modules, &words, start + 0x300, 0), (vec![start + 0x300, start + 0x100], Ending::Root));
}

/// The first 16 bytes of the code are in no table, like assembler code. Each call is a call of the
/// first byte.
#[test]
fn without_a_table_a_guess_needs_a_matching_call() {
    let code = calls();
    let start = code.as_ptr() as u64;
    let leaf = start + 6;
    let modules = of(module(code, &[(16, 0x1ff0, TWO_WORDS)]));
    // Nothing on the stack but the return address.
    assert_eq!(walk(&modules, &[start + 0x100, 9, 0], leaf, 0).0, [leaf, start + 0x100]);
    // Words of its own, and a frame pointer that is used for something else.
    assert_eq!(walk(&modules, &[7, start + 0x100, 9, 0], leaf, 0).0, [leaf]);
    // Words of its own, below a frame.
    let words = [7, 8, 0, start + 0x100, 9, 0];
    assert_eq!(walk(&modules, &words, leaf, words.as_ptr() as u64 + 16).0, [leaf, start + 0x100]);
    // The same in a function to which no call leads: the return address is that of a call of
    // another one.
    let others = of(module(code, &[(0, 16, TWO_WORDS), (0x40, 0x1fc0, TWO_WORDS)]));
    let leaf = start + 0x26;
    assert_eq!(walk(&others, &words, leaf, words.as_ptr() as u64 + 16).0, [leaf]);
    assert_eq!(walk(&others, &[start + 0x100, 9, 0], leaf, 0).0, [leaf]);
}

/// Code in no module, called by a register, like the code of a compiler that runs in the process.
#[test]
fn code_without_a_module_is_unwound_by_frame_pointer() {
    static CODE: [u8; 64] = {
        let mut code = [0x90; 64];
        // call rax
        (code[30], code[31]) = (0xff, 0xd0);
        code
    };
    static FOREIGN: [u8; 16] = [0x90; 16];
    let (start, leaf) = (CODE.as_ptr() as u64, FOREIGN.as_ptr() as u64 + 4);
    let modules = of(module(&CODE, &[(0, 64, TWO_WORDS)]));
    let words = [7, 8, 0, start + 32, 9, 0];
    let frame = words.as_ptr() as u64 + 16;
    assert_eq!(walk(&modules, &words, leaf, frame).0, [leaf, start + 32]);
    // The function may have nothing on the stack, and the frame pointer may be another function's.
    let words = [start + 32, 8, 0, start + 32, 9, 0];
    assert_eq!(walk(&modules, &words, leaf, words.as_ptr() as u64 + 16).0, [leaf]);
    // Not a call.
    let words = [7, 8, 0, start + 33, 9, 0];
    assert_eq!(walk(&modules, &words, leaf, words.as_ptr() as u64 + 16).0, [leaf]);
}

/// The stack as the kernel leaves it for a handler. The handler's return address is in the code
/// that returns from the signal.
#[test]
fn a_signal_frame_leads_to_the_interrupted_instruction() {
    static CODE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut code = calls()[..0x1000].to_vec();
        code.extend([0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05]);
        code.resize(0x2000, 0x90);
        code
    });
    let start = CODE.as_ptr() as u64;
    // The function at 0x100 begins there: a byte before is another function's.
    let modules = of(module(&CODE, &[(0, 0x100, &[0x0e, 32]), (0x100, 0xf00, TWO_WORDS)]));
    let mut words = [0u64; 40];
    (words[0], words[1]) = (1, start + 0x1000);
    let saved = |distance: u64| 2 + distance as usize / 8;
    words[saved(SAVED.instruction)] = start + 0x100;
    words[saved(SAVED.frame_pointer)] = 5;
    words[saved(SAVED.stack_pointer)] = words.as_ptr() as u64 + 30 * 8;
    words[31] = start + 0x200;
    let expected = vec![start + 0x108, start + 0x1001, start + 0x101, start + 0x200];
    assert_eq!(walk(&modules, &words, start + 0x108, 0), (expected, Ending::Broken));
    // Back to the stack's beginning: it has been overwritten.
    words[saved(SAVED.stack_pointer)] = words.as_ptr() as u64;
    assert_eq!(walk(&modules, &words, start + 0x108, 0), (vec![start + 0x108, start + 0x1001], Ending::Broken));
}

/// The copy of a stack ends below the function that the thread began with.
#[test]
fn a_walk_beyond_a_copy_is_cut_and_not_broken() {
    let code = calls();
    let start = code.as_ptr() as u64;
    let mut modules = of(module(code, &[(0, 0x1000, TWO_WORDS), (0x1000, 0x1000, TWO_WORDS)])).for_copies();
    modules.starts = Starts::of(start + 0x1000..start + 0x2000);
    let words = [1, start + 0x100, 2, start + 0x200, 3, start + 0x1300, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect();
    // Where it lay is not mapped.
    let at = 0x1000_u64;
    let walk = |length: usize, stack: u64| {
        let registers = Registers::made_up(start + 8, at, 0, 0);
        let memory = Memory::of_part(&bytes[..length], at..at + stack, 0..0);
        let mut found = Vec::new();
        let ending = modules.walk(&registers, memory, &mut Cache::default(), |address| {
            found.push(address);
            true
        });
        (found.len(), ending)
    };
    assert_eq!(walk(64, 64), (4, Ending::Root));
    assert_eq!([walk(40, 64), walk(32, 64), walk(20, 64)], [(3, Ending::Deep), (3, Ending::Deep), (2, Ending::Deep)]);
    // Where the stack itself ends with the copy, callers are missing.
    assert_eq!(walk(32, 32), (3, Ending::Broken));
    assert_eq!(walk(0, 64), (1, Ending::Deep));
}

/// The kernel's order of registers is not that of unwinding tables.
#[test]
fn sampled_registers_have_their_numbers_in_tables() {
    let registers = Registers::sampled(&std::array::from_fn(|index| index as u64));
    assert_eq!((registers.instruction, registers.stack_pointer, registers.frame_pointer), (8, 7, 6));
    // rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 and r15.
    let general = [0, 1, 2, 3, 4, 5, 6, 7, 8, 15].map(|number| registers.general(number).unwrap());
    assert_eq!(general, [0, 3, 2, 1, 4, 5, 6, 7, 9, 16]);
}

#[test]
fn the_stack_of_this_thread_is_complete() {
    crate::profile::engines::timer::modules::learn_start_of_threads();
    let modules = ModuleList::default().renew().unwrap();
    let own = crate::os::stack::own().unwrap();
    Registers::here(|registers| {
        let (mut cache, mut found) = (Cache::default(), Vec::new());
        for _ in 0..3 {
            found.clear();
            // SAFETY: this thread's stack, from its stack pointer on: these functions do not write
            // to what is in use there.
            let memory = unsafe { Memory::of_this_thread(registers.stack_pointer..own.end, 0..0) };
            let ending = modules.walk(registers, memory, &mut cache, |address| {
                found.push(address);
                true
            });
            assert_eq!(ending, Ending::Root, "{found:x?}");
            assert!(found.len() > 5, "{found:x?}");
        }
        for &address in &found[1..] {
            assert!(matches!(modules.code.before(address), Before::Call(_)), "{address:x}");
        }
    });
}

#[test]
fn random_registers_and_stacks_do_not_panic() {
    let (modules, code): (Modules, Vec<Range<u64>>) = {
        let mut module_list = ModuleList::default();
        let modules = module_list.renew().unwrap();
        (modules, module_list.code())
    };
    let inside = random_registers_and_stacks_do_not_panic as fn() as usize as u64;
    let mut numbers = crate::random::Random(7);
    let mut random = || numbers.next();
    let mut broken = 0;
    for round in 0..4_000 {
        let range = &code[random() as usize % code.len()];
        let pick = |random: &mut dyn FnMut() -> u64| range.start + random() % (range.end - range.start);
        let mut words = vec![0u64; 300];
        let base = words.as_ptr() as u64;
        for word in &mut words {
            *word = match random() % 4 {
                0 => ABSURD[random() as usize % ABSURD.len()],
                1 => base + random() % 2400,
                2 => inside,
                _ => pick(&mut random),
            };
        }
        let frame = if round % 2 == 0 { ABSURD[round / 2 % ABSURD.len()] } else { base + random() % 2400 };
        let (found, ending) = walk(&modules, &words, pick(&mut random), frame);
        broken += u64::from(ending == Ending::Broken);
        assert!(!found.is_empty());
    }
    assert!(broken > 100, "{broken}");
}
