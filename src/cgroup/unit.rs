//! What systemd is told about a container's group. Pure.
//!
//! systemd owns the groups of its units: it makes them, and on a reload it writes its own idea of their limits into them once
//! more. So every limit that it has a property for is told to it as well, and afterwards all of them are written through
//! cgroupfs, exact and complete. The properties are derived from the writes, so that the two cannot differ.

use super::write::{Missing, Op, Write};
use crate::{
    bail,
    error::{Context, Error, Result},
    systemd::{self, Address, Instance, Property, gvariant, manager::About, unit::Kind, wire::Value},
};
use std::{collections::BTreeMap, fmt};

/// Annotations with this prefix are properties of the unit, as in runc and crun.
pub const PROPERTY: &str = "org.systemd.property.";
/// What this program decides itself.
const OWN: &[&str] = &["PIDs", "PIDFDs", "Slice"];
/// What an annotation may set: how the unit ends, and its place in the order of the others. Annotations may be a user's words, so
/// nothing that acts on other units or on the host: `FailureAction` could restart it (CVE-2024-3154).
const OF_UNITS: &[&str] = &[
    "After",
    "Before",
    "CollectMode",
    "DefaultDependencies",
    "Description",
    "Documentation",
    "FinalKillSignal",
    "KillMode",
    "KillSignal",
    "OOMPolicy",
    "RestartKillSignal",
    "RuntimeMaxSec",
    "RuntimeMaxUSec",
    "SendSIGHUP",
    "SendSIGKILL",
    "TimeoutStopSec",
    "TimeoutStopUSec",
];
/// The beginnings of systemd.resource-control(5), but for devices and programs of the kernel, which config.json has.
const OF_RESOURCES: &[&str] = &[
    "Allowed",
    "CPU",
    "DefaultMemory",
    "IO",
    "IPAccounting",
    "ManagedOOM",
    "Memory",
    "StartupAllowed",
    "StartupCPU",
    "StartupIO",
    "StartupMemory",
    "Tasks",
];
/// `CPUQuotaPerSecUSec`, `MemoryMax` and the like: no limit.
const INFINITY: u64 = u64::MAX;
/// The period of `cpu.max` where none is given, in µs.
const PERIOD: u64 = 100_000;

/// The service manager that keeps the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Systemd {
    /// Which one.
    pub instance: Instance,
    /// Where it was reached.
    pub address: Address,
    /// What it says about itself.
    pub about: About,
    /// Who brings the container's processes into the unit.
    pub placing: Placing,
}

/// Who brings a process into the group of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// The kernel, at its birth: the caller may write to the group above both.
    Birth,
    /// systemd, which may do more than the caller: one who is logged in over ssh is outside of what the user's manager has.
    Manager,
}

/// The unit of a container, decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its name and kind.
    pub unit: systemd::Unit,
    /// Everything that is known before it has a process.
    pub properties: Vec<Property>,
    /// Who keeps it.
    pub keeper: Systemd,
}

impl Unit {
    /// The unit that `cgroups_path` names, with the properties that `annotations` give and those that `writes` amount to, which
    /// win: they are written through cgroupfs in any case.
    ///
    /// # Errors
    /// A name or an annotation that systemd would not take.
    pub fn plan(
        cgroups_path: Option<&str>,
        id: &str,
        keeper: &Systemd,
        writes: &[Op],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let slice = match keeper.instance {
            Instance::System => "system.slice",
            Instance::User => "user.slice",
        };
        let unit = match cgroups_path {
            Some(path) => systemd::Unit::from_config(path, slice).context("linux.cgroupsPath")?,
            None => systemd::Unit::of_container(id, slice)?,
        };
        let mut all = Vec::new();
        let mut add = |name: &str, value| put(&mut all, Property::new(name, value));
        add("Description", Value::text(format!("urun container {id}")));
        add("DefaultDependencies", Value::Bool(false));
        // Or it would be listed as failed for ever when the kernel has killed a process for want of memory.
        add("CollectMode", Value::text("inactive-or-failed"));
        for name in ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"] {
            add(name, Value::Bool(true));
        }
        if let Kind::Scope { slice } = &unit.kind {
            add("Slice", Value::text(slice));
            add("Delegate", Value::Bool(true));
        }
        for (key, text) in annotations {
            let Some(name) = key.strip_prefix(PROPERTY) else { continue };
            let property = annotated(name, text).with_context(|| format!("annotations[{key:?}]"))?;
            put(&mut all, property);
        }
        for property in properties(writes, keeper.about.version) {
            put(&mut all, property);
        }
        Ok(Self { unit, properties: all, keeper: keeper.clone() })
    }

    /// Its group; starts with `/`.
    pub fn path(&self) -> Result<String> {
        Ok(self.keeper.about.control_group.clone() + &self.unit.path()?)
    }
}

/// A property of the same name is replaced: systemd would add to lists, and take the last of everything else.
fn put(all: &mut Vec<Property>, property: Property) {
    match all.iter_mut().find(|known| known.name == property.name) {
        Some(known) => *known = property,
        None => all.push(property),
    }
}

