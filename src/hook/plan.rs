//! From a hook's configuration to what is executed. Pure.

use crate::{
    error::{Context, Error, Result},
    spec::config::Hook,
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
    time::Duration,
};

/// One hook in the form that is executed.
#[derive(Debug)]
pub struct Program {
    /// Where config.json says it: `hooks.prestart[0]`.
    pub json_path: String,
    /// The file, executed as it is: it may be a magic link such as `/proc/PID/exe`, which no lookup may replace.
    pub path: CString,
    /// Its arguments, argv[0] included.
    pub argv: Vec<CString>,
    /// Its whole environment; empty means empty.
    pub env: Vec<CString>,
    /// When it is killed and counts as failed.
    pub timeout: Option<Duration>,
    /// The file, if [`super::open_all`] has opened it beforehand.
    pub executable: Option<OwnedFd>,
}

/// What to execute for each hook of a list.
pub fn plan(hooks: &[Hook]) -> Result<Vec<Program>> {
    hooks.iter().map(|hook| program(hook).with_context(|| hook.json_path.clone())).collect()
}

fn program(hook: &Hook) -> Result<Program> {
    let path = text(hook.path.as_os_str().as_bytes())?;
    let argv = if hook.args.is_empty() { vec![path.clone()] } else { texts(&hook.args)? };
    Ok(Program {
        json_path: hook.json_path.clone(),
        path,
        argv,
        env: texts(&hook.env)?,
        timeout: hook.timeout,
        executable: None,
    })
}

fn texts(texts: &[String]) -> Result<Vec<CString>> {
    texts.iter().map(|t| text(t.as_bytes())).collect()
}

fn text(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| Error::new(format_args!("{:?} contains a NUL byte", String::from_utf8_lossy(bytes))))
}

/// Where the output of hooks goes instead of nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirection {
    /// The file that standard output is appended to.
    pub stdout: Option<PathBuf>,
    /// The file that standard error is appended to.
    pub stderr: Option<PathBuf>,
}

/// Reads crun's annotations `run.oci.hooks.stdout` and `run.oci.hooks.stderr` (crun(1)).
pub fn redirection(annotations: &BTreeMap<String, String>) -> Redirection {
    let file = |name| annotations.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    Redirection { stdout: file("run.oci.hooks.stdout"), stderr: file("run.oci.hooks.stderr") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(args: &[&str], env: &[&str]) -> Hook {
        Hook {
            json_path: "hooks.poststop[1]".into(),
            path: "/proc/1/exe".into(),
            args: args.iter().map(ToString::to_string).collect(),
            env: env.iter().map(ToString::to_string).collect(),
            timeout: None,
        }
    }

    #[test]
    fn arguments_default_to_the_path_and_are_else_taken_whole() {
        let programs = plan(&[hook(&[], &[]), hook(&["setkey", "-x"], &["A=b"])]).unwrap();
        assert_eq!(programs[0].argv, [c"/proc/1/exe".to_owned()]);
        assert!(programs[0].env.is_empty());
        assert_eq!(programs[1].argv, [c"setkey".to_owned(), c"-x".to_owned()]);
        assert_eq!(programs[1].env, [c"A=b".to_owned()]);
        assert_eq!(programs[1].path, c"/proc/1/exe".to_owned());
    }

    #[test]
    fn a_text_the_kernel_cannot_take_is_an_error_with_its_place() {
        let error = plan(&[hook(&["a\0b"], &[])]).unwrap_err().to_string();
        assert!(error.starts_with("hooks.poststop[1]: "), "{error}");
    }

    #[test]
    fn output_is_redirected_by_annotation_only() {
        let annotation = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(redirection(&annotation("run.oci.hooks", "/a")), Redirection::default());
        assert_eq!(redirection(&annotation("run.oci.hooks.stdout", "")), Redirection::default());
        let found = redirection(&annotation("run.oci.hooks.stderr", "/log"));
        assert_eq!(found, Redirection { stdout: None, stderr: Some("/log".into()) });
    }
}
