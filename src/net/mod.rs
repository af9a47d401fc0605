//! Network devices: loopback in a new network namespace, and `linux.netDevices`.
