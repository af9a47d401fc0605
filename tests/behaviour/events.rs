//! events: what it prints against what the cgroup files say.

use crate::common::*;
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;

const MIB: i64 = 1 << 20;

fn has(controller: &str) -> bool {
    cgroup_dir(controller, "/").is_some()
}

/// `events FLAGS ID` beside the test; killed with the value.
struct Watch {
    child: Child,
    file: PathBuf,
}

impl Watch {
    fn new(container: &Container, flags: &[&str]) -> Self {
        let bundle = container.bundle();
        let file = bundle.scratch().join("io/events");
        let mut command = bundle.command(&[&["events"], flags, &[container.id()]].concat());
        let child = command.stdout(File::create(&file).unwrap()).spawn().unwrap();
        Self { child, file }
    }

    /// The whole lines so far.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.lines().iter().filter(|line| line["type"] == kind).count()
    }

    #[track_caller]
    fn ends(&mut self) {
        wait_until("the watch ends", || self.child.try_wait().unwrap().is_some());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `events --stats ID`: its one line.
#[track_caller]
fn stats(container: &Container) -> Value {
    let output = container.bundle().call(&["events", "--stats", container.id()]).ok();
    assert_eq!(output.stderr, "");
    assert_eq!(output.stdout.lines().count(), 1);
    serde_json::from_str(&output.stdout).unwrap()
}

in_modes! {
    [root root_userns]
    fn one_line_tells_what_a_container_uses(mode) {
        if subject().0 == Subject::Crun {
            return; // has no such verb
        }
        let mut resources = json!({
            "memory": {"limit": 64 * MIB, "swap": 96 * MIB},
            "pids": {"limit": 50},
            "cpu": {"quota": 50_000, "period": 100_000},
        });
        resources.as_object_mut().unwrap().retain(|key, _| has(key));
        let script = "sleep 600 & i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; echo ready; exec sleep 601";
        let container = Bundle::new(mode)
            .with(|config| {
                for (key, value) in resources.as_object().unwrap() {
                    set(config, &format!("/linux/resources/{key}"), value.clone());
                }
            })
            .sh(script)
            .start();
        container.wait_for("ready");
        let line = stats(&container);
        assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(container.id())));
        let data = &line["data"];
        let number = |pointer: &str| data.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {data}"));
        assert!(number("/cpu/usage/total") > 1_000_000, "nanoseconds: {data}");
        assert!(number("/cpu/usage/user") + number("/cpu/usage/kernel") > 0);
        if has("pids") {
            assert_eq!((number("/pids/current"), number("/pids/limit")), (2, 50));
        }
        if has("memory") {
            assert_eq!(number("/memory/usage/limit"), 64 << 20);
            assert_eq!(number("/memory/swap/limit"), 96 << 20);
            assert!((1..64 << 20).contains(&number("/memory/usage/usage")), "{data}");
            let raw = cgroup_file(container.proc(), "memory", "memory.stat").unwrap();
            assert_eq!(data["memory"]["raw"].as_object().unwrap().len(), raw.lines().count());
        }
        if has("cpu") {
            let periods = cgroup_file(container.proc(), "cpu", "cpu.stat").unwrap();
            assert!(periods.contains("nr_periods") && number("/cpu/throttling/periods") > 0, "{data}");
        }
        if is_v1("cpuset") {
            let allowed = u64::from_str_radix(&container.proc().status("Cpus_allowed").replace(',', ""), 16).unwrap();
            let cpus = data["cpuset"]["cpus"].as_array().unwrap();
            assert_eq!(cpus.iter().map(|cpu| 1 << cpu.as_u64().unwrap()).sum::<u64>(), allowed);
            assert_eq!(data["cpu"]["usage"]["percpu"].as_array().unwrap().is_empty(), !is_v1("cpuacct"));
        }
        for key in ["blkio", "hugetlb", "intel_rdt", "network_interfaces"] {
            assert!(data.get(key).is_some(), "{key}");
        }
    }
}

#[test]
fn lines_come_at_every_interval_until_the_container_ends() {
    if subject().0 == Subject::Crun {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).create();
    let mut watch = Watch::new(&container, &["--interval", "50ms"]);
    wait_until("three lines came", || watch.count("stats") >= 3);
    container.start();
    container.call("pause", &[]).ok();
    let before = watch.count("stats");
    wait_until("a paused container is watched as well", || watch.count("stats") > before);
    container.call("resume", &[]).ok();
    container.kill("KILL").ok();
    container.wait_stopped();
    if subject().0 == Subject::Runc {
        container.delete(&[]).ok();
    }
    watch.ends();
    assert!(watch.lines().iter().all(|line| line["id"] == container.id()));
    if subject().0 == Subject::Urun {
        container.bundle().call(&["events", "--stats", container.id()]).refused("container not running");
        container.bundle().call(&["events", container.id()]).refused("container not running");
    }
}

#[test]
fn a_kill_for_want_of_memory_is_a_line() {
    if !has("memory") || subject().0 == Subject::Crun {
        return;
    }
    let script = "until [ -e /tmp/go ]; do sleep 0.01; done; tail /dev/zero; echo survived; exec sleep 600";
    let limit = json!({"limit": 16 * MIB, "swap": 16 * MIB});
    let container = Bundle::new(Mode::RootUserns).put("/linux/resources/memory", limit).sh(script).start();
    let mut watch = Watch::new(&container, &["--interval", "20ms"]);
    wait_until("it watches", || watch.count("stats") > 0);
    assert_eq!(watch.count("oom"), 0);
    std::fs::write(container.bundle().rootfs_dir().join("tmp/go"), "").unwrap();
    wait_until("it is told", || watch.count("oom") > 0);
    container.wait_for("survived");
    container.delete(&["--force"]).ok();
    watch.ends();
    let told = watch.count("oom");
    assert!(told < 10, "told {told} times");
}

in_modes! {
    [rootless_one rootless_range root_in_userns]
    fn without_a_cgroup_nothing_counts(mode) {
        if mode.cgroups() {
            return; // systemd makes one for the user
        }
        let container = Bundle::new(mode).start();
        container.bundle().call(&["events", "--stats", container.id()]).refused_naming(&["cgroup"]);
    }
}
