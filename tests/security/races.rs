//! Somebody else who shares a volume exchanges a directory and a link in it while a container starts (SEC-05, SEC-11, SEC-12).

use crate::{
    canary::Canary,
    common::{Bundle, Proc, Traces, in_modes},
};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The most starts of one race; [`time`] bounds them as well.
const ROUNDS: u32 = 2000;

/// How long a race takes: `URUN_TEST_RACE` seconds, 2 where it is not set.
fn time() -> Duration {
    Duration::from_secs(std::env::var("URUN_TEST_RACE").map_or(2, |text| text.parse().unwrap()))
}

/// A volume with a directory `dir` and a link `link` that leads to `target`.
fn volume(bundle: &Bundle, target: &str) -> PathBuf {
    let owner = bundle.mode().owner();
    let volume = bundle.scratch().dir("volume", owner, 0o777);
    bundle.scratch().dir("volume/dir", owner, 0o777);
    symlink(target, volume.join("link")).unwrap();
    volume
}

/// Exchanges `dir` and `link` of the volume without a pause while `start` is called again and again.
fn race(volume: &Path, mut start: impl FnMut(u32)) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when `start` panics: the scope waits for the thread.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&done);
        let exchanges = scope.spawn(|| {
            let (a, b) = (volume.join("dir"), volume.join("link"));
            let mut count = 0_u64;
            while !done.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
                count += 1;
            }
            count
        });
        let (begin, mut round) = (Instant::now(), 0);
        while round < ROUNDS && begin.elapsed() < time() {
            start(round);
            round += 1;
        }
        done.store(true, Ordering::Relaxed);
        println!("{round} starts, {} exchanges", exchanges.join().unwrap());
    });
}

/// A container that failed to start is cleared: other runtimes leave it.
fn clear(bundle: &Bundle, code: i32) {
    if code != 0 {
        bundle.call(&["delete", "--force", bundle.id()]);
    }
}

in_modes! {
    /// CVE-2021-30465: a mount lands on the host's directory of volumes, in the runtime's mount namespace, and the source of the
    /// next one is then a link to the host's root.
    fn sec_05_a_source_below_a_racing_target_never_shows_the_host(mode) {
        let bundle = Bundle::new(mode);
        bundle.scratch().file("secret", "SECRET\n", mode.caller(), 0o644);
        let volumes = bundle.scratch().dir("volumes", mode.caller(), 0o755);
        let second = bundle.scratch().dir("volumes/second", mode.owner(), 0o777);
        let volume = volume(&bundle, volumes.to_str().unwrap());
        symlink("/", volume.join("second")).unwrap();
        let secret = format!("/out{}", bundle.scratch().join("secret").display());
        let bundle = bundle
            .mount("bind", &volume, "/volume", &["rbind"])
            .mount("bind", &volume, "/volume/dir", &["rbind"])
            .mount("bind", &second, "/out", &["rbind"])
            .args(["cat", &secret]);
        bundle.write();
        race(&volume, |round| {
            let output = bundle.call(&["run", bundle.id()]);
            assert!(!output.stdout.contains("SECRET"), "round {round}: {output:?}");
            clear(&bundle, output.code);
        });
        Traces::none_of(&bundle);
    }
}

in_modes! {
    /// CVE-2024-45310: places of mounts that are missing are made on the host.
    fn sec_05_missing_places_behind_a_racing_link_are_not_made_on_the_host(mode) {
        let bundle = Bundle::new(mode).args(["true"]);
        let canary = Canary::new(&bundle);
        let volume = volume(&bundle, canary.path().to_str().unwrap());
        let file = bundle.scratch().file("source", "x", mode.caller(), 0o644);
        let mut bundle = bundle.mount("bind", &volume, "/volume", &["rbind"]);
        let fixed = bundle.config["mounts"].as_array().unwrap().len();
        race(&volume, |round| {
            let mounts = bundle.config["mounts"].as_array_mut().unwrap();
            mounts.truncate(fixed);
            for number in 0..8 {
                let at = format!("/volume/dir/{round}-{number}");
                mounts.push(if number % 2 == 0 {
                    json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": []})
                } else {
                    json!({"destination": at, "type": "bind", "source": file, "options": ["bind"]})
                });
            }
            bundle.write();
            let output = bundle.call(&["run", bundle.id()]);
            canary.is_untouched();
            clear(&bundle, output.code);
        });
        Traces::none_of(&bundle);
    }
}

