//! The only access to packet memory.
#![expect(unsafe_code, reason = "packet memory is reached by raw pointers that the verifier checks")]

use core::hint::black_box;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::{TcContext, XdpContext};

/// A piece of a header, fields in network byte order.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding. Alignments up to 4 are fine: headers behind an Ethernet
/// header are aligned so where the CPU cares (`NET_IP_ALIGN`), and there the verifier insists on it.
pub(crate) unsafe trait Header: Copy {}

// SAFETY: two integers. There is none for one: LLVM compares `offset >= end` then, which proves nothing to the
// verifier.
unsafe impl Header for [u8; 2] {}
// SAFETY: four integers.
unsafe impl Header for [u8; 4] {}
// SAFETY: an integer.
unsafe impl Header for u16 {}
// SAFETY: an integer.
unsafe impl Header for u32 {}
// SAFETY: two ports.
unsafe impl Header for [u16; 2] {}
// SAFETY: an array of integers.
unsafe impl<const N: usize> Header for [u32; N] {}

/// Something that headers can be read from in place.
pub(crate) trait Packet {
    /// A header near the start of the packet; `None` beyond its end.
    fn near<T: Header>(&self, offset: usize) -> Option<T>;
}

/// A packet whose bytes can also be copied from any offset, which spares the verifier the proof of it.
pub(crate) trait Copied: Packet {
    fn far<T: Header>(&self, offset: usize) -> Option<T>;
}

/// Offsets beyond this are not followed in linear memory: the verifier wants a bound.
const MAX_OFFSET: usize = 0x3ff;

#[inline(always)]
fn direct<T: Header>(data: usize, end: usize, offset: usize) -> Option<T> {
    if offset > MAX_OFFSET || data + offset + size_of::<T>() > end {
        return None;
    }
    // SAFETY: inside the packet, as compared above; `Header` takes any bits.
    Some(unsafe { *((data + offset) as *const T) })
}

/// A packet at TC ingress, from the link-layer header on.
pub(crate) struct Skb<'a>(pub(crate) &'a TcContext);

impl Skb<'_> {
    #[inline(always)]
    fn raw(&self) -> *mut __sk_buff {
        self.0.skb.skb
    }

    /// Brings the headers into linear memory if a driver left them in pages; whether there is more of it now.
    #[inline(always)]
    pub(crate) fn pull(&self) -> bool {
        const HEADERS: u32 = 128;
        let wanted = self.0.len().min(HEADERS);
        if self.0.data() + wanted as usize <= self.0.data_end() {
            return false;
        }
        // A failure leaves the packet as it was: its headers then read as cut off.
        self.0.pull_data(wanted).is_ok()
    }

    /// The frame was for this station and is not merely overheard.
    #[inline(always)]
    pub(crate) fn is_for_this_host(&self) -> bool {
        const PACKET_OTHERHOST: u32 = 3;
        // SAFETY: the context outlives the program.
        unsafe { (*self.raw()).pkt_type != PACKET_OTHERHOST }
    }

    /// Address of the socket that the packet has been given already, or 0.
    #[inline(always)]
    pub(crate) fn socket(&self) -> usize {
        // SAFETY: the context outlives the program; the union has one meaning, and the verifier knows it.
        black_box(unsafe { (*self.raw()).__bindgen_anon_2.sk } as usize)
    }
}

impl Packet for Skb<'_> {
    #[inline(always)]
    fn near<T: Header>(&self, offset: usize) -> Option<T> {
        direct(self.0.data(), self.0.data_end(), offset)
    }
}

impl Copied for Skb<'_> {
    #[inline(always)]
    fn far<T: Header>(&self, offset: usize) -> Option<T> {
        let mut header = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes all of `header` or fails.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.raw().cast(),
                offset as u32,
                header.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            )
        };
        // SAFETY: written by the helper.
        (result == 0).then(|| unsafe { header.assume_init() })
    }
}

/// A frame as the driver sees it.
pub(crate) struct Frame<'a>(pub(crate) &'a XdpContext);

impl Packet for Frame<'_> {
    #[inline(always)]
    fn near<T: Header>(&self, offset: usize) -> Option<T> {
        direct(self.0.data(), self.0.data_end(), offset)
    }
}
