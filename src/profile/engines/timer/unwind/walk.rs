//! The walk: from the interrupted function to its caller, and so on to the first function of the
//! thread.
//!
//! Invariants
//! 1. A walk is complete ([`Ending::Root`]) only at a function that threads start with. A rule that
//!    names no caller is no proof.
//! 2. Each address but the leaf's is a return address, or an instruction that a signal has
//!    interrupted.
//! 3. A caller that no rule has named is accepted only if nothing speaks against it: see
//!    [`guess`](Modules::guess).

use super::cache::{AddressInfo, Cache, Origin};
use super::memory::Memory;
use super::module::{Before, Code, Module};
use super::registers::{Registers, SAVED, code_address};
use super::rule::{self, Frame, Kept, Rule};
use super::start::Starts;
use crate::profile::raw::Ending;
use std::sync::atomic::{AtomicU32, Ordering};

/// The code of the process, as the unwinder knows it.
#[derive(Clone, Default)]
pub(in super::super) struct Modules {
    pub(super) code: Code,
    pub(super) starts: Starts,
    /// Unlike that of any other list of modules. 0: there are none.
    generation: u32,
}

impl Modules {
    pub(in super::super) fn add(&mut self, module: Module) {
        self.code.add(module);
        self.renumber();
    }

    /// Removes the module that begins at `start`.
    pub(in super::super) fn remove(&mut self, start: u64) {
        self.code.remove(start);
        self.renumber();
    }

    fn renumber(&mut self) {
        static LAST: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number counts, a new one each time. It wraps after more changes than a
        // process sees.
        self.generation = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    }

    /// The same modules, but with no function that threads start with.
    pub(super) fn without_starts(&self) -> Modules {
        Modules { starts: Starts::default(), ..self.clone() }
    }

    /// The same modules, for walks over copies of stacks, while the walked threads run on.
    pub(in super::super) fn for_copies(mut self) -> Modules {
        self.code.set_may_go();
        self
    }

    /// Finds the functions that threads start with, in the modules that were added.
    pub(in super::super) fn find_starts(&mut self) {
        self.starts = Starts::find(&self.code);
    }

    /// Calls `push` with the address of the leaf, then with each return address, until it returns
    /// `false`. An instruction that a signal has interrupted is passed as a return address one byte
    /// behind it. If the stack goes on beyond what `memory` has of it, it is [`Ending::Deep`].
    ///
    /// # Signal safety
    /// Safe, if `push` is.
    pub(in super::super) fn walk(
        &self,
        registers: &Registers,
        mut memory: Memory<'_>,
        cache: &mut Cache,
        push: impl FnMut(u64) -> bool,
    ) -> Ending {
        match self.walk_in(registers, &mut memory, cache, push) {
            Ending::Broken if memory.is_cut() => Ending::Deep,
            ending => ending,
        }
    }

    fn walk_in(
        &self,
        registers: &Registers,
        memory: &mut Memory<'_>,
        cache: &mut Cache,
        mut push: impl FnMut(u64) -> bool,
    ) -> Ending {
        if !push(registers.instruction) {
            return Ending::Deep;
        }
        let mut frame = Frame::interrupted(registers);
        let mut known = self.known(&frame, cache);
        loop {
            if self.starts.contains(frame.within(), known.rule) {
                return Ending::Root;
            }
            if !memory.rise_to(frame.stack_pointer) {
                return Ending::Broken;
            }
            if frame.exact && self.is_end_of_signal(&frame, known.rule) {
                // It was interrupted on its way out of a handler.
                match self.below_signal(frame.stack_pointer, memory) {
                    Some(below) => frame = below,
                    None => return Ending::Broken,
                }
            } else {
                let Some(caller) = self.caller(&frame, known.rule, memory) else { return Ending::Broken };
                let there = self.known(&caller, cache);
                if there.origin == Origin::Signal {
                    if !push(caller.address.wrapping_add(1)) {
                        return Ending::Deep;
                    }
                    match self.below_signal(caller.stack_pointer, memory) {
                        Some(below) => frame = below,
                        None => return Ending::Broken,
                    }
                } else if there.origin == Origin::Call {
                    (frame, known) = (caller, there);
                } else {
                    return Ending::Broken;
                }
            }
            if !push(if frame.exact { frame.address.wrapping_add(1) } else { frame.address }) {
                return Ending::Deep;
            }
            if frame.exact {
                known = self.known(&frame, cache);
            }
        }
    }

    /// Returns `true` if the return address is in a function that threads start with.
    #[cfg(feature = "pprof-engine")]
    pub(in super::super) fn is_start(&self, return_address: u64) -> bool {
        let within = return_address.wrapping_sub(1);
        self.starts.contains(within, Rule::find(&self.code, within))
    }

    /// What the tables and the code say about the frame's address, from the cache if possible.
    fn known(&self, frame: &Frame<'_>, cache: &mut Cache) -> AddressInfo {
        cache.get(self.generation, frame.address, frame.exact, || AddressInfo {
            rule: Rule::find(&self.code, frame.within()),
            origin: if frame.exact { Origin::None } else { self.code.before(frame.address).into() },
        })
    }

    /// The caller of the function in `frame`. `None`: there is none, or it cannot be found.
    fn caller<'a>(&self, frame: &Frame<'a>, rule: Rule, memory: &mut Memory<'_>) -> Option<Frame<'a>> {
        let caller = match rule {
            Rule::Outermost => return None,
            Rule::Saved { from_frame_pointer, end, frame_pointer, link } => {
                saved(frame, from_frame_pointer, end, frame_pointer, link, memory)?
            }
            Rule::Evaluated => rule::evaluate(&self.code, frame, memory)?,
            Rule::Uncovered { since } => self.guess(frame, u64::from(since), memory)?,
            Rule::NoModule => self.guess(frame, u64::MAX, memory)?,
        };
        // Each function has something on the stack, except a leaf whose return address is still in
        // its register.
        let rises = caller.stack_pointer > frame.stack_pointer;
        let stays = cfg!(target_arch = "aarch64") && frame.exact && caller.stack_pointer == frame.stack_pointer;
        (rises || stays).then_some(caller)
    }

