//! What is written into a group, as data.

use std::fmt;

/// Which kind of hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller, cgroups(7) "cgroups version 1".
    V1,
    /// The unified hierarchy.
    V2,
}

/// One value for one file, written by one write(2) per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Name of the file in the group's directory.
    pub file: String,
    /// The value; several lines are several writes.
    pub value: String,
    /// What to do where the file does not exist.
    pub missing: Missing,
}

/// What a missing file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The value cannot be had: an error.
    Error,
    /// The value says "no limit", or nothing depends on it: nothing to do.
    Fine,
    /// Another file has the same meaning on this kernel: its name and the value in its terms.
    Instead(String, String),
}

/// A step of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// One file.
    One(Write),
    /// Files whose values the kernel checks against each other (memory and memory+swap, quota and burst): which order it
    /// takes depends on the values that are there, so what it refuses with EINVAL is tried again after the others.
    Together(Vec<Write>),
}

impl Write {
    /// A value that must be written.
    #[allow(clippy::needless_pass_by_value)] // numbers, texts and format_args! alike
    pub fn new(file: impl Into<String>, value: impl fmt::Display) -> Self {
        Self { file: file.into(), value: value.to_string(), missing: Missing::Error }
    }

    /// A value that means nothing where the file is missing.
    pub fn optional(file: impl Into<String>, value: impl fmt::Display) -> Self {
        Self { missing: Missing::Fine, ..Self::new(file, value) }
    }

    /// The same meaning in another file, where this one is missing.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)]
    pub fn or(mut self, file: impl Into<String>, value: impl fmt::Display) -> Self {
        self.missing = Missing::Instead(file.into(), value.to_string());
        self
    }

    /// Whether the container cannot be had without it.
    pub fn is_needed(&self) -> bool {
        self.missing != Missing::Fine
    }
}

impl Op {
    /// The writes of the step.
    pub fn writes(&self) -> &[Write] {
        match self {
            Self::One(write) => std::slice::from_ref(write),
            Self::Together(writes) => writes,
        }
    }

    /// One step from any number of writes.
    pub fn together(writes: Vec<Write>) -> Option<Self> {
        match writes.len() {
            0 => None,
            1 => writes.into_iter().next().map(Self::One),
            _ => Some(Self::Together(writes)),
        }
    }
}

impl From<Write> for Op {
    fn from(write: Write) -> Self {
        Self::One(write)
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.file, self.value)?;
        match &self.missing {
            Missing::Error => Ok(()),
            Missing::Fine => f.write_str(" (if there)"),
            Missing::Instead(file, value) => write!(f, " (else {file} = {value})"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, write) in self.writes().iter().enumerate() {
            let separator = if index == 0 { "" } else { " + " };
            write!(f, "{separator}{write}")?;
        }
        Ok(())
    }
}
