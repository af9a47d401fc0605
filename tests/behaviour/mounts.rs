//! Mounts of config.json: every option and its recursive form, as the host reads them in mountinfo.

use crate::common::*;
use nix::mount::{MsFlags, mount};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What must and what must not be among a mount's options.
type Expected = (&'static [&'static str], &'static [&'static str]);

in_modes! {
    fn every_flag_of_a_new_file_system_is_set_and_its_opposite_takes_it_back(mode) {
        let table: &[(&[&str], Expected)] = &[
            (&["rw"], (&["rw"], &["ro"])),
            (&["ro"], (&["ro"], &[])),
            (&["ro", "rw"], (&["rw"], &["ro"])),
            (&["nosuid", "nodev", "noexec"], (&["nosuid", "nodev", "noexec"], &[])),
            (&["nosuid", "nodev", "noexec", "suid", "dev", "exec"], (&[], &["nosuid", "nodev", "noexec"])),
            (&["noatime"], (&["noatime"], &["relatime"])),
            (&["nodiratime"], (&["nodiratime"], &[])),
            (&["nodiratime", "diratime"], (&[], &["nodiratime"])),
            (&["relatime"], (&["relatime"], &["noatime"])),
            (&["strictatime"], (&[], &["relatime", "noatime"])),
        ];
        let mut bundle = Bundle::new(mode);
        for (number, (options, _)) in table.iter().enumerate() {
            bundle = bundle.mount("tmpfs", "tmpfs", &format!("/mnt/{number}"), options);
        }
        let container = bundle.start();
        for (number, (options, (with, without))) in table.iter().enumerate() {
            let found = container.proc().mount(&format!("/mnt/{number}"));
            assert_eq!(found.kind, "tmpfs");
            for option in *with {
                assert!(found.has(option), "{options:?} gave {found:?}");
            }
            for option in *without {
                assert!(!found.has(option), "{options:?} gave {found:?}");
            }
        }
    }
}

#[test]
fn the_word_defaults_changes_nothing() {
    if subject().0 == Subject::Runc {
        return; // runc 1.1 takes it for data
    }
    let found = Bundle::new(Mode::Root)
        .mount("tmpfs", "tmpfs", "/mnt/a", &["defaults"])
        .start()
        .proc()
        .mount("/mnt/a");
    assert!(found.has("rw") && found.has("relatime") && !found.has("nosuid"), "{found:?}");
}

#[test]
fn symlinks_are_not_followed_on_a_nosymfollow_mount() {
    if subject().0 == Subject::Runc {
        return; // runc 1.1 takes it for data
    }
    let container = Bundle::new(Mode::Root)
        .mount("tmpfs", "tmpfs", "/mnt/a", &["nosymfollow"])
        .mount("tmpfs", "tmpfs", "/mnt/b", &["nosymfollow", "symfollow"])
        .start();
    assert!(container.proc().mount("/mnt/a").has("nosymfollow"));
    assert!(!container.proc().mount("/mnt/b").has("nosymfollow"));
}

in_modes! {
    [root root_userns]
    fn flags_of_the_file_system_reach_it(mode) {
        let container = Bundle::new(mode)
            .mount("tmpfs", "tmpfs", "/mnt/a", &["sync", "dirsync", "lazytime"])
            .mount("tmpfs", "tmpfs", "/mnt/b", &["sync", "async"])
            .mount("tmpfs", "tmpfs", "/mnt/c", &["size=64k", "nr_inodes=100", "mode=0711"])
            .start();
        let a = container.proc().mount("/mnt/a");
        assert!(a.super_has("sync") && a.super_has("dirsync") && a.super_has("lazytime"), "{a:?}");
        assert!(!container.proc().mount("/mnt/b").super_has("sync"));
        let c = container.proc().mount("/mnt/c");
        assert!(c.super_has("size=64k") && c.super_has("nr_inodes=100"), "{c:?}");
        assert_eq!(std::fs::metadata(container.proc().inside("/mnt/c")).unwrap().mode() & 0o7777, 0o711);
    }
}

