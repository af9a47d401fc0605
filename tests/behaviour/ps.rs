//! ps: whose processes they are is read from their environment, which every process of a test's container has in common.

use crate::common::*;

/// What `ps -f json` prints.
#[track_caller]
fn pids(container: &Container) -> Vec<u32> {
    let output = container.bundle().call(&["ps", "-f", "json", container.id()]).ok();
    assert_eq!(output.stderr, "", "engines read both streams as one");
    serde_json::from_str(&output.stdout).unwrap()
}

fn really(container: &Container) -> Vec<u32> {
    let mut pids = Traces::of(container.bundle()).processes;
    pids.sort_unstable();
    pids
}

/// Runs two programs and says so.
const TWO: &str = "sleep 600 & echo ready; exec sleep 601";

in_modes! {
    fn every_process_is_listed_by_its_number_on_the_host(mode) {
        let container = Bundle::new(mode).sh(TWO).create();
        assert_eq!(pids(&container), [container.proc().0], "one that waits for its start");
        container.start();
        container.wait_for("ready");
        let found = pids(&container);
        assert_eq!(found, really(&container));
        assert_eq!(found.len(), 2);
    }
}

in_modes! {
    fn a_process_that_was_sent_in_is_listed(mode) {
        let container = Bundle::new(mode).start();
        container.bundle().call(&["exec", "--detach", container.id(), "sleep", "602"]).ok();
        wait_until("both are there", || really(&container).len() == 2);
        assert_eq!(pids(&container), really(&container));
    }
}

in_modes! {
    fn a_stopped_container_has_none(mode) {
        let container = Bundle::new(mode).start();
        container.kill("KILL").ok();
        container.wait_stopped();
        let output = container.bundle().call(&["ps", "--format", "json", container.id()]).ok();
        assert!(matches!(output.text(), "[]" | "null"), "{output:?}");
        assert_eq!(output.stderr, "");
    }
}

in_modes! {
    [root root_userns]
    fn processes_in_groups_below_are_listed_too(mode) {
        let container = Bundle::new(mode).sh(TWO).start();
        container.wait_for("ready");
        let all = really(&container);
        assert_eq!(all.len(), 2);
        let mover = *all.iter().find(|pid| **pid != container.proc().0).unwrap();
        for dir in Traces::of(container.bundle()).cgroups {
            let below = dir.join("below/deep");
            std::fs::create_dir_all(&below).unwrap();
            // A new cpuset of version 1 takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                for (from, to) in [(dir.clone(), dir.join("below")), (dir.join("below"), below.clone())] {
                    if let Ok(value) = std::fs::read_to_string(from.join(file)) {
                        let _ = std::fs::write(to.join(file), value);
                    }
                }
            }
            std::fs::write(below.join("cgroup.procs"), mover.to_string()).unwrap();
        }
        assert_eq!(pids(&container), all);
    }
}

#[test]
fn processes_in_pid_namespaces_below_are_listed_without_a_cgroup() {
    if only_ours("the others need a cgroup") {
        return;
    }
    let script = "unshare -p -f sh -c 'echo ready; exec sleep 600'";
    let container = Bundle::new(Mode::RootlessRange)
        .put("/process/capabilities", caps(&["CAP_SYS_ADMIN"]))
        .sh(script)
        .start();
    container.wait_for("ready");
    assert_eq!(really(&container).len(), 2);
    assert_eq!(pids(&container), really(&container));
}

#[test]
fn the_table_is_that_of_ps_without_the_others() {
    let container = Bundle::new(Mode::RootUserns).sh(TWO).start();
    container.wait_for("ready");
    let table = container.call("ps", &[]).ok().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("UID"), "{table}");
    assert_eq!(lines.len(), 3, "{table}");
    assert!(table.contains("sleep 600") && table.contains("sleep 601"), "{table}");
    let chosen = container.call("ps", &["-e", "-o", "pid,args"]).ok().stdout;
    let of_init = format!("{} sleep 601", container.proc().0);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert!(chosen.lines().any(|line| words(line) == words(&of_init)), "{chosen}");
    assert_eq!(chosen.lines().count(), 3, "{chosen}");
    container.call("ps", &["-e", "-o", "args"]).refused("PID");
    if subject().0 == Subject::Urun {
        container.call("ps", &["--nonsense"]).refused_naming(&["ps:"]);
    }
}

#[test]
fn a_container_that_does_not_exist_has_no_processes() {
    let bundle = Bundle::new(Mode::Root);
    for verb in ["ps", "pause", "resume"] {
        bundle.call(&[verb, "nobody"]).refused("does not exist");
    }
}
