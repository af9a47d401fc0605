//! One verb a file, glue only.

pub mod create;
mod facts;
pub mod make;
mod pid_file;
pub mod run;
