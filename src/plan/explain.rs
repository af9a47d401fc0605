//! A plan as the steps of a launch, in the order in which they happen: for people, golden tests, and the table of
//! reasons in [`super::order`].

use super::{Execution, Hooks, Plan, Program};
use crate::{
    cgroup::{Version, plan as groups},
    cred, hook, mount,
    ns::plan::{Base, Maps, Mounts, User, Writer},
    spec::{IdMap, NamespaceKind},
};
use std::fmt::{self, Display, Formatter};

/// The process that does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// It never leaves the namespaces of its caller.
    Runtime,
    /// It builds the root file system and ends.
    Assembler,
    /// It joins namespaces and gives birth to init.
    Stage,
    /// It becomes the container's process.
    Init,
    /// It becomes a later process of the container.
    Process,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who does it.
    pub actor: Actor,
    /// As the table of reasons calls it.
    pub name: &'static str,
    /// In words; more than one line where it has parts.
    pub text: String,
}

/// The steps from the first side effect to the end of the container.
pub fn steps(plan: &Plan) -> Vec<Step> {
    let mut steps = Steps { plan, actor: Actor::Runtime, done: Vec::new() };
    steps.prepare();
    steps.bear();
    steps.settle();
    steps.assemble();
    steps.enter();
    steps.run();
    steps.done
}

struct Steps<'a> {
    plan: &'a Plan,
    actor: Actor,
    done: Vec<Step>,
}

