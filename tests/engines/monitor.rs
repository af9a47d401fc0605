//! What stands between CRI-O and the runtime: conmon, or a stand-in that keeps its rules to the letter.

use crate::common::{Bundle, Proc, Replay, wait_until};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One call that makes a process.
pub struct Launch {
    pub id: String,
    /// The bundle.
    pub dir: PathBuf,
    /// The runtime's arguments after `--root`.
    pub argv: Vec<String>,
    pub pid_file: PathBuf,
    /// The file for `--process`.
    pub process: Option<PathBuf>,
    pub terminal: bool,
    /// The caller may use one processor only.
    pub one_cpu: bool,
}

impl Launch {
    /// The call as CRI-O or its monitor makes it: a descriptor of theirs leaks.
    pub fn command(&self, bundle: &Bundle) -> Command {
        let argv: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        let mut command = bundle.command(&argv);
        command.env("CRI_O_EXTERNAL", "1");
        let one_cpu = self.one_cpu;
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // CRI-O's listener of seccomp notifications had this number.
                nix::errno::Errno::result(libc::dup2(0, 18))?;
                if one_cpu {
                    let mut cpus = nix::sched::CpuSet::new();
                    cpus.set(0)?;
                    nix::sched::sched_setaffinity(Pid::from_raw(0), &cpus)?;
                }
                Ok(())
            });
        }
        command
    }
}

/// A container that a monitor looks after.
pub struct Running {
    pub pid: u32,
    /// The monitor's pid, which must be the parent's.
    pub monitor: u32,
    /// Where the exit code will be written.
    exit_file: Option<PathBuf>,
    /// The monitor's ends of the pipes.
    _pipes: Vec<File>,
}

impl Running {
    /// The exit code, once the container has ended.
    pub fn exit_code(self) -> i32 {
        let Some(file) = self.exit_file else { return wait(self.pid) };
        wait_until("conmon wrote the exit code", || {
            fs::read_to_string(&file).is_ok_and(|text| !text.is_empty())
        });
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// This program: it takes orphans in (PR_SET_CHILD_SUBREAPER) and waits for them.
    StandIn,
    /// conmon, as installed.
    Conmon,
}

impl Monitor {
    /// `create`, and the container's pid; or what the user is told.
    pub fn create(self, bundle: &Bundle, launch: &Launch) -> Result<Running, String> {
        match self {
            Self::StandIn => {
                let (output, errors) = stand_in(bundle, launch)?;
                let pid = read_pid(launch).ok_or("no pid file")?;
                let pipes = vec![output, errors];
                Ok(Running { pid, monitor: std::process::id(), exit_file: None, _pipes: pipes })
            }
            Self::Conmon => {
                let exits = bundle.scratch().dir("run/exits", (0, 0), 0o755);
                let own_pid = bundle.scratch().join(format!("run/conmon-{}", launch.id));
                let mut command = conmon(bundle, launch);
                command.arg("-b").arg(&launch.dir).arg("--exit-dir").arg(&exits).arg("-P").arg(&own_pid);
                let said = ask(command);
                let pid = said["pid"].as_i64().unwrap();
                let Ok(pid) = u32::try_from(pid) else { return Err(message(&said)) };
                let monitor = fs::read_to_string(own_pid).unwrap().trim().parse().unwrap();
                let exit_file = Some(exits.join(&launch.id));
                Ok(Running { pid, monitor, exit_file, _pipes: Vec::new() })
            }
        }
    }

    /// `exec --detach`: the process's exit code and output; or what the user is told. It is killed after `limit` seconds.
    pub fn exec(
        self,
        replay: &mut Replay,
        launch: &Launch,
        limit: Option<u64>,
    ) -> Result<(i32, String), String> {
        match self {
            Self::StandIn => {
                let (mut output, mut errors) = stand_in(&replay.bundle, launch)?;
                let pid = read_pid(launch).ok_or("no pid file")?;
                let mut text = String::new();
                if let Some(seconds) = limit {
                    std::thread::sleep(Duration::from_secs(seconds));
                    let group = Pid::from_raw(-i32::try_from(pid).unwrap());
                    nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL).unwrap();
                }
                if launch.terminal {
                    let master = replay.accept_terminals().unwrap().try_clone().unwrap();
                    let mut bytes = Vec::new();
                    // The terminal's end is an error (EIO).
                    let _ = File::from(master).read_to_end(&mut bytes);
                    text = String::from_utf8_lossy(&bytes).into_owned();
                } else {
                    output.read_to_string(&mut text).unwrap();
                    errors.read_to_string(&mut text).unwrap();
                }
                Ok((wait(pid), text))
            }
            Self::Conmon => {
                let mut command = conmon(&replay.bundle, launch);
                command.arg("-e").arg("--exec-process-spec").arg(launch.process.as_ref().unwrap());
                if let Some(seconds) = limit {
                    command.args(["-T", &seconds.to_string()]);
                }
                let said = ask(command);
                let code = i32::try_from(said["exit_code"].as_i64().unwrap()).unwrap();
                if limit.is_some() {
                    // conmon does not wait for what it killed, and the container cannot end before somebody does.
                    reap(read_pid(launch).unwrap());
                }
                if code < 0 && limit.is_none() {
                    return Err(message(&said));
                }
                let log = fs::read_to_string(log_file(launch)).unwrap_or_default();
                let text =
                    log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect::<Vec<_>>().join("\n");
                Ok((code, text))
            }
        }
    }
}

