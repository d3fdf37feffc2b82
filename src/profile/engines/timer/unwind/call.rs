//! Machine code before a return address: whether it is a call, and of which function. So a return
//! address is distinguished from a number that looks like one. Reads bytes that it is given, no
//! memory.

/// The instruction before a return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A call of the function at that address.
    To(u64),
    /// A call of the function whose address is stored at that address. Other processors need
    /// several instructions for that.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    By(u64),
    /// A call of an unknown function.
    Somewhere,
}

/// The number of bytes that are read before a return address. No call instruction is longer.
pub(super) const BEFORE: usize = 8;

/// The number of bytes that are read from a return address on, for the end of a signal handler.
pub(super) const BEHIND: usize = 9;

/// The call instruction at the end of `bytes`, which lie before `return_address`. `None`: there is
/// none. Bytes that could not be read are 0.
#[cfg(target_arch = "x86_64")]
pub(super) fn before(return_address: u64, bytes: &[u8; BEFORE]) -> Option<Call> {
    let distance = || i64::from(i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
    let relative = || return_address.wrapping_add_signed(distance());
    let direct = bytes[3] == 0xe8;
    // `FF /2`: the second byte says how long the instruction is.
    let indirect = |length: usize| {
        let [first, second, rest @ ..] = &bytes[BEFORE - length..] else { return false };
        let (mode, memory) = (second >> 6, second & 7);
        let has_index = memory == 4;
        let needed = match (mode, memory) {
            (3, _) => 2,
            (0, 5) => 6,
            (0, 4) if rest.first().is_some_and(|index| index & 7 == 5) => 7,
            (0, _) => 2 + usize::from(has_index),
            (1, _) => 3 + usize::from(has_index),
            _ => 6 + usize::from(has_index),
        };
        *first == 0xff && second >> 3 & 7 == 2 && needed == length
    };
    let is_indirect = [2, 3, 4, 6, 7].into_iter().any(indirect);
    match (direct, is_indirect) {
        (true, false) => Some(Call::To(relative())),
        (false, true) if bytes[2..4] == [0xff, 0x15] => Some(Call::By(relative())),
        (false, false) => None,
        // Both are possible.
        _ => Some(Call::Somewhere),
    }
}

/// The call instruction at the end of `bytes`, which lie before `return_address`. `None`: there is
/// none. Bytes that could not be read are 0.
#[cfg(target_arch = "aarch64")]
pub(super) fn before(return_address: u64, bytes: &[u8; BEFORE]) -> Option<Call> {
    let instruction = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if !return_address.is_multiple_of(4) {
        return None;
    }
    if instruction >> 26 == 0b10_0101 {
        // BL: 26 bits, in instructions.
        let distance = i64::from((instruction << 6) as i32 >> 6) * 4;
        return Some(Call::To((return_address - 4).wrapping_add_signed(distance)));
    }
    // BLR, and BLRAA, BLRAAZ, BLRAB and BLRABZ, which check the pointer first.
    let is_register = instruction & 0xffff_fc1f == 0xd63f_0000
        || instruction & 0xffff_f81f == 0xd63f_081f
        || instruction & 0xffff_f800 == 0xd73f_0800;
    is_register.then_some(Call::Somewhere)
}

/// The address at which a stub finds the address that it jumps to. Linkers write stubs for
/// functions of other libraries. `None`: it is no stub.
#[cfg(target_arch = "x86_64")]
pub(super) fn slot_of_stub(stub: u64, mut code: &[u8]) -> Option<u64> {
    let whole = code.len();
    code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    code = code.strip_prefix(&[0xf2]).unwrap_or(code);
    let [0xff, 0x25, distance @ ..] = code else { return None };
    let distance = i32::from_le_bytes(*distance.first_chunk()?);
    let end = (whole - code.len()) as u64 + 6;
    Some(stub.wrapping_add(end).wrapping_add_signed(i64::from(distance)))
}

/// Where the address stands that a stub jumps to. Unknown here: it takes several instructions to
/// find it.
#[cfg(target_arch = "aarch64")]
pub(super) fn slot_of_stub(_: u64, _: &[u8]) -> Option<u64> {
    None
}

/// Returns `true` if this is the code that a signal handler returns to: it asks the kernel for the
/// registers that the signal has interrupted. The C library has its own, or the kernel's in the
/// vdso is used.
pub(super) fn ends_signal(code: &[u8; BEHIND]) -> bool {
    #[cfg(target_arch = "x86_64")]
    // mov rax, 15; syscall: with 64 bits of the register, or 32.
    return code.starts_with(&[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05])
        || code.starts_with(&[0xb8, 15, 0, 0, 0, 0x0f, 0x05]);
    #[cfg(target_arch = "aarch64")]
    // mov x8, 139; svc 0.
    return code.starts_with(&[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4]);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn call(end: &[u8]) -> Option<Call> {
        // 0x90: no operation.
        let mut bytes = [0x90; BEFORE];
        bytes[BEFORE - end.len()..].copy_from_slice(end);
        before(0x1000, &bytes)
    }

    /// Each as GNU as writes it and objdump reads it.
    #[test]
    fn only_call_instructions_are_recognized() {
        assert_eq!(call(&[0xe8, 0x10, 0, 0, 0]), Some(Call::To(0x1010)));
        assert_eq!(call(&[0x67, 0xe8, 0xf0, 0xff, 0xff, 0xff]), Some(Call::To(0xff0)), "addr32 call");
        assert_eq!(call(&[0xff, 0x15, 0x20, 0, 0, 0]), Some(Call::By(0x1020)), "call [rip + 0x20]");
        let indirect: [&[u8]; 12] = [
            &[0xff, 0xd0],                            // call rax
            &[0x41, 0xff, 0xd3],                      // call r11
            &[0x3e, 0xff, 0xd0],                      // notrack call rax
            &[0xff, 0x10],                            // call [rax]
            &[0xff, 0x14, 0x24],                      // call [rsp]
            &[0xff, 0x14, 0xc8],                      // call [rax + rcx * 8]
            &[0xff, 0x14, 0xc5, 1, 2, 3, 4],          // call [rax * 8 + 0x4030201]
            &[0xff, 0x53, 0x58],                      // call [rbx + 0x58]
            &[0xff, 0x54, 0x24, 0x18],                // call [rsp + 0x18]
            &[0xff, 0x93, 0x58, 1, 0, 0],             // call [rbx + 0x158]
            &[0xff, 0x94, 0x24, 0x18, 1, 0, 0],       // call [rsp + 0x118]
            &[0x41, 0xff, 0x94, 0xc4, 0x18, 1, 0, 0], // call [r12 + rax * 8 + 0x118]
        ];
        for end in indirect {
            assert_eq!(call(end), Some(Call::Somewhere), "{end:x?}");
        }
        let others: [&[u8]; 7] = [
            &[0xff, 0xe0],                // jmp rax
            &[0xe9, 0x10, 0, 0, 0],       // jmp
            &[0xff, 0x25, 0x20, 0, 0, 0], // jmp [rip + 0x20]
            &[0xff, 0x75, 0xf8],          // push [rbp - 8]
            &[0x0f, 0x1f, 0x40, 0],       // nop
            &[0xc3],                      // ret
            &[0x0f, 0x05],                // syscall
        ];
        for end in others {
            assert_eq!(call(end), None, "{end:x?}");
        }
        assert_eq!(before(0x1000, &[0; BEFORE]), None, "nothing could be read");
    }

    #[test]
    fn a_stub_gives_the_address_of_its_table_entry() {
        assert_eq!(slot_of_stub(0x1000, &[0xff, 0x25, 0x10, 0, 0, 0, 0x90, 0x90]), Some(0x1016));
        let guarded = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x10, 0, 0, 0, 0x90];
        assert_eq!(slot_of_stub(0x1000, &guarded), Some(0x101b));
        assert_eq!(slot_of_stub(0x1000, &[0x55, 0x48, 0x89, 0xe5, 0, 0, 0, 0]), None);
        assert_eq!(slot_of_stub(0x1000, &[0xff, 0x25, 0x10]), None);
    }
}
