//! Two uses of bpf(2) that aya does not have: the programs of a network namespace, and a dry run of `sk_lookup`.
#![expect(unsafe_code, reason = "bpf(2) takes a union by pointer")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_SK_LOOKUP: u32 = 36;

/// `bpf_attr.query`
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

/// `bpf_attr.test`
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// `struct bpf_sk_lookup`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct LookupContext {
    pub(super) cookie: u64,
    pub(super) family: u32,
    pub(super) protocol: u32,
    /// Network byte order.
    pub(super) remote_ip4: [u8; 4],
    pub(super) remote_ip6: [u8; 16],
    /// Network byte order.
    pub(super) remote_port: [u8; 2],
    pub(super) pad: u16,
    pub(super) local_ip4: [u8; 4],
    pub(super) local_ip6: [u8; 16],
    /// Host byte order.
    pub(super) local_port: u32,
    pub(super) ingress_ifindex: u32,
    pub(super) pad2: u32,
}

const _: () = assert!(size_of::<LookupContext>() == 72);

/// Ids of the `sk_lookup` programs of a network namespace, in the order in which they run.
pub(super) fn lookup_programs(netns: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; 64];
    let mut query = Query {
        target_fd: raw(netns),
        attach_type: BPF_SK_LOOKUP,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..Query::default()
    };
    // SAFETY: `ids` has room for `prog_cnt` ids and lives through the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut query) }?;
    ids.truncate(query.prog_cnt as usize);
    Ok(ids)
}

/// Runs a `sk_lookup` program once on `context`; its return value.
pub(super) fn run_lookup(program: BorrowedFd<'_>, context: &mut LookupContext) -> io::Result<u32> {
    let size = size_of::<LookupContext>() as u32;
    let mut run = TestRun {
        prog_fd: raw(program),
        ctx_size_in: size,
        ctx_size_out: size,
        ctx_in: (&raw const *context) as u64,
        ctx_out: (&raw mut *context) as u64,
        ..TestRun::default()
    };
    // SAFETY: both context pointers name the same structure of `size` bytes, which lives through the call.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut run) }?;
    Ok(run.retval)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `attr` must be the member of `union bpf_attr` that `command` reads, and its pointers valid for what it does with them.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<()> {
    // SAFETY: the caller vouches for `attr`; its size goes with it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
