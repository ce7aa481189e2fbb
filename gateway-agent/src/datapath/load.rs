//! Loads the object: maps from their pins or new, constants for this kernel, every program through the verifier.

use std::fs;

use aya::maps::MapInfo;
use aya::programs::{Program, ProgramError, SchedClassifier, SkLookup, Xdp};
use aya::{Ebpf, EbpfLoader};
use gateway_common::abi::names::{
    GLOBAL_ASSIGN_REUSEPORT, GLOBAL_LOG_LEVEL, PINNED_MAPS, PROGRAM_INGRESS, PROGRAM_LOOKUP, PROGRAM_XDP,
    PROGRAMS,
};

use super::Error;
use super::features::Features;
use super::layout::Layout;
use super::pins::Pins;

/// Of a program that signals keep from being verified. libbpf makes 5.
const ATTEMPTS: usize = 10;

/// Loads everything or leaves no new pin behind.
pub(super) fn load(object: &[u8], pins: &Pins, features: &Features, log_level: u8) -> Result<Ebpf, Error> {
    let made: Vec<_> = PINNED_MAPS.iter().filter(|name| !pins.map(name).exists()).collect();
    let loaded = try_load(object, pins, features, log_level);
    if loaded.is_err() {
        for name in made {
            // The error that matters is the one of the load.
            let _unused = fs::remove_file(pins.map(name));
        }
    }
    loaded
}

fn try_load(object: &[u8], pins: &Pins, features: &Features, log_level: u8) -> Result<Ebpf, Error> {
    let assign = u8::from(features.assign_reuseport);
    let mut loader = EbpfLoader::new();
    loader.override_global(GLOBAL_ASSIGN_REUSEPORT, &assign, true);
    // Gone from an object that logs nothing.
    loader.override_global(GLOBAL_LOG_LEVEL, &log_level, false);
    for name in PINNED_MAPS {
        loader.map_pin_path(name, pins.map(name));
    }
    let mut ebpf = loader.load(object).map_err(|source| Error::Object { source })?;
    for name in PINNED_MAPS {
        check_layout(pins, name)?;
    }
    for name in PROGRAMS {
        let program = ebpf.program_mut(name).ok_or(Error::Missing { what: "program", name })?;
        patiently(is_cut_short, || load_program(&mut *program))
            .map_err(|e| Error::program("load", name, e))?;
    }
    Ok(ebpf)
}

/// The object and the ABI of this build must agree before anything is attached.
fn check_layout(pins: &Pins, name: &'static str) -> Result<(), Error> {
    let info = MapInfo::from_pin(pins.map(name)).map_err(|e| Error::map("open", name, e))?;
    let (have, want) = (Layout::of_map(&info), Layout::of_abi(name));
    match want {
        Some(want) if want != have => Err(Error::Layout { name, have, want }),
        _ => Ok(()),
    }
}

/// A signal ended the verifier: also that of a stop, which the process does not notice.
fn is_cut_short(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EAGAIN))
}

fn patiently<E>(passes: impl Fn(&E) -> bool, mut load: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if passes(&error) => {}
            loaded => return loaded,
        }
    }
    load()
}

fn load_program(program: &mut Program) -> Result<(), ProgramError> {
    if let Ok(tc) = <&mut SchedClassifier>::try_from(&mut *program) {
        return tc.load();
    }
    if let Ok(xdp) = <&mut Xdp>::try_from(&mut *program) {
        return xdp.load();
    }
    <&mut SkLookup>::try_from(program)?.load()
}

pub(super) fn ingress(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, Error> {
    typed(ebpf, PROGRAM_INGRESS)
}

pub(super) fn lookup(ebpf: &mut Ebpf) -> Result<&mut SkLookup, Error> {
    typed(ebpf, PROGRAM_LOOKUP)
}

pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    typed(ebpf, PROGRAM_XDP)
}

fn typed<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<P, Error>
where
    P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(Error::Missing { what: "program", name })?;
    P::try_from(program).map_err(|e| Error::program("use", name, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_but_not_for_ever() {
        for (failures, passes, tries, loads) in
            [(0, true, 1, true), (4, true, 5, true), (1000, true, ATTEMPTS, false), (4, false, 1, false)]
        {
            let mut tried = 0;
            let load = || {
                tried += 1;
                if tried > failures { Ok(()) } else { Err(()) }
            };
            let loaded = patiently(|()| passes, load).is_ok();
            assert_eq!((tried, loaded), (tries, loads), "{failures} failures that pass: {passes}");
        }
    }
}
