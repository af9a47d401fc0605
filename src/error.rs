//! The one error type: a sentence built from the inside out, an errno, a remedy.
//!
//! A failure has to cross two process boundaries (assembler and init report to the runtime, a created init reports to
//! `start`), so an error is plain data that can be written and read back whole.

use std::fmt;

/// Result of anything in urun that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may branch on; everything else about an error is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// No caller needs to tell it apart.
    #[default]
    Other,
    /// There is no container with this id.
    NoContainer,
    /// There is a container with this id already.
    Exists,
    /// The container's process has ended.
    NotRunning,
    /// Somebody else uses the control group.
    GroupInUse,
}

/// A failed step: what was being done, to which object, why, and what would help.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Inner {
    kind: Kind,
    /// Outermost step first; the last element is the cause.
    chain: Vec<String>,
    errno: Option<i32>,
    hint: Option<String>,
}

impl Error {
    /// An error with `cause` as its whole sentence.
    pub fn new(cause: impl fmt::Display) -> Self {
        Self(Box::new(Inner { chain: vec![cause.to_string()], ..Inner::default() }))
    }

    /// A failed system call: `call` with its operands as strace prints them, then the meaning of `errno`.
    pub fn syscall(call: impl fmt::Display, errno: i32) -> Self {
        let name = nix::errno::Errno::from_raw(errno);
        let mut error = Self::new(format_args!("{call}: {} ({name:?})", name.desc()));
        error.0.errno = Some(errno);
        error
    }

    /// Puts an outer step in front of the sentence.
    #[must_use]
    pub fn context(mut self, step: impl fmt::Display) -> Self {
        self.0.chain.insert(0, step.to_string());
        self
    }

    /// Adds the remedy, unless a more precise one is there already.
    #[must_use]
    pub fn hint(mut self, remedy: impl fmt::Display) -> Self {
        self.0.hint.get_or_insert_with(|| remedy.to_string());
        self
    }

    /// Adds a failure that followed, behind the cause: of a clean-up for instance.
    #[must_use]
    pub fn also(mut self, other: &Self) -> Self {
        if let Some(cause) = self.0.chain.last_mut() {
            *cause = format!("{cause}; then {other}");
        }
        self
    }

    /// Marks the error as one that callers branch on.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What a caller may branch on.
    pub fn is(&self, kind: Kind) -> bool {
        self.0.kind == kind
    }

    /// The errno of the failed system call, where there was one.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// The remedy, where one is known.
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The error as bytes for a socket; [`Error::decode`] reads them back.
    pub fn encode(&self) -> Vec<u8> {
        let inner = &self.0;
        let value = serde_json::json!([inner.chain, inner.errno, inner.hint]);
        value.to_string().into_bytes()
    }

    /// Reads what [`Error::encode`] wrote; bytes that are not an error become the text of one.
    pub fn decode(bytes: &[u8]) -> Self {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let chain: Vec<String> =
            value[0].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        if chain.is_empty() {
            return Self::new(format_args!("unreadable failure report: {}", String::from_utf8_lossy(bytes)));
        }
        let errno = value[1].as_i64().and_then(|n| i32::try_from(n).ok());
        let hint = value[2].as_str().map(str::to_owned);
        Self(Box::new(Inner { kind: Kind::Other, chain, errno, hint }))
    }
}

impl fmt::Display for Error {
    /// The sentence on one line; the remedy is not part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.chain.join(": "))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => {
                let name = nix::errno::Errno::from_raw(errno);
                let mut out = Self::new(format_args!("{} ({name:?})", name.desc()));
                out.0.errno = Some(errno);
                out
            }
            None => Self::new(error),
        }
    }
}

impl From<nix::errno::Errno> for Error {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::from(std::io::Error::from_raw_os_error(errno as i32))
    }
}

/// Adds steps and remedies to the error of a result.
pub trait Context<T> {
    /// Puts an outer step in front of the sentence.
    fn context(self, step: impl fmt::Display) -> Result<T>;
    /// As [`Context::context`], with the text built only on failure.
    fn with_context<D: fmt::Display>(self, step: impl FnOnce() -> D) -> Result<T>;
    /// Adds the remedy.
    fn hint(self, remedy: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, step: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(step))
    }

    fn with_context<D: fmt::Display>(self, step: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().context(step()))
    }

    fn hint(self, remedy: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().hint(remedy))
    }
}

/// Returns early with an error built from a format string.
#[macro_export]
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::error::Error::new(format_args!($($arg)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_a_socket_whole() {
        let error = Error::syscall("mount(\"a\")", 1).context("mount a on /b").hint("be root");
        assert_eq!(Error::decode(&error.encode()), error);
        assert_eq!(error.to_string(), "mount a on /b: mount(\"a\"): Operation not permitted (EPERM)");
    }

    #[test]
    fn garbage_is_still_an_error() {
        assert!(Error::decode(b"\xff[").to_string().starts_with("unreadable failure report"));
    }
}
