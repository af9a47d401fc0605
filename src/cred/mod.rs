//! Identity: ids, capabilities, limits, scheduling.
