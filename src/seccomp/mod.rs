//! The seccomp profile becomes a BPF program.
