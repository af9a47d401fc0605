//! Which file execve gets. Runs in init, as the container's user, in the container.

use crate::error::{Error, Result};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    sys::stat::fstatat,
    unistd::{AccessFlags, faccessat},
};
use std::path::Path;

/// Where programs are looked for when `process.env` has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of `program` by the rules of execvp(3): as it is where it has a slash, else the first executable file in
/// the PATH of `env`. Files are looked at and not opened. The error texts are those that engines turn into exit codes
/// 126 and 127.
pub fn find(program: &str, env: &[String]) -> Result<String> {
    if program.contains('/') {
        return match executable(program) {
            Ok(()) => Ok(program.to_owned()),
            Err(Errno::EISDIR) => Err(is_directory(program)),
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG)) => {
                Err(Error::new(format_args!("exec: {program:?}: stat {program}: {}", words(errno)))
                    .hint("the path is looked up in the container: check process.args and the image"))
            }
            Err(Errno::EACCES) => Err(denied(program, program)),
            Err(errno) => Err(Error::new(format_args!("exec: {program:?}: {}", words(errno)))),
        };
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
    let path = path.unwrap_or(DEFAULT_PATH);
    let mut refused = None;
    // No file has an empty name, though every directory would answer to it.
    let directories = path.split(':').filter(|_| !program.is_empty());
    for candidate in directories.map(|directory| join(directory, program)) {
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => {
                refused.get_or_insert(candidate);
            }
            // What the image can bring about is no program here. Anything else might hide one, and then another one would run.
            Err(
                Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::EISDIR
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
                | Errno::ENODEV
                | Errno::ESTALE
                | Errno::ETIMEDOUT,
            ) => {}
            Err(errno) => {
                return Err(Error::new(format_args!(
                    "exec: {program:?}: stat {candidate}: {}",
                    words(errno)
                )));
            }
        }
    }
    match refused {
        Some(file) => Err(denied(program, &file)),
        None => Err(Error::new(format_args!(
            "exec: {program:?}: executable file not found in $PATH (looked in {path})"
        ))
        .hint("check process.args, PATH in process.env, and what the image contains")),
    }
}

/// An empty PATH entry is the working directory.
fn join(directory: &str, program: &str) -> String {
    match directory {
        "" => format!("./{program}"),
        _ => format!("{}/{program}", directory.trim_end_matches('/')),
    }
}

/// Whether the caller, with its effective ids and capabilities, may execute this file.
fn executable(path: &str) -> Result<(), Errno> {
    let stat = fstatat(AT_FDCWD, path, AtFlags::empty())?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno::EACCES);
    }
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

fn is_directory(program: &str) -> Error {
    Error::new(format_args!("exec: {program:?}: is a directory: permission denied"))
}

fn denied(program: &str, file: &str) -> Error {
    let error = Error::new(format_args!("exec: {program:?}: {file}: permission denied"));
    if is_noexec(Path::new(file)) {
        return error.hint("the file is on a mount with the option noexec");
    }
    error.hint("the file has to be a regular one that process.user may execute (chmod +x)")
}

/// The meaning of an errno in the lower-case words that engines look for.
pub(super) fn words(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

/// Whether the file is on a mount with the option noexec.
pub(super) fn is_noexec(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path)
        .is_ok_and(|fs| fs.flags().contains(nix::sys::statvfs::FsFlags::ST_NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::scratch::{Dir, child};
    use nix::{
        mount::{MsFlags, mount},
        sched::CloneFlags,
    };
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_program_is_found_or_the_error_is_what_engines_know() {
        let root = Dir::new("lookup");
        for (path, mode) in [("a/tool", 0o644), ("b/tool", 0o755), ("a/only", 0o644), ("a/late", 0o755)] {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir_all(root.join("a/directory")).unwrap();
        let r = root.display().to_string();
        let path = format!("PATH={r}/none:{r}/a/:{r}/b");
        let env = ["PATH=/nowhere".to_owned(), path.clone()];
        let cases = [
            ("tool", Ok(format!("{r}/b/tool"))),
            ("late", Ok(format!("{r}/a/late"))),
            (&*format!("{r}/a/late"), Ok(format!("{r}/a/late"))),
            ("only", Err(format!("exec: \"only\": {r}/a/only: permission denied"))),
            (
                "gone",
                Err(format!("exec: \"gone\": executable file not found in $PATH (looked in {})", &path[5..])),
            ),
            ("", Err(format!("exec: \"\": executable file not found in $PATH (looked in {})", &path[5..]))),
            ("/nope", Err("exec: \"/nope\": stat /nope: no such file or directory".to_owned())),
            ("/dev/null/x", Err("exec: \"/dev/null/x\": stat /dev/null/x: not a directory".to_owned())),
            ("/dev/null", Err("exec: \"/dev/null\": /dev/null: permission denied".to_owned())),
            (&*format!("{r}/a"), Err(format!("exec: \"{r}/a\": is a directory: permission denied"))),
        ];
        for (program, expected) in cases {
            assert_eq!(find(program, &env).map_err(|error| error.to_string()), expected, "{program}");
        }
        assert_eq!(find("sh", &[]).unwrap().rsplit('/').next(), Some("sh"));
    }

    /// As the final user, on a mount that forbids execution.
    #[test]
    fn permission_is_that_of_the_caller_and_of_the_mount() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let root = Dir::new("noexec");
        let path = |name: &str| root.join(name).display().to_string();
        let mut child = child(CloneFlags::CLONE_NEWNS, || {
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            mount(none, &*root, Some("tmpfs"), MsFlags::empty(), none)?;
            for (name, mode) in [("private", 0o700), ("public", 0o755)] {
                fs::write(root.join(name), "")?;
                fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode))?;
            }
            let id = 1000.into();
            let seen = |program: &str| find(&path(program), &[]).unwrap_err();
            nix::unistd::setresuid(id, id, 0.into())?;
            let private = seen("private");
            let public = find(&path("public"), &[])?;
            nix::unistd::setresuid(0.into(), 0.into(), 0.into())?;
            mount(none, &*root, none, MsFlags::MS_REMOUNT | MsFlags::MS_NOEXEC, none)?;
            let refused = seen("public");
            Ok([private.to_string(), public, refused.to_string(), refused.remedy().unwrap().to_owned()]
                .join("|"))
        });
        let expected = format!(
            "exec: \"{0}\": {0}: permission denied|{1}|exec: \"{1}\": {1}: permission denied|{2}",
            path("private"),
            path("public"),
            "the file is on a mount with the option noexec"
        );
        assert_eq!(child.report(), expected);
    }
}
