//! rtnetlink(7) for network devices.
