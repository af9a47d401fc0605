//! Intel RDT (resctrl): cache and memory bandwidth.
