//! Signals as events: names, masks, dispositions, signalfd(2).

use super::{check, check_fd, show};
use crate::error::{Error, Result};
use libc::{c_int, signalfd_siginfo};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The highest signal number, `_NSIG` in the kernel.
pub const MAX: c_int = 64;

/// The lowest real-time signal a program may use: the C library keeps 32 and 33. The number is fixed here, because the
/// receiver may use another C library than this program does.
const RTMIN: c_int = 34;

/// `SIGCHLD`.
pub const CHILD: c_int = libc::SIGCHLD;

/// The names of signal(7) with their numbers; where a number has two names the usual one comes first.
const NAMES: [(&str, c_int); 35] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("UNUSED", libc::SIGSYS),
];

/// The number of a signal given as `KILL`, `SIGKILL`, `kill`, `9`, `RTMIN+3` or `RTMAX-2`; 0 only asks whether the
/// process is there, kill(2).
pub fn parse(text: &str) -> Result<c_int> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named
        .or_else(|| real_time(name))
        .or_else(|| digits(text).filter(|number| (0..=MAX).contains(number)))
        .ok_or_else(|| {
            Error::new(format_args!("unknown signal {text:?}"))
                .hint("a signal is a name such as TERM or SIGTERM, or a number from 1 to 64")
        })
}

/// The name of a signal as signal(7) writes it, `SIGTERM` or `SIGRTMIN+3`; a number that has none as `signal 0`.
pub fn name(number: c_int) -> String {
    if let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == number) {
        return format!("SIG{name}");
    }
    match number - RTMIN {
        0 => "SIGRTMIN".to_owned(),
        offset if (RTMIN..=MAX).contains(&number) => format!("SIGRTMIN+{offset}"),
        _ => format!("signal {number}"),
    }
}

fn real_time(name: &str) -> Option<c_int> {
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (_, Some("")) => MAX,
        (Some(offset), _) => RTMIN + digits(offset.strip_prefix('+')?)?,
        (_, Some(offset)) => MAX - digits(offset.strip_prefix('-')?)?,
        _ => return None,
    };
    (RTMIN..=MAX).contains(&number).then_some(number)
}

/// A decimal number of at most two digits and nothing else: `parse` of the standard library would take a sign.
fn digits(text: &str) -> Option<c_int> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A set of signals in the kernel's form: bit n − 1 is signal n. The C library's sets hide 32 and 33, which may well be
/// blocked or ignored when this program is started.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with these bits, for instance `SigIgn` of proc_pid_status(5).
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set of these signals, each from 1 to [`MAX`].
    pub fn of(signals: &[c_int]) -> Self {
        signals.iter().fold(Self::EMPTY, |set, signal| Self(set.0 | bit(*signal)))
    }

    /// Those of the set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the signal is in the set.
    pub fn contains(self, signal: c_int) -> bool {
        self.0 & bit(signal) != 0
    }

    /// The signals in ascending order.
    pub fn iter(self) -> impl Iterator<Item = c_int> {
        (1..=MAX).filter(move |signal| self.contains(*signal))
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(name)).finish()
    }
}

/// The bit of a signal; none for a number that is no signal.
fn bit(signal: c_int) -> u64 {
    if (1..=MAX).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

/// Blocks exactly the signals of `mask` (KILL and STOP cannot be) and returns the mask that was in force.
pub fn set_mask(mask: Set) -> Result<Set> {
    let mut old = 0u64;
    // SAFETY: both sets are 8 bytes long, as the last argument says, and live across the call.
    let ret = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask.0, &raw mut old, 8)
    };
    check(ret, || format!("rt_sigprocmask(SIG_SETMASK, {mask:?})"))?;
    Ok(Set(old))
}

/// Gives the signals of a set their default disposition; KILL and STOP have it always. One call each: where `SigIgn` of
/// proc_pid_status(5) is known, it is all that has to be passed before an execve(2), which resets handlers by itself.
pub fn reset(signals: Set) -> Result<()> {
    signals
        .without(Set::of(&[libc::SIGKILL, libc::SIGSTOP]))
        .iter()
        .try_for_each(|n| dispose(n, libc::SIG_DFL))
}

/// Ignores a signal, which children inherit until [`reset`].
pub fn ignore(signal: c_int) -> Result<()> {
    dispose(signal, libc::SIG_IGN)
}

