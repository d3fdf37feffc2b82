//! Finding a stack's return addresses from the registers of its leaf: framehop, with rules that the compiler wrote into the
//! program (`.eh_frame`). Allocates nothing while it walks, and reads nothing but its tables and the stack it is given.

use crate::profile::engines::Ending;
use framehop::{FrameAddress, MustNotAllocateDuringUnwind, UnwindRegsNative, Unwinder, UnwinderNative};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Rules found so far, and room to find more: 33 KiB for one thread.
pub(super) type Cache = framehop::CacheNative<MustNotAllocateDuringUnwind>;
pub(super) type Module = framehop::Module<Table>;

/// Bytes of an unwinding table.
#[derive(Clone)]
pub(super) enum Table {
    /// Mapped for as long as the process lives.
    Mapped(&'static [u8]),
    /// Of a library that may be unloaded.
    Copied(Arc<[u8]>),
}

impl Default for Table {
    fn default() -> Table {
        Table::Mapped(&[])
    }
}

impl Deref for Table {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Table::Mapped(bytes) => bytes,
            Table::Copied(bytes) => bytes,
        }
    }
}

/// The code of the process, as the unwinder knows it.
#[derive(Clone, Default)]
pub(super) struct Modules(UnwinderNative<Table, MustNotAllocateDuringUnwind>);

impl Modules {
    pub(super) fn add(&mut self, module: Module) {
        self.0.add_module(module);
    }

    /// Removes the module whose code begins at `start`.
    pub(super) fn remove(&mut self, start: u64) {
        self.0.remove_module(start);
    }

    /// Calls `push` with the address of the leaf, then with each return address, until it returns false.
    ///
    /// # Safety
    /// `stack` is mapped, and nobody writes there while this runs.
    ///
    /// # Signal safety
    /// Safe, if `push` is.
    pub(super) unsafe fn walk(
        &self,
        registers: &Registers,
        stack: Range<u64>,
        cache: &mut Cache,
        push: impl FnMut(u64) -> bool,
    ) -> Ending {
        let within = stack.clone();
        let read = |address: u64| {
            let within = address >= within.start && address.checked_add(8).is_some_and(|end| end <= within.end);
            // SAFETY: these eight bytes are in `stack`, which the caller says is mapped. They need not be aligned.
            if within { Ok(unsafe { (address as *const u64).read_unaligned() }) } else { Err(()) }
        };
        self.walk_by(read, registers, stack, cache, push)
    }

