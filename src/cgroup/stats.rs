//! What a container uses, in the JSON of runc's `events` (types/events.go), whichever version of cgroups counts it.

use super::{group::Cgroup, tree::found};
use crate::error::Result;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Nanoseconds in a clock tick of `cpuacct.stat`: `USER_HZ` is 100 on every architecture that Linux runs containers on.
const TICK: u64 = 10_000_000;

/// Files of version 1 cpusets and their keys.
const CPUSET_FLAGS: &[(&str, &str)] = &[
    ("cpu_exclusive", "cpuset.cpu_exclusive"),
    ("mem_hardwall", "cpuset.mem_hardwall"),
    ("mem_exclusive", "cpuset.mem_exclusive"),
    ("memory_migrate", "cpuset.memory_migrate"),
    ("memory_spread_page", "cpuset.memory_spread_page"),
    ("memory_spread_slab", "cpuset.memory_spread_slab"),
    ("memory_pressure", "cpuset.memory_pressure"),
    ("sched_load_balance", "cpuset.sched_load_balance"),
];

/// The counters of the container's groups; what no controller counts is absent. `page_sizes` are those of huge pages, as in
/// the names of files: `2MB`.
pub fn stats(cgroup: &Cgroup, page_sizes: &[String]) -> Result<Value> {
    let files = Files(cgroup);
    let mut hugetlb = Map::new();
    for size in page_sizes {
        if let Some(counters) = files.hugetlb(size)? {
            hugetlb.insert(size.clone(), counters);
        }
    }
    Ok(json!({
        "cpu": files.cpu()?,
        "cpuset": files.cpuset()?,
        "memory": files.memory()?,
        "pids": object([
            ("current", files.number("pids.current")?.map(Value::from)),
            // No limit is 0.
            ("limit", files.number("pids.max")?.map(|limit| json!(if limit == u64::MAX { 0 } else { limit }))),
        ]),
        "blkio": files.blkio()?,
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": [],
    }))
}

/// The members that have a value.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let given = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(given.collect())
}

/// Files by name alone: version 1 names carry the controller, so of the hierarchies the first that has a file is the right one,
/// those of version 1 before the unified one.
struct Files<'a>(&'a Cgroup);