in_modes! {
    [root root_userns root_in_userns rootless_range]
    fn owners_of_a_tmpfs_are_container_ids(mode) {
        let container = Bundle::new(mode).mount("tmpfs", "tmpfs", "/mnt/a", &["uid=1000", "gid=2000", "mode=0750"]).start();
        let meta = std::fs::metadata(container.proc().inside("/mnt/a")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (mode.host_uid(1000), mode.host_gid(2000)));
    }
}

in_modes! {
    fn a_new_file_system_belongs_to_the_containers_root(mode) {
        let container = Bundle::new(mode).mount("tmpfs", "tmpfs", "/mnt/a", &[]).start();
        let meta = std::fs::metadata(container.proc().inside("/mnt/a")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), mode.owner());
    }
}

#[test]
fn an_unknown_option_of_a_file_system_is_refused_by_the_kernel_and_named() {
    let bundle = Bundle::new(Mode::Root).mount("tmpfs", "tmpfs", "/mnt/a", &["sparkle=yes"]);
    bundle.run().refused_naming(&["/mnt/a"]);
    Traces::none_of(&bundle);
}

#[test]
fn a_file_system_that_does_not_exist_is_named() {
    let bundle = Bundle::new(Mode::Root).mount("nosuchfs", "none", "/mnt/a", &[]);
    bundle.run().refused_naming(&["nosuchfs", "/mnt/a"]);
}

/// A tmpfs on the host with another one on `sub`, both with the same flags.
fn tree(bundle: &Bundle, flags: MsFlags) -> PathBuf {
    let source = bundle.scratch().dir("tree", bundle.mode().caller(), 0o755);
    let tmpfs =
        |path: &Path| mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    tmpfs(&source);
    std::fs::create_dir(source.join("sub")).unwrap();
    tmpfs(&source.join("sub"));
    for path in [&source, &source.join("sub")] {
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        mount(None::<&str>, path, None::<&str>, flags, None::<&str>).unwrap();
    }
    source
}

/// Makes a mount of the host shared.
fn share(path: &Path) {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
}

#[test]
fn a_bind_takes_one_mount_and_an_rbind_the_whole_tree() {
    for options in [&["bind"][..], &["rbind"], &["rbind", "bind"], &["bind", "rbind"]] {
        let bundle = Bundle::new(Mode::Root);
        let source = tree(&bundle, MsFlags::empty());
        let container = bundle.mount("bind", source, "/mnt/a", options).start();
        let sub = container.proc().mounts().iter().any(|mount| mount.point == "/mnt/a/sub");
        assert_eq!(sub, options.contains(&"rbind"), "{options:?}");
    }
}

#[test]
fn a_flag_reaches_the_top_of_a_tree_and_its_recursive_form_all_of_it() {
    for (flag, recursive) in [
        ("ro", "rro"),
        ("nosuid", "rnosuid"),
        ("nodev", "rnodev"),
        ("noexec", "rnoexec"),
        ("noatime", "rnoatime"),
        ("nodiratime", "rnodiratime"),
    ] {
        // The others assemble inside, where access times are locked.
        let ours = subject().0 == Subject::Urun;
        let bundle = Bundle::new(if ours { Mode::RootUserns } else { Mode::Root });
        let source = tree(&bundle, MsFlags::empty());
        let container = bundle
            .mount("bind", &source, "/mnt/a", &["rbind", flag])
            .mount("bind", &source, "/mnt/b", &["rbind", recursive])
            .start();
        let has = |point: &str| container.proc().mount(point).has(flag);
        assert_eq!((has("/mnt/a"), has("/mnt/a/sub")), (true, false), "{flag}");
        assert_eq!((has("/mnt/b"), has("/mnt/b/sub")), (true, true), "{recursive}");
    }
}

