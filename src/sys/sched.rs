//! Scheduling, I/O priority, memory policy.
