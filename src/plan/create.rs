//! The plan of `create` and `run`.

use super::{Descriptors, Execution, Hooks, Plan, execution};
use crate::{
    cgroup, cred,
    error::{Error, Result},
    hook,
    host::{caller::Caller, cgroups::Cgroups},
    lsm, mount, net,
    ns::{
        self,
        idmap::Outside,
        plan::{Base, Mounts, Namespaces, Writer},
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
    pub keyring: cred::Keyring,
    /// What the process keeps.
    pub descriptors: Descriptors,
    /// Whether the container is hardened.
    pub hardened: bool,
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
    /// The service manager that the systemd driver asks, or why none can be asked.
    pub systemd: Option<Result<cgroup::Systemd>>,
    /// The security modules.
    pub lsm: lsm::Facts,
}

/// Annotation: another executor than the kernel, such as krun or wasm (crun(1)). To run the program as if nothing had been
/// asked would be worse than to refuse.
const HANDLER: &str = "run.oci.handler";

/// Decides everything.
pub fn plan(config: &Config, request: &Request, facts: &Facts) -> Result<Plan> {
    if let Some(handler) = config.annotations.get(HANDLER).filter(|handler| !handler.is_empty()) {
        return Err(Error::new(format_args!("annotations[{HANDLER:?}]: urun has no handler {handler:?}"))
            .hint("leave the annotation out, or run this container with crun"));
    }
    let namespaces = ns::plan::plan(config, &facts.namespaces)?;
    let outside = namespaces.outside(facts.namespaces.joined.as_ref());
    let inner = Inner { config, request, facts, namespaces: &namespaces, outside: &outside };
    let mut execution = Execution {
        guard: request.hardened.then(seccomp::guard::plan).transpose()?,
        filter: config.linux.seccomp.as_ref().map(seccomp::plan::plan).transpose()?,
        ignored_signals: facts.caller.ignored,
        descriptors: request.descriptors,
        ..Execution::default()
    };
    let mut withheld = None;
    if let Some(process) = &config.process {
        // Before the group and the mounts: they need the user's ids too, and only here the error says which field to change.
        let input = inner.credentials(execution.filter.is_some());
        execution.become_process(process, &config.linux, &input)?;
        withheld = execution::withheld(process, &input);
    }
    let cgroup = inner.cgroup()?;
    let mounts = inner.mounts(&cgroup)?;
    let sysctls = inner.sysctls()?;
    let mut warnings = config.warnings.clone();
    warnings.extend(sysctls.notes.iter().cloned());
    warnings.extend(withheld);
    let hooks = hooks(config, request)?;
    Ok(Plan {
        cgroup,
        root_alone: inner.root_alone(&mounts, &hooks),
        mounts,
        root: request.root,
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        net_devices: inner.net_devices()?,
        rdt: rdt::plan(config.linux.intel_rdt.as_ref(), &request.id)?,
        sysctls,
        creator: inner.creator(),
        execution,
        hooks,
        warnings,
        namespaces: namespaces.clone(),
    })
}

struct Inner<'a> {
    config: &'a Config,
    request: &'a Request,
    facts: &'a Facts,
    namespaces: &'a Namespaces,
    outside: &'a Outside,
}

/// All kinds, for questions about each.
const KINDS: [NamespaceKind; 7] = [
    NamespaceKind::User,
    NamespaceKind::Pid,
    NamespaceKind::Network,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Cgroup,
    NamespaceKind::Time,
];

