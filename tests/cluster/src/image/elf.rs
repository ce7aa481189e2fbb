//! Whether a program runs in an image that has nothing but it.

/// Type of the program header that names a dynamic linker.
const INTERPRETER: u32 = 3;

/// An ELF program that asks for a dynamic linker. Anything else is not the kernel's to load, or loads alone.
pub fn is_dynamic(program: &[u8]) -> bool {
    let elf64 = program.starts_with(b"\x7fELF\x02\x01");
    elf64 && headers(program).is_some_and(|mut kinds| kinds.any(|kind| kind == INTERPRETER))
}

/// The types of the program headers of a little-endian 64-bit file.
fn headers(program: &[u8]) -> Option<impl Iterator<Item = u32> + '_> {
    let start = usize::try_from(u64::from_le_bytes(bytes(program, 32)?)).ok()?;
    let size = u16::from_le_bytes(bytes(program, 54)?).into();
    let count = u16::from_le_bytes(bytes(program, 56)?).into();
    let at = move |index: usize| index.checked_mul(size)?.checked_add(start);
    Some((0..count).map_while(move |index| Some(u32::from_le_bytes(bytes(program, at(index)?)?))))
}

fn bytes<const N: usize>(program: &[u8], at: usize) -> Option<[u8; N]> {
    program.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_is_dynamic() {
        assert!(is_dynamic(&std::fs::read(std::env::current_exe().unwrap()).unwrap()));
    }

    #[test]
    fn without_that_header_it_is_not() {
        let mut own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        own[56] = 0;
        own[57] = 0;
        assert!(!is_dynamic(&own));
        assert!(!is_dynamic(b"#!/bin/sh\n"));
        assert!(!is_dynamic(&own[..40]));
    }
}
