//! `make bench`: what `run` of a program that ends at once costs, against crun, runc and the floor (benches/floor.c).
//!
//! Everyone runs the same root file system and the same config.json, in turn within every round, so that the noise of the
//! machine meets all alike; what is printed are ratios of medians. Needs root: the rounds happen in a mount namespace
//! with a fresh cgroup2, where the host's hierarchy is as old as it likes.
//!
//! `BENCH_ROUNDS` sets the number of rounds (100).

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use urun::{
    bail,
    error::{Context, Error, Result},
    spec::{
        IdMap,
        example::{ExampleOptions, Users, document},
    },
};

/// What Docker sent for a plain container: its default profile, resolved.
const DOCKER: &str = include_str!("../tests/golden/configs/docker-volumes-01.json");
const URUN: &str = env!("CARGO_BIN_EXE_urun");
const FLOOR: &str = "floor";
/// Rounds that are not counted: they fill the page cache and runtimes' own caches.
const WARM_UP: usize = 5;

fn main() -> Result<()> {
    // cargo test runs benches too, to see that they build.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let rounds = match std::env::var("BENCH_ROUNDS") {
        Ok(text) => text.parse().map_err(|e| Error::new(format_args!("BENCH_ROUNDS={text}: {e}")))?,
        Err(_) => 100,
    };
    own_surroundings()?;
    let work = Work::new()?;
    let result = report(&work, rounds);
    work.remove()?;
    result
}

fn report(work: &Work, rounds: usize) -> Result<()> {
    let subjects = subjects();
    for (title, config, filter) in
        [("no seccomp", plain()?, false), ("Docker's seccomp profile", filtered()?, true)]
    {
        work.use_config(&config)?;
        let medians = medians(work, &subjects, filter, rounds)?;
        println!("\nrun of a static `true` in a user namespace, {title}, {rounds} rounds\n");
        println!(
            "{:<8} {:>8} {:>8} {:>8} {:>10} {:>12}",
            "", "/ floor", "/ crun", "/ runc", "peak KiB", "system calls"
        );
        for (subject, own) in subjects.iter().zip(&medians) {
            let name = subject.name;
            let command = work.command(subject, filter);
            print!("{name:<8}");
            for other in [FLOOR, "crun", "runc"] {
                match subjects.iter().position(|subject| subject.name == other) {
                    Some(index) => print!(" {:>8.2}", own.as_secs_f64() / medians[index].as_secs_f64()),
                    None => print!(" {:>8}", "-"),
                }
            }
            println!(" {:>10} {:>12}", work.peak(&command)?, work.system_calls(&command)?);
        }
    }
    println!();
    for subject in subjects.iter().filter(|subject| subject.name != FLOOR) {
        let version = output(&[subject.program.clone(), "--version".to_owned()])?;
        println!("{}", version.lines().next().unwrap_or_default());
    }
    println!("{}", output(&["uname".to_owned(), "-sr".to_owned()])?.trim_end());
    Ok(())
}

/// One that takes part.
struct Subject {
    name: &'static str,
    program: String,
}

/// The floor, urun, and those of the others that are installed.
fn subjects() -> Vec<Subject> {
    let mut all = vec![
        Subject { name: FLOOR, program: String::new() },
        Subject { name: "urun", program: URUN.to_owned() },
    ];
    for name in ["crun", "runc"] {
        match output(&[name.to_owned(), "--version".to_owned()]) {
            Ok(_) => all.push(Subject { name, program: name.to_owned() }),
            Err(error) => eprintln!("without {name}: {error}"),
        }
    }
    all
}

/// The median time of each subject.
fn medians(work: &Work, subjects: &[Subject], filter: bool, rounds: usize) -> Result<Vec<Duration>> {
    let log = work.0.join("log");
    let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..WARM_UP + rounds {
        for (subject, times) in subjects.iter().zip(&mut times) {
            let argv = work.command(subject, filter);
            let begin = Instant::now();
            run(&argv, &log)?;
            let end = begin.elapsed();
            if round >= WARM_UP {
                times.push(end);
            }
        }
    }
    Ok(times
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect())
}

/// A mount namespace of our own where cgroup version 2 is all there is.
fn own_surroundings() -> Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace").hint("run it as root")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make mounts private")?;
    mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), none).context("mount cgroup2")
}

/// The directory of everything: programs, the bundle, states.
struct Work(PathBuf);