/// A property from an annotation. `FooSec` is the name that people write in unit files; on D-Bus it is `FooUSec`, in
/// microseconds.
fn annotated(name: &str, text: &str) -> Result<Property> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphabetic()) {
        bail!("{name:?} is no name of a property: it has letters alone");
    }
    if OWN.contains(&name) || name.starts_with("Delegate") {
        return Err(
            Error::new(format_args!("the runtime decides {name} itself")).hint("remove the annotation")
        );
    }
    if !OF_UNITS.contains(&name) && !OF_RESOURCES.iter().any(|beginning| name.starts_with(beginning)) {
        return Err(Error::new(format_args!("a container may not set {name}: it could act on the host")).hint(
            "annotations set resources (CPU…, IO…, Memory…, Tasks…), KillSignal, TimeoutStopSec, RuntimeMaxSec, After and the like",
        ));
    }
    let value = gvariant::parse(text)
        .hint("the value is GVariant text: 'text', true, 5, uint64 5, ['a', 'b'], @as []")?;
    match name.strip_suffix("Sec").filter(|_| !name.ends_with("USec")) {
        Some(stem) => Ok(Property::new(format!("{stem}USec"), Value::U64(microseconds(&value)?))),
        None => Ok(Property::new(name, value)),
    }
}

fn microseconds(value: &Value) -> Result<u64> {
    #[allow(clippy::cast_precision_loss)] // a time of 2^53 s is long enough to be rounded
    let seconds = match *value {
        Value::I16(number) => f64::from(number),
        Value::U16(number) => f64::from(number),
        Value::I32(number) => f64::from(number),
        Value::U32(number) => f64::from(number),
        Value::I64(number) => number as f64,
        Value::U64(number) => number as f64,
        Value::Double(number) => number,
        _ => bail!("a number of seconds is needed"),
    };
    let micros = seconds * 1e6;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    match micros >= 0.0 && micros < u64::MAX as f64 {
        true => Ok(micros as u64),
        false => bail!("{seconds} s is no time"),
    }
}

/// What systemd calls the values that are written. What it has no property for is left to the writes; so is what it could
/// not read, for the kernel may.
pub fn properties(ops: &[Op], version: u32) -> Vec<Property> {
    let mut all = Vec::new();
    for write in ops.iter().flat_map(Op::writes) {
        property(write, version, &mut |name, value| put(&mut all, Property::new(name, value)));
    }
    all
}

fn property(write: &Write, version: u32, put: &mut dyn FnMut(&str, Value)) {
    // One weight for both of the kernel's schedulers.
    let (file, value) = match &write.missing {
        Missing::Instead(file, value) if file == "io.weight" => (file.as_str(), value.trim()),
        _ => (write.file.as_str(), write.value.trim()),
    };
    let limits = [
        ("memory.max", "MemoryMax", 0),
        ("memory.high", "MemoryHigh", 0),
        ("memory.low", "MemoryLow", 0),
        ("memory.min", "MemoryMin", 0),
        ("memory.swap.max", "MemorySwapMax", 0),
        ("memory.zswap.max", "MemoryZSwapMax", 253),
        ("cpu.weight", "CPUWeight", 0),
        ("io.weight", "IOWeight", 0),
    ];
    if let Some((_, name, since)) = limits.iter().find(|(known, ..)| *known == file) {
        if let Some(number) =
            amount(value.strip_prefix("default ").unwrap_or(value)).filter(|_| version >= *since)
        {
            put(name, Value::U64(number));
        }
        return;
    }
    match (file, value) {
        // systemd refuses a unit that may have no process at all; the file gets the zero.
        ("pids.max", value) => {
            if let Some(number) = amount(value) {
                put("TasksMax", Value::U64(number.max(1)));
            }
        }
        ("cpu.idle", "1") if version >= 252 => put("CPUWeight", Value::U64(0)),
        ("cpu.max", value) => bandwidth(value, version, put),
        ("cpuset.cpus", list) if version >= 244 => bitmap("AllowedCPUs", list, put),
        ("cpuset.mems", list) if version >= 244 => bitmap("AllowedMemoryNodes", list, put),
        ("memory.oom.group", value) if version >= 253 => {
            put("OOMPolicy", Value::text(if value == "0" { "continue" } else { "kill" }));
        }
        _ => {}
    }
}

/// A number as the kernel reads it: `max`, or with a binary unit.
fn amount(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(INFINITY);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `cpu.max`. systemd keeps whole percents of a CPU, so a part of one is rounded up: a group below could not have its quota
/// otherwise. runc does the same.
fn bandwidth(value: &str, version: u32, put: &mut dyn FnMut(&str, Value)) {
    const PERCENT: u64 = 10_000;
    let mut words = value.split_whitespace();
    let (Some(quota), period) = (words.next().and_then(amount), words.next().map(str::parse::<u64>)) else {
        return;
    };
    let Ok(period) = period.unwrap_or(Ok(PERIOD)) else { return };
    let per_second = match quota {
        INFINITY => Some(INFINITY),
        _ => quota.checked_mul(1_000_000).and_then(|product| product.checked_div(period)),
    };
    let Some(per_second) = per_second else { return };
    put("CPUQuotaPerSecUSec", Value::U64(per_second.checked_next_multiple_of(PERCENT).unwrap_or(INFINITY)));
    if version >= 242 {
        put("CPUQuotaPeriodUSec", Value::U64(period));
    }
}

/// A list such as `0-3,7` as bits, the first CPU in the lowest bit of the first byte.
fn bitmap(name: &str, list: &str, put: &mut dyn FnMut(&str, Value)) {
    const MOST: usize = 1 << 16;
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else {
            return;
        };
        if first > last || last >= MOST {
            return;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
    }
    put(name, Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()));
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let placing = if self.keeper.placing == Placing::Birth { "" } else { ", which places processes" };
        writeln!(f, "unit {} of the {} manager{placing}", self.unit.name, self.keeper.instance)?;
        self.properties.iter().try_for_each(|it| writeln!(f, "  {} = {:?}", it.name, it.value))
    }
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
