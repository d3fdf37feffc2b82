//! One row of an unwinding table: where a frame ends, and where the two registers are saved that a
//! walk follows. The table's instructions are read by gimli and followed here. Allocates nothing,
//! so a signal handler may call it.
//!
//! A row of gimli's own has the rules of all registers. It needs kilobytes, and a row with more
//! rules than it has room for is lost. The rules of other registers are passed over here, so a row
//! has a fixed size, however many rules the compiler has written.

use gimli::{
    BaseAddresses, CallFrameInstruction, CfaRule, EhFrame, EndianSlice, FrameDescriptionEntry, NativeEndian, Register,
    RegisterRule,
};

pub(super) type Reader<'a> = EndianSlice<'a, NativeEndian>;

#[cfg(target_arch = "x86_64")]
mod numbers {
    use gimli::{Register, X86_64};
    pub(in super::super) const POINTER: Register = X86_64::RSP;
    pub(in super::super) const FRAME: Register = X86_64::RBP;
    pub(in super::super) const LINK: Register = X86_64::RA;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    use gimli::{AArch64, Register};
    pub(in super::super) const POINTER: Register = AArch64::SP;
    pub(in super::super) const FRAME: Register = AArch64::X29;
    pub(in super::super) const LINK: Register = AArch64::X30;
}

pub(super) use numbers::{FRAME, LINK, POINTER};

/// The rules for some addresses of a function.
#[derive(Clone, Default)]
pub(super) struct Row {
    /// The frame's end.
    pub(super) end: CfaRule<usize>,
    /// `None`: the table has no rule for that register.
    pub(super) frame_pointer: Option<RegisterRule<usize>>,
    pub(super) link: Option<RegisterRule<usize>>,
}

impl Row {
    /// The row for `address`, which the function contains. `None`: the table is wrong, or remembers
    /// more than [`MOST_REMEMBERED`] rows.
    ///
    /// # Signal safety
    /// Safe: gimli's promise for `CallFrameInstructionIter` over a slice.
    pub(super) fn find(
        function: &FrameDescriptionEntry<Reader<'_>>,
        frames: &EhFrame<Reader<'_>>,
        bases: &BaseAddresses,
        address: u64,
    ) -> Option<Row> {
        let common = function.cie();
        let mut program = Program::new(common.data_alignment_factor());
        for instruction in common.instructions(frames, bases) {
            program.follow(instruction.ok()?)?;
        }
        program.initial = Some(program.row.clone());
        let mut at = function.initial_address();
        for instruction in function.instructions(frames, bases) {
            let instruction = instruction.ok()?;
            let next = match instruction {
                CallFrameInstruction::SetLoc { address } => address,
                CallFrameInstruction::AdvanceLoc { delta } => {
                    at.checked_add(u64::from(delta).wrapping_mul(common.code_alignment_factor()))?
                }
                other => {
                    program.follow(other)?;
                    continue;
                }
            };
            if next < at {
                return None;
            }
            if address < next {
                break;
            }
            at = next;
        }
        Some(program.row)
    }

    fn rule_mut(&mut self, register: Register) -> Option<&mut Option<RegisterRule<usize>>> {
        match register {
            FRAME => Some(&mut self.frame_pointer),
            LINK => Some(&mut self.link),
            _ => None,
        }
    }
}

/// Compilers remember one row, and seldom two.
const MOST_REMEMBERED: usize = 6;

/// The instructions that have been followed so far.
struct Program {
    row: Row,
    /// The row before the function's own instructions; `None`: these have not begun.
    initial: Option<Row>,
    remembered: [Row; MOST_REMEMBERED],
    remembered_count: usize,
    data_alignment_factor: i64,
}

impl Program {
    fn new(data_alignment_factor: i64) -> Program {
        let (row, remembered) = (Row::default(), Default::default());
        Program { row, initial: None, remembered, remembered_count: 0, data_alignment_factor }
    }

