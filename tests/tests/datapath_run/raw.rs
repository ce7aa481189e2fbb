//! Frames written to a device as they are, with headers in pages.
#![expect(unsafe_code, reason = "packet sockets and their addresses have no safe interface")]

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd as _;

use anyhow::{Result, ensure};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// Length of `struct virtio_net_hdr`.
const VNET_HEADER: usize = 10;

/// Sends `frame` out of `device` in the caller's namespace. Longer than a page, it travels with `linear` bytes in linear
/// memory and the rest in pages.
pub(crate) fn send(device: &str, frame: &[u8], linear: u16) -> Result<()> {
    ensure!(frame.len() > 4096, "shorter frames are linear");
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let on = 1_i32;
    // SAFETY: the option takes an integer, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_VNET_HDR,
            (&raw const on).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    ensure!(set == 0, "PACKET_VNET_HDR: {}", io::Error::last_os_error());
    let mut bytes = vec![0; VNET_HEADER];
    bytes[2..4].copy_from_slice(&linear.to_ne_bytes());
    bytes.extend_from_slice(frame);
    socket.send_to(&bytes, &address(device)?)?;
    Ok(())
}

fn address(device: &str) -> Result<SockAddr> {
    let name = CString::new(device)?;
    // SAFETY: a string that ends in zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "no device {device}");
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a packet address fits the storage, and zeros are one.
    let link: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = libc::AF_PACKET as libc::sa_family_t;
    link.sll_ifindex = i32::try_from(index)?;
    // SAFETY: written above, and of this length.
    Ok(unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) })
}
