//! Control groups, version 1, 2 and hybrid, through cgroupfs.
