//! A kernel that is turned down (SEC-09): each system call that urun cannot do without, or has another way for, answers ENOSYS
//! or EPERM as behind an outer container's filter. urun then works as ever, or refuses in the words of
//! tests/golden/turned-down.txt and leaves nothing. No guard is ever missing without a word.
//!
//! The whole behaviour suite runs the same way: `URUN_TEST_WITHOUT=openat2:EPERM cargo test --test behaviour`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests are no `#[test]` functions
#![allow(clippy::needless_pass_by_value)] // `json!(…)` and fresh commands are handed over
#![allow(clippy::unreadable_literal)] // modes and masks are read as they are printed
#![allow(unsafe_code)] // descriptors that arrive over a socket have to be owned

#[path = "../common/mod.rs"]
mod common;

mod hooks;

use common::*;
use std::collections::BTreeMap;
use std::path::Path;

const MODES: [Mode; 5] =
    [Mode::Root, Mode::RootUserns, Mode::RootInUserns, Mode::RootlessOne, Mode::RootlessRange];
const ERRNOS: [&str; 2] = ["ENOSYS", "EPERM"];

/// Without these there is no container, and a container that is there cannot be dealt with by some verb.
const DEMANDED: &[&str] = &[
    "clone3",
    "close_range",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pidfd_open",
    "waitid",
];
/// Without these there is one, because there is another way or a plain container does not need them.
const REPLACED: &[&str] = &["openat2", "pidfd_getfd", "pidfd_send_signal"];

/// What is asked of a container that is there, in the order of its life.
const VERBS: &[&[&str]] = &[
    &["state"],
    &["start"],
    &["exec", "ID", "true"],
    &["ps"],
    &["pause"],
    &["resume"],
    &["update", "--pids-limit", "100", "ID"],
    &["events", "--stats"],
    &["ids"],
    &["kill", "ID", "CONT"],
    &["delete", "--force"],
];

/// Who has read a text: the modes, by what was asked, without what, and the text.
type Texts = BTreeMap<(String, &'static str, &'static str, String), Vec<Mode>>;

fn sleeper(mode: Mode) -> Bundle {
    Bundle::new(mode).put("/process/noNewPrivileges", serde_json::json!(false))
}

/// The error without what differs from one run to the next: numbers in the sentence, paths of the test.
fn words(bundle: &Bundle, text: &str) -> String {
    let text = text.replace(&bundle.scratch().path().display().to_string(), "…").replace(bundle.id(), "ID");
    let (sentence, hint) = text.trim_end().split_once("\nhint: ").unwrap_or((text.trim_end(), ""));
    let mut plain = String::new();
    for c in sentence.chars() {
        match (c.is_ascii_digit(), plain.chars().last()) {
            (true, Some('N')) => {}
            (true, Some(before)) if !before.is_alphanumeric() => plain.push('N'),
            _ => plain.push(c),
        }
    }
    format!("{plain}\nhint: {hint}")
}

/// Asks and, where it is refused, writes down how.
fn ask(bundle: &Bundle, args: &[&str], verb: &str, down: TurnedDown, found: &mut Texts) -> bool {
    let output = bundle.call(args);
    if output.code != 0 {
        let words = words(bundle, &output.stderr);
        let about = format!("{} {down:?} {:?}", args.join(" "), bundle.mode());
        assert!(
            words.lines().count() == 2 && !words.ends_with("hint: "),
            "{about}: a sentence and a hint: {words}"
        );
        // The C library makes the process that becomes ps(1), and tells its errno alone.
        let (call, remedy) = match (verb, down.call) {
            ("ps", "clone3") => ("execute ps".to_owned(), "--format json does without it"),
            // EPERM of this one is also the kernel's word about a /proc that is masked.
            (_, "fsmount") if down.errno == "EPERM" => ("fsmount(".to_owned(), "outer container"),
            _ => (format!("{}(", down.call), "the seccomp filter around urun"),
        };
        for part in [call, format!("({})", down.errno), remedy.to_owned()] {
            assert!(words.contains(&part), "{about}: `{part}` is not in: {words}");
        }
        found.entry((verb.to_owned(), down.call, down.errno, words)).or_default().push(bundle.mode());
    }
    output.code == 0
}

