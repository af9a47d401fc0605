//! The plan of `create` and `run`.

use super::{Hooks, Plan, Program};
use crate::{
    cgroup, cred,
    error::{Context, Result},
    hook,
    host::{caller::Caller, cgroups::Cgroups},
    lsm, mount,
    ns::{
        self,
        idmap::Outside,
        plan::{Base, Namespaces, User, Writer},
        sysctl,
    },
    rdt, seccomp,
    spec::{Config, NamespaceKind},
};
use std::path::PathBuf;

/// What the caller asks for, beyond config.json.
#[derive(Clone, Debug)]
pub struct Request {
    /// The container's id.
    pub id: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// How the root is entered.
    pub root: mount::apply::Root,
    /// What becomes of the session keyring.
    pub keyring: cred::plan::Keyring,
    /// Descriptors from 3 up that the process keeps.
    pub preserved_fds: i32,
    /// How many of these are passed by `LISTEN_FDS`.
    pub listen_fds: i32,
    /// What manages the control groups.
    pub driver: cgroup::plan::Driver,
}

/// What the host says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who calls.
    pub caller: Caller,
    /// For the namespaces.
    pub namespaces: ns::plan::Facts,
    /// The control group hierarchies.
    pub cgroups: Cgroups,
    /// The security modules.
    pub lsm: lsm::Facts,
}

/// Annotation: the process keeps the supplementary groups of the caller (crun(1)).
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Decides everything.
pub fn plan(config: &Config, request: &Request, facts: &Facts) -> Result<Plan> {
    let namespaces = ns::plan::plan(config, &facts.namespaces)?;
    let outside = namespaces.outside(facts.namespaces.joined.as_ref());
    let inner = Inner { config, request, facts, namespaces: &namespaces, outside: &outside };
    let cgroup = inner.cgroup().context("plan the cgroup")?;
    let mounts = inner.mounts(&cgroup)?;
    let filter = config.linux.seccomp.as_ref().map(seccomp::plan::plan).transpose().context("linux.seccomp")?;
    let (outside_ops, inside_ops, warnings) = inner.credentials(filter.is_some())?;
    Ok(Plan {
        cgroup,
        mounts,
        root: request.root,
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        sysctls: sysctl::plan(&config.linux.sysctl, &namespaces)?,
        creator: inner.creator(),
        outside: outside_ops,
        inside: inside_ops,
        program: inner.program(),
        filter,
        hooks: hooks(config, request)?,
        rdt: config.linux.intel_rdt.as_ref().map(|rdt| rdt::plan(rdt, &request.id)).transpose()?,
        preserved_fds: request.preserved_fds,
        warnings: config.warnings.iter().cloned().chain(warnings).collect(),
        namespaces,
    })
}

struct Inner<'a> {
    config: &'a Config,
    request: &'a Request,
    facts: &'a Facts,
    namespaces: &'a Namespaces,
    outside: &'a Outside,
}

impl Inner<'_> {
    /// uid and gid of the container's root outside, where the assembler is somebody else.
    fn creator(&self) -> Option<(u32, u32)> {
        match self.outside {
            Outside::Same => None,
            Outside::Mapped { .. } => Some((self.outside.uid(0)?, self.outside.gid(0)?)),
        }
    }

    fn program(&self) -> Option<Program> {
        let process = self.config.process.as_ref()?;
        let mut env = process.env.clone();
        if self.request.listen_fds > 0 {
            for (name, value) in [("LISTEN_FDS", self.request.listen_fds), ("LISTEN_PID", 1)] {
                if !env.iter().any(|entry| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))) {
                    env.push(format!("{name}={value}"));
                }
            }
        }
        Some(Program { args: process.args.clone(), env, uid: process.user.uid })
    }

    fn setgroups(&self) -> cred::plan::Setgroups {
        match &self.namespaces.base {
            Base::New { writer: Writer::Caller, .. } => cred::plan::Setgroups::Denied,
            _ => cred::plan::Setgroups::Allowed,
        }
    }
}

fn hooks(config: &Config, request: &Request) -> Result<Hooks> {
    let all = &config.hooks;
    let runtime: Vec<_> = all.prestart.iter().chain(&all.create_runtime).cloned().collect();
    Ok(Hooks {
        create_runtime: hook::plan::plan(&runtime)?,
        create_container: hook::plan::plan(&all.create_container)?,
        start_container: hook::plan::plan(&all.start_container)?,
        poststart: hook::plan::plan(&all.poststart)?,
        redirection: hook::plan::redirection(&config.annotations),
        bundle: request.bundle.clone(),
    })
}
