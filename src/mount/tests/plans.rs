//! Plans as text, and what is refused before anything is opened.

use super::{add, bind, config, facts, fs, mapped, terminal, text, usual};
use crate::{
    host::cgroups::{Cgroups, Hierarchy},
    mount::{
        Facts, Op, Request,
        op::{Otherwise, What},
        plan,
        plan::{Group, Label},
    },
    spec::{
        Config, IdMap, MountKind,
        linux::{Device, DeviceKind},
        mount::{MountIdMap, MountIds, Propagation, PropagationKind},
    },
};
use nix::libc::{MOUNT_ATTR__ATIME, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use std::path::Path;

#[track_caller]
fn assert_plan(config: &Config, request: &Request, facts: &Facts, expected: &str) {
    let text = plan(config, request, facts).unwrap().to_string();
    assert_eq!(text, expected, "\n--- planned\n{text}--- expected\n{expected}");
}

/// A config whose /dev is bound, so that nothing is made there.
fn bare() -> Config {
    let mut config = config(Path::new("/rootfs"));
    add(&mut config, "/dev", bind("/dev"));
    config
}

const BARE: &str = "mounts[0]: mount /dev on /dev source=0 no-symlinks rprivate\n";

#[test]
fn the_usual_container_with_a_user_namespace() {
    assert_plan(&usual(Path::new("rootfs")), &terminal(), &mapped(), "\
root /bundle/rootfs owned by 100000:100000
mounts[0]: mount proc on /proc source=proc by-child no-symlinks attrs=+0xe-0x0
mounts[1]: mount tmpfs on /dev source=tmpfs mode=755 size=65536k no-symlinks attrs=+0x2-0x0
mounts[2]: mount devpts on /dev/pts source=devpts newinstance ptmxmode=0666 mode=0620 gid=100005 chown=100000:100000 no-symlinks attrs=+0xa-0x0
mounts[3]: mount mqueue on /dev/mqueue source=mqueue chown=100000:100000 no-symlinks attrs=+0xe-0x0
mounts[4]: mount sysfs on /sys source=sysfs no-symlinks attrs=+0xf-0x0
make device /dev/null (c 1:3) mode=666
make device /dev/zero (c 1:5) mode=666
make device /dev/full (c 1:7) mode=666
make device /dev/random (c 1:8) mode=666
make device /dev/urandom (c 1:9) mode=666
make device /dev/tty (c 5:0) mode=666
make symlink /dev/fd to /proc/self/fd Keep
make symlink /dev/stdin to /proc/self/fd/0 Keep
make symlink /dev/stdout to /proc/self/fd/1 Keep
make symlink /dev/stderr to /proc/self/fd/2 Keep
make symlink /dev/ptmx to pts/ptmx Replace
make symlink /dev/core to /proc/kcore Keep if-target
set up /dev/console for 100000
make /proc/sys read-only
make /proc/nowhere/too read-only
mask /proc/timer_list
mask /proc/acpi
mask /sys/firmware
mask /proc/nowhere
");
}

#[test]
fn a_rootless_container_with_the_hosts_network() {
    let mut config = config(Path::new("/rootfs"));
    add(&mut config, "/sys", fs("sysfs")).attrs.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    let [major, minor, mode] = [10, 229, 0o600];
    let kind = DeviceKind::Char { major, minor };
    let [uid, gid] = [Some(0), None];
    let json_path = "linux.devices[0]".to_owned();
    config.linux.devices.push(Device { json_path, path: "/dev/fuse".into(), kind, mode, uid, gid });
    let facts = Facts { can_mknod: false, initial_userns: false, own_network: false, ..facts() };
    assert_plan(
        &config,
        &Request::default(),
        &facts,
        "\
root /rootfs owned by 0:0
source 0: /sys recursive Follow
source 1: /dev/null device c 1:3
source 2: /dev/zero device c 1:5
source 3: /dev/full device c 1:7
source 4: /dev/random device c 1:8
source 5: /dev/urandom device c 1:9
source 6: /dev/tty device c 5:0
source 7: /dev/fuse device c 10:229
mounts[0]: mount sysfs on /sys source=0 no-symlinks attrs=+0x3-0x0 rattrs=+0x3-0x0 rprivate
bind device /dev/null (c 1:3) source=1
bind device /dev/zero (c 1:5) source=2
bind device /dev/full (c 1:7) source=3
bind device /dev/random (c 1:8) source=4
bind device /dev/urandom (c 1:9) source=5
bind device /dev/tty (c 5:0) source=6
make symlink /dev/fd to /proc/self/fd Keep
make symlink /dev/stdin to /proc/self/fd/0 Keep
make symlink /dev/stdout to /proc/self/fd/1 Keep
make symlink /dev/stderr to /proc/self/fd/2 Keep
make symlink /dev/ptmx to pts/ptmx Replace
make symlink /dev/core to /proc/kcore Keep if-target
linux.devices[0]: bind device /dev/fuse (c 10:229) source=7
",
    );
}

/// What becomes of a bind with `words` below a root with `rootfsPropagation`.
fn propagation_of_a_bind(
    facts: &Facts,
    root: Option<Propagation>,
    words: &[Propagation],
) -> Vec<Propagation> {
    let mut config = bare();
    config.linux.rootfs_propagation = root;
    add(&mut config, "/volume", bind("/volume")).propagation = words.to_vec();
    propagation_at("/volume", &config, facts)
}

fn propagation_at(destination: &str, config: &Config, facts: &Facts) -> Vec<Propagation> {
    let ops = plan(config, &Request::default(), facts).unwrap().ops;
    let found = ops.into_iter().find_map(|op| match op {
        Op::Attach(attach) if attach.destination == Path::new(destination) => Some(attach.change.propagation),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn no_mount_of_a_bind_is_the_hosts_peer_but_where_that_is_asked_for_and_can_last() {
    use PropagationKind::{Private, Shared, Slave};
    let [top, all] = [false, true].map(|recursive| move |kind| Propagation { kind, recursive });
    let userns = Facts { container_userns: true, ..facts() };
    for (root, words, without, with) in [
        (None, vec![], vec![all(Private)], vec![all(Private)]),
        (None, vec![top(Private)], vec![all(Private), top(Private)], vec![all(Private), top(Private)]),
        (None, vec![top(Slave)], vec![all(Slave), top(Slave)], vec![all(Slave), top(Slave)]),
        (None, vec![top(Shared)], vec![top(Shared)], vec![all(Slave), top(Slave)]),
        (None, vec![all(Shared)], vec![all(Shared)], vec![all(Slave)]),
        (Some(Slave), vec![top(Private)], vec![all(Slave), top(Private)], vec![all(Slave), top(Private)]),
        (Some(Shared), vec![], vec![], vec![all(Slave)]),
        (Some(Shared), vec![all(Private)], vec![all(Private)], vec![all(Private)]),
    ] {
        let root = root.map(all);
        assert_eq!(propagation_of_a_bind(&facts(), root, &words), without, "{root:?} {words:?}");
        assert_eq!(propagation_of_a_bind(&userns, root, &words), with, "{root:?} {words:?}");
    }
}

#[test]
fn the_hosts_sysfs_is_never_shared_with_it() {
    let mut config = bare();
    config.linux.rootfs_propagation = Some(Propagation { kind: PropagationKind::Shared, recursive: true });
    add(&mut config, "/sys", fs("sysfs")).attrs.set = MOUNT_ATTR_RDONLY;
    let facts = Facts { initial_userns: false, own_network: false, ..facts() };
    let slave = Propagation { kind: PropagationKind::Slave, recursive: true };
    assert_eq!(propagation_at("/sys", &config, &facts), [slave]);
}

/// What may stand for the container's /proc.
fn other_proc(facts: &Facts, edit: impl FnOnce(&mut Config)) -> Otherwise {
    let mut config = usual(Path::new("/rootfs"));
    edit(&mut config);
    let plan = plan(&config, &Request::default(), facts).unwrap();
    let found = plan.ops.into_iter().find_map(|op| match op {
        Op::Attach(attach) if attach.name == "proc" => match attach.what {
            What::Filesystem(filesystem) => Some(filesystem.otherwise),
            _ => None,
        },
        _ => None,
    });
    found.unwrap()
}

#[test]
fn another_proc_stands_for_a_refused_one_only_where_nothing_is_lost() {
    let own = || Facts { initial_userns: false, ..facts() };
    let nested = || Facts { nested: true, ..own() };
    let (nothing, all) = (Otherwise::Nothing, Otherwise::Proc { subset: true, outer: true });
    assert_eq!(other_proc(&facts(), |_| {}), nothing, "the kernel refuses nothing to the first root");
    assert_eq!(
        other_proc(&own(), |_| {}),
        Otherwise::Proc { subset: true, outer: false },
        "it is the host's"
    );
    assert_eq!(other_proc(&nested(), |_| {}), all);
    let option = |key| other_proc(&nested(), |config| config.mounts[0].parameters = vec![text(key, "1")]);
    assert_eq!(option("hidepid"), Otherwise::Proc { subset: true, outer: false });
    assert_eq!(option("subset"), Otherwise::Proc { subset: false, outer: false }, "it has been tried");
    let over = other_proc(&nested(), |config| {
        add(config, "/proc/cpuinfo", bind("/lxcfs/cpuinfo"));
    });
    assert_eq!(over, Otherwise::Proc { subset: false, outer: true }, "the file to cover has to be there");
}

#[test]
fn mounts_of_an_engine_with_everything() {
    let mut config = bare();
    config.root.readonly = true;
    config.linux.rootfs_propagation = Some(Propagation { kind: PropagationKind::Slave, recursive: true });
    let own = |host| vec![IdMap { container: 0, host, size: 65_536 }];
    let ids = |host| MountIds::Own { uids: own(host), gids: own(host) };
    let idmap = |host| Some(MountIdMap { ids: ids(host), recursive: false });
    add(&mut config, "/etc//resolv.conf/", bind("relative/resolv.conf")).attrs.set = MOUNT_ATTR_NOEXEC;
    let volume = add(&mut config, "/../volume", bind("/volume"));
    volume.idmap = idmap(100_000);
    volume.propagation = vec![Propagation { kind: PropagationKind::Private, recursive: true }];
    add(&mut config, "/other", bind("/other")).idmap = idmap(200_000);
    let run = add(&mut config, "/run", fs("tmpfs"));
    (run.copy_up, run.attrs.set, run.attrs.clear) = (true, MOUNT_ATTR_RDONLY, MOUNT_ATTR__ATIME);
    run.parameters = vec![text("uid", "10"), text("size", "1m")];
    add(&mut config, "/image", fs("overlay")).parameters =
        vec![text("lowerdir", &format!("/{}:/b", "a".repeat(300)))];
    let disk = MountKind::Filesystem { fstype: "ext4".into(), source: Some("/dev/vdb".into()) };
    add(&mut config, "/disk", disk).attrs.set = MOUNT_ATTR_RDONLY;
    let label = Label { kind: "context".into(), value: "system_u:object_r:x:s0".into() };
    let request = Request { terminal: false, label: Some(label) };
    let long = "a".repeat(300);
    assert_plan(&config, &request, &mapped(), &format!("\
root /rootfs owned by 100000:100000
source 0: /dev recursive Follow
source 1: /bundle/relative/resolv.conf recursive Follow
source 2: /volume recursive Follow idmap=0
source 3: /other recursive Follow idmap=1
idmap 0: \"0 100000 65536\" \"0 100000 65536\"
idmap 1: \"0 200000 65536\" \"0 200000 65536\"
mounts[0]: mount /dev on /dev source=0 no-symlinks rslave
mounts[1]: mount /bundle/relative/resolv.conf on /etc/resolv.conf source=1 attrs=+0x8-0x0 rslave
mounts[2]: mount /volume on /volume source=2 rprivate
mounts[3]: mount /other on /other source=3 rslave
mounts[4]: mount tmpfs on /run source=tmpfs uid=100010 size=1m context=system_u:object_r:x:s0 adopt-mode copy-up read-only-later attrs=+0x0-0x70
mounts[5]: mount overlay on /image source=overlay lowerdir+=/{long} lowerdir+=/b context=system_u:object_r:x:s0
mounts[6]: mount ext4 on /disk source=/dev/vdb ro context=system_u:object_r:x:s0 attrs=+0x1-0x0
make file systems read-only
make the root file system read-only
"));
}

#[test]
fn an_unmapped_tty_group_is_left_out() {
    let mut config = bare();
    add(&mut config, "/dev/pts", fs("devpts")).parameters = vec![text("gid", "70000"), text("mode", "620")];
    let text = plan(&config, &Request::default(), &mapped()).unwrap().to_string();
    assert!(text.contains("on /dev/pts source=devpts mode=620 chown"), "{text}");
}

fn hierarchy(mount: &str, controllers: &[&str]) -> Hierarchy {
    let controllers = controllers.iter().map(|&name| name.into()).collect();
    Hierarchy { mount: mount.into(), controllers, own: "/caller".into() }
}

#[test]
fn cgroups_on_every_kind_of_host() {
    let mut config = bare();
    add(&mut config, "/sys/fs/cgroup", MountKind::Cgroup).attrs.set = MOUNT_ATTR_RDONLY;
    let pure = Cgroups { unified: Some(hierarchy("/sys/fs/cgroup", &[])), legacy: Vec::new() };
    let hybrid = Cgroups {
        unified: Some(hierarchy("/sys/fs/cgroup/unified", &[])),
        legacy: vec![
            hierarchy("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
            hierarchy("/sys/fs/cgroup/systemd", &["name=systemd"]),
        ],
    };
    let group = |path: &str, optional| Group { path: path.into(), optional };
    let groups =
        [("/sys/fs/cgroup", group("/pod/ctr", false)), ("/sys/fs/cgroup/systemd", group("/ctr", true))];
    let groups = groups.map(|(mount, group)| (mount.into(), group)).into();
    let facts = |cgroups: &Cgroups, new_cgroup_namespace| Facts {
        cgroups: cgroups.clone(),
        new_cgroup_namespace,
        groups: std::collections::BTreeMap::clone(&groups),
        ..facts()
    };
    let top = "mounts[1]: mount tmpfs on /sys/fs/cgroup source=tmpfs mode=755 no-symlinks read-only-later\n";
    let links = "make symlink /sys/fs/cgroup/cpu to cpu,cpuacct Keep\nmake symlink /sys/fs/cgroup/cpuacct to cpu,cpuacct Keep\n";
    for (cgroups, new, expected) in [
        (&pure, true, "mounts[1]: mount cgroup2 on /sys/fs/cgroup source=cgroup2 no-symlinks attrs=+0x1-0x0\n".to_owned()),
        (&pure, false, "mounts[1]: mount cgroup2 on /sys/fs/cgroup late=/sys/fs/cgroup/pod/ctr no-symlinks attrs=+0x1-0x0\n".into()),
        (&hybrid, true, format!("{top}\
mounts[1]: mount cgroup on /sys/fs/cgroup/cpu,cpuacct source=cgroup cpu cpuacct attrs=+0x1-0x0
{links}\
mounts[1]: mount cgroup on /sys/fs/cgroup/systemd source=cgroup name=systemd attrs=+0x1-0x0
mounts[1]: mount cgroup2 on /sys/fs/cgroup/unified source=cgroup2 attrs=+0x1-0x0
make file systems read-only
")),
        (&hybrid, false, format!("{top}\
mounts[1]: mount cgroup on /sys/fs/cgroup/cpu,cpuacct late=/sys/fs/cgroup/cpu,cpuacct/caller attrs=+0x1-0x0
{links}\
mounts[1]: mount cgroup on /sys/fs/cgroup/systemd late=/sys/fs/cgroup/systemd/ctr or /sys/fs/cgroup/systemd/caller attrs=+0x1-0x0
mounts[1]: mount cgroup2 on /sys/fs/cgroup/unified late=/sys/fs/cgroup/unified/caller attrs=+0x1-0x0
make file systems read-only
")),
    ] {
        let head = "root /rootfs owned by 0:0\nsource 0: /dev recursive Follow\n";
        assert_plan(&config, &Request::default(), &facts(cgroups, new), &format!("{head}{BARE}{expected}"));
    }
}

#[test]
fn devices_take_the_place_of_defaults_and_only_ids_that_exist() {
    let mut config = config(Path::new("/rootfs"));
    let device = |path: &str, kind, uid| Device {
        json_path: "linux.devices[0]".into(),
        path: path.into(),
        kind,
        mode: 0o640,
        uid,
        gid: Some(6),
    };
    config.linux.devices = vec![
        device("/dev/null", DeviceKind::Char { major: 1, minor: 3 }, Some(70_000)),
        device("/dev/ptmx", DeviceKind::Char { major: 5, minor: 2 }, None),
        device("/opt/disk", DeviceKind::Block { major: 8, minor: 1 }, Some(1)),
    ];
    let plan = plan(&config, &Request::default(), &mapped()).unwrap().to_string();
    let devices: Vec<&str> =
        plan.lines().filter(|line| line.contains("null") || line.starts_with("linux")).collect();
    assert_eq!(
        devices,
        [
            "linux.devices[0]: make device /dev/null (c 1:3) mode=640 gid=100006",
            "linux.devices[0]: make device /opt/disk (b 8:1) mode=640 uid=100001 gid=100006",
        ]
    );
}

type Change = fn(&mut Config);

#[test]
fn what_cannot_be_is_refused_with_its_json_path() {
    let wrong: [(Change, &str); 7] = [
        (
            |c| _ = add(c, "/proc", fs("tmpfs")),
            "mounts[1]: tmpfs over /proc: only a procfs can be mounted there",
        ),
        (
            |c| _ = add(c, "/proc", MountKind::Cgroup),
            "mounts[1]: cgroup over /proc: only a procfs can be mounted there",
        ),
        (
            |c| _ = add(c, "/x/../proc/self", bind("/x")),
            "mounts[1]: /proc/self: nothing can be mounted inside /proc",
        ),
        (|c| _ = add(c, "/.", fs("tmpfs")), "mounts[1]: destination: / is the root file system"),
        (
            |c| add(c, "/t", fs("tmpfs")).parameters = vec![text("uid", "70000")],
            "mounts[1]: options: uid=70000 is not mapped",
        ),
        (|c| _ = add(c, "/c", MountKind::Cgroup), "mounts[1]: the host has no cgroup hierarchy"),
        (|c| c.linux.masked_paths.push("/..".into()), "linux.maskedPaths: / "),
    ];
    for (change, expected) in wrong {
        let mut config = bare();
        change(&mut config);
        let error = plan(&config, &Request::default(), &mapped()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let mut config = bare();
    add(&mut config, "/v", bind("/v")).idmap = Some(MountIdMap { ids: MountIds::Container, recursive: true });
    let error = plan(&config, &Request::default(), &facts()).unwrap_err().to_string();
    assert_eq!(error, "mounts[1]: idmap without mappings, and the container has no user namespace");
}
