//! Static programs packed as OCI archives, without a container engine.