#[test]
fn access_times_have_recursive_forms() {
    for (recursive, with, without) in [
        ("rrelatime", &["relatime"][..], &["noatime"][..]),
        ("rstrictatime", &[], &["relatime", "noatime"]),
        ("rnosymfollow", &["nosymfollow"], &[]),
    ] {
        if recursive == "rnosymfollow" && subject().0 == Subject::Runc {
            continue; // unknown to runc 1.1
        }
        let bundle = Bundle::new(Mode::Root);
        let source = tree(&bundle, MsFlags::MS_NOATIME);
        let container = bundle.mount("bind", source, "/mnt/a", &["rbind", recursive]).start();
        for point in ["/mnt/a", "/mnt/a/sub"] {
            let found = container.proc().mount(point);
            assert!(
                with.iter().all(|o| found.has(o)) && !without.iter().any(|o| found.has(o)),
                "{recursive}: {found:?}"
            );
        }
    }
}

#[test]
fn recursive_opposites_take_the_flags_of_a_whole_tree_back() {
    let all = MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NODIRATIME;
    for (word, flag) in [
        ("rrw", "ro"),
        ("rsuid", "nosuid"),
        ("rdev", "nodev"),
        ("rexec", "noexec"),
        ("rdiratime", "nodiratime"),
    ] {
        let bundle = Bundle::new(Mode::Root);
        let source = tree(&bundle, all);
        let container = bundle.mount("bind", source, "/mnt/a", &["rbind", word]).start();
        for point in ["/mnt/a", "/mnt/a/sub"] {
            assert!(!container.proc().mount(point).has(flag), "{word} on {point}");
        }
    }
}

#[test]
fn a_bind_without_flags_keeps_those_of_its_source() {
    let bundle = Bundle::new(Mode::Root);
    let source = tree(&bundle, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC);
    let found = bundle.mount("bind", source, "/mnt/a", &["bind"]).start().proc().mount("/mnt/a");
    assert!(found.has("nosuid") && found.has("nodev") && found.has("noexec"), "{found:?}");
}

in_modes! {
    [root_in_userns rootless_one rootless_range]
    fn flags_that_the_kernel_locked_stay_when_a_bind_is_made_read_only(mode) {
        if subject().0 == Subject::Runc {
            return; // since runc 1.2
        }
        let bundle = Bundle::new(mode);
        let source = bundle.scratch().dir("locked", mode.caller(), 0o755);
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("tmpfs"), &source, Some("tmpfs"), flags, Some("mode=755")).unwrap();
        // A mount made after the outer namespace's birth reaches it only by propagation, so that mode gets a new one.
        let bundle = bundle.renew_outer();
        let found = bundle.mount("bind", &source, "/mnt/a", &["bind", "ro"]).start().proc().mount("/mnt/a");
        for flag in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(found.has(flag), "{flag}: {found:?}");
        }
    }
}

#[test]
fn propagation_of_a_mount_is_what_was_asked_for() {
    for (word, shared, slave) in [
        ("private", false, false),
        ("rprivate", false, false),
        ("slave", false, true),
        ("rslave", false, true),
        ("shared", true, false),
        ("rshared", true, false),
    ] {
        let bundle = Bundle::new(Mode::Root);
        let source = tree(&bundle, MsFlags::empty());
        for path in [&source, &source.join("sub")] {
            share(path);
        }
        let container = bundle.mount("bind", source, "/mnt/a", &["rbind", word]).start();
        let top = container.proc().mount("/mnt/a");
        // A shared mount may receive as well, when the whole table was made a slave of the host's first.
        assert_eq!((top.shared(), top.slave() && !shared), (shared, slave), "{word}: {top:?}");
        let sub = container.proc().mount("/mnt/a/sub");
        if word.starts_with('r') {
            assert_eq!((sub.shared(), sub.slave() && !shared), (shared, slave), "{word}: {sub:?}");
        }
    }
}

