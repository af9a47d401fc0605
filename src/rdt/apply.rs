//! The writes to resctrl, a file system of the host.

use super::plan::RdtOp;
use crate::{
    error::{Context, Error, Result},
    sys::proc::Proc,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Where resctrl is mounted.
pub fn root(proc: &Proc) -> Result<PathBuf> {
    let mounts = proc.read_text(&format!("{}/mountinfo", proc.own()?))?;
    mount_point(&mounts).ok_or_else(|| {
        Error::new("linux.intelRdt: resctrl is not mounted")
            .hint("on a machine with Intel RDT or AMD QoS: mount -t resctrl resctrl /sys/fs/resctrl")
    })
}

/// The mount point of a whole resctrl, proc_pid_mountinfo(5).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (right.split(' ').next()? == "resctrl" && root == "/").then(|| PathBuf::from(point))
    })
}

/// Prepares the groups below `root` and moves `pid` into them. Groups of the container's own that were made are removed
/// again when a step fails.
pub fn apply(ops: &[RdtOp], root: &Path, pid: i32) -> Result<()> {
    let mut made = Vec::new();
    for op in ops {
        if let Err(error) = one(op, root, pid, &mut made).context(op) {
            made.reverse();
            return Err(match undo(&made, root) {
                Ok(()) => error,
                Err(second) => error.context(format_args!("and {second} while cleaning up")),
            });
        }
    }
    Ok(())
}

fn one(op: &RdtOp, root: &Path, pid: i32, made: &mut Vec<PathBuf>) -> Result<()> {
    match op {
        RdtOp::Require(group) => {
            if !root.join(group).join("schemata").exists() {
                return Err(Error::new("there is no such group").hint(
                    "make it first, or add a schema to linux.intelRdt so that it is made with the container",
                ));
            }
            Ok(())
        }
        RdtOp::Share { group, schemata } => share(root, group, schemata),
        RdtOp::Make { group, schemata } => {
            if make(&root.join(group))? {
                made.push(group.clone());
            }
            if schemata.is_empty() {
                Ok(())
            } else {
                write(root, &root.join(group).join("schemata"), schemata)
            }
        }
        RdtOp::Change { group, schemata } => write(root, &root.join(group).join("schemata"), schemata),
        RdtOp::Monitor(group) => {
            if make(&root.join(group))? {
                made.push(group.clone());
            }
            Ok(())
        }
        RdtOp::Join(group) => write(root, &root.join(group).join("tasks"), &pid.to_string()),
    }
}

fn share(root: &Path, group: &Path, schemata: &str) -> Result<()> {
    let file = root.join(group).join("schemata");
    if !group.as_os_str().is_empty() && make(&root.join(group))? {
        let Err(error) = write(root, &file, schemata) else { return Ok(()) };
        // Without its schemata it would look like a group that somebody has made with another one.
        undo(&[group.to_owned()], root)?;
        return Err(error);
    }
    let present = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    match difference(schemata, &present) {
        None => Ok(()),
        Some(line) => Err(Error::new(format_args!("it is there already and differs in {line:?}")).hint(
            format_args!("its schemata is {:?}: ask for the same or use another closID", present.trim()),
        )),
    }
}

/// Whether the group is a new one.
fn make(group: &Path) -> Result<bool> {
    match fs::create_dir(group) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => {
            let full = error.raw_os_error() == Some(libc::ENOSPC);
            let error = Err(error).with_context(|| format!("mkdir {}", group.display()));
            if full {
                error.hint("the processor has no class of service or monitoring id left")
            } else {
                error
            }
        }
    }
}

