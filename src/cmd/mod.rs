//! One verb a file, glue only.
