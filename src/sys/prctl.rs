//! prctl(2) and capset(2).