impl Steps<'_> {
    fn add(&mut self, name: &'static str, text: impl Display) {
        self.done.push(Step { actor: self.actor, name, text: text.to_string().trim_end().to_owned() });
    }

    fn all<T: Display>(&mut self, ops: &[T], name: impl Fn(&T) -> &'static str) {
        for op in ops {
            self.add(name(op), format_args!("{op:#}"));
        }
    }

    fn groups(&self) -> &[groups::Group] {
        match &self.plan.cgroup {
            groups::Plan::Groups { groups, .. } => groups,
            groups::Plan::None { .. } => &[],
        }
    }

    /// The runtime, before there is any process.
    fn prepare(&mut self) {
        match &self.plan.cgroup {
            groups::Plan::Groups { groups, .. } => self.all(groups, |_| "control group"),
            none @ groups::Plan::None { .. } => self.add("no control group", none),
        }
    }

    /// Until init lives in its namespaces.
    fn bear(&mut self) {
        let spaces = &self.plan.namespaces;
        self.actor = Actor::Assembler;
        match &spaces.base {
            Base::Caller => {}
            Base::New { maps, writer } => {
                let writer = match writer {
                    Writer::Caller => "by the caller",
                    Writer::Tools => "by newuidmap and newgidmap",
                };
                self.add("base", format_args!("make a base user namespace, mapped {writer}: {}", Text(maps)));
            }
            Base::Joined(path) => {
                self.add("base", format_args!("join user namespace {} as the base", path.display()));
            }
        }
        let mounts = &self.plan.mounts;
        for (id, lines) in mounts.idmaps.iter().enumerate() {
            self.add("idmap", format_args!("idmap {id}: {:?} {:?}", lines.uids, lines.gids));
        }
        for (id, source) in mounts.sources.iter().enumerate() {
            self.add("source", format_args!("open source {id} of {}: {source}", source.origin));
        }
        match &spaces.mount_path {
            Some(path) => {
                self.add("mount namespace", format_args!("join mount namespace {}", path.display()));
            }
            None if self.plan.root_alone => {
                self.add(
                    "mount namespace",
                    "make a mount namespace of the root alone, before Linux 7.0 of all mounts",
                );
            }
            None if spaces.base == Base::Caller => self.add("mount namespace", "make a mount namespace"),
            None => {}
        }
        self.add("private", "make every mount private");
        if spaces.needs_stage() {
            self.stage();
        }
        self.actor = if spaces.needs_stage() { Actor::Stage } else { Actor::Assembler };
        let mut kinds: Vec<_> = spaces.new.iter().map(|kind| kind.word()).collect();
        kinds.extend((spaces.mounts == Mounts::Unlocked).then_some("mount"));
        let user = matches!(spaces.user, User::New(_)) && !spaces.needs_stage();
        kinds.extend(user.then_some("user"));
        self.add("birth", format_args!("give birth to init, new: {}", kinds.join(" ")));
        if user {
            self.maps();
        }
    }

    fn stage(&mut self) {
        let spaces = &self.plan.namespaces;
        self.actor = Actor::Stage;
        for join in &spaces.joins {
            self.add("join", format_args!("join {} namespace {}", join.kind, join.path.display()));
        }
        match &spaces.user {
            User::Base => {}
            User::New(_) => {
                self.add("user namespace", "make a user namespace");
                self.actor = Actor::Assembler;
                self.maps();
            }
            User::Joined(path) => {
                self.add("user namespace", format_args!("join user namespace {}", path.display()));
            }
        }
        if let Some(offsets) = &spaces.time {
            self.actor = Actor::Stage;
            self.add("time namespace", format_args!("make a time namespace: {offsets:?}"));
        }
    }

    fn maps(&mut self) {
        if let User::New(maps) = &self.plan.namespaces.user {
            self.add("id maps", format_args!("write the maps: {}", Text(maps)));
        }
    }

    /// Until every namespace is complete.
    fn settle(&mut self) {
        let plan = self.plan;
        self.actor = Actor::Runtime;
        self.add("record", "write down which process init is");
        if self.groups().iter().any(|group| group.version == Version::V1) {
            self.add("version 1 group", "move init into its version 1 control groups");
        }
        self.all(&plan.rdt.ops, |_| "resctrl");
        self.actor = Actor::Init;
        if plan.namespaces.makes(NamespaceKind::Network) {
            self.add("loopback", "bring up the loopback device");
        }
        if plan.namespaces.late_cgroup {
            self.add("cgroup namespace", "make a cgroup namespace");
        }
        self.actor = Actor::Assembler;
        self.add("enter", "enter init's namespaces, all but user");
        for (name, value) in [("host name", &plan.hostname), ("domain name", &plan.domainname)] {
            if let Some(value) = value {
                self.add(name, format_args!("set the {name} to {value}"));
            }
        }
        self.all(&plan.sysctls.outside, |_| "sysctl outside");
        if let Some((uid, gid)) = plan.creator {
            self.add("creator", format_args!("create files as {uid}:{gid}"));
        }
        self.all(&plan.net_devices, |_| "network device");
    }

    /// The root file system, and what is done to init by pid.
    fn assemble(&mut self) {
        let plan = self.plan;
        let mounts = &plan.mounts;
        let owner = mounts.owner;
        let root = mounts.rootfs.display();
        let idmap = mounts.root_idmap.map(|idmap| idmap.to_string()).unwrap_or_default();
        self.add("root", format_args!("mount the root {root}, owned by {}:{}{idmap}", owner.uid, owner.gid));
        self.all(&mounts.ops, mount::Op::name);
        self.hooks(Actor::Runtime, "createRuntime hook", |hooks| &hooks.create_runtime);
        self.hooks(Actor::Assembler, "createContainer hook", |hooks| &hooks.create_container);
        self.actor = Actor::Assembler;
        if plan.namespaces.may_begin_in_a_chroot() {
            self.add("chroot", "leave the caller's chroot, if it is in one");
        }
        let how = match plan.root {
            mount::Root::Pivot => "pivot into the root",
            mount::Root::MoveMount => "move the root over /",
        };
        let unless = if plan.root_alone { ", where it is not alone" } else { "" };
        self.add("pivot", format_args!("{how}{unless}"));
        self.all(&plan.execution.outside, cred::OutsideOp::name);
    }

    /// init, until it waits for its start.
    fn enter(&mut self) {
        let plan = self.plan;
        self.actor = Actor::Init;
        match plan.namespaces.mounts {
            Mounts::Locked => self.add("lock", "copy the mount namespace, which locks its mounts"),
            Mounts::Unlocked => self.add("unlocked", "keep mounts that root inside may change"),
            Mounts::Shared | Mounts::Joined => {}
        }
        self.all(&plan.sysctls.inside, |_| "sysctl inside");
        self.all(&plan.execution.inside, cred::InsideOp::name);
        if let Some(program) = &plan.execution.program {
            self.add("look-up", look_up(program));
        }
        self.actor = Actor::Runtime;
        if self.groups().iter().any(|group| !group.late.is_empty()) {
            self.add("late values", "write the late values of the control groups");
        }
        self.add("created", "the container is created");
    }

    /// From start on.
    fn run(&mut self) {
        let plan = self.plan;
        self.hooks(Actor::Init, "startContainer hook", |hooks| &hooks.start_container);
        execution(&plan.execution, Actor::Init, &mut |actor, name, text| {
            self.done.push(Step { actor, name, text });
        });
        self.hooks(Actor::Runtime, "poststart hook", |hooks| &hooks.poststart);
        self.hooks(Actor::Runtime, "poststop hook", |hooks| &hooks.poststop);
    }

    fn hooks(&mut self, actor: Actor, name: &'static str, list: impl Fn(&Hooks) -> &[hook::Program]) {
        let plan = self.plan;
        for hook in list(&plan.hooks) {
            self.actor = actor;
            let path = hook.path.to_string_lossy();
            let timeout = hook.timeout.map_or(String::new(), |time| format!(", at most {time:?}"));
            self.add(name, format_args!("run {} {path}{timeout}", hook.json_path));
        }
    }
}

