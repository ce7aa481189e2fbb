//! The proxy of one node. It serves connections on sockets that the agent opened, by one immutable snapshot at a time.