/// What the host's own settings are that a redirected write would change; restored when the test ends.
struct Settings(Vec<(&'static str, String)>);

impl Settings {
    const NAMES: [&'static str; 2] = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/sysrq"];

    fn now() -> Self {
        // A kernel may be without the second.
        let read = |name| Some((name, std::fs::read_to_string(name).ok()?));
        Self(Self::NAMES.into_iter().filter_map(read).collect())
    }

    #[track_caller]
    fn are_unchanged(&self) {
        assert_eq!(Self::now().0, self.0, "a setting of the host was changed");
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        for (name, value) in &self.0 {
            if std::fs::read_to_string(name).is_ok_and(|now| now != *value) {
                let _ = std::fs::write(name, value);
            }
        }
    }
}

/// Nothing covers what a process's label and a sysctl are written to.
#[track_caller]
fn proc_is_whole(process: Proc) {
    for mount in process.mounts() {
        let inside = mount.point.strip_prefix("/proc/").unwrap_or_default();
        let first = inside.split('/').next().unwrap_or_default();
        let process = first == "self" || first.starts_with(|c: char| c.is_ascii_digit());
        assert!(!process, "{mount:?}");
        assert!(
            first != "sys" || (mount.kind == "proc" && mount.root.trim_start_matches('/') == inside),
            "{mount:?}"
        );
    }
}

/// A directory that looks like /proc/sys/net/ipv4, whose file leads to a setting of the host.
fn false_settings(bundle: &Bundle) -> PathBuf {
    let dir = bundle.scratch().dir("false", bundle.mode().owner(), 0o777);
    symlink("/proc/sys/kernel/core_pattern", dir.join("ip_forward")).unwrap();
    dir
}

in_modes! {
    /// CVE-2019-16884, CVE-2025-52881: what the runtime writes for a container into /proc lands in a file of the attacker's choice.
    /// Fails on runc 1.0.0-rc93 and 1.1.5, which mount a tmpfs on `/proc/self/attr`.
    fn sec_11_and_12_nothing_is_mounted_over_what_is_written_in_proc(mode) {
        let settings = Settings::now();
        for place in ["/proc", "/proc/self", "/proc/self/attr", "/proc/sys", "/proc/sys/net/ipv4", "/innocent"] {
            for kind in ["tmpfs", "bind", "overlay"] {
                let bundle = Bundle::new(mode).put("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
                let directory = false_settings(&bundle);
                let lower = format!("lowerdir={}:{}", directory.display(), bundle.dir().display());
                let bundle = bundle.rootfs(|root| symlink("/proc/sys/net/ipv4", root.join("innocent")).unwrap());
                let bundle = match kind {
                    "bind" => bundle.mount("bind", &directory, place, &["bind"]),
                    "overlay" => bundle.mount("overlay", "overlay", place, &[&lower]),
                    _ => bundle.mount("tmpfs", "tmpfs", place, &[]),
                };
                assert_ne!(bundle.run().code, 0, "{kind} on {place}");
                settings.are_unchanged();
                clear(&bundle, 1);
                Traces::none_of(&bundle);
            }
        }
    }
}

in_modes! {
    /// The same by somebody who exchanges a directory of a shared volume for a link into /proc.
    fn sec_11_and_12_a_racing_link_does_not_lead_a_mount_into_proc(mode) {
        let settings = Settings::now();
        for target in ["/proc/self/attr", "/proc/sys/net/ipv4"] {
            let bundle = Bundle::new(mode).put("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
            let (volume, directory) = (volume(&bundle, target), false_settings(&bundle));
            let bundle = bundle
                .mount("bind", &volume, "/volume", &["rbind"])
                .mount("bind", &directory, "/volume/dir", &["rbind"]);
            let mut started = 0;
            race(&volume, |_| {
                let output = bundle.try_create(&[]);
                settings.are_unchanged();
                if output.code == 0 {
                    started += 1;
                    let container: serde_json::Value =
                        serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
                    let process = Proc(u32::try_from(container["pid"].as_u64().unwrap()).unwrap());
                    proc_is_whole(process);
                }
                bundle.call(&["delete", "--force", bundle.id()]);
            });
            println!("{started} of them succeeded");
            Traces::none_of(&bundle);
        }
    }
}