fn write(root: &Path, file: &Path, text: &str) -> Result<()> {
    let written = fs::OpenOptions::new().write(true).open(file).and_then(|mut file| {
        // One write(2), which the kernel takes or refuses as a whole.
        io::Write::write(&mut file, text.as_bytes())
    });
    match written {
        Ok(length) if length == text.len() => Ok(()),
        Ok(length) => {
            crate::bail!("write {text:?} to {}: {length} of {} bytes were taken", file.display(), text.len())
        }
        Err(error) => {
            let error = Error::from(error).context(format_args!("write {text:?} to {}", file.display()));
            // The kernel explains itself there, "ok" where it has nothing to say.
            match fs::read_to_string(root.join("info/last_cmd_status")) {
                Ok(reason) if !matches!(reason.trim(), "" | "ok") => Err(error.hint(reason.trim())),
                _ => Err(error),
            }
        }
    }
}

/// The first of the wanted lines that does not hold in the present schemata.
fn difference<'a>(wanted: &'a str, present: &str) -> Option<&'a str> {
    let present: BTreeMap<_, _> = present.lines().filter_map(parse).collect();
    wanted.lines().find(|line| {
        parse(line).is_none_or(|(resource, domains)| {
            let there = present.get(resource);
            domains.iter().any(|(domain, value)| there.and_then(|there| there.get(domain)) != Some(value))
        })
    })
}

/// `L3:0=ff;1=0f` as resource and values by domain, leading zeros and the case of digits aside.
fn parse(line: &str) -> Option<(&str, BTreeMap<&str, String>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let pair = |pair| {
        let (domain, value): (&str, &str) = str::split_once(pair, '=')?;
        let value = value.trim().to_ascii_lowercase();
        let digits = value.trim_start_matches('0');
        Some((domain.trim(), if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }))
    };
    Some((resource.trim(), domains.split(';').map(pair).collect::<Option<_>>()?))
}

