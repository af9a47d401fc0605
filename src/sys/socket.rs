//! Local sockets that carry descriptors.
