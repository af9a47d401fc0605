//! An engine's daemon inside a site.

use crate::common::wait_until;
use crate::site::{Site, Who};
use std::fs::File;
use std::process::Stdio;

/// A daemon, known by the file with its pid.
pub struct Daemon {
    name: &'static str,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Daemon {
    /// Starts `name args…` in the site and waits until `probe` succeeds.
    pub fn start(site: &Site, name: &'static str, args: &[&str], probe: &[&str]) -> Self {
        Self::start_with(site, name, args, &[], probe)
    }

    /// The same, with variables in its environment.
    pub fn start_with(
        site: &Site,
        name: &'static str,
        args: &[&str],
        env: &[(&str, &str)],
        probe: &[&str],
    ) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        let env = env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let daemon = Self { name, args, env };
        daemon.run(site, probe);
        daemon
    }

    /// Starts it.
    pub fn run(&self, site: &Site, probe: &[&str]) {
        // The shell leaves its pid to the daemon.
        let script = format!("echo $$ > /run/{0}.pid; exec {0} \"$@\"", self.name);
        let words = ["sh", "-c", &script, self.name];
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut command = site.command(Who::Root, &[&words[..], &args].concat());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        let log = || Stdio::from(File::options().create(true).append(true).open(self.log(site)).unwrap());
        let mut child = command.stdout(log()).stderr(log()).spawn().unwrap();
        wait_until(&format!("{} answers; {}", self.name, self.log(site).display()), || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{}: {}", self.name, std::fs::read_to_string(self.log(site)).unwrap());
            site.run(Who::Root, probe).code == 0
        });
        // nsenter ends with the daemon; somebody has to wait for it.
        std::thread::spawn(move || child.wait());
    }

    /// Ends it with a signal, and waits until it is gone.
    pub fn end(&self, site: &Site, signal: &str) {
        let script = format!(
            "pid=$(cat /run/{}.pid) && kill -{signal} $pid && while kill -0 $pid 2>/dev/null; do sleep 0.05; done",
            self.name
        );
        site.run(Who::Root, &["sh", "-c", &script]).ok();
    }

    /// What it logged.
    pub fn log(&self, site: &Site) -> std::path::PathBuf {
        site.scratch().join(format!("{}.log", self.name))
    }
}