    /// Follows an instruction that changes the row. `None`: it makes no sense here.
    fn follow(&mut self, instruction: CallFrameInstruction<usize>) -> Option<()> {
        use CallFrameInstruction as I;
        let factor = self.data_alignment_factor;
        let factored = |offset: u64| (offset as i64).wrapping_mul(factor);
        match instruction {
            I::DefCfa { register, offset } => {
                self.row.end = CfaRule::RegisterAndOffset { register, offset: offset as i64 };
            }
            I::DefCfaSf { register, factored_offset } => {
                let offset = factored_offset.wrapping_mul(factor);
                self.row.end = CfaRule::RegisterAndOffset { register, offset };
            }
            I::DefCfaRegister { register: new } => match &mut self.row.end {
                CfaRule::RegisterAndOffset { register, .. } => *register = new,
                CfaRule::Expression(_) => return None,
            },
            I::DefCfaOffset { offset } => self.set_offset_of_end(offset as i64)?,
            I::DefCfaOffsetSf { factored_offset } => self.set_offset_of_end(factored_offset.wrapping_mul(factor))?,
            I::DefCfaExpression { expression } => self.row.end = CfaRule::Expression(expression),
            I::Undefined { register } => self.set(register, RegisterRule::Undefined),
            I::SameValue { register } => self.set(register, RegisterRule::SameValue),
            I::Offset { register, factored_offset } => {
                self.set(register, RegisterRule::Offset(factored(factored_offset)));
            }
            I::OffsetExtendedSf { register, factored_offset } => {
                self.set(register, RegisterRule::Offset(factored_offset.wrapping_mul(factor)));
            }
            I::ValOffset { register, factored_offset } => {
                self.set(register, RegisterRule::ValOffset(factored(factored_offset)));
            }
            I::ValOffsetSf { register, factored_offset } => {
                self.set(register, RegisterRule::ValOffset(factored_offset.wrapping_mul(factor)));
            }
            I::Register { dest_register, src_register } => {
                self.set(dest_register, RegisterRule::Register(src_register));
            }
            I::Expression { register, expression } => self.set(register, RegisterRule::Expression(expression)),
            I::ValExpression { register, expression } => self.set(register, RegisterRule::ValExpression(expression)),
            I::Restore { register } => {
                let mut initial = self.initial.clone()?;
                if let Some((rule, initial)) = self.row.rule_mut(register).zip(initial.rule_mut(register)) {
                    *rule = initial.take();
                }
            }
            I::RememberState => {
                *self.remembered.get_mut(self.remembered_count)? = self.row.clone();
                self.remembered_count += 1;
            }
            I::RestoreState => {
                self.remembered_count = self.remembered_count.checked_sub(1)?;
                self.row = self.remembered[self.remembered_count].clone();
            }
            // The first two are the caller's. The others tell nothing about the two registers: an
            // authentication code in a return address is taken off in any case.
            I::SetLoc { .. } | I::AdvanceLoc { .. } | I::ArgsSize { .. } | I::NegateRaState | I::Nop => {}
        }
        Some(())
    }

    fn set(&mut self, register: Register, new: RegisterRule<usize>) {
        if let Some(rule) = self.row.rule_mut(register) {
            *rule = Some(new);
        }
    }

    fn set_offset_of_end(&mut self, new: i64) -> Option<()> {
        match &mut self.row.end {
            CfaRule::RegisterAndOffset { offset, .. } => *offset = new,
            CfaRule::Expression(_) => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::engines::timer::modules::ModuleList;
    use gimli::{CieOrFde, UnwindContext, UnwindSection, Vendor};

    /// All programs and libraries of this process: as many functions as the time allows.
    #[test]
    fn rows_are_as_gimli_reads_them() {
        let mut list = ModuleList::default();
        let modules = list.renew().unwrap();
        let (mut context, mut compared, mut expressions) = (UnwindContext::<usize>::new(), 0, 0);
        for module in list.code().iter().filter_map(|code| modules.code.module(code.start)) {
            let mut frames = EhFrame::new(&module.frames.1, NativeEndian);
            frames.set_address_size(8);
            frames.set_vendor(Vendor::AArch64);
            let bases = BaseAddresses::default().set_eh_frame_hdr(module.header.0).set_eh_frame(module.frames.0);
            let (mut entries, mut count) = (frames.entries(&bases), 0_u64);
            while let Ok(Some(entry)) = entries.next() {
                let CieOrFde::Fde(partial) = entry else { continue };
                count += 1;
                // All of the small ones, which are those with unusual rows.
                if count > 1000 && !count.is_multiple_of(50) {
                    continue;
                }
                let function = partial.parse(EhFrame::cie_from_offset).unwrap();
                let mut table = function.rows(&frames, &bases, &mut context).unwrap();
                while let Some(expected) = table.next_row().unwrap() {
                    let addresses = expected.start_address()..expected.end_address();
                    for address in [addresses.start, addresses.end.wrapping_sub(1)] {
                        if !addresses.contains(&address) || !function.contains(address) {
                            continue;
                        }
                        let row = Row::find(&function, &frames, &bases, address).unwrap();
                        assert_eq!(row.end, *expected.cfa(), "{address:x}");
                        assert_eq!(row.frame_pointer, expected.register(FRAME), "{address:x}");
                        assert_eq!(row.link, expected.register(LINK), "{address:x}");
                        compared += 1;
                        expressions += u64::from(matches!(row.end, CfaRule::Expression(_)));
                    }
                }
            }
        }
        assert!(compared > 5_000 && expressions > 0, "{compared}, {expressions}");
    }
}
