//! Terminals: console hand-over and the foreground relay.
