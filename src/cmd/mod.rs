//! One verb a file, glue only.

pub mod create;
mod facts;
mod hooks;
pub mod make;
mod pid_file;
pub mod run;
pub mod start;