/// The look-up of a program.
pub(super) fn look_up(program: &Program) -> String {
    format!("look for the program {:?}", program.args.first().map_or("", String::as_str))
}

/// The last steps of a process: filter and execve(2).
pub(super) fn execution(
    execution: &Execution,
    process: Actor,
    add: &mut dyn FnMut(Actor, &'static str, String),
) {
    if let Some(guard) = &execution.guard {
        let size = guard.program.instructions.len();
        add(process, "guard", format!("guard the terminal by a filter of {size} instructions"));
    }
    if let Some(filter) = &execution.filter {
        let size = filter.program.instructions.len();
        add(process, "filter", format!("load a filter of {size} instructions, flags {:#x}", filter.flags));
        if let Some(listener) = &filter.listener {
            let text = format!("send the filter's listener to {}", listener.path.display());
            add(Actor::Runtime, "listener", text);
        }
    }
    if let Some(program) = &execution.program {
        let (variables, kept) = (program.env.len(), execution.descriptors.kept);
        let text = format!("execute {:?}, {variables} variables, {kept} descriptors", program.args);
        add(process, "execute", text);
    }
}

/// One step a line, below the name of the process that does it.
pub(super) fn write(f: &mut Formatter<'_>, steps: &[Step]) -> fmt::Result {
    let mut actor = None;
    for step in steps {
        if actor.replace(step.actor) != Some(step.actor) {
            writeln!(f, "{}", step.actor)?;
        }
        step.text.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
    }
    Ok(())
}

struct Text<'a>(&'a Maps);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines = |lines: &[IdMap]| {
            let line = |line: &IdMap| format!("{} {} {}", line.container, line.host, line.size);
            lines.iter().map(line).collect::<Vec<_>>().join(", ")
        };
        write!(f, "uids {}; gids {}", lines(&self.0.uids), lines(&self.0.gids))
    }
}

impl Display for Actor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runtime => "runtime",
            Self::Assembler => "assembler",
            Self::Stage => "stage",
            Self::Init => "init",
            Self::Process => "process",
        })
    }
}

impl Display for Plan {
    /// One step a line, below the name of the process that does it; then the warnings.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, &steps(self))?;
        if let groups::Plan::Groups { ignored, .. } = &self.cgroup
            && !ignored.is_empty()
        {
            writeln!(f, "ignored: {}", ignored.join(", "))?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}
