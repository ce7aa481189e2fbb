//! `sk_lookup`: selects the listener when the stack looks for one. Clients of this node and of other namespaces come
//! this way, reassembled fragments, SYNs for a `TIME_WAIT` tuple, and everything on kernels that cannot assign at TC.

use aya_ebpf::programs::SkLookupContext;
use gateway_common::abi::Reason;

use crate::helpers::Sought;
use crate::{Action, maps};

/// No foreign socket, wildcard or not, ever answers on a VIP.
#[inline(always)]
pub(crate) fn try_lookup(ctx: &SkLookupContext) -> Result<Action, Reason> {
    let sought = Sought(ctx);
    let Some(address) = sought.address() else { return Ok(Action::Pass) };
    if maps::vip(address).is_none() {
        return Ok(Action::Pass);
    }
    if maps::is_probing() {
        return Ok(Action::Refuse);
    }
    let port = maps::port(address, sought.port(), sought.protocol()).ok_or(Reason::NoListenerReject)?;
    let selected = maps::select(ctx, port.slot);
    maps::count_port(&port, |counters| match selected {
        Ok(()) => counters.lookup += 1,
        Err(_) => counters.dropped += 1,
    });
    selected.map(|()| Action::Assigned)
}
