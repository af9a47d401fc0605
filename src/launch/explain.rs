//! Why execve refused a file, as far as the file tells. Runs in init, as the container's user, in the container.

use super::lookup::{is_noexec, words};
use crate::{
    error::{Error, Result},
    mount::root::Rootfs,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    sys::stat::fstatat,
};
use std::{io::Read, path::Path};

/// How much of a program is read: a page, where headers and `#!` lines are.
const HEAD: u64 = 4096;

/// The error of a failed execve of `path`, with the reason where the file tells it.
pub fn explain_execve(errno: i32, path: &str) -> Error {
    let errno = Errno::from_raw(errno);
    let error =
        |reason: &str| Error::new(format_args!("exec: {path:?}: {reason}{} ({errno:?})", words(errno)));
    match errno {
        Errno::ENOENT => match interpreter(&head(path)) {
            Some(Interpreter::Script(line)) if line.ends_with('\r') => {
                error(&format!("interpreter {line:?} in its first line: "))
                    .hint("the script has Windows line endings, a carriage return before each line feed: run dos2unix on it")
            }
            Some(Interpreter::Script(line)) if is_missing(&line) => {
                error(&format!("interpreter {line:?} in its first line: "))
                    .hint("install the interpreter in the image or correct the #! line")
            }
            Some(Interpreter::Elf(loader)) if is_missing(&loader) => {
                error(&format!("its dynamic loader {loader:?}: ")).hint(
                    "the program was linked against another C library than the image has (glibc or musl): build it \
                     statically or for this image",
                )
            }
            _ => error(""),
        },
        Errno::ENOEXEC => error("").hint(format_of(&head(path))),
        Errno::EACCES if is_noexec(Path::new(path)) => {
            error("").hint("the file is on a mount with the option noexec")
        }
        Errno::EACCES | Errno::EPERM => {
            error("").hint("check the mode of the file and of its interpreter, and the AppArmor or SELinux log")
        }
        Errno::E2BIG => error("").hint("process.args and process.env together are larger than the kernel takes"),
        Errno::ETXTBSY => error("").hint("another process has the file open for writing"),
        _ => error(""),
    }
}

fn is_missing(path: &str) -> bool {
    matches!(fstatat(AT_FDCWD, path, AtFlags::empty()), Err(Errno::ENOENT | Errno::ENOTDIR))
}

/// The first bytes of a regular file; none where they cannot be had, which leaves the error without a reason.
fn head(path: &str) -> Vec<u8> {
    read_head(path).unwrap_or_default()
}

fn read_head(path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(file) = Rootfs::own()?.open_file(&std::path::absolute(path)?)? else { return Ok(bytes) };
    file.take(HEAD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The other file that a program needs to run.
#[derive(Debug, PartialEq, Eq)]
enum Interpreter {
    /// from a `#!` line
    Script(String),
    /// from `PT_INTERP`
    Elf(String),
}

fn interpreter(head: &[u8]) -> Option<Interpreter> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let text = String::from_utf8_lossy(line);
        let program = text.trim_start_matches([' ', '\t']).split([' ', '\t']).next()?;
        return Some(Interpreter::Script(program.to_owned()));
    }
    elf_loader(head).map(Interpreter::Elf)
}

/// `PT_INTERP` of elf(5).
const PT_INTERP: u64 = 3;

/// The dynamic loader of an ELF file, where its name is within `head`. Both classes and both byte orders.
fn elf_loader(head: &[u8]) -> Option<String> {
    let elf = Elf::parse(head)?;
    let wide = elf.wide;
    let (table, entry, count) = if wide {
        (elf.number(32, 8)?, elf.number(54, 2)?, elf.number(56, 2)?)
    } else {
        (elf.number(28, 4)?, elf.number(42, 2)?, elf.number(44, 2)?)
    };
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * entry)?).ok()?;
        if elf.number(at, 4)? != PT_INTERP {
            continue;
        }
        let (offset, size) = if wide {
            (elf.number(at + 8, 8)?, elf.number(at + 32, 8)?)
        } else {
            (elf.number(at + 4, 4)?, elf.number(at + 16, 4)?)
        };
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        let name = head.get(start..end)?.split(|byte| *byte == 0).next()?;
        return String::from_utf8(name.to_vec()).ok();
    }
    None
}