/// Makes one container with the call turned down, and one without whose verbs are then tried with it.
fn try_out(mode: Mode, down: TurnedDown, found: &mut Texts) {
    let mut refused = sleeper(mode).args(["true"]);
    refused.turn_down(Some(down));
    refused.write();
    for verb in ["create", "run"] {
        let made = ask(&refused, &[verb, refused.id()], verb, down, found);
        assert_eq!(made, REPLACED.contains(&down.call), "{verb} {down:?} {mode:?}");
        refused.turn_down(None);
        if verb == "create" && made {
            refused.call(&["delete", "--force", refused.id()]).ok();
        }
        Traces::none_of(&refused);
        refused.turn_down(Some(down));
    }
    drop(refused);

    let mut bundle = sleeper(mode);
    bundle.try_create(&[]).ok();
    let id = bundle.id().to_owned();
    for verb in VERBS {
        let mut args: Vec<&str> =
            verb.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
        if !verb.contains(&"ID") {
            args.push(&id);
        }
        // What this mode cannot have at all is not what is asked here.
        let grouped = ["pause", "resume", "update", "events"].contains(&verb[0]);
        if grouped && !mode.cgroups() {
            continue;
        }
        bundle.turn_down(Some(down));
        let done = ask(&bundle, &args, verb[0], down, found);
        bundle.turn_down(None);
        // The container is as it was, so that the next verb finds it in the state that it asks for.
        if !done && verb[0] != "ids" {
            bundle.call(&args).ok();
        }
    }
    Traces::none_of(&bundle);
}

#[test]
fn every_refusal_is_told_in_the_words_of_the_golden_file() {
    if only_ours("the words are ours") {
        return;
    }
    let calls: Vec<&str> = DEMANDED.iter().chain(REPLACED).copied().collect();
    let each = |mode: Mode| {
        let mut found = Texts::new();
        for call in &calls {
            for errno in ERRNOS {
                try_out(mode, TurnedDown::new(call, errno), &mut found);
            }
        }
        found
    };
    let mut found = Texts::new();
    std::thread::scope(|scope| {
        let threads = MODES.map(|mode| scope.spawn(move || each(mode)));
        for (key, modes) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            found.entry(key).or_default().extend(modes);
        }
    });
    let mut now = String::new();
    for ((verb, call, errno, words), modes) in &found {
        now += &format!("# {verb} without {call}, {errno}: {modes:?}\n{words}\n\n");
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/turned-down.txt");
    golden_words(&golden, &now);
}

/// What guards a container, as the host sees it: mounts with their options, identity, filters, open descriptors.
fn portrait(bundle: Bundle) -> Vec<String> {
    let outer = bundle.is_turned_down();
    let container = bundle.create();
    container.start();
    let process = container.proc();
    let plain = |text: &str| text.replace(&container.bundle().scratch().path().display().to_string(), "…");
    // Behind the numbers of mount, parent and device.
    let mut lines: Vec<String> = process
        .read("mountinfo")
        .lines()
        .map(|line| plain(&line.splitn(4, ' ').nth(3).unwrap().replace(container.id(), "ID")))
        .map(|line| {
            line.split_whitespace().filter(|word| !word.starts_with("master:")).collect::<Vec<_>>().join(" ")
        })
        .collect();
    for field in
        ["Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NSpid"]
    {
        let value = process.status(field);
        // Numbers that two containers cannot share.
        lines.push(format!("{field}: {}", if field == "NSpid" { "" } else { &value }));
    }
    let filters: u32 = process.status("Seccomp_filters").parse().unwrap();
    lines.push(format!("filters: {}", filters - u32::from(outer)));
    let mut open: Vec<String> = std::fs::read_dir(process.path("fd"))
        .unwrap()
        .map(|fd| fd.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    lines.push(format!("descriptors: {open:?}"));
    lines
}

in_modes! {
    /// The other way to look up a path leaves no mount out, no mask and no attribute.
    fn a_container_has_the_same_guards_whatever_is_turned_down(mode) {
        if only_ours("other runtimes have other ways") {
            return;
        }
        let build = || sleeper(mode).put("/root/readonly", serde_json::json!(true));
        let whole = portrait(build());
        assert!(whole.iter().any(|line| line.contains(" /proc/keys ")), "{whole:#?}");
        for call in REPLACED {
            for errno in ERRNOS {
                let mut bundle = build();
                bundle.turn_down(Some(TurnedDown::new(call, errno)));
                assert_eq!(portrait(bundle), whole, "{call} {errno}");
            }
        }
    }
}
