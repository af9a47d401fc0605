//! Profiles that a test loads into the kernel.

use super::bundle::Bundle;
use std::process::Command;

/// An AppArmor profile of the kernel's, gone with the value.
pub struct Profile {
    /// What config.json calls it.
    pub name: String,
}

impl Profile {
    /// Loads a profile that allows everything and then has the rules.
    pub fn load(bundle: &Bundle, suffix: &str, rules: &str) -> Self {
        let name = format!("{}-{suffix}", bundle.id());
        let all = "file, capability, network, mount, remount, umount, pivot_root, ptrace, signal, dbus, unix, userns,";
        let flags = "attach_disconnected, mediate_deleted";
        let text = format!("profile {name} flags=({flags}) {{ {all} change_profile, {rules} }}\n");
        let file = bundle.scratch().file(&name, &text, (0, 0), 0o644);
        let mut parser = Command::new("apparmor_parser");
        assert!(parser.arg("--skip-cache").arg(file).status().unwrap().success(), "load {text}");
        Self { name }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::write("/sys/kernel/security/apparmor/.remove", &self.name);
    }
}
