//! The eBPF programs of Gatehouse, one entry per hook. Each asks its `try_*` for a decision and turns it into the
//! hook's verdict; a drop is counted here and nowhere else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod global;
mod helpers;
mod ingress;
mod lookup;
mod maps;
mod packet;
mod parse;
mod xdp;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, sk_action, xdp_action};
use aya_ebpf::macros::{classifier, sk_lookup, xdp};
use aya_ebpf::programs::{SkLookupContext, TcContext, XdpContext};
use aya_log_ebpf::{debug, trace};

/// What a program does with a packet that it does not drop.
#[derive(Clone, Copy)]
enum Action {
    /// Leaves it to whoever comes next.
    Pass,
    /// Gave it the socket that will receive it.
    Assigned,
    /// Answers a question of our own with no.
    Refuse,
}

/// `TC_ACT_UNSPEC` is `TCX_NEXT`: under TCX and under clsact alike the programs behind ours still run.
#[classifier]
fn gh_ingress(ctx: TcContext) -> i32 {
    match ingress::try_ingress(&ctx) {
        Ok(Action::Pass | Action::Refuse) => TC_ACT_UNSPEC,
        Ok(Action::Assigned) => {
            trace!(&ctx, "ingress: assigned");
            TC_ACT_UNSPEC
        }
        Err(reason) => {
            maps::count(reason);
            debug!(&ctx, "ingress: dropped, reason {}", reason as u32);
            TC_ACT_SHOT
        }
    }
}

/// `SK_DROP` makes the stack answer with a RST or port unreachable.
#[sk_lookup]
fn gh_lookup(ctx: SkLookupContext) -> u32 {
    match lookup::try_lookup(&ctx) {
        Ok(Action::Pass) => sk_action::SK_PASS,
        Ok(Action::Refuse) => sk_action::SK_DROP,
        Ok(Action::Assigned) => {
            trace!(&ctx, "lookup: selected");
            sk_action::SK_PASS
        }
        Err(reason) => {
            maps::count(reason);
            debug!(&ctx, "lookup: rejected, reason {}", reason as u32);
            sk_action::SK_DROP
        }
    }
}

#[xdp]
fn gh_xdp(ctx: XdpContext) -> u32 {
    match xdp::try_xdp(&ctx) {
        Ok(Action::Pass | Action::Assigned | Action::Refuse) => xdp_action::XDP_PASS,
        Err(reason) => {
            maps::count(reason);
            debug!(&ctx, "xdp: dropped, reason {}", reason as u32);
            xdp_action::XDP_DROP
        }
    }
}

/// `bpf_sk_assign` and the sockmap need a GPL-compatible program.
#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the kernel finds the section by its name")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The host build exists for lints and unit tests.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
