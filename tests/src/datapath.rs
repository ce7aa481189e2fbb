//! The data plane without an agent: the programs with maps of their own, filled by hand and pinned nowhere.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, PerCpuArray, SockMap};
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact};
use aya::programs::{LinkOrder, ProgramInfo, SchedClassifier, SkLookup, TcAttachType, Xdp, XdpMode};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use gateway_agent::datapath::object;
use gateway_common::abi::{Addr, Denied, NoListener, Port, PortCounters, PortKey, Proto, Reason, Vip, names};

/// What the object is told when it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// TC assigns sockets of reuseport groups.
    pub assign: bool,
    /// Level of the programs' log; 0 for none.
    pub log_level: u8,
}

impl Options {
    /// What the running kernel can do, silently.
    pub fn of_this_kernel() -> Self {
        Self {
            assign: KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0)),
            log_level: 0,
        }
    }
}

#[derive(Debug)]
pub struct Datapath {
    ebpf: Ebpf,
}

impl Datapath {
    /// Makes the maps and lets the verifier see all programs.
    pub fn load(options: Options) -> Result<Self> {
        let ebpf = EbpfLoader::new()
            .override_global(names::GLOBAL_ASSIGN_REUSEPORT, &u8::from(options.assign), true)
            .override_global(names::GLOBAL_LOG_LEVEL, &options.log_level, true)
            .load(object::BYTES)
            .context("load the object")?;
        let mut datapath = Self { ebpf };
        datapath.ingress()?.load().context(names::PROGRAM_INGRESS)?;
        datapath.lookup()?.load().context(names::PROGRAM_LOOKUP)?;
        datapath.xdp()?.load().context(names::PROGRAM_XDP)?;
        Ok(datapath)
    }

    pub fn set_vip(&mut self, address: IpAddr, no_listener: NoListener) -> Result<()> {
        let mut vips: HashMap<_, Addr, Vip> = self.map(names::VIPS)?;
        vips.insert(Addr::from_ip(address), Vip::new(1, no_listener), 0).context("insert into VIPS")
    }

    pub fn set_port(&mut self, address: IpAddr, port: u16, proto: Proto, value: Port) -> Result<()> {
        let mut ports: HashMap<_, PortKey, Port> = self.map(names::PORTS)?;
        let key = PortKey::new(Addr::from_ip(address), port, proto);
        ports.insert(key, value, 0).context("insert into PORTS")
    }

    pub fn remove_port(&mut self, address: IpAddr, port: u16, proto: Proto) -> Result<()> {
        let mut ports: HashMap<_, PortKey, Port> = self.map(names::PORTS)?;
        ports.remove(&PortKey::new(Addr::from_ip(address), port, proto)).context("remove from PORTS")
    }

    /// Puts one member of a reuseport group into a slot.
    pub fn set_socket(&mut self, slot: u32, socket: &impl AsRawFd) -> Result<()> {
        let mut sockets: SockMap<_> = self.map(names::SOCKS)?;
        sockets.set(slot, socket, 0).context("set in SOCKS")
    }

    /// Puts a prefix into the deny list with a value of `abi`.
    pub fn deny(&mut self, address: IpAddr, prefix: u32, value: Denied) -> Result<()> {
        let mut deny: LpmTrie<_, [u8; 16], Denied> = self.map(names::DENY)?;
        let prefix = if address.is_ipv4() { prefix + 96 } else { prefix };
        deny.insert(&Key::new(prefix, Addr::from_ip(address).0), value, 0).context("insert into DENY")
    }

    /// The reasons that were counted, over all CPUs.
    pub fn reasons(&mut self) -> Result<BTreeMap<Reason, u64>> {
        let reasons: PerCpuArray<_, u64> = self.map(names::REASONS)?;
        let mut counted = BTreeMap::new();
        for reason in Reason::ALL {
            let count: u64 = reasons.get(&(reason as u32), 0)?.iter().sum();
            if count > 0 {
                counted.insert(reason, count);
            }
        }
        Ok(counted)
    }

    /// The counters at an index, over all CPUs.
    pub fn counters(&mut self, index: u32) -> Result<PortCounters> {
        let counters: PerCpuArray<_, PortCounters> = self.map(names::PORT_STATS)?;
        Ok(PortCounters::sum(counters.get(&index, 0)?.iter()))
    }

    pub fn ingress(&mut self) -> Result<&mut SchedClassifier> {
        Ok(self.program(names::PROGRAM_INGRESS)?.try_into()?)
    }

    pub fn lookup(&mut self) -> Result<&mut SkLookup> {
        Ok(self.program(names::PROGRAM_LOOKUP)?.try_into()?)
    }

    pub fn xdp(&mut self) -> Result<&mut Xdp> {
        Ok(self.program(names::PROGRAM_XDP)?.try_into()?)
    }

    /// Attaches TC ingress in the caller's namespace: by TCX where the kernel has it, or by netlink.
    pub fn attach_ingress(&mut self, device: &str, tcx: bool) -> Result<()> {
        let options = if tcx {
            TcAttachOptions::TcxOrder(LinkOrder::first())
        } else {
            qdisc_add_clsact(device).with_context(|| format!("add clsact to {device}"))?;
            TcAttachOptions::Netlink(NlOptions::default())
        };
        let attached = self.ingress()?.attach_with_options(device, TcAttachType::Ingress, options);
        attached.map(drop).with_context(|| format!("attach {} to {device}", names::PROGRAM_INGRESS))
    }

    /// Attaches `sk_lookup` to a network namespace.
    pub fn attach_lookup(&mut self, netns: impl AsFd) -> Result<()> {
        let attached = self.lookup()?.attach(netns);
        attached.map(drop).with_context(|| format!("attach {}", names::PROGRAM_LOOKUP))
    }

    /// Attaches XDP in the caller's namespace.
    pub fn attach_xdp(&mut self, device: &str, mode: XdpMode) -> Result<()> {
        let attached = self.xdp()?.attach(device, mode);
        attached.map(drop).with_context(|| format!("attach {} to {device}", names::PROGRAM_XDP))
    }

    /// What the kernel knows of a program.
    pub fn info(&mut self, name: &str) -> Result<ProgramInfo> {
        Ok(self.program(name)?.info()?)
    }

    fn program(&mut self, name: &str) -> Result<&mut aya::programs::Program> {
        self.ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))
    }

    fn map<'a, M>(&'a mut self, name: &str) -> Result<M>
    where
        M: TryFrom<&'a mut aya::maps::Map>,
        M::Error: std::error::Error + Send + Sync + 'static,
    {
        let map = self.ebpf.map_mut(name).with_context(|| format!("the object has no map {name}"))?;
        M::try_from(map).with_context(|| format!("open {name}"))
    }
}