impl Work {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("urun-bench-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        // Engines keep states below /run, which is a tmpfs; a disk would be measured otherwise.
        let work = Self(dir);
        mount(Some("bench"), &work.0, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .context("mount a tmpfs")?;
        fs::create_dir_all(work.0.join("bundle/rootfs/bin")).context("make the root file system")?;
        for point in ["proc", "dev", "sys"] {
            fs::create_dir(work.0.join("bundle/rootfs").join(point)).context("make the root file system")?;
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let truth = work.0.join("true.c");
        fs::write(&truth, "int main(void) { return 0; }\n").context("write true.c")?;
        work.compile(&sources.join("floor.c"), "floor")?;
        work.compile(&sources.join("peak.c"), "peak")?;
        work.compile(&truth, "bundle/rootfs/bin/true")?;
        Ok(work)
    }

    fn remove(&self) -> Result<()> {
        umount2(&self.0, MntFlags::MNT_DETACH).context("unmount the tmpfs")?;
        fs::remove_dir(&self.0).with_context(|| format!("remove {}", self.0.display()))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn compile(&self, source: &Path, target: &str) -> Result<()> {
        let words = ["cc", "-O2", "-static", "-o", &self.path(target), &source.to_string_lossy()];
        run(&words.map(str::to_owned), &self.0.join("log"))
    }

    fn use_config(&self, config: &Value) -> Result<()> {
        fs::write(self.path("bundle/config.json"), config.to_string()).context("write config.json")
    }

    fn command(&self, subject: &Subject, filter: bool) -> Vec<String> {
        let (root, bundle) = (self.path(subject.name), self.path("bundle"));
        match subject.name {
            FLOOR => {
                let mut words = vec![root, self.path("bundle/rootfs"), "userns".to_owned()];
                words.extend(filter.then(|| "filter".to_owned()));
                words.push("/bin/true".to_owned());
                words
            }
            name => {
                let state = format!("{root}-state");
                let words = [&subject.program, "--root", &state, "run", "--bundle", &bundle];
                let id = format!("bench-{name}-{}", std::process::id());
                words.into_iter().map(str::to_owned).chain([id]).collect()
            }
        }
    }

    /// The largest resident set of the processes of `command`, in KiB.
    fn peak(&self, command: &[String]) -> Result<String> {
        let peak = self.0.join("peak.kib");
        let argv = [&[self.path("peak"), peak.to_string_lossy().into_owned()], command].concat();
        run(&argv, &self.0.join("log"))?;
        Ok(fs::read_to_string(peak).context("read the peak")?.trim().to_owned())
    }

    /// How many system calls the processes of `command` make, `true` included.
    fn system_calls(&self, command: &[String]) -> Result<usize> {
        let trace = self.path("trace");
        let words = ["strace", "-f", "-qq", "-e", "signal=none", "-o", &trace];
        run(&[&words.map(str::to_owned), command].concat(), &self.0.join("log"))?;
        let text = fs::read(&trace).context("read the trace")?;
        // A call that another process interrupts has a second line, and what ends is no call.
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let is_second = |line: &&[u8]| {
            line.windows(8).any(|part| part == b" resumed") || line.windows(3).any(|part| part == b"+++")
        };
        Ok(lines.filter(|line| !is_second(line)).count())
    }
}

/// The example that `urun spec` writes, for a program that ends at once.
fn plain() -> Result<Value> {
    let line = vec![IdMap { container: 0, host: 100_000, size: 65_536 }];
    let options = ExampleOptions {
        users: Users::Mapped { uids: line.clone(), gids: line },
        rootless: false,
        unmasked: false,
    };
    let mut config: Value = serde_json::from_str(&document(&options)).map_err(Error::new)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    // Device rules are work for the kernel's BPF verifier, which the floor does not do and for which crun wants to raise
    // a limit that some machines do not let it raise.
    config["linux"]["resources"] = json!({});
    // What the oldest of the others reads.
    config["ociVersion"] = json!("1.0.2");
    Ok(config)
}

fn filtered() -> Result<Value> {
    let docker: Value = serde_json::from_str(DOCKER).map_err(Error::new)?;
    let mut config = plain()?;
    config["linux"]["seccomp"] = docker["linux"]["seccomp"].clone();
    Ok(config)
}

/// Runs to success, with all output in a file: crun 1.8 gives the host's /dev/null to the container where it finds it as
/// one of the standard streams.
fn run(argv: &[String], log: &Path) -> Result<()> {
    let file = || File::options().create(true).read(true).append(true).open(log).context("open the log");
    let status = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(file()?)
        .stdout(file()?)
        .stderr(file()?)
        .status()
        .with_context(|| format!("start {}", argv[0]))?;
    if !status.success() {
        bail!("{}: {status}: {}", argv.join(" "), fs::read_to_string(log).context("read the log")?);
    }
    Ok(())
}

/// The standard output of a command that succeeds.
fn output(argv: &[String]) -> Result<String> {
    // Any file but /dev/null, see `run`.
    let stdin = fs::File::open(URUN).context("open a file for standard input")?;
    let Output { status, stdout, stderr } = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(stdin)
        .output()
        .with_context(|| format!("start {}", argv[0]))?;
    if !status.success() {
        bail!("{}: {status}: {}", argv.join(" "), String::from_utf8_lossy(&stderr));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
