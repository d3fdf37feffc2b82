//! The code of the process, as the unwinder knows it: the address range of each program and
//! library, its unwinding tables, and the bytes of its code. Uses no lock and no loader, so a
//! signal handler may call it.

use super::call::{BEFORE, BEHIND, Call, before, ends_signal, slot_of_stub};
use crate::os::readable::is_readable;
use crate::os::tasks::copy_of;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of an unwinding table.
#[derive(Clone)]
pub(in super::super) enum Table {
    /// Mapped for as long as the process lives.
    Mapped(&'static [u8]),
    /// Copied from a library that may be unloaded.
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

/// A program or library.
#[derive(Clone)]
pub(in super::super) struct Module {
    /// All of it, data too.
    pub(in super::super) range: Range<u64>,
    /// The difference between an address in memory and in the file.
    pub(in super::super) base: u64,
    /// The sorted index of `frames` (`.eh_frame_hdr`), and its address in the file.
    pub(in super::super) header: (u64, Table),
    /// The table of functions (`.eh_frame`), and its address in the file.
    pub(in super::super) frames: (u64, Table),
    /// The segments that can be read for as long as the process lives.
    pub(in super::super) lasting: Vec<Range<u64>>,
}

/// What lies before a return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Call(Call),
    /// No call. But the code behind the address returns from a signal handler.
    EndOfSignal,
    NoCall,
    /// It may be code, but its bytes cannot be read.
    Hidden,
}

/// The modules, by address.
#[derive(Clone, Default)]
pub(super) struct Code {
    modules: Vec<Module>,
    /// The walked threads run on meanwhile, and may unload a module at any time.
    may_go: bool,
}

impl Code {
    pub(super) fn add(&mut self, module: Module) {
        let place = self.modules.partition_point(|known| known.range.start < module.range.start);
        self.modules.insert(place, module);
    }

    /// Removes the module that begins at `start`.
    pub(super) fn remove(&mut self, start: u64) {
        self.modules.retain(|module| module.range.start != start);
    }

    /// From now on, code that can be unloaded is copied by the kernel.
    pub(super) fn set_may_go(&mut self) {
        self.may_go = true;
    }

    /// The module in which that address lies.
    ///
    /// # Signal safety
    /// Safe, as are all methods after this one.
    pub(super) fn module(&self, address: u64) -> Option<&Module> {
        let after = self.modules.partition_point(|module| module.range.start <= address);
        self.modules[..after].last().filter(|module| module.range.contains(&address))
    }

    /// What lies before that return address.
    pub(super) fn before(&self, return_address: u64) -> Before {
        if return_address < 2 {
            return Before::NoCall;
        }
        if self.ends_signal(return_address) {
            // The code before it does not matter: it may be a function that ends with a call that
            // does not return.
            return Before::EndOfSignal;
        }
        match self.bytes_before(return_address) {
            Some(bytes) => before(return_address, &bytes).map_or(Before::NoCall, Before::Call),
            // It is in a module, so it was mapped when the list was made. The code may be
            // executable but not readable.
            None if self.module(return_address - 1).is_some() => Before::Hidden,
            None => Before::NoCall,
        }
    }

    /// Returns `true` if the code at that address returns from a signal handler.
    pub(super) fn ends_signal(&self, address: u64) -> bool {
        self.read(address).is_some_and(|bytes| ends_signal(&bytes))
    }

    /// Returns `true` if that is a call of a function that begins in `function`, directly or by a
    /// stub. `None`: unknown.
    pub(super) fn is_call_of(&self, call: Call, function: &Range<u64>) -> Option<bool> {
        let target = match call {
            Call::To(target) => target,
            Call::By(slot) => self.word(slot)?,
            Call::Somewhere => return None,
        };
        let behind_stub = || {
            let code: [u8; 16] = self.read(target)?;
            self.word(slot_of_stub(target, &code)?)
        };
        Some(function.contains(&target) || behind_stub().is_some_and(|target| function.contains(&target)))
    }

    /// The bytes of code before `end`, a return address: a call instruction should stand there.
    /// `None`: they cannot be read.
    fn bytes_before(&self, end: u64) -> Option<[u8; BEFORE]> {
        const PAGE: u64 = 4096;
        if let Some(bytes) = end.checked_sub(BEFORE as u64).and_then(|start| self.read(start)) {
            return Some(bytes);
        }
        // At the beginning of a mapping: only the bytes on the same page can be read. At least
        // eight bytes behind the address are mapped too.
        let count = (end % PAGE) as usize;
        let bytes: [u8; BEFORE] = self.read(end - end % PAGE).filter(|_| (2..BEFORE).contains(&count))?;
        let mut last = [0; BEFORE];
        last[BEFORE - count..].copy_from_slice(&bytes[..count]);
        Some(last)
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_ne_bytes)
    }

    /// The 8 to 16 bytes from that address on. `None`: they cannot be read.
    fn read<const COUNT: usize>(&self, address: u64) -> Option<[u8; COUNT]> {
        const { assert!(8 <= COUNT && COUNT <= 16) };
        let end = address.checked_add(COUNT as u64)?;
        let last = end - 8;
        let lasts = || {
            let parts = &self.module(address)?.lasting;
            parts.iter().find(|part| part.contains(&address) && end <= part.end)
        };
        if lasts().is_none() {
            if self.may_go {
                return copy_of(address);
            }
            if !(is_readable(address) && (last == address || is_readable(last))) {
                return None;
            }
        }
        // SAFETY: these bytes are mapped for reading, either for as long as the process lives, or
        // as the kernel has just said. In the latter case they lie at a return address, and the
        // walked thread does not run meanwhile: a correct program does not unload a library that is
        // on a thread's stack.
        Some(unsafe { (address as *const [u8; COUNT]).read_volatile() })
    }
}

const _: () = assert!(BEHIND <= 16);
