//! regcomp(3), POSIX extended regular expressions.

use super::cstring;
use crate::error::{Error, Result};
use std::mem::MaybeUninit;

/// A compiled expression.
#[allow(missing_debug_implementations)] // the C library's is opaque
pub struct Regex(libc::regex_t);

impl Regex {
    /// Compiles `text`; an expression that is none is an error with the C library's reason.
    pub fn new(text: &str) -> Result<Self> {
        let pattern = cstring(text)?;
        let mut regex = MaybeUninit::<libc::regex_t>::uninit();
        // SAFETY: the pattern is NUL-terminated; `regex` has room for what regcomp fills in.
        let code = unsafe {
            libc::regcomp(regex.as_mut_ptr(), pattern.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB)
        };
        if code != 0 {
            return Err(Error::new(format_args!("regular expression {text:?}: {}", reason(code, &regex))));
        }
        // SAFETY: regcomp has succeeded and filled it in.
        Ok(Self(unsafe { regex.assume_init() }))
    }

    /// Whether it matches anywhere in `text`, which has no NUL.
    pub fn matches(&self, text: &str) -> Result<bool> {
        let text = cstring(text)?;
        // SAFETY: the expression is compiled, the text is NUL-terminated, and no matches are asked for.
        Ok(unsafe { libc::regexec(&raw const self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) } == 0)
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was compiled, and is not used afterwards.
        unsafe { libc::regfree(&raw mut self.0) };
    }
}

fn reason(code: i32, regex: &MaybeUninit<libc::regex_t>) -> String {
    let mut text = [0_u8; 128];
    // SAFETY: the buffer is as long as said; glibc reads nothing of the expression here.
    unsafe { libc::regerror(code, regex.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
    text.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_anywhere_unless_they_are_tied() {
        for (pattern, text, is_match) in [
            ("web", "my-web-1", true),
            ("^web", "my-web-1", false),
            ("^(a|b)+$", "abba", true),
            ("", "x", true),
        ] {
            assert_eq!(Regex::new(pattern).unwrap().matches(text).unwrap(), is_match, "{pattern}");
        }
        let error = Regex::new("(").err().unwrap().to_string();
        assert!(error.starts_with("regular expression \"(\": "), "{error}");
    }
}
