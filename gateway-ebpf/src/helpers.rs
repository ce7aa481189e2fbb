//! Safe faces of the kernel's socket helpers.
#![expect(unsafe_code, reason = "helpers are C functions")]

use core::ptr::{self, NonNull};

use aya_ebpf::bindings::{BPF_TCP_LISTEN, bpf_sk_lookup, bpf_sock};
use aya_ebpf::helpers::{bpf_sk_assign, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::{SkLookupContext, TcContext};

use gateway_common::abi::Proto;

use crate::parse::{Family, Words, mapped};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// A referenced socket. Every way out of a program must drop it, or the verifier refuses the program.
pub(crate) struct Socket(NonNull<bpf_sock>);

impl Socket {
    /// # Safety
    /// `socket` is null or carries a reference that nobody else releases.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(socket: *mut bpf_sock) -> Option<Self> {
        NonNull::new(socket).map(Self)
    }

    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Whether packets of this kind are the socket's to take. The kernel does not ask at TC ingress.
    #[inline(always)]
    pub(crate) fn takes(&self, family: Family, proto: Proto) -> bool {
        let family = match family {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        };
        // SAFETY: referenced, so alive.
        let socket = unsafe { self.0.as_ref() };
        socket.family == family && socket.protocol == proto as u32
    }

    #[inline(always)]
    fn listens(&self) -> bool {
        // SAFETY: referenced, so alive; the verifier turns the access into one of the kernel's own field.
        unsafe { self.0.as_ref().state == BPF_TCP_LISTEN }
    }

    /// Makes the stack deliver the packet to this socket. The error is an errno.
    #[inline(always)]
    pub(crate) fn assign(&self, ctx: &TcContext) -> Result<(), i64> {
        // SAFETY: both pointers are live.
        match unsafe { bpf_sk_assign(ctx.skb.skb.cast(), self.0.as_ptr().cast(), 0) } {
            0 => Ok(()),
            errno => Err(errno),
        }
    }
}

impl Drop for Socket {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: `from_raw` took over the reference.
        unsafe { bpf_sk_release(self.0.as_ptr().cast()) };
    }
}

/// What the stack looks for.
pub(crate) struct Sought<'a>(pub(crate) &'a SkLookupContext);

impl Sought<'_> {
    #[inline(always)]
    fn raw(&self) -> &bpf_sk_lookup {
        // SAFETY: the context outlives the program.
        unsafe { &*self.0.lookup }
    }

    /// Reads both families' fields in any case: LLVM would join the two branches' loads into one at a computed offset
    /// of the context, which the verifier refuses.
    #[inline(always)]
    pub(crate) fn address(&self) -> Option<Words> {
        let sought = self.raw();
        // SAFETY: fields of a live context.
        let (v4, v6) =
            unsafe { (ptr::read_volatile(&sought.local_ip4), ptr::read_volatile(&sought.local_ip6)) };
        match sought.family {
            AF_INET => Some(mapped(v4)),
            AF_INET6 => Some(v6),
            _ => None,
        }
    }

    /// In network byte order.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        (self.raw().local_port as u16).to_be()
    }

    #[inline(always)]
    pub(crate) fn protocol(&self) -> u8 {
        self.raw().protocol as u8
    }
}

/// `bpf_sock_tuple` for IPv4.
#[repr(C)]
pub(crate) struct TupleV4 {
    /// Source and destination.
    pub(crate) addresses: [u32; 2],
    pub(crate) ports: [u16; 2],
}

/// `bpf_sock_tuple` for IPv6.
#[repr(C)]
pub(crate) struct TupleV6 {
    /// Source and destination.
    pub(crate) addresses: [u32; 8],
    pub(crate) ports: [u16; 2],
}

pub(crate) trait Tuple {}
impl Tuple for TupleV4 {}
impl Tuple for TupleV6 {}

const _: () = assert!(size_of::<TupleV4>() == 12);
const _: () = assert!(size_of::<TupleV6>() == 36);

/// The TCP socket of this very connection, in whatever state, but no listener.
#[inline(always)]
pub(crate) fn connection<T: Tuple>(ctx: &TcContext, mut tuple: T) -> Option<Socket> {
    const CURRENT_NETNS: u64 = u64::MAX;
    // SAFETY: `Tuple` is implemented for the two layouts of `bpf_sock_tuple`, which the kernel tells apart by size.
    let socket = unsafe {
        Socket::from_raw(
            bpf_skc_lookup_tcp(
                ctx.skb.skb.cast(),
                ptr::from_mut(&mut tuple).cast(),
                size_of::<T>() as u32,
                CURRENT_NETNS,
                0,
            )
            .cast(),
        )
    };
    socket.filter(|socket| !socket.listens())
}