impl Files<'_> {
    fn text(&self, file: &str) -> Result<Option<String>> {
        for member in &self.0.members {
            match found(member.dir.read(file)) {
                // Pressure is not counted on a kernel that was told not to.
                Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {}
                Ok(None) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    /// A file with one number; `max` is the largest there is.
    fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(self.text(file)?.and_then(|text| number(text.trim())))
    }

    /// A file of names and numbers, cgroups(7) "flat keyed".
    fn keyed(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        Ok(self.text(file)?.map(|text| keyed(&text)).unwrap_or_default())
    }

    fn cpu(&self) -> Result<Value> {
        let stat = self.keyed("cpu.stat")?;
        let throttled = stat.get("throttled_time").copied();
        let throttled = throttled.or(stat.get("throttled_usec").map(|value| value * 1000));
        let throttling = object([
            ("periods", stat.get("nr_periods").map(|value| json!(value))),
            ("throttledPeriods", stat.get("nr_throttled").map(|value| json!(value))),
            ("throttledTime", throttled.map(Value::from)),
        ]);
        let usage = if let Some(total) = self.number("cpuacct.usage")? {
            self.cpuacct(total)?
        } else {
            // The unified group counts time even where version 1 has the controller.
            let stat = self.0.read("cpu.stat")?.map(|text| keyed(&text)).unwrap_or_default();
            let of = |key: &str| stat.get(key).map_or(0, |value| value * 1000);
            json!({"total": of("usage_usec"), "kernel": of("system_usec"), "user": of("user_usec")})
        };
        let psi = self.pressure("cpu.pressure")?;
        Ok(object([("usage", Some(usage)), ("throttling", Some(throttling)), ("psi", psi)]))
    }

    /// The version 1 controller that counts processor time.
    fn cpuacct(&self, total: u64) -> Result<Value> {
        let ticks = self.keyed("cpuacct.stat")?;
        let time = |key: &str| ticks.get(key).map_or(0, |ticks| ticks * TICK);
        let all = self.text("cpuacct.usage_all")?.unwrap_or_default();
        let column = |index: usize| -> Vec<u64> {
            all.lines().skip(1).filter_map(|line| line.split(' ').nth(index)?.parse().ok()).collect()
        };
        let percpu = self.text("cpuacct.usage_percpu")?.unwrap_or_default();
        let percpu: Vec<u64> = percpu.split_whitespace().filter_map(number).collect();
        Ok(json!({
            "total": total,
            "percpu": percpu,
            "percpu_user": column(1),
            "percpu_kernel": column(2),
            "kernel": time("system"),
            "user": time("user"),
        }))
    }

    fn cpuset(&self) -> Result<Value> {
        let mut out = Map::new();
        for (key, version1, version2) in [
            ("cpus", "cpuset.cpus", "cpuset.cpus.effective"),
            ("mems", "cpuset.mems", "cpuset.mems.effective"),
        ] {
            let text = match self.text(version2)? {
                None => self.text(version1)?,
                text => text,
            };
            out.extend(text.map(|text| (key.to_owned(), json!(numbers(&text)))));
        }
        for (key, file) in CPUSET_FLAGS {
            out.extend(self.number(file)?.map(|value| ((*key).to_owned(), json!(value))));
        }
        let level =
            self.text("cpuset.sched_relax_domain_level")?.and_then(|text| text.trim().parse::<i64>().ok());
        out.extend(level.map(|level| ("sched_relax_domain_level".to_owned(), json!(level))));
        Ok(Value::Object(out))
    }

    fn memory(&self) -> Result<Value> {
        let raw = self.keyed("memory.stat")?;
        if raw.is_empty() {
            return Ok(object([("psi", self.pressure("memory.pressure")?)]));
        }
        let cache = raw.get("cache").or(raw.get("file")).copied().unwrap_or(0);
        let (usage, swap) = match self.number("memory.usage_in_bytes")? {
            Some(_) => (self.legacy_memory("memory")?, self.legacy_memory("memory.memsw")?),
            None => self.unified_memory()?,
        };
        Ok(object([
            ("cache", Some(json!(cache))),
            ("usage", usage),
            ("swap", swap),
            ("kernel", self.legacy_memory("memory.kmem")?),
            ("kernelTCP", self.legacy_memory("memory.kmem.tcp")?),
            ("raw", Some(json!(raw))),
            ("psi", self.pressure("memory.pressure")?),
        ]))
    }

    fn legacy_memory(&self, prefix: &str) -> Result<Option<Value>> {
        let Some(usage) = self.number(&format!("{prefix}.usage_in_bytes"))? else { return Ok(None) };
        Ok(Some(json!({
            "usage": usage,
            "limit": self.number(&format!("{prefix}.limit_in_bytes"))?.unwrap_or(0),
            "max": self.number(&format!("{prefix}.max_usage_in_bytes"))?.unwrap_or(0),
            "failcnt": self.number(&format!("{prefix}.failcnt"))?.unwrap_or(0),
        })))
    }

    /// Memory, and memory and swap together as version 1 counts them.
    fn unified_memory(&self) -> Result<(Option<Value>, Option<Value>)> {
        let Some(usage) = self.number("memory.current")? else { return Ok((None, None)) };
        let limit = self.number("memory.max")?.unwrap_or(0);
        let max = self.number("memory.peak")?.unwrap_or(0);
        let memory = json!({"usage": usage, "limit": limit, "max": max, "failcnt": 0});
        let swap = match self.number("memory.swap.current")? {
            None => None,
            Some(swap) => {
                let most = self.number("memory.swap.max")?.unwrap_or(u64::MAX);
                Some(
                    json!({"usage": usage + swap, "limit": limit.saturating_add(most), "max": 0, "failcnt": 0}),
                )
            }
        };
        Ok((Some(memory), swap))
    }

    fn blkio(&self) -> Result<Value> {
        let unified = self.text("io.stat")?.unwrap_or_default();
        let (mut bytes, mut requests) = (io_stat(&unified, "bytes"), io_stat(&unified, "ios"));
        // BFQ counts where it schedules, the throttle layer everywhere.
        for layer in ["blkio.bfq", "blkio.throttle"] {
            for (entries, what) in [(&mut bytes, "io_service_bytes"), (&mut requests, "io_serviced")] {
                if entries.is_empty() {
                    *entries = blkio(&self.text(&format!("{layer}.{what}_recursive"))?.unwrap_or_default());
                }
            }
        }
        let list = |entries: Vec<Value>| (!entries.is_empty()).then_some(Value::Array(entries));
        Ok(object([
            ("ioServiceBytesRecursive", list(bytes)),
            ("ioServicedRecursive", list(requests)),
            ("psi", self.pressure("io.pressure")?),
        ]))
    }

    fn hugetlb(&self, size: &str) -> Result<Option<Value>> {
        let prefix = format!("hugetlb.{size}");
        if let Some(usage) = self.number(&format!("{prefix}.usage_in_bytes"))? {
            let max = self.number(&format!("{prefix}.max_usage_in_bytes"))?.unwrap_or(0);
            let failures = self.number(&format!("{prefix}.failcnt"))?.unwrap_or(0);
            return Ok(Some(json!({"usage": usage, "max": max, "failcnt": failures})));
        }
        let Some(usage) = self.number(&format!("{prefix}.current"))? else { return Ok(None) };
        let events = self.keyed(&format!("{prefix}.events"))?;
        Ok(Some(json!({"usage": usage, "failcnt": events.get("max").copied().unwrap_or(0)})))
    }

    /// `/proc/pressure` of a group, kernel documentation "PSI - Pressure Stall Information".
    fn pressure(&self, file: &str) -> Result<Option<Value>> {
        Ok(self.text(file)?.map(|text| pressure(&text)))
    }
}

fn number(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), number(value)?))
    };
    text.lines().filter_map(pair).collect()
}

