//! Reads the BPF filters at the ingress of devices: TC programs that no link holds.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]

use futures_util::TryStreamExt;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};
use rtnetlink::Handle;

use super::Error;

/// Ids of the programs at the ingress of a device, in the order in which they run.
pub(super) async fn list(handle: &Handle, index: u32) -> Result<Vec<u32>, Error> {
    let Ok(index) = i32::try_from(index) else { return Ok(Vec::new()) };
    let mut filters = handle.traffic_filter(index).get().ingress().execute();
    let failed = |source| Error::List { what: "filters", source };
    let mut found = Vec::new();
    while let Some(filter) = filters.try_next().await.map_err(failed)? {
        let priority = filter.header.info >> 16;
        found.extend(program_of(&filter).map(|id| (priority, id)));
    }
    found.sort_by_key(|(priority, _)| *priority);
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

fn program_of(filter: &TcMessage) -> Option<u32> {
    filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
            _ => None,
        }),
        _ => None,
    })
}