    /// The same, where `read` is asked for the words of the stack.
    ///
    /// # Signal safety
    /// Safe, if `read` and `push` are.
    pub(super) fn walk_by(
        &self,
        mut read: impl FnMut(u64) -> Result<u64, ()>,
        registers: &Registers,
        stack: Range<u64>,
        cache: &mut Cache,
        mut push: impl FnMut(u64) -> bool,
    ) -> Ending {
        let mut found = registers.for_unwinder();
        let (mut address, mut lowest) = (FrameAddress::from_instruction_pointer(registers.instruction), stack.start);
        if !push(registers.instruction) {
            return Ending::Deep;
        }
        loop {
            // The unwinder calculates with these two, not always with an eye to overflow, which panics where that is checked: it
            // is given only what lies on the stack.
            let pointer = found.sp();
            if !(lowest..=stack.end).contains(&pointer) {
                return Ending::Broken;
            }
            lowest = pointer;
            if !stack.contains(&frame_pointer(&found)) {
                // In use for something else, and so of no use to find a frame: it must not be readable, nor look like an end.
                set_frame_pointer(&mut found, stack.end);
            }
            match self.0.unwind_frame(address, &mut found, cache, &mut read) {
                Ok(Some(next)) => {
                    let Some(return_address) = FrameAddress::from_return_address(next) else { return Ending::Broken };
                    if !push(next) {
                        return Ending::Deep;
                    }
                    address = return_address;
                }
                Ok(None) => return Ending::Root,
                Err(_) => return Ending::Broken,
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn frame_pointer(registers: &UnwindRegsNative) -> u64 {
    registers.bp()
}

#[cfg(target_arch = "x86_64")]
fn set_frame_pointer(registers: &mut UnwindRegsNative, value: u64) {
    registers.set_bp(value);
}

#[cfg(target_arch = "aarch64")]
fn frame_pointer(registers: &UnwindRegsNative) -> u64 {
    registers.fp()
}

#[cfg(target_arch = "aarch64")]
fn set_frame_pointer(registers: &mut UnwindRegsNative, value: u64) {
    registers.set_fp(value);
}

/// What the unwinder needs of the registers that a signal has interrupted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    instruction: u64,
    stack_pointer: u64,
    frame_pointer: u64,
    #[cfg(target_arch = "aarch64")]
    link: u64,
}

impl Registers {
    /// # Safety
    /// `context` is what the kernel gave to a signal handler that has not returned.
    ///
    /// # Signal safety
    /// Safe.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn interrupted(context: *const libc::c_void) -> Registers {
        // SAFETY: the caller's word: a ucontext_t is there.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let register = |index: libc::c_int| registers[index as usize] as u64;
        Registers {
            instruction: register(libc::REG_RIP),
            stack_pointer: register(libc::REG_RSP),
            frame_pointer: register(libc::REG_RBP),
        }
    }

    /// # Safety
    /// `context` is what the kernel gave to a signal handler that has not returned.
    ///
    /// # Signal safety
    /// Safe.
    #[cfg(target_arch = "aarch64")]
    pub(super) unsafe fn interrupted(context: *const libc::c_void) -> Registers {
        // SAFETY: the caller's word: a ucontext_t is there.
        let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        Registers {
            instruction: machine.pc,
            stack_pointer: machine.sp,
            frame_pointer: machine.regs[29],
            link: machine.regs[30],
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn for_unwinder(&self) -> UnwindRegsNative {
        UnwindRegsNative::new(self.instruction, self.stack_pointer, self.frame_pointer)
    }

    #[cfg(target_arch = "aarch64")]
    fn for_unwinder(&self) -> UnwindRegsNative {
        // Linux puts pointer authentication above the 48 bits of an address.
        let mask = framehop::aarch64::PtrAuthMask((1 << 48) - 1);
        UnwindRegsNative::new_with_ptr_auth_mask(mask, self.link, self.stack_pointer, self.frame_pointer)
    }

    pub(super) fn instruction(&self) -> u64 {
        self.instruction
    }

    pub(super) fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::modules::Listed;
    use super::*;
    use framehop::ExplicitModuleSectionInfo;

    /// What a frame pointer or a word of a stack may hold when it is used for something else, or was overwritten.
    const ABSURD: [u64; 10] =
        [0, 1, 7, 8, 0x7fff_ffff_ffff_fff8, 0x8000_0000_0000_0000, u64::MAX, u64::MAX - 3, u64::MAX - 7, u64::MAX - 15];

    fn walk(modules: &Modules, words: &[u64], instruction: u64, frame_pointer: u64) -> (Vec<u64>, Ending) {
        let stack = words.as_ptr_range();
        let stack = stack.start as u64..stack.end as u64;
        let registers = Registers { instruction, stack_pointer: stack.start, frame_pointer };
        let mut found = Vec::new();
        // SAFETY: the words are borrowed.
        let ending = unsafe {
            modules.walk(&registers, stack, &mut Cache::default(), |address| {
                found.push(address);
                found.len() < 200
            })
        };
        (found, ending)
    }

    /// The address of a frame is the frame pointer plus 8, by an expression, which wraps around.
    #[test]
    fn arithmetic_of_the_unwinder_s_with_absurd_registers_does_not_panic() {
        let mut table = Vec::new();
        // A common part: version 1, no augmentation, alignments 1 and -8, return address in column 16; its address is that
        // of the frame less 8.
        let common = [1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1, 0, 0];
        table.extend((4 + common.len() as u32).to_le_bytes());
        table.extend(0u32.to_le_bytes());
        table.extend(common);
        // A function's part: from 0x1000, 0x1000 long; the frame is at an expression of two bytes: register 6, plus 8.
        let instructions = [0x0f, 2, 0x76, 8];
        table.extend((4 + 16 + instructions.len() as u32).to_le_bytes());
        table.extend((table.len() as u32).to_le_bytes());
        table.extend(0x1000u64.to_le_bytes());
        table.extend(0x1000u64.to_le_bytes());
        table.extend(instructions);
        table.extend(0u32.to_le_bytes());
        let sections = ExplicitModuleSectionInfo {
            eh_frame_svma: Some(0x10_0000..0x10_0000 + table.len() as u64),
            eh_frame: Some(Table::Copied(table.into())),
            text_svma: Some(0x1000..0x2000),
            ..Default::default()
        };
        let mut modules = Modules::default();
        modules.add(Module::new("made up".into(), 0x1000..0x2000, 0, sections));
        // The second word is a return address, and the first where the frame pointer points: so the table is read.
        let words = [0x5555, 0x1800, 0, 0];
        let (found, _) = walk(&modules, &words, 0x1500, words.as_ptr() as u64 + 8);
        assert_eq!(found[..2], [0x1500, 0x1800], "{found:x?}");
        for pointer in ABSURD {
            assert_eq!(walk(&modules, &words, 0x1500, pointer), (vec![0x1500], Ending::Broken), "{pointer:x}");
        }
    }

    #[test]
    fn no_instruction_of_this_program_and_no_stack_is_too_much() {
        let (modules, code) = {
            let mut listed = Listed::default();
            let modules = listed.renew().unwrap();
            (modules, listed.code())
        };
        let inside = no_instruction_of_this_program_and_no_stack_is_too_much as fn() as usize as u64;
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 20
        };
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
}