impl Inner<'_> {
    fn cgroup(&self) -> Result<cgroup::plan::Plan> {
        let linux = &self.config.linux;
        cgroup::plan::plan(&cgroup::plan::Input {
            linux,
            mounts: &self.config.mounts,
            user: self.config.process.as_ref().map(|process| &process.user),
            outside: &self.namespaces.callers_view(self.facts.namespaces.joined.as_ref()),
            id: &self.request.id,
            host: &self.facts.cgroups,
            driver: self.request.driver,
            systemd: self.facts.systemd.as_ref(),
            annotations: &self.config.annotations,
            caller: match self.facts.caller.is_host_root() {
                true => cgroup::plan::Caller::Privileged,
                false => cgroup::plan::Caller::Unprivileged,
            },
        })
    }

    fn mounts(&self, cgroup: &cgroup::plan::Plan) -> Result<mount::Plan> {
        let caller = &self.facts.caller;
        let network = NamespaceKind::Network;
        let label = match &self.config.linux.mount_label {
            Some(label) => {
                let (kind, value) = lsm::mount_option(label, self.facts.lsm, &self.config.annotations)?;
                Some(mount::plan::Label { kind: kind.to_owned(), value })
            }
            None => None,
        };
        let request = mount::Request {
            terminal: self.config.process.as_ref().is_some_and(|process| process.terminal),
            label,
        };
        let facts = mount::Facts {
            bundle: self.request.bundle.clone(),
            outside: self.outside.clone(),
            can_mknod: caller.can_mknod(),
            initial_userns: caller.initial && self.namespaces.base == Base::Caller,
            nested: !caller.initial && self.namespaces.mount_path.is_none(),
            container_userns: self.namespaces.has(NamespaceKind::User),
            own_network: self.namespaces.has(network) || (caller.initial && caller.is_privileged()),
            cgroups: self.facts.cgroups.clone(),
            new_cgroup_namespace: self.namespaces.makes(NamespaceKind::Cgroup),
            groups: cgroup.groups().iter().map(mount_group).collect(),
        };
        mount::plan(self.config, &request, &facts)
    }

    /// Nobody may need the caller's mounts while the container is assembled: hooks know paths of the host, and in another user namespace
    /// than the initial one the kernel gives a procfs or sysfs only to whoever sees a whole one (mount_too_revealing in
    /// fs/namespace.c).
    fn root_alone(&self, mounts: &mount::Plan, hooks: &Hooks) -> bool {
        let of_its_own = matches!(self.namespaces.mounts, Mounts::Locked | Mounts::Shared);
        let initial = self.facts.caller.initial && self.namespaces.base == Base::Caller;
        let hooked = !hooks.create_runtime.is_empty() || !hooks.create_container.is_empty();
        of_its_own && initial && !hooked && !mounts.looks_at_the_host()
    }

    fn net_devices(&self) -> Result<Vec<net::NetOp>> {
        let network = match self.namespaces.has(NamespaceKind::Network) {
            true => net::Network::Own,
            false => net::Network::Host,
        };
        net::plan(&self.config.linux.net_devices, network)
    }

    fn sysctls(&self) -> Result<sysctl::Writes> {
        let private: Vec<_> = KINDS.into_iter().filter(|&kind| self.namespaces.has(kind)).collect();
        let input = sysctl::Input { private: &private, maps: self.outside };
        sysctl::plan(&self.config.linux.sysctl, &input)
    }

    fn credentials(&self, keep_for_filter: bool) -> cred::Input<'_> {
        let caller = &self.facts.caller;
        let user_namespace = self.namespaces.has(NamespaceKind::User);
        cred::Input {
            id: &self.request.id,
            authority: execution::authority(caller),
            user_namespace,
            verb: cred::plan::Verb::Create,
            keyring: self.request.keyring,
            groups: execution::groups(self.config),
            setgroups: self.setgroups(),
            maps: self.outside,
            held: execution::held(caller, user_namespace),
            keep_for_filter,
            lsm: self.facts.lsm,
        }
    }

    /// uid and gid of the container's root outside, where the assembler is somebody else.
    fn creator(&self) -> Option<(u32, u32)> {
        match self.outside {
            Outside::Mapped { .. } if self.namespaces.base == Base::Caller => {
                Some((self.outside.uid(0)?, self.outside.gid(0)?))
            }
            _ => None,
        }
    }

    fn setgroups(&self) -> cred::Setgroups {
        match &self.namespaces.base {
            Base::New { writer: Writer::Caller, .. } => cred::Setgroups::Denied,
            _ if self.facts.namespaces.setgroups_denied => cred::Setgroups::Denied,
            _ => cred::Setgroups::Allowed,
        }
    }
}

fn hooks(config: &Config, request: &Request) -> Result<Hooks> {
    let all = &config.hooks;
    let runtime: Vec<_> = all.prestart.iter().chain(&all.create_runtime).cloned().collect();
    Ok(Hooks {
        create_runtime: hook::plan(&runtime)?,
        create_container: hook::plan(&all.create_container)?,
        start_container: hook::plan(&all.start_container)?,
        poststart: hook::plan(&all.poststart)?,
        poststop: hook::plan(&all.poststop)?,
        redirection: hook::redirection(&config.annotations),
        bundle: request.bundle.clone(),
    })
}

/// A cgroup as the planner of mounts wants it.
fn mount_group(group: &cgroup::plan::Group) -> (PathBuf, mount::plan::Group) {
    let optional = group.refused == cgroup::plan::Refused::Without;
    (group.mount.clone(), mount::plan::Group { path: group.path.clone(), optional })
}
