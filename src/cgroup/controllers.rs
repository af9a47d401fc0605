//! Controllers on their way down to a group.

use super::{
    apply::{DELEGATE, is_refusal},
    dir::Dir,
};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The remedy for a controller that did not arrive at the caller's groups, where systemd could hand it on.
const HAND_ON: &str = "have systemd hand it on: as root write the lines `[Service]` and `Delegate=cpu cpuset io memory pids` to \
                       /etc/systemd/system/user@.service.d/delegate.conf, call `systemctl daemon-reload` and log in anew";

/// What [`HAND_ON`] names: all that systemd knows.
const HANDED_ON: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Why a controller could not be enabled.
pub type Refusals = BTreeMap<String, Error>;

/// Enables controllers for the children of a group: all at once, else those that the kernel lets. Why it did not is
/// remembered until a limit needs one.
pub fn enable(dir: &Dir, controllers: &[String], refusals: &mut Refusals) {
    let words: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    if words.is_empty() {
        return;
    }
    match dir.write("cgroup.subtree_control", &words.join(" ")) {
        Ok(()) => return,
        // Nor would it let the caller write one of them. What is enabled there already is refused further down, if at all.
        Err(error) if is_refusal(&error) => {
            let enabled = dir.read("cgroup.subtree_control").unwrap_or_default();
            let enabled: Vec<&str> = enabled.split_whitespace().collect();
            for name in controllers.iter().filter(|name| !enabled.contains(&name.as_str())) {
                refusals.entry(name.clone()).or_insert_with(|| error.clone());
            }
            return;
        }
        Err(_) => {}
    }
    for (name, word) in controllers.iter().zip(words) {
        if let Err(error) = dir.write("cgroup.subtree_control", &word) {
            refusals.entry(name.clone()).or_insert(error);
        }
    }
}

/// Enables whatever is there.
pub fn enable_available(dir: &Dir) -> Result<()> {
    let available: Vec<String> =
        dir.read("cgroup.controllers")?.split_whitespace().map(str::to_owned).collect();
    // What cannot be enabled is missed by nobody: the limits are above.
    enable(dir, &available, &mut Refusals::new());
    Ok(())
}

/// Whether a group enables all of these for its children.
pub fn hands_on_all(parent: &Dir, controllers: &[String]) -> Result<bool> {
    let enabled = parent.read("cgroup.subtree_control")?;
    let enabled: Vec<&str> = enabled.split_whitespace().collect();
    Ok(controllers.iter().all(|controller| enabled.contains(&controller.as_str())))
}

/// What to tell of the controllers that a group was to have and has not: which, and why not.
pub fn lacking(dir: &Dir, wanted: &[String], mut refusals: Refusals) -> Result<Option<String>> {
    let there = dir.read("cgroup.controllers")?;
    let missing = wanted.iter().filter(|wanted| there.split_whitespace().all(|name| name != *wanted));
    let told = missing.map(|name| match refusals.remove(name) {
        Some(reason) => format!("{name} ({reason})"),
        None => name.clone(),
    });
    let told: Vec<String> = told.collect();
    let name = dir.name().display();
    Ok((!told.is_empty()).then(|| format!("cgroup {name} lacks controllers: {}", told.join(", "))))
}

/// Explains a file that is not there: its controller is not enabled, or the kernel does not know it.
pub fn not_enabled(dir: &Dir, file: &str, error: Error, refusals: &Refusals) -> Error {
    let controller = file.split('.').next().unwrap_or(file);
    let enabled = dir.read("cgroup.controllers").unwrap_or_default();
    if controller == "cgroup" || enabled.is_empty() && !refusals.contains_key(controller) {
        return error.hint("this kernel, or the device's I/O scheduler, has no such setting");
    }
    if enabled.split_whitespace().any(|name| name == controller) {
        return error.hint("the controller is enabled, but this kernel does not have the setting");
    }
    let sentence = format!("cgroup controller {controller} is not enabled");
    // Why it could not be enabled says more than that a file of it is not there.
    match refusals.get(controller) {
        Some(reason) if reason.errno() == Some(libc::EBUSY) => {
            Error::new(format_args!("{sentence}: {reason}"))
                .hint("that group has processes; move them into a child group of it")
        }
        Some(reason) => {
            let is_handed_on =
                HANDED_ON.contains(&controller) && matches!(reason.errno(), Some(libc::EACCES | libc::EPERM));
            Error::new(format_args!("{sentence}: {reason}")).hint(if is_handed_on {
                HAND_ON
            } else {
                DELEGATE
            })
        }
        None => error.context(sentence).hint(DELEGATE),
    }
}
