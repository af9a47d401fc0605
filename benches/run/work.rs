//! Where it happens: a mount namespace of its own with cgroup version 2, and a directory on a tmpfs.

use crate::shape::{FIRST_ID, Place, Shape, config};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use serde_json::{Map, Value, json};
use std::{
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};
use urun::{
    bail,
    error::{Context, Result},
};

const CGROUP: &str = "/sys/fs/cgroup";
/// Where the programs are that the measuring takes; a machine without a compiler is given them.
pub const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/tools");
/// As many mounts as a small host has, and one with hundreds of containers.
const MOUNTS: [usize; 2] = [30, 2000];
/// Binds of the largest config.json.
const VOLUMES: usize = 1000;

/// The directory of everything: programs, bundles, states.
pub struct Work {
    dir: PathBuf,
    pub systemd: bool,
    /// Whether version 2 lies over what the host has; a host that has it alone keeps it.
    pub covered: bool,
    /// `linux.resources` of a shape with limits, from the controllers that the hierarchy has.
    pub resources: Value,
}

impl Work {
    /// Enters the surroundings and makes the directory.
    pub fn new(dir: PathBuf, systemd: bool) -> Result<Self> {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace").hint("run it as root")?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make mounts private")?;
        // Engines keep states below /run, which is a tmpfs; a disk would be measured otherwise.
        mount(Some("bench"), &dir, Some("tmpfs"), MsFlags::empty(), none).context("mount a tmpfs")?;
        let covered = !Path::new(CGROUP).join("cgroup.controllers").exists();
        if covered {
            cover_cgroups()?;
        }
        let work = Self { dir, systemd, covered, resources: Value::Null };
        work.root_file_system()?;
        for program in ["measure", "floor"] {
            fs::copy(Path::new(TOOLS).join(program), work.dir.join(program)).context("copy a tool")?;
        }
        fs::create_dir(work.dir.join("mounts")).context("make a directory")?;
        let net = format!("--net={}", work.path("network"));
        File::create(work.dir.join("network")).context("make a file")?;
        work.run(&["/usr/bin/unshare".to_owned(), net, "/bin/true".to_owned()])?;
        Ok(Self { resources: resources(), ..work })
    }

    /// A group of version 1's memory controller beside the containers' groups.
    pub fn memory_group(&self) -> Result<PathBuf> {
        let root = self.dir.join("memory");
        fs::create_dir_all(&root).context("make a mount point")?;
        mount(Some("cgroup"), &root, Some("cgroup"), MsFlags::empty(), Some("memory"))
            .context("mount version 1 of the memory controller")?;
        let group = root.join(self.dir.file_name().unwrap_or_default()).join("around");
        fs::create_dir_all(&group).context("make a group")?;
        Ok(group)
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    pub fn bundle(&self, name: &str) -> String {
        self.path(&format!("bundles/{name}"))
    }

    fn root_file_system(&self) -> Result<()> {
        let root = self.dir.join("rootfs");
        for point in ["bin", "proc", "dev", "sys", "etc", "run", "data", "data-ro", "volumes"] {
            fs::create_dir_all(root.join(point)).context("make the root file system")?;
        }
        for index in 0..VOLUMES {
            fs::create_dir(root.join(format!("volumes/{index}"))).context("make a target of a bind")?;
        }
        for file in ["etc/resolv.conf", "etc/hostname", "etc/hosts", "run/.containerenv"] {
            File::create(root.join(file)).context("make the root file system")?;
        }
        for name in ["true", "wait", "loop"] {
            fs::copy(Path::new(TOOLS).join("payload"), root.join("bin").join(name))
                .context("copy the payload")?;
        }
        let owner = Some(FIRST_ID);
        chown(&root, owner, owner).context("change the owner of the root file system")?;
        fs::create_dir_all(self.dir.join("volumes/directory")).context("make a volume")?;
        File::create(self.dir.join("volumes/file")).map(drop).context("make a volume")
    }

    /// Writes the config.json of a bundle.
    pub fn write_bundle(&self, name: &str, shape: &Shape, args: &[&str]) -> Result<()> {
        self.write_bundle_with(name, shape, args, &self.resources)
    }

    /// With these `linux.resources` where the shape has limits.
    pub fn write_bundle_with(
        &self,
        name: &str,
        shape: &Shape,
        args: &[&str],
        resources: &Value,
    ) -> Result<()> {
        let group = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let place = Place {
            rootfs: &self.dir.join("rootfs"),
            volumes: &self.dir.join("volumes"),
            network: &self.dir.join("network"),
            cgroups_path: match self.systemd {
                true => format!("system.slice:{group}:{name}"),
                false => format!("/{group}/{name}"),
            },
            resources: resources.clone(),
        };
        let bundle = self.bundle(name);
        fs::create_dir_all(&bundle).context("make a bundle")?;
        fs::write(Path::new(&bundle).join("config.json"), config(shape, &place, args)?.to_string())
            .context("write config.json")
    }

    /// Size of a config.json in KiB.
    pub fn config_size(&self, name: &str) -> f64 {
        let length = fs::metadata(Path::new(&self.bundle(name)).join("config.json")).map_or(0, |m| m.len());
        f64::from(u32::try_from(length).unwrap_or(u32::MAX)) / 1024.0
    }

    /// Gives the host as many mounts as [`MOUNTS`] says, if it does not have more by itself. Returns how many it has.
    pub fn host_mounts(&self, many: bool) -> Result<usize> {
        let none = None::<&str>;
        let all = self.dir.join("mounts");
        let count = || fs::read_to_string("/proc/self/mountinfo").map(|text| text.lines().count());
        // What was there before goes as a whole.
        let _ = umount2(&all, MntFlags::MNT_DETACH);
        mount(Some("bench"), &all, Some("tmpfs"), MsFlags::empty(), none).context("mount a tmpfs")?;
        let source = all.join("source");
        fs::create_dir(&source).context("make a directory")?;
        for index in count().context("read mountinfo")?..MOUNTS[usize::from(many)] {
            let target = all.join(index.to_string());
            fs::create_dir(&target).context("make a mount point")?;
            mount(Some(&source), &target, none, MsFlags::MS_BIND, none).context("mount on the host")?;
        }
        count().context("read mountinfo")
    }

    /// Runs to success with all output in a file: some runtimes give the host's /dev/null to the container where they find
    /// it as one of the standard streams. The error is what the command wrote last.
    pub fn run(&self, argv: &[String]) -> Result<()> {
        self.run_to(argv, &self.dir.join("output"))
    }

    /// The same with the standard output in a file of the caller's.
    pub fn run_to(&self, argv: &[String], output: &Path) -> Result<()> {
        let log = self.dir.join("log");
        let file =
            |path: &Path| File::options().create(true).read(true).write(true).truncate(true).open(path);
        let status = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(file(&self.dir.join("input")).context("open a file")?)
            .stdout(file(output).context("open a file")?)
            .stderr(file(&log).context("open the log")?)
            .status()
            .with_context(|| format!("start {}", argv[0]))?;
        if !status.success() {
            let text = fs::read(&log).context("read the log")?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut lines = text.lines().filter(|line| !line.trim().is_empty());
            let last = lines.clone().next_back().unwrap_or("it says nothing");
            // What comes after the error may be a backtrace.
            let said = lines.find(|line| line.to_ascii_lowercase().contains("error")).unwrap_or(last);
            bail!("{status}: {}", said.chars().take(300).collect::<String>());
        }
        Ok(())
    }
}

