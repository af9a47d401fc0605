//! `urun ps`

use super::{group, processes, view::unfinished};
use crate::{
    bail,
    cli::PsArgs,
    error::{Context, Error, Result},
    state::Store,
};
use std::process::Command;

/// The processes of a container in the form that was asked for; a stopped container has those that its cgroup still holds.
pub fn ps(store: &Store, args: &PsArgs) -> Result<String> {
    let entry = store.find(&args.id)?;
    let record = entry.record()?.ok_or_else(|| unfinished(&entry))?;
    let step = || format!("list the processes of container {}", args.id);
    let pids = processes::list(&record, &group::open(&record)?).with_context(step)?;
    if args.json {
        return Ok(format!("{}\n", serde_json::to_string(&pids).map_err(Error::new)?));
    }
    let mut command = Command::new("ps");
    match args.args.is_empty() {
        true => command.arg("-ef"),
        false => command.args(&args.args),
    };
    let output = command
        .output()
        .context("execute ps")
        .with_context(step)
        .hint("the table is made by ps of the package procps; --format json does without it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}: ps: {}: {}", step(), output.status, said.lines().next().unwrap_or_default());
    }
    only(&String::from_utf8_lossy(&output.stdout), &pids).with_context(step)
}

/// The head of the table and the lines whose column PID holds one of `pids`.
fn only(table: &str, pids: &[i32]) -> Result<String> {
    let head = table.lines().next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| {
        Error::new("the output of ps has no column PID").hint("ask ps for one, with -o pid for instance")
    })?;
    let is_ours = |line: &&str| {
        let field = line.split_whitespace().nth(column);
        field.and_then(|field| field.parse().ok()).is_some_and(|pid| pids.contains(&pid))
    };
    let lines = std::iter::once(head).chain(table.lines().skip(1).filter(is_ours));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_the_column_that_is_called_pid() {
        let table = "UID   PID  PPID CMD\n0      12     1 sh\n12     1     7 x\n0     120    12 y 12\n";
        assert_eq!(only(table, &[12]).unwrap(), "UID   PID  PPID CMD\n0      12     1 sh\n");
        assert_eq!(only(table, &[]).unwrap(), "UID   PID  PPID CMD\n");
        assert_eq!(only("CMD\nsh\n", &[1]).unwrap_err().to_string(), "the output of ps has no column PID");
    }
}