/// Removes groups of the container's own; one that is gone already is no error.
pub fn undo(owned: &[PathBuf], root: &Path) -> Result<()> {
    for group in owned {
        match fs::remove_dir(root.join(group)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("remove resctrl group {}", root.join(group).display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rdt::plan, spec::linux::IntelRdt, sys::scratch::Dir};

    /// A directory that looks like resctrl, with a group `gold` in it.
    struct Fake(Dir);

    impl Fake {
        fn new(name: &str) -> Self {
            let fake = Self(Dir::new(name));
            fake.group("");
            fake.group("gold");
            fake
        }

        fn group(&self, name: &str) {
            let group = self.0.join(name);
            fs::create_dir_all(group.join("mon_groups")).unwrap();
            fs::write(group.join("schemata"), "    L3:0=00ff;1=0f\n    MB:0= 20;1=100\n").unwrap();
            fs::write(group.join("tasks"), "").unwrap();
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.0.join(path)).unwrap()
        }

        fn run(&self, rdt: &IntelRdt) -> Result<()> {
            apply(&plan(Some(rdt), "box").unwrap().ops, &self.0, 42)
        }
    }

    fn clos(clos: &str, schema: &str) -> IntelRdt {
        let schema = (!schema.is_empty()).then(|| schema.to_owned());
        IntelRdt { clos_id: Some(clos.into()), l3_cache_schema: schema, ..IntelRdt::default() }
    }

    #[test]
    fn a_group_that_is_there_is_joined_when_it_agrees() {
        let fake = Fake::new("rdt-agree");
        for (rdt, answer) in [
            (clos("gold", ""), None),
            (clos("gold", "L3:0=FF;1=f\nMB:0=20"), None),
            (clos("/", "L3:0=ff"), None),
            (clos("gold", "L3:0=f"), Some("it is there already and differs in \"L3:0=f\"")),
            (clos("gold", "L2:0=f"), Some("differs in \"L2:0=f\"")),
            (clos("none", ""), Some("use resctrl group /none: there is no such group")),
        ] {
            match (fake.run(&rdt), answer) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().contains(text), "{error}"),
                (result, _) => panic!("{rdt:?}: {result:?}"),
            }
        }
        assert_eq!((fake.read("gold/tasks"), fake.read("tasks")), ("42".to_owned(), "42".to_owned()));
    }

    #[test]
    fn a_failed_step_takes_the_containers_own_groups_with_it() {
        let fake = Fake::new("rdt-undo");
        // A directory that mkdir makes here has no schemata, as a refused write would leave it.
        let error =
            fake.run(&IntelRdt { schemata: vec!["L3:0=f".into()], ..IntelRdt::default() }).unwrap_err();
        assert!(error.to_string().starts_with("make resctrl group /box: write \"L3:0=f\\n\""), "{error}");
        assert!(!fake.0.join("box").exists());
        fake.run(&clos("silver", "L3:0=f")).unwrap_err();
        assert!(!fake.0.join("silver").exists());
        assert!(fake.0.join("gold").exists());
    }

    #[test]
    fn an_update_changes_the_lines_of_the_containers_group() {
        let fake = Fake::new("rdt-update");
        fake.group("box");
        let bandwidth = |value: &str| IntelRdt { mem_bw_schema: Some(value.into()), ..IntelRdt::default() };
        let change = |rdt: Option<&IntelRdt>, change: &IntelRdt| plan::update(rdt, change, "box");
        for (rdt, group) in [(IntelRdt::default(), "box"), (clos("gold", ""), "gold"), (clos("/", ""), "")] {
            let op = change(Some(&rdt), &bandwidth("MB:0=50;1=70")).unwrap().unwrap();
            apply(&[op], &fake.0, 42).unwrap();
            let read = |file: &str| fake.read(format!("{group}/{file}").trim_start_matches('/'));
            assert!(read("schemata").starts_with("MB:0=50;1=70\n"));
            assert_eq!(read("tasks"), "", "nobody moves");
        }
        assert_eq!(change(None, &IntelRdt::default()).unwrap(), None);
        assert!(change(None, &bandwidth("MB:0=5")).unwrap_err().to_string().contains("no resctrl group"));
        let gone = change(Some(&clos("silver", "")), &bandwidth("MB:0=5")).unwrap().unwrap();
        assert!(apply(&[gone], &fake.0, 42).unwrap_err().to_string().contains("silver/schemata"));
    }

    #[test]
    fn the_kernels_reason_is_the_hint() {
        let fake = Fake::new("rdt-reason");
        fs::create_dir(fake.0.join("info")).unwrap();
        fs::write(fake.0.join("info/last_cmd_status"), "mask ff is out of range\n").unwrap();
        let error =
            fake.run(&IntelRdt { schemata: vec!["L3:0=f".into()], ..IntelRdt::default() }).unwrap_err();
        assert_eq!(error.remedy(), Some("mask ff is out of range"));
    }

    #[test]
    fn own_groups_are_written_joined_and_removed() {
        let fake = Fake::new("rdt-own");
        fake.group("box");
        let rdt = IntelRdt { schemata: vec!["L3:0=f".into()], ..IntelRdt::default() };
        fake.run(&rdt).unwrap();
        assert_eq!(fake.read("box/tasks"), "42");
        assert!(fake.read("box/schemata").starts_with("L3:0=f\n"));
        let owned = [PathBuf::from("gone"), PathBuf::from("box/mon_groups")];
        undo(&owned, &fake.0).unwrap();
        assert!(!fake.0.join("box/mon_groups").exists());
    }

    #[test]
    fn the_mount_point_is_found_and_its_absence_explained() {
        let line = "40 25 0:35 / /sys/fs/resctrl rw,relatime shared:16 - resctrl resctrl rw\n";
        assert_eq!(mount_point(line), Some("/sys/fs/resctrl".into()));
        assert_eq!(mount_point("40 25 0:35 / /sys rw - sysfs resctrl rw\n"), None);
        if !Path::new("/sys/fs/resctrl/schemata").exists() {
            let error = root(&Proc::open().unwrap()).unwrap_err();
            assert_eq!(error.to_string(), "linux.intelRdt: resctrl is not mounted");
        }
    }
}
