//! What the README says about other runtimes, asked of the very versions that it names. Where another version is installed,
//! or none, only urun is asked.

#![allow(clippy::unwrap_used)] // a test may fail at any step

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const URUN: &str = env!("CARGO_BIN_EXE_urun");
/// What the README's table was filled in with.
const OTHERS: [(&str, &str); 2] = [("crun", "crun version 1.8.1"), ("runc", "runc version 1.1.5")];

/// A bundle with a user namespace, gone with the value.
struct Bundle(PathBuf);

impl Bundle {
    fn new(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let dir = std::env::temp_dir().join(format!("urun-comparison-{name}-{}", std::process::id()));
        for point in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(dir.join("rootfs").join(point)).unwrap();
        }
        fs::copy("/bin/busybox", dir.join("rootfs/bin/busybox")).unwrap();
        for applet in ["sh", "stat", "umount"] {
            std::os::unix::fs::symlink("busybox", dir.join("rootfs/bin").join(applet)).unwrap();
        }
        assert!(Command::new(URUN).args(["spec", "--bundle"]).arg(&dir).status().unwrap().success());
        let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
        config["ociVersion"] = json!("1.0.2");
        config["process"]["terminal"] = json!(false);
        config["linux"]["resources"] = json!({});
        change(&mut config);
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        Self(dir)
    }

    fn sh(name: &str, script: &str) -> Self {
        Self::new(name, |config| {
            config["process"]["args"] = json!(["sh", "-c", script]);
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
        })
    }

    /// Exit code and all output of one call, on pure cgroup v2: crun 1.8 wants to raise a limit elsewhere.
    fn call(&self, runtime: &str, verb: &str, input: &Path) -> (i32, String) {
        let output = self.0.join("output");
        let file = fs::File::create(&output).unwrap();
        let code = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pure-cgroup2"))
            .args([runtime, "--root"])
            .arg(self.0.join("state"))
            // Also the name of the cgroup: another one for every test.
            .args([verb, &*self.0.file_name().unwrap().to_string_lossy()])
            .current_dir(&self.0)
            .stdin(fs::File::open(input).unwrap())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .unwrap()
            .code()
            .unwrap();
        (code, fs::read_to_string(output).unwrap())
    }

    /// With a file as input and output, so that nobody gets at a device of the host.
    fn run(&self, runtime: &str) -> (i32, String) {
        self.call(runtime, "run", &self.0.join("config.json"))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// urun, and those of the others that are here in the version that the README names.
fn runtimes() -> Vec<&'static str> {
    let is_here = |&(name, version): &(&str, &str)| {
        let out = Command::new(name).arg("--version").stderr(Stdio::null()).output();
        out.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).starts_with(version))
    };
    let others = OTHERS.iter().filter(|other| is_here(other)).map(|&(name, _)| name);
    std::iter::once(URUN).chain(others).collect()
}

#[test]
fn root_inside_takes_masks_off_under_the_others() {
    let bundle = Bundle::sh("masks", "umount /proc/timer_list && umount /proc/sys && echo undone");
    for runtime in runtimes() {
        let (_, output) = bundle.run(runtime);
        assert_eq!(output.contains("undone"), runtime != URUN, "{runtime}: {output}");
    }
}

#[test]
fn start_of_the_others_succeeds_where_execve_fails() {
    let bundle = Bundle::new("start", |config| config["process"]["args"] = json!(["/bin/script"]));
    let script = bundle.0.join("rootfs/bin/script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let input = bundle.0.join("config.json");
    for runtime in runtimes() {
        assert_eq!(bundle.call(runtime, "create", &input).0, 0, "{runtime}");
        let (code, output) = bundle.call(runtime, "start", &input);
        assert_eq!(code == 0, runtime != URUN, "{runtime}: {output}");
        assert_eq!(output.contains("/no/such/interpreter"), runtime == URUN, "{runtime}: {output}");
        assert_eq!(bundle.call(runtime, "delete", &input).0, 0, "{runtime}");
    }
}

#[test]
fn the_others_stop_at_the_first_error_of_a_configuration() {
    let bundle = Bundle::new("errors", |config| {
        config["process"]["cwd"] = json!("tmp");
        config["process"]["rlimits"][0]["type"] = json!("RLIMIT_FOO");
        config["hostname"] = json!(3);
        config["mounts"][0]["destination"] = json!(7);
    });
    for runtime in runtimes() {
        let (code, output) = bundle.run(runtime);
        let told = ["process.cwd", "process.rlimits[0].type", "hostname", "mounts[0].destination"];
        let told = told.iter().filter(|path| output.contains(**path)).count();
        assert!(code != 0 && if runtime == URUN { told == 4 } else { told <= 1 }, "{runtime}: {output}");
    }
}

#[test]
fn devices_belong_to_nobody_under_the_others() {
    let bundle = Bundle::sh("devices", "stat -c %u /dev/zero");
    for runtime in runtimes() {
        let owner = if runtime == URUN { "0\n" } else { "65534\n" };
        assert_eq!(bundle.run(runtime), (0, owner.to_owned()), "{runtime}");
    }
}

#[test]
fn crun_gives_the_null_device_on_a_standard_stream_away() {
    let bundle = Bundle::sh("null", "true");
    // A node of our own, not the host's.
    let null = bundle.0.join("null");
    for runtime in runtimes() {
        let _ = fs::remove_file(&null);
        assert!(Command::new("mknod").arg(&null).args(["c", "1", "3"]).status().unwrap().success());
        assert_eq!(bundle.call(runtime, "run", &null).0, 0, "{runtime}");
        assert_eq!(fs::metadata(&null).unwrap().uid() != 0, runtime == "crun", "{runtime}");
    }
}
