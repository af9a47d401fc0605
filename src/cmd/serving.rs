//! The runtime's side of the launch of a container.

use super::process;
use crate::{
    cgroup::{self, Cgroup, Holder},
    cli::CreateRequest,
    error::{Error, Result},
    hook,
    launch::{Host, Moment},
    log::Log,
    mount::ProcView,
    plan::Plan,
    rdt,
    state::{Entry, Init, PidNamespace, Record, Stage},
    sys::{clone::Child, proc::Proc},
};
use std::os::fd::OwnedFd;

/// What answers the assembler and init.
pub(super) struct Serving<'a> {
    /// The runtime's procfs.
    pub(super) proc: &'a Proc,
    /// What was decided.
    pub(super) plan: &'a Plan,
    /// What was asked for.
    pub(super) request: &'a CreateRequest,
    /// Where notes go.
    pub(super) log: &'a Log,
    /// The container's directory.
    pub(super) entry: &'a Entry,
    /// config.json as it was read.
    pub(super) config: &'a [u8],
    /// What is stored about it.
    pub(super) record: &'a mut Record,
    /// Its control groups.
    pub(super) cgroup: &'a Cgroup,
    /// The process that keeps the scope until init is born in it.
    pub(super) holder: Option<Holder>,
    /// Where the terminal's master is kept, if nobody else gets it.
    pub(super) master: &'a mut Option<OwnedFd>,
    /// The state document of a moment.
    pub(super) state: &'a dyn Fn(Moment, i32) -> Vec<u8>,
}

impl Host for Serving<'_> {
    fn born(&mut self, init: &Child) -> Result<()> {
        // First: whoever finds a record with an init finds its hooks too. Not before, for the assembler has work now.
        self.entry.save_config(self.config)?;
        self.record.init = Some(Init::identify(self.proc, init.pid)?);
        self.entry.save(self.record)?;
        self.cgroup.attach_legacy(init.pid)?;
        if let Some(holder) = self.holder.take() {
            holder.release(init.pid)?;
        }
        cgroup::apply::arrange_below(&self.plan.cgroup, self.cgroup, init.pid)?;
        match self.plan.rdt.ops.is_empty() {
            true => Ok(()),
            false => rdt::apply(&self.plan.rdt.ops, &rdt::root(self.proc)?, init.pid),
        }
    }

    fn hooks(&mut self, init: &Child) -> Result<()> {
        let hooks = &self.plan.hooks;
        hook::run_all(&hooks.create_runtime, &(self.state)(Moment::Creating, init.pid), &hooks.setting())
    }

    fn terminal(&mut self, master: OwnedFd) -> Result<()> {
        let socket = self.request.console_socket.as_deref();
        *self.master = process::deliver(master, socket, self.plan.execution.console_size)?;
        Ok(())
    }

    fn proc(&mut self, view: ProcView) {
        self.record.proc = Some(view.word().to_owned());
        self.log.debug(format_args!("/proc: {}", view.word()));
        if view == ProcView::Outer && self.record.pid_namespace == PidNamespace::Own {
            self.log.warning(
                "/proc is the one that urun has itself and shows the processes there: the kernel gives a new one only to \
                 who sees all of the present one (procMount: Unmasked), and one of processes alone from Linux 7.2 on",
            );
        }
    }

    fn settle(&mut self) -> Result<()> {
        cgroup::apply::settle(&self.plan.cgroup, self.cgroup)?;
        self.record.stage = Stage::Created;
        self.entry.save(self.record)
    }

    fn note(&mut self, note: &Error) {
        self.log.warning(note);
    }
}
