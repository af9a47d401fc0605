//! The stage: joins what exists, makes what has to be made before a birth, gives birth to init and ends.

use super::{
    assembler::birth,
    init::{self, Init},
    link::{FromInit, FromStage, Go, Link, ToInit},
    serve::Setting,
};
use crate::{
    error::{Context, Result},
    ns::{self, plan::User},
    sys::{self, clone},
};
use std::os::fd::AsFd;

/// Body of the stage process.
pub(super) fn run(setting: &Setting<'_>, mut link: Link<FromStage, Go>, init: Link<FromInit, ToInit>) -> i32 {
    let word = match go(setting, &mut link, init) {
        Ok(pid) => FromStage::Born(pid),
        Err(error) => FromStage::Failed(error),
    };
    // The assembler hears the end of the line where this fails.
    i32::from(link.say(&word).is_err())
}

fn go(setting: &Setting<'_>, link: &mut Link<FromStage, Go>, init: Link<FromInit, ToInit>) -> Result<i32> {
    let spaces = &setting.plan.namespaces;
    // Before the user namespace: whoever may do everything in this one may join a namespace that any nested one owns,
    // and one that this one owns could not be joined from inside any more.
    for ((flag, fd), join) in setting.joins.iter().zip(&spaces.joins) {
        sys::ns::setns(fd.as_fd(), *flag)
            .with_context(|| format!("join the {} namespace {}", join.kind, join.path.display()))?;
    }
    match &spaces.user {
        User::Base => {}
        User::New(_) => {
            sys::ns::unshare(libc::CLONE_NEWUSER).context("make a user namespace")?;
            ask(link, &FromStage::Maps)?;
        }
        User::Joined(path) => {
            if let Some(namespace) = &setting.user {
                sys::ns::setns(namespace.as_fd(), libc::CLONE_NEWUSER)
                    .with_context(|| format!("join user namespace {}", path.display()))?;
            }
        }
    }
    if spaces.time.is_some() {
        sys::ns::unshare(sys::ns::NEW_TIME).context("make a time namespace")?;
        ask(link, &FromStage::Offsets)?;
    }
    let flags = ns::apply::flags(&spaces.new) | libc::CLONE_PARENT;
    let child = clone::spawn(&birth(setting, flags), || init::run(Init::new(setting, init)))
        .context("make the container's init")?;
    Ok(child.pid)
}

fn ask(link: &mut Link<FromStage, Go>, question: &FromStage) -> Result<()> {
    link.say(question)?;
    let Go::Go = link.expect("the assembler")?.word;
    Ok(())
}
