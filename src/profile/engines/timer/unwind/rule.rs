//! How the caller of a function is found: the rules that the compiler wrote into the program
//! (`.eh_frame`), read by gimli. Allocates nothing, so a signal handler may call it.

use super::memory::Memory;
use super::module::{Code, Module};
use super::registers::{Registers, code_address};
use super::row::{FRAME, LINK, POINTER, Reader, Row};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, Encoding, EndianSlice, Evaluation, EvaluationResult,
    FrameDescriptionEntry, Location, NativeEndian, Register, RegisterRule, UnwindExpression, UnwindSection, Value,
    Vendor,
};
use std::ops::Range;

/// Room for what gimli calculates with.
struct Fixed;

impl<'a> gimli::EvaluationStorage<Reader<'a>> for Fixed {
    type Stack = [Value; 16];
    type ExpressionStack = [(Reader<'a>, Reader<'a>); 2];
    type Result = [gimli::Piece<Reader<'a>>; 1];
}

/// No expression of an unwinding table needs more steps.
const MOST_STEPS: u32 = 100;

/// A function that has called another one, or was interrupted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// The instruction that was interrupted, or where the call returns to.
    pub(super) address: u64,
    /// It was interrupted there.
    pub(super) exact: bool,
    pub(super) stack_pointer: u64,
    pub(super) frame_pointer: u64,
    pub(super) link: u64,
    /// All registers, where they are known.
    pub(super) registers: Option<&'a Registers>,
}

impl Frame<'_> {
    /// The leaf of a stack.
    pub(super) fn interrupted(registers: &Registers) -> Frame<'_> {
        Frame {
            address: registers.instruction,
            exact: true,
            stack_pointer: registers.stack_pointer,
            frame_pointer: registers.frame_pointer,
            link: registers.link,
            registers: Some(registers),
        }
    }

    /// An address within the instruction that was interrupted, or within the call.
    pub(super) fn within(&self) -> u64 {
        if self.exact { self.address } else { self.address.wrapping_sub(1) }
    }

    /// The value of that register, if it is known.
    fn register(&self, register: Register) -> Option<u64> {
        match register {
            POINTER => Some(self.stack_pointer),
            FRAME => Some(self.frame_pointer),
            other => self.registers?.general(other.0),
        }
    }
}

/// How the caller of the code at some address is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The frame's end is at a register plus a distance; the caller's registers are saved at
    /// distances from there.
    Saved { from_frame_pointer: bool, end: i32, frame_pointer: Kept, link: Kept },
    /// The table has a rule that must be evaluated each time.
    Evaluated,
    /// The table says that there is no caller.
    Outermost,
    /// In a module, but in no function that the table knows. The last function before it ends
    /// `since` bytes before the address.
    Uncovered { since: u32 },
    /// In no module.
    NoModule,
}

/// Where the value is that a register had in the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    InRegister,
    /// At this distance from the frame's end, in bytes.
    At(i32),
}

impl Rule {
    /// # Signal safety
    /// Safe: gimli's promise for storage that does not allocate.
    pub(super) fn find(code: &Code, address: u64) -> Rule {
        let Some(module) = code.module(address) else { return Rule::NoModule };
        let tables = Tables::of(module);
        match tables.function(address - module.base) {
            Function::Known(function) => {
                let row = tables.row(&function, address - module.base);
                row.and_then(|row| translate(&row)).unwrap_or(Rule::Evaluated)
            }
            Function::Before(end) => {
                Rule::Uncovered { since: (address - module.base).saturating_sub(end).min(u64::from(u32::MAX)) as u32 }
            }
        }
    }
}

/// The addresses of the function that the tables know at `address`.
pub(super) fn function(module: &Module, address: u64) -> Option<Range<u64>> {
    match Tables::of(module).function(address.checked_sub(module.base)?) {
        Function::Known(function) => {
            let start = module.base.checked_add(function.initial_address())?;
            Some(start..start.checked_add(function.len())?)
        }
        Function::Before(_) => None,
    }
}

/// The caller, by an evaluation of the tables. `None`: they do not say, or need what is not known.
///
/// # Signal safety
/// Safe: gimli's promise for storage that does not allocate.
pub(super) fn evaluate<'a>(code: &Code, frame: &Frame<'a>, memory: &mut Memory<'_>) -> Option<Frame<'a>> {
    let module = code.module(frame.within())?;
    let tables = Tables::of(module);
    let Function::Known(function) = tables.function(frame.within() - module.base) else { return None };
    let encoding = function.cie().encoding();
    let row = tables.row(&function, frame.within() - module.base)?;
    let mut machine = Machine { section: &tables.frames, encoding, frame, memory };
    let end = match &row.end {
        CfaRule::RegisterAndOffset { register, offset } => frame.register(*register)?.checked_add_signed(*offset)?,
        CfaRule::Expression(expression) => machine.expression(expression, None)?,
    };
    let frame_pointer = match row.frame_pointer {
        None | Some(RegisterRule::Undefined) => frame.frame_pointer,
        Some(rule) => machine.register(rule, frame.frame_pointer, end)?,
    };
    let address = match row.link {
        Some(RegisterRule::SameValue) | None if frame.exact && frame.link != 0 => frame.link,
        Some(RegisterRule::SameValue | RegisterRule::Undefined) | None => return None,
        Some(rule) => machine.register(rule, frame.link, end)?,
    };
    let address = code_address(address);
    Some(Frame { address, exact: false, stack_pointer: end, frame_pointer, link: address, registers: None })
}

