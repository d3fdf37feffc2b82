//! Finding a stack's return addresses from the registers of its leaf: framehop, with rules that the compiler wrote into the
//! program (`.eh_frame`). Allocates nothing while it walks, and reads nothing but its tables and the stack it is given.

use crate::profile::engines::Ending;
use framehop::{FrameAddress, MustNotAllocateDuringUnwind, Unwinder, UnwinderNative};
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
        mut push: impl FnMut(u64) -> bool,
    ) -> Ending {
        let mut read = |address: u64| {
            let within = address >= stack.start && address.checked_add(8).is_some_and(|end| end <= stack.end);
            // SAFETY: these eight bytes are in `stack`, which the caller says is mapped. They need not be aligned.
            if within { Ok(unsafe { (address as *const u64).read_unaligned() }) } else { Err(()) }
        };
        let mut frames = self.0.iter_frames(registers.instruction, registers.for_unwinder(), cache, &mut read);
        loop {
            match frames.next() {
                Ok(Some(FrameAddress::InstructionPointer(address))) if !push(address) => return Ending::Deep,
                Ok(Some(FrameAddress::ReturnAddress(address))) if !push(address.get()) => return Ending::Deep,
                Ok(Some(_)) => {}
                Ok(None) => return Ending::Root,
                Err(_) => return Ending::Broken,
            }
        }
    }
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
    fn for_unwinder(&self) -> framehop::x86_64::UnwindRegsX86_64 {
        framehop::UnwindRegsNative::new(self.instruction, self.stack_pointer, self.frame_pointer)
    }

    #[cfg(target_arch = "aarch64")]
    fn for_unwinder(&self) -> framehop::aarch64::UnwindRegsAarch64 {
        // Linux puts pointer authentication above the 48 bits of an address.
        let mask = framehop::aarch64::PtrAuthMask((1 << 48) - 1);
        framehop::UnwindRegsNative::new_with_ptr_auth_mask(mask, self.link, self.stack_pointer, self.frame_pointer)
    }

    pub(super) fn instruction(&self) -> u64 {
        self.instruction
    }

    pub(super) fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }
}
