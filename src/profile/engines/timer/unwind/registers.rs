//! The interrupted registers: as the kernel gives them to a signal handler, and as it has saved
//! them on the stack below another handler. One part for each processor; knows no rules.

use crate::os::perf_ring::REGISTER_COUNT;
use std::ops::Range;

/// The interrupted registers that the unwinder needs.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Registers {
    pub(super) instruction: u64,
    pub(super) stack_pointer: u64,
    pub(super) frame_pointer: u64,
    /// The return address, until the function calls another one. 0 on processors whose calls put it
    /// onto the stack.
    pub(super) link: u64,
    /// By their numbers in unwinding tables.
    general: [u64; arch::COUNT],
    /// The thread's alternate signal stack: its first address and its length; 0 if there is none.
    alternate: (u64, u64),
}

impl Registers {
    /// # Safety
    /// `context` is what the kernel gave to a signal handler that has not returned.
    ///
    /// # Signal safety
    /// Safe.
    pub(in super::super) unsafe fn interrupted(context: *const libc::c_void) -> Registers {
        // SAFETY: the caller promises that the kernel has put a ucontext_t there.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        let alternate = (context.uc_stack.ss_sp as u64, context.uc_stack.ss_size as u64);
        Registers { alternate, ..arch::of(&context.uc_mcontext) }
    }

    /// The registers of a sample that the kernel has written into a ring, in its order.
    pub(in super::super) fn sampled(words: &[u64; REGISTER_COUNT]) -> Registers {
        arch::sampled(words)
    }

    /// Made-up registers; all others are 0.
    pub(super) fn made_up(instruction: u64, stack_pointer: u64, frame_pointer: u64, link: u64) -> Registers {
        let (general, alternate) = ([0; arch::COUNT], (0, 0));
        Registers { instruction, stack_pointer, frame_pointer, link, general, alternate }
    }

    pub(in super::super) fn instruction(&self) -> u64 {
        self.instruction
    }

    pub(in super::super) fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }

    /// The register with that number in unwinding tables.
    pub(super) fn general(&self, number: u16) -> Option<u64> {
        self.general.get(usize::from(number)).copied()
    }

    /// The thread's alternate signal stack; empty if it has none.
    pub(in super::super) fn alternate_stack(&self) -> Range<u64> {
        let (start, length) = self.alternate;
        start..start.checked_add(length).unwrap_or(start)
    }

    /// Calls `with` with the registers of this call.
    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    pub(in super::super) fn here<T>(with: impl FnOnce(&Registers) -> T) -> T {
        let (instruction, stack_pointer, frame_pointer): (u64, u64, u64);
        // SAFETY: reads registers, and changes nothing.
        unsafe {
            std::arch::asm!(
                "lea {ip}, [rip]", "mov {sp}, rsp", "mov {fp}, rbp",
                ip = out(reg) instruction, sp = out(reg) stack_pointer, fp = out(reg) frame_pointer,
                options(nomem, nostack, preserves_flags)
            );
        }
        with(&Registers::made_up(instruction, stack_pointer, frame_pointer, 0))
    }

    /// Calls `with` with the registers of this call.
    #[cfg(target_arch = "aarch64")]
    #[inline(never)]
    pub(in super::super) fn here<T>(with: impl FnOnce(&Registers) -> T) -> T {
        let (instruction, stack_pointer, frame_pointer): (u64, u64, u64);
        // SAFETY: reads registers, and changes nothing.
        unsafe {
            std::arch::asm!(
                "adr {ip}, .", "mov {sp}, sp", "mov {fp}, x29",
                ip = out(reg) instruction, sp = out(reg) stack_pointer, fp = out(reg) frame_pointer,
                options(nomem, nostack, preserves_flags)
            );
        }
        with(&Registers::made_up(instruction, stack_pointer, frame_pointer, 0))
    }
}

/// Where the kernel has saved the registers on the stack, in bytes from the stack pointer with
/// which the handler returned. The kernel guarantees the layout (`struct rt_sigframe`).
pub(super) struct Saved {
    pub(super) instruction: u64,
    pub(super) stack_pointer: u64,
    pub(super) frame_pointer: u64,
    pub(super) link: Option<u64>,
}

pub(super) use arch::{SAVED, code_address};

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{REGISTER_COUNT, Registers, Saved};

    pub(super) const COUNT: usize = 16;

    /// A `ucontext_t` (40 bytes before its registers), as the return address in front of it is
    /// gone: its registers 10, 15, 16.
    pub(in super::super) const SAVED: Saved =
        Saved { frame_pointer: 40 + 10 * 8, stack_pointer: 40 + 15 * 8, instruction: 40 + 16 * 8, link: None };

    pub(super) fn of(context: &libc::mcontext_t) -> Registers {
        const NUMBERED: [libc::c_int; COUNT] = [
            libc::REG_RAX,
            libc::REG_RDX,
            libc::REG_RCX,
            libc::REG_RBX,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_RBP,
            libc::REG_RSP,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
        ];
        let register = |index: libc::c_int| context.gregs[index as usize] as u64;
        let (pointer, frame) = (register(libc::REG_RSP), register(libc::REG_RBP));
        Registers { general: NUMBERED.map(register), ..Registers::made_up(register(libc::REG_RIP), pointer, frame, 0) }
    }

    /// The kernel's order: ax, bx, cx, dx, si, di, bp, sp, ip, r8 to r15.
    pub(super) fn sampled(words: &[u64; REGISTER_COUNT]) -> Registers {
        const NUMBERED: [usize; COUNT] = [0, 3, 2, 1, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16];
        let general = NUMBERED.map(|index| words[index]);
        Registers { general, ..Registers::made_up(words[8], words[7], words[6], 0) }
    }

    pub(in super::super) fn code_address(word: u64) -> u64 {
        word
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{REGISTER_COUNT, Registers, Saved};

    /// The general ones, and the stack pointer.
    pub(super) const COUNT: usize = 32;

    /// A `siginfo_t` of 128 bytes, then a `ucontext_t` with 184 bytes before its registers.
    const FIRST: u64 = 128 + 184;
    pub(in super::super) const SAVED: Saved = Saved {
        frame_pointer: FIRST + 29 * 8,
        link: Some(FIRST + 30 * 8),
        stack_pointer: FIRST + 31 * 8,
        instruction: FIRST + 32 * 8,
    };

    pub(super) fn of(context: &libc::mcontext_t) -> Registers {
        let mut general = [0; COUNT];
        general[..31].copy_from_slice(&context.regs);
        general[31] = context.sp;
        let link = code_address(context.regs[30]);
        Registers { general, ..Registers::made_up(context.pc, context.sp, context.regs[29], link) }
    }

    /// The kernel's order: x0 to x30, the stack pointer, the instruction.
    pub(super) fn sampled(words: &[u64; REGISTER_COUNT]) -> Registers {
        let mut general = [0; COUNT];
        general.copy_from_slice(&words[..COUNT]);
        let link = code_address(words[30]);
        Registers { general, ..Registers::made_up(words[32], words[31], words[29], link) }
    }

    /// Linux puts pointer authentication above the 48 bits of an address.
    pub(in super::super) fn code_address(word: u64) -> u64 {
        word & ((1 << 48) - 1)
    }
}
