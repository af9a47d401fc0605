//! `make order`: which functions the commands enter, in the order in which they first do, for the linker (ADR 15).

use crate::{
    measure::{measured, prepared},
    shape::{BASE, Config, Shape},
    subject::{Subject, Verb},
    work::{TOOLS, Work},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
};
use urun::error::{Context, Error, Result};

/// What the linker reads.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/order.ld");

/// Whose path in the environment is the map that lld wrote when it linked the program.
const MAP: &str = "BENCH_MAP";

const VERBS: [Verb; 6] = [Verb::Run, Verb::Lifecycle, Verb::Exec, Verb::State, Verb::Kill, Verb::List];

/// Writes [`FILE`].
pub fn write(work: &Work, urun: &Subject) -> Result<()> {
    let path = std::env::var(MAP).map_err(|e| Error::new(format_args!("{MAP}: {e}")))?;
    let map = Map::parse(&fs::read_to_string(&path).with_context(|| format!("read {path}"))?);
    let starts: Vec<String> = map.functions.iter().map(|start| format!("{start:x}")).collect();
    fs::write(work.path("starts"), starts.join("\n")).context("write the functions")?;
    let mut entered = Vec::new();
    for shape in [BASE, Shape { config: Config::Crio, ..BASE }, Shape { userns: false, ..BASE }] {
        for verb in VERBS {
            entered.extend(by_command(work, urun, verb, &shape)?);
        }
    }
    let mut seen = HashSet::new();
    let names = entered.iter().filter_map(|start| map.section(*start));
    let lines: Vec<&str> = names.filter(|name| seen.insert(*name)).collect();
    let head = "/* What run and other frequent commands enter, in that order: written by `make order` (ADR 15). */\nSECTIONS {\n  .text.entered : {\n    ";
    let text = format!("{head}{}\n  }}\n}} INSERT BEFORE .text;\n", lines.join("\n    "));
    fs::write(FILE, text).context("write order.ld")
}

/// The functions that one command enters.
fn by_command(work: &Work, urun: &Subject, verb: Verb, shape: &Shape) -> Result<Vec<u64>> {
    let file = work.path("trace");
    let tool = [format!("{TOOLS}/entered"), urun.program.clone(), work.path("starts"), file.clone()];
    let words = work.words(urun, verb, shape).unwrap_or_default();
    prepared(work, urun, shape, || work.run(&[&tool[..], &measured(work, &words, 1, 1)].concat()))?;
    let text = fs::read_to_string(file).context("read what was entered")?;
    text.lines().map(|line| u64::from_str_radix(line, 16).map_err(Error::new)).collect()
}

/// What a map of lld says of the code.
struct Map {
    /// By its first address the one after the last, and how a linker script names it.
    sections: BTreeMap<u64, (u64, String)>,
    functions: BTreeSet<u64>,
}

impl Map {
    fn parse(text: &str) -> Self {
        let (mut sections, mut functions) = (BTreeMap::new(), BTreeSet::new());
        let mut is_code = false;
        for line in text.lines().skip(1) {
            // Address, load address, size, alignment in columns; then an output section, indented by 8 an input section, by 16 a symbol.
            let Some((columns, name)) = line.split_at_checked(49) else { continue };
            let numbers: Vec<_> =
                columns.split_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap_or(0)).collect();
            let [start, _, size, _] = numbers[..] else { continue };
            match name.len() - name.trim_start().len() {
                8 => {
                    let section = script_name(name.trim());
                    is_code = section.is_some();
                    sections.extend(section.map(|section| (start, (start + size, section))));
                }
                // A label within a function has no size, and what stands there may be data.
                16 if is_code && size > 0 => _ = functions.insert(start),
                _ => {}
            }
        }
        Self { sections, functions }
    }

    fn section(&self, address: u64) -> Option<&str> {
        let (_, (end, name)) = self.sections.range(..=address).next_back()?;
        (address < *end).then_some(name)
    }
}

/// What a linker script calls an input section of code: without what differs from one compilation to the next.
fn script_name(name: &str) -> Option<String> {
    let (file, section) = name.strip_suffix(')')?.rsplit_once(":(")?;
    if !section.starts_with(".text") {
        return None;
    }
    let file = file.rsplit('/').next().unwrap_or(file);
    // Of the C library, whose sections have few names.
    if let Some((archive, member)) = file.strip_suffix(')').and_then(|file| file.split_once(".a(")) {
        return Some(format!("*{archive}.a:{member}({section})"));
    }
    Some(if section == ".text" { format!("*{file}({section})") } else { format!("*({})", unhashed(section)) })
}

/// Stars in place of the hashes in a mangled name, of either mangling.
fn unhashed(name: &str) -> String {
    let is_hash = |text: &str| text.len() >= 16 && text.as_bytes()[..16].iter().all(u8::is_ascii_hexdigit);
    if let Some((before, _)) = name.rsplit_once("17h").filter(|(_, after)| is_hash(after)) {
        return format!("{before}17h*");
    }
    let (name, suffix) = name.split_once(".llvm.").map_or((name, ""), |(name, _)| (name, ".llvm.*"));
    let mut parts = name.split("Cs");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A crate's name follows its hash, and its length comes first.
        let crate_name = part.split_once('_').filter(|(hash, rest)| {
            hash.bytes().all(|b| b.is_ascii_alphanumeric()) && rest.starts_with(|c: char| c.is_ascii_digit())
        });
        match crate_name {
            Some((_, rest)) => out += &format!("Cs*_{rest}"),
            None => out += &format!("Cs{part}"),
        }
    }
    out + suffix
}
