//! `urun update`

use super::group;
use crate::{
    bail,
    cgroup::{self, Change},
    cli::{ResourcesFrom, UpdateArgs},
    error::{Context, Result},
    host::cgroups,
    log::Log,
    rdt,
    spec::{
        self,
        linux::IntelRdt,
        update::{Update, effective},
    },
    state::{ContainerId, Entry, PATIENCE, Record, Status, Store, not_running},
    sys::proc::Proc,
};
use std::{fs::File, io::Read};

/// More than any engine writes.
const LARGEST_DOCUMENT: u64 = 1 << 20;

/// Changes the limits of a container that is created, runs or is paused. What is not named keeps its value.
pub fn update(store: &Store, args: &UpdateArgs, log: &Log) -> Result<()> {
    // Before the lock: whoever writes to standard input may take its time.
    let (source, document) = document(&args.resources)?;
    let mut entry = store.find(&args.id)?;
    entry.lock(PATIENCE)?;
    change(&entry, args, &source, &document, log).with_context(|| step(&args.id))
}

fn step(id: &ContainerId) -> String {
    format!("update container {id}")
}

/// The document, and where it comes from for errors about it.
fn document(from: &ResourcesFrom) -> Result<(String, Vec<u8>)> {
    let (name, mut reader): (String, Box<dyn Read>) = match from {
        ResourcesFrom::Flags(document) => return Ok(("flags".to_owned(), document.to_string().into_bytes())),
        ResourcesFrom::Stdin => ("standard input".to_owned(), Box::new(std::io::stdin())),
        ResourcesFrom::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("open {name}"))?;
            (name, Box::new(file))
        }
    };
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(LARGEST_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {name}"))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        bail!("read {name}: larger than {LARGEST_DOCUMENT} bytes");
    }
    Ok((name, bytes))
}

fn change(entry: &Entry, args: &UpdateArgs, source: &str, document: &[u8], log: &Log) -> Result<()> {
    let mut record = entry.record()?.ok_or_else(not_running)?;
    if Status::of(entry, &record, &Proc::open()?, || Ok(false))? == Status::Stopped {
        return Err(not_running());
    }
    let update = Update::load(document, &record.oci_version).context(source)?;
    let all = update.after(&record.resources);
    let config = entry.config()?;
    let whole = effective(&config, &all)?;
    let schemata = IntelRdt {
        l3_cache_schema: args.l3_cache_schema.clone(),
        mem_bw_schema: args.mem_bw_schema.clone(),
        ..IntelRdt::default()
    };
    let schemata = schemata_of(&record, &config, &schemata)?;
    if update.resources.has_limits() {
        let proc = Proc::open()?;
        let change = Change { asked: &update.resources, whole: &whole };
        let ignored = cgroup::update(&group::open(&record)?, &change, &cgroups::probe(&proc)?)?;
        for name in ignored {
            log.warning(format_args!("resources.{name} has no meaning with this host's control groups"));
        }
    }
    if let Some(op) = schemata {
        let init = record.init.ok_or_else(not_running)?;
        rdt::apply(&[op], &rdt::root(&Proc::open()?)?, init.pid)?;
    }
    if record.resources == all {
        return Ok(());
    }
    record.resources = all;
    entry.save(&record)
}

/// What changes in resctrl; nothing, and nothing is read, where no schema is given.
fn schemata_of(record: &Record, config: &[u8], change: &IntelRdt) -> Result<Option<rdt::RdtOp>> {
    if *change == IntelRdt::default() {
        return Ok(None);
    }
    let config = spec::load(config)?;
    rdt::update(config.linux.intel_rdt.as_ref(), change, record.id.as_str())
}