/// Lays version 2 over whatever the host has.
pub fn cover_cgroups() -> Result<()> {
    mount(Some("cgroup2"), CGROUP, Some("cgroup2"), MsFlags::empty(), None::<&str>).context("mount cgroup2")
}

/// Shows what the host has.
pub fn uncover_cgroups() -> Result<()> {
    umount2(CGROUP, MntFlags::MNT_DETACH).context("unmount cgroup2")
}

/// A limit of every controller of version 2 that is here; a hybrid host has few.
fn resources() -> Value {
    let controllers = fs::read_to_string(Path::new(CGROUP).join("cgroup.controllers")).unwrap_or_default();
    let mut out = Map::new();
    for controller in controllers.split_whitespace() {
        match controller {
            "pids" => out.insert("pids".to_owned(), json!({ "limit": 1000 })),
            "memory" => out.insert("memory".to_owned(), json!({ "limit": 256 << 20 })),
            "cpu" => {
                out.insert("cpu".to_owned(), json!({ "shares": 512, "quota": 100_000, "period": 100_000 }))
            }
            "hugetlb" => {
                out.insert("hugepageLimits".to_owned(), json!([{ "pageSize": "2MB", "limit": 1 << 30 }]))
            }
            _ => None,
        };
    }
    Value::Object(out)
}