#[test]
fn a_mount_made_inside_arrives_on_the_host_through_rshared() {
    let bundle = Bundle::new(Mode::Root).put("/process/capabilities", caps(&["CAP_SYS_ADMIN"]));
    let source = tree(&bundle, MsFlags::empty());
    share(&source);
    let container = bundle
        .put("/linux/rootfsPropagation", json!("rshared"))
        .mount("bind", &source, "/mnt/a", &["rbind", "rshared"])
        .sh("mkdir /mnt/a/inner && mount -t tmpfs inner /mnt/a/inner && echo mounted && exec sleep 600")
        .start();
    container.wait_for("mounted");
    assert!(mounts_below(&source).contains(&source.join("inner")));
}

#[test]
fn what_is_mounted_below_a_shared_volume_of_a_user_namespace_stays_off_the_host() {
    for words in [&["rbind", "rshared"][..], &["rbind", "shared"], &["rbind"]] {
        let bundle = Bundle::new(Mode::RootUserns);
        let source = tree(&bundle, MsFlags::empty());
        share(&source);
        for name in ["inner", "read-only", "later"] {
            std::fs::create_dir(source.join(name)).unwrap();
        }
        let before = mounts_below(&source);
        let mut bundle = bundle
            .put("/linux/rootfsPropagation", json!("rshared"))
            .mount("bind", &source, "/mnt/a", words)
            .mount("tmpfs", "inner", "/mnt/a/inner", &[]);
        bundle.config["linux"]["readonlyPaths"].as_array_mut().unwrap().push(json!("/mnt/a/read-only"));
        let container = bundle.start();
        assert_eq!(container.proc().mount("/mnt/a/inner").source, "inner", "{words:?}");
        assert!(container.proc().mount("/mnt/a/read-only").has("ro"), "{words:?}");
        assert_eq!(mounts_below(&source), before, "{words:?}");
        mount(Some("late"), &source.join("later"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        assert_eq!(container.proc().mount("/mnt/a/later").source, "late", "{words:?}");
    }
}

#[test]
fn a_read_only_path_below_a_shared_volume_stays_writable_on_the_host() {
    let bundle = Bundle::new(Mode::Root);
    let source = tree(&bundle, MsFlags::empty());
    share(&source);
    std::fs::create_dir(source.join("read-only")).unwrap();
    let mut bundle = bundle.put("/linux/rootfsPropagation", json!("rshared")).mount(
        "bind",
        &source,
        "/mnt/a",
        &["rbind", "rshared"],
    );
    bundle.config["linux"]["readonlyPaths"].as_array_mut().unwrap().push(json!("/mnt/a/read-only"));
    let container = bundle.start();
    assert!(container.proc().mount("/mnt/a/read-only").has("ro"));
    std::fs::write(source.join("read-only/file"), "").unwrap();
}

in_modes! {
    [root root_userns]
    fn what_is_mounted_below_a_volumes_own_mounts_stays_off_the_host(mode) {
        for word in ["private", "slave", "unbindable", "rprivate", "rslave"] {
            let bundle = Bundle::new(mode);
            let source = tree(&bundle, MsFlags::empty());
            for path in [&source, &source.join("sub")] {
                share(path);
            }
            std::fs::create_dir(source.join("sub/inner")).unwrap();
            let before = mounts_below(&source);
            let container = bundle
                .mount("bind", &source, "/mnt/a", &["rbind", word])
                .mount("tmpfs", "inner", "/mnt/a/sub/inner", &[])
                .start();
            assert_eq!(container.proc().mount("/mnt/a/sub/inner").source, "inner", "{word}");
            assert!(!container.proc().mount("/mnt/a/sub").shared(), "{word}");
            assert_eq!(mounts_below(&source), before, "{word}");
        }
    }
}

#[test]
fn an_unbindable_mount_says_so() {
    let found = Bundle::new(Mode::Root)
        .mount("tmpfs", "tmpfs", "/mnt/a", &["unbindable"])
        .start()
        .proc()
        .mount("/mnt/a");
    assert!(found.propagation.iter().any(|word| word == "unbindable"), "{found:?}");
}

#[test]
fn a_mount_made_on_the_host_later_arrives_through_rslave() {
    let bundle = Bundle::new(Mode::RootUserns);
    let source = tree(&bundle, MsFlags::empty());
    share(&source);
    std::fs::create_dir(source.join("later")).unwrap();
    let container = bundle.mount("bind", &source, "/mnt/a", &["rbind", "rslave"]).start();
    mount(Some("late"), &source.join("later"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    assert_eq!(container.proc().mount("/mnt/a/later").source, "late");
}

in_modes! {
    fn missing_mount_points_are_made(mode) {
        let bundle = Bundle::new(mode);
        let file = bundle.scratch().file("note", "hello\n", mode.caller(), 0o644);
        let dir = bundle.scratch().dir("folder", mode.caller(), 0o755);
        let output = bundle
            .mount("bind", file, "/new/deep/note", &["bind", "ro"])
            .mount("bind", dir, "/new/folder", &["bind"])
            .mount("tmpfs", "tmpfs", "/other/tmp", &[])
            .sh("cat /new/deep/note && test -d /new/folder && test -d /other/tmp && stat -c %u:%a /new /other")
            .run()
            .ok();
        assert_eq!(output.stdout, "hello\n0:755\n0:755\n");
    }
}

in_modes! {
    fn mounts_come_in_the_order_of_the_list(mode) {
        let container = Bundle::new(mode)
            .mount("tmpfs", "tmpfs", "/mnt", &[])
            .mount("tmpfs", "first", "/mnt/a", &[])
            .mount("tmpfs", "second", "/mnt/a", &[])
            .start();
        let points: Vec<String> = container.proc().mounts().into_iter().map(|m| m.source).collect();
        let place = |source| points.iter().position(|found| found == source).unwrap();
        assert!(place("first") < place("second"), "{points:?}");
        assert_eq!(container.proc().mount("/mnt/a").source, "second");
    }
}

#[test]
fn a_relative_source_is_in_the_bundle_and_a_relative_destination_below_the_root() {
    let bundle = Bundle::new(Mode::Root);
    std::fs::write(bundle.dir().join("note"), "from the bundle\n").unwrap();
    let output = bundle.mount("bind", "note", "/mnt/note", &["bind"]).args(["cat", "/mnt/note"]).run().ok();
    assert_eq!(output.text(), "from the bundle");
    let bundle = Bundle::new(Mode::Root).mount("tmpfs", "tmpfs", "mnt/rel", &[]);
    if !only_ours("runc only warns in a later version") {
        assert_eq!(bundle.start().proc().mount("/mnt/rel").kind, "tmpfs");
    }
}

in_modes! {
    fn a_source_that_is_not_there_is_refused_by_name(mode) {
        let bundle = Bundle::new(mode).mount("bind", "/no/such/source", "/mnt/a", &["bind"]);
        bundle.run().refused_naming(&["/no/such/source", "/mnt/a"]);
        Traces::none_of(&bundle);
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn tmpcopyup_brings_what_was_below(mode) {
        let output = Bundle::new(mode)
            .mount("tmpfs", "tmpfs", "/etc", &["tmpcopyup"])
            .sh("cat /etc/passwd && echo new > /etc/new")
            .run()
            .ok();
        assert!(output.stdout.starts_with("root:"), "{}", output.stdout);
    }
}

#[test]
fn tmpcopyup_keeps_owners_modes_and_links() {
    let bundle = Bundle::new(Mode::RootUserns).rootfs(|root| {
        std::fs::create_dir(root.join("etc/dir")).unwrap();
        std::os::unix::fs::symlink("dir", root.join("etc/link")).unwrap();
    });
    let bundle = bundle.mount("tmpfs", "tmpfs", "/etc", &["tmpcopyup"]);
    let output =
        bundle.args(["stat", "-c", "%u:%g %F %a", "/etc/passwd", "/etc/dir", "/etc/link"]).run().ok();
    assert_eq!(output.stdout, "0:0 regular file 644\n0:0 directory 755\n0:0 symbolic link 777\n");
}

#[test]
fn symlinks_of_the_image_are_resolved_inside_the_root() {
    let bundle = Bundle::new(Mode::Root).rootfs(|root| {
        std::os::unix::fs::symlink("../../../../../../run/inner", root.join("mnt/link")).unwrap();
    });
    let container = bundle.mount("tmpfs", "tmpfs", "/mnt/link", &[]).start();
    assert_eq!(container.proc().mount("/run/inner").kind, "tmpfs");
    assert!(!Path::new("/run/inner").exists(), "made on the host");
}

#[test]
fn copy_symlink_copies_the_link_and_does_not_follow_it() {
    if only_ours("crun 1.9 and later") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let dir = bundle.scratch().path().to_owned();
    std::os::unix::fs::symlink("/somewhere/else", dir.join("link")).unwrap();
    let output = bundle
        .mount("bind", dir.join("link"), "/mnt/link", &["bind", "copy-symlink"])
        .args(["readlink", "/mnt/link"])
        .run()
        .ok();
    assert_eq!(output.text(), "/somewhere/else");
}

#[test]
fn src_nofollow_binds_the_link_itself_and_dest_nofollow_covers_one() {
    if only_ours("newer crun only") {
        return;
    }
    let bundle = Bundle::new(Mode::Root).rootfs(|root| {
        std::os::unix::fs::symlink("/etc/passwd", root.join("mnt/dest")).unwrap();
        std::os::unix::fs::symlink("/nowhere", root.join("mnt/src")).unwrap();
    });
    let dir = bundle.scratch().path().to_owned();
    std::os::unix::fs::symlink("/target/of/link", dir.join("link")).unwrap();
    let note = bundle.scratch().file("note", "covered\n", (0, 0), 0o644);
    let output = bundle
        .mount("bind", dir.join("link"), "/mnt/src", &["bind", "src-nofollow", "dest-nofollow"])
        .mount("bind", note, "/mnt/dest", &["bind", "dest-nofollow"])
        .sh("readlink /mnt/src; cat /mnt/dest; head -c 5 /etc/passwd")
        .run()
        .ok();
    assert_eq!(output.stdout, "/target/of/link\ncovered\nroot:");
}

/// `[container, host, size]` as mappings of a mount.
fn mapped(bundle: Bundle, line: [u32; 3]) -> Bundle {
    bundle.with(|config| {
        let lines = json!([{"containerID": line[0], "hostID": line[1], "size": line[2]}]);
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        last["uidMappings"] = lines.clone();
        last["gidMappings"] = lines;
    })
}

#[test]
fn a_mount_with_mappings_shows_the_hosts_owner_as_the_containers() {
    if subject().0 == Subject::Runc {
        return; // since runc 1.2
    }
    for options in [&["bind"][..], &["bind", "idmap"], &["rbind", "rprivate", "rw", "bind"]] {
        let bundle = Bundle::new(Mode::RootUserns);
        let source = bundle.scratch().dir("volume", (0, 0), 0o755);
        bundle.scratch().file("volume/zero", "", (0, 0), 0o600);
        bundle.scratch().file("volume/user", "", (1000, 1000), 0o600);
        let bundle = mapped(bundle.mount("bind", &source, "/mnt/a", options), [0, 131_072, 65536]);
        let bundle = bundle.sh("stat -c %u:%g /mnt/a/zero /mnt/a/user && echo hi > /mnt/a/new");
        let output = bundle.run().ok();
        assert_eq!(output.stdout, "0:0\n1000:1000\n", "{options:?}");
        let new = std::fs::metadata(source.join("new")).unwrap();
        assert_eq!((new.uid(), new.gid()), (0, 0), "written through the map with {options:?}");
    }
}

#[test]
fn an_idmap_option_without_mappings_takes_those_of_the_container() {
    if subject().0 == Subject::Runc {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let source = bundle.scratch().dir("volume", (0, 0), 0o755);
    let bundle = bundle.mount("bind", source, "/mnt/a", &["bind", "idmap"]);
    let container = bundle.start();
    assert!(container.proc().mount("/mnt/a").has("idmapped"));
    assert_eq!(std::fs::metadata(container.proc().inside("/mnt/a")).unwrap().uid(), 131_072);
}

#[test]
fn mappings_of_a_mount_may_differ_from_the_containers() {
    if subject().0 == Subject::Runc {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let source = bundle.scratch().dir("volume", (5000, 5000), 0o755);
    let bundle = mapped(bundle.mount("bind", source, "/mnt/a", &["bind", "idmap"]), [5000, 131_072 + 7, 1]);
    let container = bundle.start();
    assert_eq!(std::fs::metadata(container.proc().inside("/mnt/a")).unwrap().uid(), 131_072 + 7);
}

#[test]
fn idmap_is_for_the_top_mount_and_ridmap_for_the_tree() {
    if only_ours("crun 1.8 knows no ridmap") {
        return;
    }
    for (word, below) in [("idmap", false), ("ridmap", true)] {
        let bundle = Bundle::new(Mode::RootUserns);
        let source = tree(&bundle, MsFlags::empty());
        let bundle = mapped(bundle.mount("bind", source, "/mnt/a", &["rbind", word]), [0, 131_072, 65536]);
        let container = bundle.start();
        let has = |point: &str| container.proc().mount(point).has("idmapped");
        assert_eq!((has("/mnt/a"), has("/mnt/a/sub")), (true, below), "{word}");
    }
}

#[test]
fn a_file_system_without_id_maps_is_told_apart() {
    if subject().0 == Subject::Runc {
        return;
    }
    let bundle = mapped(
        Bundle::new(Mode::RootUserns).mount("bind", "/proc/self", "/mnt/a", &["bind"]),
        [0, 131_072, 65536],
    );
    let output = bundle.run();
    output.refused_naming(&["maybe the source filesystem doesn't support idmap mounts on this kernel?"]);
    Traces::none_of(&bundle);
}

#[test]
fn half_given_mappings_of_a_mount_are_refused_with_their_place() {
    if only_ours("others do not look") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let source = bundle.scratch().dir("volume", (0, 0), 0o755);
    let bundle = mapped(bundle.mount("bind", source, "/mnt/a", &["bind"]), [0, 131_072, 65536]);
    let bundle = bundle.with(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove("gidMappings");
    });
    bundle.run().refused_naming(&["mounts[6].gidMappings"]);
}

in_modes! {
    [rootless_range]
    fn an_id_mapped_mount_is_beyond_an_ordinary_user(mode) {
        if subject().0 == Subject::Runc {
            return; // since runc 1.2
        }
        let bundle = Bundle::new(mode);
        let source = bundle.scratch().dir("volume", mode.caller(), 0o755);
        bundle.mount("bind", source, "/mnt/a", &["bind", "idmap"]).run().refused_naming(&["/mnt/a"]);
    }
}

#[test]
fn nothing_but_a_few_files_may_be_mounted_inside_proc() {
    let bundle = Bundle::new(Mode::Root);
    let file = bundle.scratch().file("uptime", "1 2\n", (0, 0), 0o644);
    let output =
        bundle.mount("bind", file, "/proc/uptime", &["bind"]).args(["cat", "/proc/uptime"]).run().ok();
    assert_eq!(output.text(), "1 2");
    if only_ours("crun lets everything through, runc 1.1 looks at binds alone") {
        return;
    }
    let bundle = Bundle::new(Mode::Root).mount("tmpfs", "tmpfs", "/proc/self/attr", &[]);
    bundle.run().refused_naming(&["/proc/self/attr"]);
    Traces::none_of(&bundle);
}

#[test]
fn sysfs_with_the_hosts_network_is_bound_read_only_in_a_user_namespace() {
    if subject().0 == Subject::Runc {
        return; // runc has no fallback
    }
    let container = Bundle::new(Mode::RootlessRange).namespace("network", None).start();
    let sys = container.proc().mount("/sys");
    assert!(sys.kind == "sysfs" && sys.has("ro"), "{sys:?}");
}