/// `0-2,7` one by one.
fn numbers(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Lines such as `8:0 Read 4096`.
fn blkio(text: &str) -> Vec<Value> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [device, op, value] = words[..] else { return None };
        let (major, minor) = device.split_once(':')?;
        let (major, minor) = (major.parse::<u64>().ok()?, minor.parse::<u64>().ok()?);
        Some(json!({"major": major, "minor": minor, "op": op, "value": value.parse::<u64>().ok()?}))
    };
    text.lines().filter_map(entry).collect()
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`: the fields that end in `what`.
fn io_stat(text: &str, what: &str) -> Vec<Value> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let device = words.next().unwrap_or_default();
        for word in words {
            let Some((key, value)) = word.split_once('=') else { continue };
            let op = match key.strip_suffix(what) {
                Some("r") => "Read",
                Some("w") => "Write",
                Some("d") => "Discard",
                _ => continue,
            };
            entries.extend(blkio(&format!("{device} {op} {value}")));
        }
    }
    entries
}

/// Lines such as `some avg10=0.00 avg60=0.12 avg300=0.00 total=5`.
fn pressure(text: &str) -> Value {
    let mut out = Map::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let pair = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), serde_json::from_str(value).ok()?))
        };
        out.insert(name, Value::Object(words.filter_map(pair).collect()));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_both_versions_are_understood() {
        assert_eq!(numbers("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(numbers("\n"), [0u16; 0]);
        assert_eq!(keyed("usage_usec 12\nnr_periods max\njunk\n")["usage_usec"], 12);
        let read = json!([{"major": 8, "minor": 0, "op": "Read", "value": 4096}]);
        assert_eq!(json!(blkio("8:0 Read 4096\nTotal 4096\n")), read);
        let line = "8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n";
        assert_eq!(json!(io_stat(line, "bytes")[0]), read[0]);
        assert_eq!(io_stat(line, "ios")[1], json!({"major": 8, "minor": 0, "op": "Write", "value": 3}));
        let text = "some avg10=0.00 avg60=1.50 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let psi = pressure(text);
        assert_eq!((&psi["some"]["avg60"], &psi["some"]["total"]), (&json!(1.5), &json!(5)));
    }
}