/// An ELF header, elf(5).
struct Elf<'a> {
    bytes: &'a [u8],
    wide: bool,
    big: bool,
}

impl<'a> Elf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"\x7fELF")?;
        Some(Self { bytes, wide: *rest.first()? == 2, big: *rest.get(1)? == 2 })
    }

    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let field = self.bytes.get(at..at.checked_add(width)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.big { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) })
    }
}

/// Why a file is no program for this machine.
fn format_of(head: &[u8]) -> String {
    if head.is_empty() {
        return "the file is empty".to_owned();
    }
    let Some(elf) = Elf::parse(head) else {
        return "the file is neither an ELF program nor a script with a #! line".to_owned();
    };
    let machine = elf.number(18, 2).unwrap_or_default();
    let name =
        MACHINES.iter().find(|(number, _)| *number == machine).map_or("another machine", |(_, name)| *name);
    if name == std::env::consts::ARCH {
        return format!("the file is a damaged or unsupported program for {name}");
    }
    format!(
        "the program is for {name} and this machine is {}: use an image for this platform, or register qemu-user with \
         binfmt_misc",
        std::env::consts::ARCH
    )
}

/// `e_machine` of elf(5) and the names that Rust gives the same machines.
const MACHINES: &[(u64, &str)] = &[
    (3, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn elf(machine: u16, loader: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[6] = 1;
        bytes[16] = 2;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 3;
        bytes[64 + 8] = 120;
        bytes[64 + 32] = u8::try_from(loader.len() + 1).unwrap();
        bytes.extend(loader.as_bytes());
        bytes.push(0);
        bytes
    }

    /// What the kernel itself says about the file, explained.
    fn verdict(name: &str, content: &[u8]) -> Error {
        let dir = crate::sys::scratch::Dir::new(name);
        let path = dir.join("program");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let run = || std::process::Command::new(&path).spawn().unwrap_err().raw_os_error().unwrap();
        // A child that another test has just forked may hold the file open for writing.
        let errno = std::iter::repeat_with(run).find(|errno| *errno != libc::ETXTBSY).unwrap();
        explain_execve(errno, path.to_str().unwrap())
    }

    #[test]
    fn a_refused_program_tells_why() {
        for (name, content, text, hint) in [
            (
                "loader",
                elf(62, "/lib/ld-none.so.1"),
                "its dynamic loader \"/lib/ld-none.so.1\": no such file or directory (ENOENT)",
                "musl",
            ),
            (
                "script",
                b"#! /usr/bin/nopython -u\n".to_vec(),
                "interpreter \"/usr/bin/nopython\" in its first line: no such file",
                "install",
            ),
            (
                "windows",
                b"#!/bin/sh\r\necho\r\n".to_vec(),
                "interpreter \"/bin/sh\\r\" in its first line: no such file",
                "dos2unix",
            ),
            ("machine", elf(183, "/lib/ld.so"), "exec format error (ENOEXEC)", "for aarch64"),
        ] {
            let error = verdict(name, &content);
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.remedy().unwrap().contains(hint), "{error:?}");
        }
    }

    #[test]
    fn text_and_emptiness_are_told_apart() {
        assert!(format_of(b"").contains("empty"));
        assert!(format_of(b"echo hi").contains("neither"));
        assert!(format_of(&elf(62, "")).contains("damaged"));
    }

    proptest! {
        #[test]
        fn no_file_confuses_the_parser(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut head = b"\x7fELF".to_vec();
            head.extend(&tail);
            interpreter(&head);
            format_of(&head);
            interpreter(&tail);
        }
    }
}
