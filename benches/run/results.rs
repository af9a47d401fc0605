//! All figures of a run, with what they were measured on, as JSON.

use crate::{
    counts::Count,
    filter::Filters,
    growth::Growth,
    measure::Cell,
    shape::{BASE, Shape},
    subject::{Subject, Verb},
    targets::Verdict,
};
use serde_json::{Value, json};
use std::{fs, process::Command};

/// Everything that was measured.
pub struct Results {
    pub subjects: Vec<Subject>,
    pub cells: Vec<Cell>,
    pub growth: Vec<Growth>,
    pub counts: Vec<Count>,
    pub filters: Filters,
    pub machine: Machine,
}

impl Results {
    /// The cell of a verb in a shape with the most rounds.
    pub fn cell(&self, verb: Verb, shape: &Shape) -> Option<&Cell> {
        self.cells
            .iter()
            .filter(|cell| cell.verb == verb && cell.shape == *shape)
            .max_by_key(|cell| cell.rounds)
    }

    pub fn base(&self, verb: Verb) -> Option<&Cell> {
        self.cell(verb, &BASE)
    }

    pub fn count(&self, what: &str) -> Option<&Count> {
        self.counts.iter().find(|count| count.what == what)
    }

    pub fn json(&self, verdicts: &[Verdict]) -> Value {
        json!({
            "machine": self.machine.json(),
            "subjects": self.subjects.iter().map(Subject::json).collect::<Vec<_>>(),
            "base_shape": BASE.to_string(),
            "targets": verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
            "cells": self.cells.iter().map(Cell::json).collect::<Vec<_>>(),
            "growth": self.growth.iter().map(|one| one.json(&self.subjects)).collect::<Vec<_>>(),
            "counts": self.counts.iter().map(Count::json).collect::<Vec<_>>(),
            "filters": self.filters.json(),
        })
    }
}

/// What it was measured on.
pub struct Machine {
    pub kernel: String,
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    pub date: String,
    /// Mounts of the host with few and with many.
    pub mounts: (usize, usize),
    /// `linux.resources` of shapes with limits.
    pub limits: Value,
    pub driver: &'static str,
    /// Running processes at the begin and at the end, of the last minute.
    pub load: (String, String),
}

impl Machine {
    pub fn new(mounts: (usize, usize), limits: Value, systemd: bool) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = after(&meminfo, "MemTotal").unwrap_or_default();
        Self {
            kernel: said("uname", &["-sr"]),
            processor: after(&cpuinfo, "model name").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default()
                / 1024,
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            mounts,
            limits,
            driver: if systemd { "systemd" } else { "cgroupfs" },
            load: (load(), String::new()),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let Self { kernel, processor, processors, date, driver, .. } = self;
        format!("{kernel}, {processors} × {processor}, cgroups by {driver}, {date}")
    }

    fn json(&self) -> Value {
        json!({ "kernel": self.kernel, "processor": self.processor, "processors": self.processors,
            "memory_mib": self.memory_mib, "date": self.date, "driver": self.driver,
            "host_mounts_few": self.mounts.0, "host_mounts_many": self.mounts.1, "limits": self.limits,
            "load_at_begin": self.load.0, "load_at_end": self.load.1 })
    }
}

/// Running processes of the last minute.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
