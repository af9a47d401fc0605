//! Id-mapped volumes, on every file system that the kernel can map: owners seen from inside, from the host, and on disk.

use crate::common::*;
use nix::mount::{MsFlags, mount};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first id of the container in [`Mode::RootUserns`].
const FIRST: u32 = 131_072;

/// The ids on disk from 0 on appear as the container's, for the last mount.
fn mapped(bundle: Bundle) -> Bundle {
    bundle.with(|config| {
        let maps = config["linux"]["uidMappings"].clone();
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        (last["uidMappings"], last["gidMappings"]) = (maps.clone(), maps);
    })
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = std::fs::symlink_metadata(path.as_ref());
    let meta = meta.unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()));
    (meta.uid(), meta.gid())
}

/// Runs a command that has to succeed; the text says which package brings it.
#[track_caller]
fn command(program: &str, args: &[&str], package: &str) {
    let output = Command::new(program).args(args).stdin(std::process::Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}, package {package}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this machine has what the file system needs; the machine that [`scripts/packages`] prepared has all.
fn has(fstype: &str, program: &str) -> bool {
    let listed = || {
        let text = std::fs::read_to_string("/proc/filesystems").unwrap();
        text.lines().any(|line| line.split_whitespace().last() == Some(fstype))
    };
    let loaded = || Command::new("modprobe").arg(fstype).output().is_ok_and(|output| output.status.success());
    let found = (listed() || loaded()) && Command::new(program).arg("--help").output().is_ok();
    if !found {
        eprintln!("cannot run here: the kernel has no {fstype}, or {program} is not installed");
    }
    found
}

/// An empty file system in a sparse file, mounted through a loop device that goes with the mount.
fn disk(scratch: &Scratch, fstype: &str) -> PathBuf {
    let (image, volume) = (scratch.join("image"), scratch.dir("volume", (0, 0), 0o755));
    std::fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
    let (image, dir) = (image.to_str().unwrap(), volume.to_str().unwrap());
    let (quiet, package) = match fstype {
        "btrfs" => ("-q", "btrfs-progs"),
        "xfs" => ("-q", "xfsprogs"),
        _ => ("-q", "e2fsprogs"),
    };
    command(&format!("mkfs.{fstype}"), &[quiet, image], package);
    command("mount", &["-o", "loop", "-t", fstype, image, dir], "mount");
    volume
}

fn tmpfs(path: &Path) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
}

/// The directory is bound with the container's map: what is there looks like the container's, and what the container writes
/// gets the id on disk that it has inside.
fn is_mapped_both_ways(bundle: Bundle, volume: &Path) {
    for (name, id) in [("zero", 0), ("user", 1000)] {
        std::fs::write(volume.join(name), "").unwrap();
        std::os::unix::fs::chown(volume.join(name), Some(id), Some(id + 1)).unwrap();
    }
    std::fs::write(volume.join("nobodys"), "").unwrap();
    std::os::unix::fs::chown(volume.join("nobodys"), Some(200_000), Some(200_000)).unwrap();
    let before = mounts_below(bundle.scratch().path());
    let script = "cd /mnt/a && stat -c %u:%g zero user nobodys && echo x > new && chown 5:6 new && echo done && exec sleep 600";
    let bundle = mapped(bundle.mount("bind", volume, "/mnt/a", &["rbind", "rprivate"])).sh(script);
    let container = bundle.start();
    container.wait_for("done");
    assert_eq!(container.output(), "0:1\n1000:1001\n65534:65534\ndone\n");
    assert!(container.proc().mount("/mnt/a").has("idmapped"));
    let inside = |name: &str| owner(container.proc().inside(&format!("/mnt/a/{name}")));
    assert_eq!(inside("zero"), (FIRST, FIRST + 1), "seen from the host through the container's mount");
    assert_eq!(inside("new"), (FIRST + 5, FIRST + 6));
    assert_eq!(owner(volume.join("new")), (5, 6), "on disk");
    assert_eq!(mounts_below(container.bundle().scratch().path()), before, "the host's mounts");
}