/// Runs the runtime under the rules of conmon (`conmon src/conmon.c`): its pipes, its death signal, SIGPIPE ignored, one read of stderr.
/// Returns the read ends of standard output and error.
fn stand_in(bundle: &Bundle, launch: &Launch) -> Result<(File, File), String> {
    let (output, output_end) = wide_pipe();
    let (errors, errors_end) = wide_pipe();
    let mut command = launch.command(bundle);
    command.current_dir(&launch.dir).env("_OCI_SYNCPIPE", "3").env("_OCI_STARTPIPE", "4");
    command.stdout(if launch.terminal { Stdio::null() } else { output_end.into() }).stderr(errors_end);
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            nix::errno::Errno::result(libc::signal(libc::SIGPIPE, libc::SIG_IGN).cast_signed())?;
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the runtime did not end: {:?}", launch.argv);
        std::thread::sleep(Duration::from_millis(1));
    };
    let (output, mut errors) = (File::from(output), File::from(errors));
    // For exec the pid file decides, and not the exit code.
    let failed = if launch.process.is_some() { read_pid(launch).is_none() } else { !status.success() };
    if failed {
        let mut bytes = [0; 8191];
        let length = errors.read(&mut bytes).unwrap();
        return Err(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    assert!(status.success(), "{status}");
    Ok((output, errors))
}

/// A pipe that the container's user may open anew, as conmon makes it.
fn wide_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
    for end in [&read, &write] {
        fchmod(end, Mode::from_bits_truncate(0o777)).unwrap();
    }
    (read, write)
}

/// The pid in the file, which has nothing else in it.
fn read_pid(launch: &Launch) -> Option<u32> {
    let text = fs::read_to_string(&launch.pid_file).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("a pid and nothing else: {text:?}")))
}

/// Waits for a child or an orphan that came here.
fn wait(pid: u32) -> i32 {
    let pid = Pid::from_raw(pid.try_into().unwrap());
    match waitpid(pid, None).unwrap() {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        other => panic!("{other:?}"),
    }
}

/// Waits until a killed process is gone, and takes it in where it comes here as an orphan.
fn reap(pid: u32) {
    let number = Pid::from_raw(pid.try_into().unwrap());
    wait_until("the killed process is gone", || match waitpid(number, Some(WaitPidFlag::WNOHANG)) {
        Ok(status) => status != WaitStatus::StillAlive,
        Err(_) => !Proc(pid).path("stat").exists(),
    });
}

fn log_file(launch: &Launch) -> PathBuf {
    launch.pid_file.with_extension("log")
}

/// conmon with what all calls have.
fn conmon(bundle: &Bundle, launch: &Launch) -> Command {
    let mut command = Command::new("conmon");
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("CRI_O_EXTERNAL", "1")
        .current_dir("/");
    command.args(["-c", &launch.id, "-n", &launch.id, "-u", &launch.id, "--log-level", "error"]);
    command.arg("-p").arg(&launch.pid_file).arg("-l").arg(log_file(launch));
    command.arg("-r").arg(crate::common::subject().1);
    command.arg("--runtime-arg").arg(format!("--root={}", bundle.state_root().display()));
    command.arg("--socket-dir-path").arg(bundle.scratch().join("run"));
    if launch.terminal {
        command.arg("-t");
    }
    command
}

/// Runs conmon and returns what it says on the sync pipe.
fn ask(mut command: Command) -> Value {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let raw = write.as_raw_fd();
    command.env("_OCI_SYNCPIPE", "3").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: only a system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            // dup2 onto itself would leave the close-on-exec flag.
            let copy = nix::errno::Errno::result(libc::dup(raw))?;
            nix::errno::Errno::result(libc::dup2(copy, 3))?;
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    drop(write);
    let mut bytes = Vec::new();
    let mut pipe = File::from(read);
    let mut chunk = [0; 4096];
    loop {
        match pipe.read(&mut chunk).unwrap() {
            0 => break,
            length => bytes.extend(&chunk[..length]),
        }
        if bytes.ends_with(b"\n") {
            break;
        }
    }
    child.wait().unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        panic!("{error}: conmon said {:?} for {command:?}", String::from_utf8_lossy(&bytes))
    })
}

fn message(said: &Value) -> String {
    said["message"].as_str().unwrap_or_default().to_owned()
}