    /// The caller of a function that no table covers. The function begins at most `since` bytes
    /// before the address.
    ///
    /// Two callers are tried: the caller if the function has nothing on the stack, and the caller
    /// if it has put the frame pointer there. A caller is refused if no call returns to it, if the
    /// call is one of another function, or if it is not known whose call it is and both callers are
    /// possible. Words that earlier calls left on the stack look like the first; the frame pointer
    /// of a function nearer to the root looks like the second.
    fn guess<'a>(&self, frame: &Frame<'a>, since: u64, memory: &mut Memory<'_>) -> Option<Frame<'a>> {
        /// Functions are not longer.
        const LONGEST: u64 = 1 << 16;
        let function = frame.within().saturating_sub(since.min(LONGEST))..frame.within().checked_add(1)?;
        let is_call_here = |return_address: u64| match self.code.before(return_address) {
            Before::Call(call) => Some(self.code.is_call_of(call, &function)),
            Before::EndOfSignal | Before::NoCall | Before::Hidden => None,
        };
        let without = if frame.exact { without_frame(frame, memory, &function) } else { None };
        let of_without = without.and_then(|caller| is_call_here(caller.address));
        if of_without == Some(Some(true)) {
            return without;
        }
        let pointer = frame.frame_pointer;
        let with = Frame {
            address: code_address(memory.word(pointer.checked_add(8)?)?),
            exact: false,
            stack_pointer: pointer.checked_add(16)?,
            frame_pointer: memory.word(pointer)?,
            link: 0,
            registers: None,
        };
        match is_call_here(with.address)? {
            Some(true) => Some(with),
            Some(false) => None,
            None => of_without.is_none().then_some(with),
        }
    }

    /// Returns `true` if the frame is in the code that returns from a signal handler.
    fn is_end_of_signal(&self, frame: &Frame<'_>, rule: Rule) -> bool {
        // The tables describe it by expressions, if at all. The address is at its first
        // instruction, or behind its system call.
        let may_be = matches!(rule, Rule::Evaluated | Rule::Uncovered { .. });
        may_be && [0, 4, 5, 7].iter().any(|back| self.code.ends_signal(frame.address.wrapping_sub(*back)))
    }

    /// What a signal has interrupted, by the registers that the kernel has saved on the stack at
    /// `pointer`.
    fn below_signal<'a>(&self, pointer: u64, memory: &mut Memory<'_>) -> Option<Frame<'a>> {
        if !memory.rise_to(pointer) {
            return None;
        }
        let mut saved = |distance| memory.word(pointer.checked_add(distance)?);
        let below = Frame {
            address: saved(SAVED.instruction)?,
            exact: true,
            stack_pointer: saved(SAVED.stack_pointer)?,
            frame_pointer: saved(SAVED.frame_pointer)?,
            link: match SAVED.link {
                Some(distance) => code_address(saved(distance)?),
                None => 0,
            },
            registers: None,
        };
        memory.leave_signal(below.stack_pointer).then_some(below)
    }
}

/// The caller, by registers that are saved at distances from the frame's end.
fn saved<'a>(
    frame: &Frame<'a>,
    from_frame_pointer: bool,
    end: i32,
    frame_pointer: Kept,
    link: Kept,
    memory: &mut Memory<'_>,
) -> Option<Frame<'a>> {
    let base = if from_frame_pointer { frame.frame_pointer } else { frame.stack_pointer };
    let stack_pointer = base.checked_add_signed(end.into())?;
    let address = match link {
        Kept::At(distance) => code_address(memory.word(stack_pointer.checked_add_signed(distance.into())?)?),
        // Only the leaf's register is its own: a function that calls another one has saved it.
        Kept::InRegister if frame.exact => frame.link,
        Kept::InRegister => return None,
    };
    let frame_pointer = match frame_pointer {
        Kept::InRegister => frame.frame_pointer,
        Kept::At(distance) => {
            let place = stack_pointer.checked_add_signed(distance.into())?;
            match memory.word(place) {
                Some(word) => word,
                // At its end, a function has taken the register from the stack already. Not all
                // tables say so.
                None if frame.exact && place < frame.stack_pointer => frame.frame_pointer,
                None => return None,
            }
        }
    };
    Some(Frame { address, exact: false, stack_pointer, frame_pointer, link: address, registers: None })
}

/// The caller of a function that has nothing on the stack but its return address.
#[cfg(target_arch = "x86_64")]
fn without_frame<'a>(frame: &Frame<'a>, memory: &mut Memory<'_>, _: &std::ops::Range<u64>) -> Option<Frame<'a>> {
    let (address, stack_pointer) = (memory.word(frame.stack_pointer)?, frame.stack_pointer.checked_add(8)?);
    Some(Frame { address, exact: false, stack_pointer, registers: None, ..*frame })
}

/// The caller of a function that has nothing on the stack, and its return address in a register. A
/// function that has called another one finds its own address there.
#[cfg(target_arch = "aarch64")]
fn without_frame<'a>(frame: &Frame<'a>, _: &mut Memory<'_>, function: &std::ops::Range<u64>) -> Option<Frame<'a>> {
    let address = frame.link;
    let is_own =
        function.contains(&address.wrapping_sub(4)) || address >= frame.address && address - frame.address < 4096;
    (!is_own).then_some(Frame { address, exact: false, registers: None, ..*frame })
}
