//! One tree, one configuration, one run, and what is to be seen afterwards.

use crate::{
    common::{Bundle, ConsoleSocket, Mode, Output, Traces, linux, set_mode},
    config,
    random::Random,
    tree::Tree,
    watch::Event,
    world::{CANARIES, World},
};
use nix::{
    mount::{MsFlags, mount},
    sys::stat::{Mode as Bits, SFlag, mknod},
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Runs a round and tells whether the container ran; a defect is a panic.
pub fn run(world: &mut World, mode: Mode, random: &mut Random) -> bool {
    let mut bundle = Bundle::new(mode).args(["true"]);
    let volume = bundle.scratch().dir("volume", mode.owner(), 0o777);
    fill(&volume, mode);
    let seen = bundle.scratch().dir("seen", mode.caller(), 0o777);
    let table = seen.join("mountinfo");
    config::randomise(&mut bundle.config, &volume, random);
    // A hook needs the host's paths, so with it the mount namespace is never that of the root alone (ADR 14).
    if linux() < (7, 0) || random.once_in(2) {
        let script = format!("cat /proc/self/mountinfo > {}", table.display());
        bundle.config["hooks"]["createContainer"] =
            json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script] }]);
    }
    let terminal = random.once_in(4).then(|| {
        bundle.config["process"]["terminal"] = json!(true);
        ConsoleSocket::listen(&bundle.scratch().join("console"), mode.caller())
    });
    bundle.write();
    let mounted = (!mode.rootless()).then_some(volume.as_path());
    let aims = config::paths(&bundle.config);
    let tree = Tree::plant(&bundle.rootfs_dir(), mode.owner(), &aims, mounted, random);

    let (before, mounts) = (points(Path::new(OWN_TABLE)), ids());
    world.watch.forget();
    let output = call(&bundle, terminal.as_ref(), &tree, random);
    let events = world.watch.take();

    let run = bundle.scratch().join("run");
    let own = [bundle.rootfs_dir(), volume, seen, run, bundle.scratch().join("io")];
    let offences: Vec<&Event> = events.iter().filter(|event| is_offence(event, &own)).collect();
    assert!(offences.is_empty(), "touched on the host: {offences:?}\n{}", output.stderr);
    world.is_untouched();
    assert_eq!(ids(), mounts, "mounts of the host: {:?}", points(Path::new(OWN_TABLE)));
    if table.exists() {
        let outside = outside(points(&table), before, &bundle.rootfs_dir());
        assert!(outside.is_empty(), "mounted outside the root: {outside:?}");
        let shared = shared(&table);
        assert!(shared.is_empty(), "the host would see what is mounted there: {shared:?}");
    }
    let left = Traces::of(&bundle);
    assert_eq!(Traces { mounts: Vec::new(), ..left }, Traces::default(), "left behind");
    judge(output.code, &output.stderr);
    output.code == 0
}

const OWN_TABLE: &str = "/proc/self/mountinfo";

/// `run`, or `create` with a terminal and `delete`.
fn call(bundle: &Bundle, terminal: Option<&ConsoleSocket>, tree: &Tree, random: &mut Random) -> Output {
    let flags: &[&str] = if random.once_in(8) { &["--no-pivot"] } else { &[] };
    let swapped = random.once_in(2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a call panics: the scope waits for its threads.
        let _done = Done(&done);
        if swapped {
            scope.spawn(|| tree.swap_until(&done));
        }
        let Some(socket) = terminal else {
            return bundle.call(&[&["run"], flags, &[bundle.id()]].concat());
        };
        let output =
            bundle.call(&[&["create", "--console-socket", socket.path()], flags, &[bundle.id()]].concat());
        bundle.call(&["delete", "--force", bundle.id()]);
        output
    })
}

/// The mount points that are neither the host's, each as often as the host has it, nor below the root.
fn outside(mut points: Vec<String>, mut known: Vec<String>, root: &Path) -> Vec<String> {
    points.retain(|point| match known.iter().position(|known| known == point) {
        Some(at) => {
            known.swap_remove(at);
            false
        }
        None => !Path::new(point).starts_with(root),
    });
    points
}

/// Ends the thread that swaps.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn fill(volume: &Path, mode: Mode) {
    fs::write(volume.join("file"), "volume").unwrap();
    fs::create_dir(volume.join("directory")).unwrap();
    symlink("/canary/file", volume.join("directory/file")).unwrap();
    symlink("directory", volume.join("link")).unwrap();
    mknod(&volume.join("trap"), SFlag::S_IFIFO, Bits::S_IRWXU, 0).unwrap();
    set_mode(&volume.join("directory"), 0o777);
    if !mode.rootless() {
        // What a word for the top of a tree leaves out.
        let below = volume.join("mount");
        fs::create_dir(&below).unwrap();
        mount(Some("volume"), &below, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
    }
}

/// Whether something happened that is none of the runtime's business.
fn is_offence(event: &Event, own: &[PathBuf]) -> bool {
    if own.iter().any(|own| event.path.starts_with(own)) {
        return false;
    }
    match (event.is_open(), event.path.as_path()) {
        // The accounts and their ids are read.
        (true, path) => path.starts_with(CANARIES[0]),
        (false, path) => !(path == Path::new("/dev/null") && event.is_write()),
    }
}

/// The host's mounts by their numbers: where one of the tree's lies has another name when the thread has swapped names.
fn ids() -> Vec<String> {
    table(Path::new(OWN_TABLE), |line| line.split(' ').next())
}

/// The mount points of a table, as it writes them.
fn points(path: &Path) -> Vec<String> {
    table(path, |line| line.split(' ').nth(4))
}

/// The lines of a table whose mounts have peers.
fn shared(path: &Path) -> Vec<String> {
    table(path, |line| line.contains(" shared:").then_some(line))
}

/// What `pick` takes of the lines of a table, sorted.
fn table(path: &Path, pick: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    let text = fs::read(path).unwrap();
    let mut picked: Vec<String> =
        String::from_utf8_lossy(&text).lines().filter_map(|line| pick(line).map(str::to_owned)).collect();
    picked.sort_unstable();
    picked
}

/// A failure tells its reason in a sentence or two, and no name in it commands the terminal.
fn judge(code: i32, stderr: &str) {
    assert!(code < 128, "ended by a signal: {code} {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    if code != 0 {
        assert!(!stderr.trim().is_empty(), "failed without a word");
        assert!(
            !stderr.trim_end().replace('\n', "").contains(char::is_control),
            "a name reached the terminal as it is: {stderr:?}"
        );
    }
}