/// Translates a table's row to a rule that is followed quickly. `None`: it is an unusual row.
fn translate(row: &Row) -> Option<Rule> {
    let link = match row.link {
        Some(RegisterRule::Undefined) => return Some(Rule::Outermost),
        // Compilers leave out the rule where the value is still in its register. Where calls put it
        // onto the stack, they never leave it out.
        None | Some(RegisterRule::SameValue) if cfg!(target_arch = "aarch64") => Kept::InRegister,
        None => return Some(Rule::Outermost),
        Some(RegisterRule::Offset(offset)) => Kept::At(offset.try_into().ok()?),
        Some(_) => return None,
    };
    let frame_pointer = match row.frame_pointer {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => Kept::InRegister,
        Some(RegisterRule::Offset(offset)) => Kept::At(offset.try_into().ok()?),
        Some(_) => return None,
    };
    let CfaRule::RegisterAndOffset { register, offset } = row.end else { return None };
    let from_frame_pointer = match register {
        POINTER => false,
        FRAME => true,
        _ => return None,
    };
    Some(Rule::Saved { from_frame_pointer, end: offset.try_into().ok()?, frame_pointer, link })
}

enum Function<'a> {
    Known(FrameDescriptionEntry<Reader<'a>>),
    /// No function is there. The last one before it ends at this address.
    Before(u64),
}

/// A module's tables. All addresses are as they stand in its file.
struct Tables<'a> {
    header: Reader<'a>,
    frames: EhFrame<Reader<'a>>,
    bases: BaseAddresses,
}

impl<'a> Tables<'a> {
    fn of(module: &'a Module) -> Tables<'a> {
        let mut frames = EhFrame::new(&module.frames.1, NativeEndian);
        frames.set_address_size(8);
        // So that gimli knows the instruction for signed return addresses. Tables for other
        // processors have none of that number.
        frames.set_vendor(Vendor::AArch64);
        let bases = BaseAddresses::default().set_eh_frame_hdr(module.header.0).set_eh_frame(module.frames.0);
        Tables { header: EndianSlice::new(&module.header.1, NativeEndian), frames, bases }
    }

    /// The function at `address`, or the end of the one before.
    fn function(&self, address: u64) -> Function<'a> {
        match self.last_before(address) {
            Some(function) if function.contains(address) => Function::Known(function),
            Some(function) if function.end_address() <= address => Function::Before(function.end_address()),
            _ => Function::Before(0),
        }
    }

    /// The last function that begins at that address or before.
    fn last_before(&self, address: u64) -> Option<FrameDescriptionEntry<Reader<'a>>> {
        let header = EhFrameHdr::from(self.header).parse(&self.bases, 8).ok()?;
        let table = header.table()?;
        let pointer = table.lookup(address, &self.bases).ok()?.direct().ok()?;
        // From where the frames begin. A wrong table must not make this a number that gimli
        // calculates with.
        let offset = usize::try_from(pointer.checked_sub(self.bases_of_frames()?)?).ok()?;
        self.frames.fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset).ok()
    }

    fn bases_of_frames(&self) -> Option<u64> {
        self.bases.eh_frame.section
    }

    /// The rules for `address` in that function.
    fn row(&self, function: &FrameDescriptionEntry<Reader<'a>>, address: u64) -> Option<Row> {
        Row::find(function, &self.frames, &self.bases, address)
    }
}

/// What the tables' expressions are evaluated with.
struct Machine<'a, 'm, 's> {
    section: &'a EhFrame<Reader<'s>>,
    encoding: Encoding,
    frame: &'a Frame<'a>,
    memory: &'a mut Memory<'m>,
}

impl Machine<'_, '_, '_> {
    /// The caller's value of a register, by its rule. `now`: its value; `end`: the frame's end.
    fn register(&mut self, rule: RegisterRule<usize>, now: u64, end: u64) -> Option<u64> {
        match rule {
            RegisterRule::SameValue => Some(now),
            RegisterRule::Offset(offset) => self.memory.word(end.checked_add_signed(offset)?),
            RegisterRule::ValOffset(offset) => end.checked_add_signed(offset),
            RegisterRule::Register(register) => self.frame.register(register),
            RegisterRule::Expression(expression) => {
                let place = self.expression(&expression, Some(end))?;
                self.memory.word(place)
            }
            RegisterRule::ValExpression(expression) => self.expression(&expression, Some(end)),
            _ => None,
        }
    }

    /// Evaluates the expression, with `start` on its stack.
    fn expression(&mut self, expression: &UnwindExpression<usize>, start: Option<u64>) -> Option<u64> {
        let code = expression.get(self.section).ok()?;
        let mut evaluation = Evaluation::<_, Fixed>::new_in(code.0, self.encoding);
        evaluation.set_max_iterations(MOST_STEPS);
        if let Some(start) = start {
            evaluation.set_initial_value(start);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = match register {
                        LINK => self.frame.address,
                        other => self.frame.register(other)?,
                    };
                    evaluation.resume_with_register(Value::Generic(value)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    let value = self.memory.word(address)?;
                    evaluation.resume_with_memory(Value::Generic(value)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result().last()?.location {
            Location::Address { address } => Some(address),
            _ => None,
        }
    }
}
