//! clone3(2) and what a new process must do first.