/// The same on a disk of this file system.
fn on_a_disk(fstype: &str) {
    if only_ours("runc 1.1 and crun 1.8 do what they can") || !has(fstype, &format!("mkfs.{fstype}")) {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let volume = disk(bundle.scratch(), fstype);
    is_mapped_both_ways(bundle, &volume);
}

#[test]
fn a_directory_on_ext4_is_mapped_both_ways() {
    on_a_disk("ext4");
}

#[test]
fn a_directory_on_xfs_is_mapped_both_ways() {
    on_a_disk("xfs");
}

#[test]
fn a_directory_on_btrfs_is_mapped_both_ways() {
    on_a_disk("btrfs");
}

#[test]
fn a_directory_on_tmpfs_is_mapped_both_ways() {
    if only_ours("runc 1.1 and crun 1.8 do what they can") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    tmpfs(&volume);
    is_mapped_both_ways(bundle, &volume);
}

/// Before, it is refused with the words of tests/golden/errors/idmaps.txt.
#[test]
fn a_directory_on_an_overlay_is_mapped_both_ways_since_linux_7_3() {
    if linux() < (7, 3) {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let [lower, upper, work, volume] =
        ["lower", "upper", "work", "volume"].map(|name| bundle.scratch().dir(name, (0, 0), 0o755));
    let shown = [&lower, &upper, &work].map(|path| path.display().to_string());
    let options = format!("lowerdir={},upperdir={},workdir={}", shown[0], shown[1], shown[2]);
    let kind = Some("overlay");
    nix::mount::mount(kind, &volume, kind, nix::mount::MsFlags::empty(), Some(options.as_str())).unwrap();
    is_mapped_both_ways(bundle, &volume);
}

/// A read-only image of a directory with a file of id 1000.
fn on_an_image(fstype: &str, program: &str, package: &str) {
    if only_ours("runc 1.1 and crun 1.8 do what they can") || !has(fstype, program) {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let scratch = bundle.scratch();
    let (content, volume) = (scratch.dir("content", (0, 0), 0o755), scratch.dir("volume", (0, 0), 0o755));
    scratch.file("content/file", "text", (1000, 1001), 0o640);
    let image = scratch.join("image");
    let (image, dir) = (image.to_str().unwrap(), volume.to_str().unwrap());
    let content = content.to_str().unwrap();
    let args = if fstype == "erofs" { ["--quiet", image, content] } else { [content, image, "-quiet"] };
    command(program, &args, package);
    command("mount", &["-o", "loop,ro", "-t", fstype, image, dir], "mount");
    let container = mapped(bundle.mount("bind", &volume, "/mnt/a", &["bind", "ro"])).start();
    assert_eq!(owner(container.proc().inside("/mnt/a/file")), (FIRST + 1000, FIRST + 1001));
}

#[test]
fn a_squashfs_is_mapped() {
    on_an_image("squashfs", "mksquashfs", "squashfs-tools");
}

#[test]
fn an_erofs_is_mapped() {
    on_an_image("erofs", "mkfs.erofs", "erofs-utils");
}

#[test]
fn a_new_file_system_with_mappings_is_mapped_too() {
    if only_ours("others map binds alone") || !has("squashfs", "mksquashfs") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let scratch = bundle.scratch();
    let image = scratch.join("image");
    scratch.dir("content", (0, 0), 0o755);
    scratch.file("content/file", "text", (1000, 1001), 0o640);
    let (content, image) = (scratch.join("content"), image.to_str().unwrap());
    command("mksquashfs", &[content.to_str().unwrap(), image, "-quiet"], "squashfs-tools");
    let device = LoopDevice::of(image);
    let container = mapped(bundle.mount("squashfs", &device.0, "/mnt/a", &["ro"])).start();
    assert_eq!(owner(container.proc().inside("/mnt/a/file")), (FIRST + 1000, FIRST + 1001));
}

/// A loop device of its own, detached when the last one who uses it is gone.
struct LoopDevice(PathBuf);

impl LoopDevice {
    fn of(image: &str) -> Self {
        let output =
            Command::new("losetup").args(["--find", "--show", "--read-only", image]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8(output.stdout).unwrap().trim().into())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn submounts_are_mapped_with_ridmap_and_with_it_alone() {
    if only_ours("crun 1.8 knows no ridmap") {
        return;
    }
    for (word, below) in [("idmap", 1000), ("ridmap", FIRST + 1000)] {
        let bundle = Bundle::new(Mode::RootUserns);
        let tree = bundle.scratch().dir("tree", (0, 0), 0o755);
        tmpfs(&tree);
        let sub = bundle.scratch().dir("tree/sub", (0, 0), 0o755);
        tmpfs(&sub);
        for name in ["tree/file", "tree/sub/file"] {
            bundle.scratch().file(name, "", (1000, 1000), 0o644);
        }
        let container = mapped(bundle.mount("bind", tree, "/mnt/a", &["rbind", word])).start();
        let inside = |name: &str| owner(container.proc().inside(name)).0;
        assert_eq!((inside("/mnt/a/file"), inside("/mnt/a/sub/file")), (FIRST + 1000, below), "{word}");
    }
}

#[test]
fn a_hundred_containers_leave_no_mount_behind() {
    if only_ours("crun 1.8 has no image volumes with mappings") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let shared = bundle.scratch().dir("shared", (0, 0), 0o755);
    tmpfs(&shared);
    let dir = bundle.dir();
    mount(Some(&dir), &dir, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    // As systemd leaves every mount of a machine, that of the root file system and that of the volumes.
    for point in [&shared, &dir] {
        mount(None::<&str>, point, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
    }
    let dirs = ["lower", "empty", "rw/upper", "rw/work"];
    let [lower, empty, upper, work] =
        dirs.map(|name| bundle.scratch().dir(&format!("shared/{name}"), (0, 0), 0o755));
    let lowerdir = format!("lowerdir={}:{}", lower.display(), empty.display());
    let (upperdir, workdir) =
        (format!("upperdir={}", upper.display()), format!("workdir={}", work.display()));
    let bundle = mapped(bundle.mount("overlay", "overlay", "/mnt/a", &[&lowerdir, &upperdir, &workdir]));
    let bundle = mapped(bundle.mount("bind", &lower, "/mnt/b", &["rbind", "ridmap"]));
    let before = mounts_below(bundle.scratch().path());
    for _ in 0..100 {
        bundle.run().ok();
    }
    assert_eq!(mounts_below(bundle.scratch().path()), before);
}

/// `lowerdir=…:…`, below the bundle's scratch directory.
fn lowerdir(bundle: &Bundle, names: &[&str]) -> String {
    let path = |name: &&str| bundle.scratch().join(name).display().to_string().replace(':', "\\:");
    format!("lowerdir={}", names.iter().map(path).collect::<Vec<_>>().join(":"))
}

#[test]
fn an_image_volume_with_mappings_has_its_layers_mapped() {
    if only_ours("crun refuses it") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    for (name, id) in [("top", 0), ("with:colon", 1000)] {
        bundle.scratch().dir(name, (0, 0), 0o755);
        bundle.scratch().file(&format!("{name}/of-{id}"), "", (id, id + 1), 0o644);
    }
    let options = lowerdir(&bundle, &["top", "with:colon"]);
    let before = host_mounts().len();
    let script =
        "stat -c %u:%g /mnt/a/of-0 /mnt/a/of-1000 && ! touch /mnt/a/new && echo done && exec sleep 600";
    let container = mapped(bundle.mount("overlay", "overlay", "/mnt/a", &[&options])).sh(script).start();
    container.wait_for("done");
    assert!(container.output().starts_with("0:1\n1000:1001\n"), "{}", container.output());
    assert_eq!(container.proc().mount("/mnt/a").kind, "overlay");
    let inside = |name: &str| owner(container.proc().inside(name));
    assert_eq!(inside("/mnt/a/of-1000"), (FIRST + 1000, FIRST + 1001));
    let layers: Vec<_> =
        container.proc().mounts().into_iter().filter(|mount| mount.has("idmapped")).collect();
    assert_eq!(layers, [], "a layer is to be seen inside");
    assert!(host_mounts().len() <= before + 8, "layers are to be seen on the host");
}

/// What CRI-O gives: the mounted image, which is an overlay itself, over an empty directory.
#[test]
fn a_layer_that_is_a_mounted_image_is_made_anew_with_mapped_layers() {
    if only_ours("crun refuses it") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    for name in ["1", "2", "empty", "merged"] {
        bundle.scratch().dir(name, (0, 0), 0o755);
    }
    bundle.scratch().file("1/file", "upper", (1000, 1000), 0o644);
    bundle.scratch().file("2/file", "lower", (0, 0), 0o644);
    bundle.scratch().file("2/other", "", (7, 8), 0o644);
    let (merged, options) = (bundle.scratch().join("merged"), lowerdir(&bundle, &["1", "2"]));
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str())).unwrap();
    let options = lowerdir(&bundle, &["merged", "empty"]);
    let container = mapped(bundle.mount("overlay", "overlay", "/img", &[&options])).start();
    let inside = |name: &str| container.proc().inside(name);
    assert_eq!(owner(inside("/img/file")), (FIRST + 1000, FIRST + 1000));
    assert_eq!(std::fs::read_to_string(inside("/img/file")).unwrap(), "upper");
    assert_eq!(owner(inside("/img/other")), (FIRST + 7, FIRST + 8));
}

#[test]
fn what_is_written_to_an_overlay_with_mappings_has_the_ids_on_disk_that_it_has_inside() {
    if only_ours("crun refuses it") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    for (name, id) in [("lower", 0), ("rw", 200_000), ("rw/upper", 0), ("rw/work", 0)] {
        bundle.scratch().dir(name, (id, id), 0o755);
    }
    bundle.scratch().file("lower/changed", "before", (1000, 1001), 0o644);
    bundle.scratch().file("lower/removed", "", (0, 0), 0o644);
    let [upper, work] = ["rw/upper", "rw/work"].map(|name| bundle.scratch().join(name));
    let (upperdir, workdir) =
        (format!("upperdir={}", upper.display()), format!("workdir={}", work.display()));
    let lowerdir = lowerdir(&bundle, &["lower"]);
    let options = [&lowerdir, &upperdir, &workdir].map(String::as_str);
    let script = "cd /mnt/a && echo x > new && chown 5:6 new && echo after > changed && rm removed && \
                  stat -c %u:%g new changed && echo done && exec sleep 600";
    let container = mapped(bundle.mount("overlay", "overlay", "/mnt/a", &options)).sh(script).start();
    container.wait_for("done");
    assert_eq!(container.output(), "5:6\n1000:1001\ndone\n");
    assert_eq!(owner(container.proc().inside("/mnt/a/new")), (FIRST + 5, FIRST + 6));
    assert_eq!((owner(upper.join("new")), owner(upper.join("changed"))), ((5, 6), (1000, 1001)), "on disk");
    assert_eq!(owner(container.bundle().scratch().join("lower/changed")), (1000, 1001));
    assert!(!container.proc().inside("/mnt/a/removed").exists());
}

#[test]
fn an_overlay_of_many_layers_is_given_to_the_kernel_one_by_one() {
    if only_ours("crun refuses it") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let names: Vec<String> = (0..120).map(|n| format!("layers/{n}")).collect();
    for name in &names {
        bundle.scratch().dir(name, (0, 0), 0o755);
    }
    bundle.scratch().file("layers/119/lowest", "", (1000, 1000), 0o644);
    let options = lowerdir(&bundle, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let container = mapped(bundle.mount("overlay", "overlay", "/img", &[&options])).start();
    assert_eq!(owner(container.proc().inside("/img/lowest")), (FIRST + 1000, FIRST + 1000));
}

/// What a setuid file on a volume gives inside is the container's user, never the host's.
#[test]
fn a_setuid_file_on_an_id_mapped_volume_is_the_containers() {
    if only_ours("runc 1.1 has no mappings") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).user(1000, 1000);
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    tmpfs(&volume);
    // busybox gives up what setuid gave it.
    let source = bundle.scratch().file(
        "wait.c",
        "#include <unistd.h>\nint main() { return pause(); }\n",
        (0, 0),
        0o644,
    );
    let (source, program) = (source.to_str().unwrap(), volume.join("wait"));
    command("gcc", &["-static", "-o", program.to_str().unwrap(), source], "gcc");
    set_mode(&program, 0o4755);
    let bundle = bundle.put("/process/noNewPrivileges", json!(false));
    let bundle = mapped(bundle.mount("bind", &volume, "/mnt/a", &["bind"]));
    let container = bundle.args(["/mnt/a/wait"]).start();
    assert_eq!(container.proc().numbers("Uid"), [FIRST + 1000, FIRST, FIRST, FIRST]);
}