fn dispose(signal: c_int, action: libc::sighandler_t) -> Result<()> {
    // The kernel's struct sigaction: handler, flags, restorer, mask. The C library's call refuses 32 and 33.
    let new: [libc::sighandler_t; 4] = [action, 0, 0, 0];
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: `new` is as long as the kernel's struct and lives across the call; no handler of ours is installed.
    let ret = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const new, none, 8) };
    check(ret, || format!("rt_sigaction({}, {action})", name(signal)))?;
    Ok(())
}

/// A close-on-exec, non-blocking descriptor that reads the signals of a set, which have to be blocked.
pub fn signalfd(signals: Set) -> Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is 8 bytes long, as the third argument says, and lives across the call.
    let ret = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const signals.0, 8, flags) };
    check_fd(ret, || format!("signalfd4({signals:?})"))
}

/// The next pending signal of a [`signalfd`]; `None` when there is none.
pub fn next(signalfd: BorrowedFd<'_>) -> Result<Option<c_int>> {
    // SAFETY: signalfd_siginfo is plain data for which all zeroes is valid.
    let mut info: signalfd_siginfo = unsafe { std::mem::zeroed() };
    loop {
        let size = size_of::<signalfd_siginfo>();
        // SAFETY: `info` has room for `size` bytes; the kernel writes whole records only.
        let ret = unsafe { libc::read(signalfd.as_raw_fd(), (&raw mut info).cast(), size) };
        return match (ret, Errno::last()) {
            (-1, Errno::EINTR) => continue,
            (-1, Errno::EAGAIN) => Ok(None),
            _ => {
                check(ret as _, || format!("read({})", show(signalfd)))?;
                Ok(Some(info.ssi_signo.cast_signed()))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn signals_are_known_by_every_usual_name() {
        let cases = [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("kill", 9),
            ("sigterm", 15),
            ("9", 9),
            ("0", 0),
            ("1", 1),
            ("64", 64),
            ("32", 32),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("RTMAX-30", 34),
            ("CLD", 17),
            ("POLL", 29),
            ("WINCH", 28),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_an_error() {
        let texts = [
            "",
            "SIG",
            "65",
            "-9",
            "+9",
            " 9",
            "9 ",
            "099",
            "SIG9",
            "KILLED",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN3",
            "SIGSIGKILL",
            "99999999999",
        ];
        for text in texts {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for number in (1..32).chain(34..=MAX) {
            assert_eq!(parse(&name(number)).unwrap(), number);
        }
        assert_eq!((name(6), name(29), name(33)), ("SIGABRT".into(), "SIGIO".into(), "signal 33".into()));
    }

    /// `field` of the calling thread's status.
    fn status(field: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    }

    #[test]
    fn the_mask_covers_what_the_c_library_hides() {
        let old = set_mask(Set::ALL).unwrap();
        let blocked = status("SigBlk");
        assert_eq!(set_mask(old).unwrap(), Set::from_bits(blocked));
        assert_eq!(blocked, Set::ALL.without(Set::of(&[libc::SIGKILL, libc::SIGSTOP])).0);
        assert_eq!(status("SigBlk"), old.0);
    }

    #[test]
    fn an_ignored_signal_gets_its_default_back() {
        let odd = [libc::SIGPWR, 33, 64];
        for signal in odd {
            ignore(signal).unwrap();
        }
        assert_eq!(status("SigIgn") & Set::of(&odd).0, Set::of(&odd).0);
        reset(Set::of(&odd)).unwrap();
        assert_eq!(status("SigIgn") & Set::of(&odd).0, 0);
        reset(Set::of(&[libc::SIGKILL])).unwrap();
    }

    #[test]
    fn a_pending_signal_is_read_once() {
        let usr = Set::of(&[libc::SIGUSR1]);
        let old = set_mask(usr).unwrap();
        let fd = signalfd(usr).unwrap();
        assert_eq!(next(fd.as_fd()).unwrap(), None);
        // To this thread alone: the others of the test program do not block it.
        // SAFETY: takes no pointers.
        unsafe { libc::syscall(libc::SYS_tkill, libc::gettid(), libc::SIGUSR1) };
        assert_eq!(next(fd.as_fd()).unwrap(), Some(libc::SIGUSR1));
        assert_eq!(next(fd.as_fd()).unwrap(), None);
        set_mask(old).unwrap();
    }
}
