//! The maps, all written by the agent but for the counters. Values are copied out at once: an entry may be replaced
//! while a program holds a reference to it.
#![expect(unsafe_code, reason = "map lookups hand out raw pointers")]

use core::ptr;

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{HashMap, LpmTrie, PerCpuArray, SockMap};
use aya_ebpf::helpers::bpf_map_lookup_elem;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::SkLookupContext;
use gateway_common::abi::limits::{MAX_DENY, MAX_PORTS, MAX_SOCKETS, MAX_VIPS};
use gateway_common::abi::{Addr, DENIED, Denied, DenyKey, Port, PortCounters, PortKey, Reason, Vip};

use crate::helpers::Socket;
use crate::parse::Words;

#[btf_map]
static VIPS: HashMap<Addr, Vip, { MAX_VIPS as usize }> = HashMap::new();

#[btf_map]
static PORTS: HashMap<PortKey, Port, { MAX_PORTS as usize }> = HashMap::new();

#[btf_map]
static SOCKS: SockMap<{ MAX_SOCKETS as usize }> = SockMap::new();

#[btf_map]
static PORT_STATS: PerCpuArray<PortCounters, { MAX_PORTS as usize }> = PerCpuArray::new();

#[btf_map]
static REASONS: PerCpuArray<u64, { Reason::COUNT as usize }> = PerCpuArray::new();

#[btf_map]
static DENY: LpmTrie<DenyKey, Denied, { MAX_DENY as usize }> = LpmTrie::new();

/// Not 0 while this CPU's TC program asks for a connection. Private to one load of the object.
#[btf_map]
static PROBING: PerCpuArray<u32, 1> = PerCpuArray::new();

/// An [`Addr`] that is aligned for whole words.
#[repr(C, align(8))]
struct AlignedAddr(Words);

impl AlignedAddr {
    #[inline(always)]
    fn as_key(&self) -> &Addr {
        // SAFETY: the same bytes, better aligned.
        unsafe { &*ptr::from_ref(self).cast() }
    }
}

/// A [`PortKey`] that is aligned for whole words.
#[repr(C, align(4))]
struct AlignedPortKey {
    address: Words,
    /// Network byte order.
    port: u16,
    proto: u8,
    pad: u8,
}

impl AlignedPortKey {
    #[inline(always)]
    fn as_key(&self) -> &PortKey {
        // SAFETY: the same bytes, better aligned.
        unsafe { &*ptr::from_ref(self).cast() }
    }
}

const _: () = assert!(size_of::<AlignedAddr>() == size_of::<Addr>());
const _: () = assert!(size_of::<AlignedPortKey>() == size_of::<PortKey>());

#[inline(always)]
pub(crate) fn vip(address: Words) -> Option<Vip> {
    // SAFETY: copied at once.
    unsafe { VIPS.get(AlignedAddr(address).as_key()) }.copied()
}

/// `port` is in network byte order.
#[inline(always)]
pub(crate) fn port(address: Words, port: u16, proto: u8) -> Option<Port> {
    let key = AlignedPortKey { address, port, proto, pad: 0 };
    // SAFETY: copied at once.
    unsafe { PORTS.get(key.as_key()) }.copied()
}

/// The listening socket in a slot.
#[inline(always)]
pub(crate) fn socket(slot: u32) -> Option<Socket> {
    // SAFETY: a lookup in a sockmap takes a reference to the socket, which `Socket` gives back.
    unsafe {
        let socket =
            bpf_map_lookup_elem(ptr::from_ref(&SOCKS).cast_mut().cast(), ptr::from_ref(&slot).cast());
        Socket::from_raw(socket.cast())
    }
}

/// Selects the listening socket in a slot for a lookup of the stack.
#[inline(always)]
pub(crate) fn select(ctx: &SkLookupContext, slot: u32) -> Result<(), Reason> {
    // Another generation of this program, or somebody else's, may have selected before us.
    const BPF_SK_LOOKUP_F_REPLACE: u64 = 1;
    const ENOENT: i32 = 2;
    SOCKS
        .redirect_sk_lookup(ctx, slot, BPF_SK_LOOKUP_F_REPLACE)
        .map_err(|errno| if errno == -ENOENT { Reason::NoSocket } else { Reason::AssignFailed })
}

/// Runs `lookup`, a lookup of a connection. Where there is none the kernel goes on to look for a listener and so comes
/// to `gh_lookup`, which must neither count nor select then.
#[inline(always)]
pub(crate) fn probe<T>(lookup: impl FnOnce() -> T) -> T {
    set_probing(1);
    let found = lookup();
    set_probing(0);
    found
}

/// This CPU is inside [`probe`].
#[inline(always)]
pub(crate) fn is_probing() -> bool {
    PROBING.get(0).is_some_and(|&probing| probing != 0)
}

#[inline(always)]
fn set_probing(value: u32) {
    if let Some(probing) = PROBING.get_ptr_mut(0) {
        // SAFETY: this CPU's own slot. Softirqs do not interrupt each other, so nobody else's lookup comes between.
        unsafe { ptr::write_volatile(probing, value) };
    }
}

#[inline(always)]
pub(crate) fn is_denied(address: Words) -> bool {
    DENY.get(&Key::new(128, AlignedAddr(address).as_key().0)).is_some_and(|&value| value == DENIED)
}

#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own slot.
        unsafe { *counter += 1 };
    }
}

/// Lets `update` change this CPU's counters of a port.
#[inline(always)]
pub(crate) fn count_port(port: &Port, update: impl FnOnce(&mut PortCounters)) {
    if let Some(counters) = PORT_STATS.get_ptr_mut(port.counter) {
        // SAFETY: this CPU's own slot, and programs of one hook do not interrupt themselves.
        update(unsafe { &mut *counters });
    }
}
