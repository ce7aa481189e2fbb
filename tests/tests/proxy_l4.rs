//! The proxy over real sockets: connections and datagrams that it does not look into, and what it tells about them.

#[cfg(test)]
#[path = "proxy_l4/admin.rs"]
mod admin;
#[cfg(test)]
#[path = "proxy_l4/bed.rs"]
mod bed;
#[cfg(test)]
#[path = "proxy_l4/passthrough.rs"]
mod passthrough;
#[cfg(test)]
#[path = "proxy_l4/proxy_header.rs"]
mod proxy_header;
#[cfg(test)]
#[path = "proxy_l4/tcp.rs"]
mod tcp;
#[cfg(test)]
#[path = "proxy_l4/udp.rs"]
mod udp;
