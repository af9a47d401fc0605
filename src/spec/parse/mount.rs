//! `mounts`.

use super::idmap::{check_overlap, check_range, id_maps};
use crate::spec::{
    linux::IdMap,
    mount::{Attrs, Mount, MountIdMap, MountIds, MountKind, Parameter, Propagation},
    node::{Node, quoted},
    option::{Effect, effect},
};
use std::path::PathBuf;

pub(super) fn mounts(node: Node<'_>, has_user_namespace: bool) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (index, item) in node.list().enumerate() {
        let Some(item) = item.required().object() else { continue };
        let words = words(item.get("options"));
        let kind = kind(&item, &words);
        let is_bind = matches!(kind, Some(MountKind::Bind { .. }));
        let mount = Mount {
            index,
            destination: destination(item.get("destination").required()),
            kind: kind.unwrap_or(MountKind::Cgroup),
            attrs: words.attrs,
            recursive_attrs: words.recursive_attrs,
            parameters: parameters(&item, is_bind, words.parameters),
            idmap: idmap(&item, words.idmap, has_user_namespace),
            propagation: words.propagation,
            copy_up: words.copy_up,
            copy_symlink: words.copy_symlink,
            dest_nofollow: words.dest_nofollow,
            source_nofollow: words.source_nofollow,
            remount: words.remount,
        };
        mounts.push(mount);
    }
    mounts
}

/// An absolute path without `.`, `..` and doubled slashes. `..` is taken lexically and stays below the root: what a
/// symbolic link of the image makes of a path is decided where the path is opened, not here.
fn destination(node: Node<'_>) -> PathBuf {
    let Some(text) = node.text() else { return PathBuf::new() };
    match text.chars().next() {
        None => node.error("is empty"),
        Some('/') => {}
        Some(_) => node.warn(format_args!("{} is relative, taken from / (deprecated)", quoted(text))),
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    PathBuf::from(format!("/{}", parts.join("/")))
}

/// What is mounted. Whether it is a bind is decided by the options; `type` counts only without them.
fn kind(node: &Node<'_>, words: &Words) -> Option<MountKind> {
    let fstype = node.get("type").filled();
    let source = node.get("source");
    let bind = words.bind.or((fstype == Some("bind")).then_some(false));
    if let Some(recursive) = bind {
        let Some(path) = source.filled() else {
            source.error("is required by a bind mount");
            return None;
        };
        return Some(MountKind::Bind { source: PathBuf::from(path), recursive });
    }
    match fstype {
        Some("cgroup" | "cgroup2") => Some(MountKind::Cgroup),
        Some(fstype) => Some(MountKind::Filesystem { fstype: fstype.to_owned(), source: source.owned() }),
        // What is mounted already keeps its type.
        None if words.remount => {
            Some(MountKind::Filesystem { fstype: String::new(), source: source.owned() })
        }
        None => {
            node.get("type").error("is required unless bind or rbind is among the options");
            None
        }
    }
}

/// Options sorted by meaning.
#[derive(Default)]
struct Words {
    attrs: Attrs,
    recursive_attrs: Attrs,
    propagation: Vec<Propagation>,
    parameters: Vec<(usize, Parameter)>,
    /// Recursive or not.
    bind: Option<bool>,
    idmap: Option<Idmap>,
    copy_up: bool,
    copy_symlink: bool,
    dest_nofollow: bool,
    source_nofollow: bool,
    remount: bool,
}

/// What the options say about an id-mapped mount.
#[derive(Clone, Default)]
struct Idmap {
    recursive: bool,
    /// The ids of crun's `idmap=…`.
    ids: Option<(Vec<IdMap>, Vec<IdMap>)>,
}

fn words(node: Node<'_>) -> Words {
    let mut words = Words::default();
    for (index, item) in node.list().enumerate() {
        let Some(word) = item.required().text() else { continue };
        match effect(word) {
            Some(effect) => words.apply(index, word, effect),
            None => words.apply_unknown(index, word, &item),
        }
    }
    words
}

impl Words {
    /// A later option wins over an earlier one that says the opposite.
    fn apply(&mut self, index: usize, word: &str, effect: Effect) {
        match effect {
            Effect::Attr { set, clear, recursive: false } => merge(&mut self.attrs, set, clear),
            Effect::Attr { set, clear, recursive: true } => {
                merge(&mut self.recursive_attrs, set, clear);
                // The recursive form covers the top as well; what was said of the top before no longer counts.
                self.attrs.set &= !(set | clear);
                self.attrs.clear &= !(set | clear);
            }
            Effect::Propagation { kind, recursive } => self.propagation.push(Propagation { kind, recursive }),
            Effect::Bind { recursive } => self.bind = Some(recursive || self.bind == Some(true)),
            Effect::Superblock => self.parameters.push((index, Parameter::Flag(word.to_owned()))),
            Effect::Idmap { recursive } => self.idmap.get_or_insert_default().recursive |= recursive,
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::DestNofollow => self.dest_nofollow = true,
            Effect::SourceNofollow => self.source_nofollow = true,
            Effect::Nothing => {}
        }
    }

    fn apply_unknown(&mut self, index: usize, word: &str, node: &Node<'_>) {
        let lines = word.strip_prefix("idmap=").map(|lines| (lines, false));
        let lines = lines.or_else(|| word.strip_prefix("ridmap=").map(|lines| (lines, true)));
        if let Some((lines, recursive)) = lines {
            match idmap_text(lines) {
                Ok(ids) => {
                    check_overlap(node, &ids.0);
                    check_overlap(node, &ids.1);
                    let idmap = self.idmap.get_or_insert_default();
                    idmap.recursive |= recursive;
                    idmap.ids = Some(ids);
                }
                Err(error) => node.error(error),
            }
            return;
        }
        self.parameters.extend(pieces(word).into_iter().map(|piece| (index, parameter(piece))));
    }
}

fn merge(attrs: &mut Attrs, set: u64, clear: u64) {
    attrs.set = attrs.set & !clear | set;
    attrs.clear = attrs.clear & !set | clear;
}

fn parameter(word: &str) -> Parameter {
    match word.split_once('=') {
        Some((key, value)) => Parameter::Text(key.to_owned(), value.to_owned()),
        None => Parameter::Flag(word.to_owned()),
    }
}

/// A word for the file system may hold several, as the data string of mount(2) does: split at commas, but not at
/// those that overlayfs has escaped nor within the quotes of a security label.
fn pieces(word: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut in_quotes, mut previous) = (0, false, b' ');
    for (at, byte) in word.bytes().enumerate() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b',' if !in_quotes && previous != b'\\' => {
                pieces.push(&word[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        previous = byte;
    }
    pieces.push(&word[start..]);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Words for a file system that a bind has no use for are dropped: engines pass on what they were given.
fn parameters(node: &Node<'_>, is_bind: bool, words: Vec<(usize, Parameter)>) -> Vec<Parameter> {
    if is_bind {
        let options = node.get("options");
        for (index, word) in words {
            let (Parameter::Flag(word) | Parameter::Text(word, _)) = word;
            options.at(index).warn(format_args!("{} has no effect on a bind mount", quoted(&word)));
        }
        return Vec::new();
    }
    words.into_iter().map(|(_, word)| word).collect()
}

/// Mappings alone ask for an id-mapped mount of the top; the option alone for the container's own mapping.
fn idmap(node: &Node<'_>, option: Option<Idmap>, has_user_namespace: bool) -> Option<MountIdMap> {
    let (uids, gids) = id_maps(node);
    let Idmap { recursive, ids } = option.clone().unwrap_or_default();
    let ids = match ids {
        _ if !uids.is_empty() => MountIds::Own { uids, gids },
        Some((uids, gids)) => MountIds::Own { uids, gids },
        None => {
            option?;
            if !has_user_namespace {
                node.get("options")
                    .error("idmap without uidMappings needs a user namespace among linux.namespaces");
            }
            MountIds::Container
        }
    };
    Some(MountIdMap { ids, recursive })
}

/// crun's form of the ids: `uids=C-H-N#C-H-N;gids=C-H-N`, C the id on disk, H the id it appears as, N how many.
fn idmap_text(text: &str) -> Result<(Vec<IdMap>, Vec<IdMap>), String> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';') {
        let (list, lines) = match part.split_once('=') {
            Some(("uids", lines)) => (&mut uids, lines),
            Some(("gids", lines)) => (&mut gids, lines),
            _ => return Err(format!("expected uids=… or gids=…, found {}", quoted(part))),
        };
        for line in lines.split('#') {
            list.push(idmap_line(line)?);
        }
    }
    if uids.is_empty() || gids.is_empty() {
        return Err("idmap needs both uids and gids".to_owned());
    }
    Ok((uids, gids))
}

fn idmap_line(line: &str) -> Result<IdMap, String> {
    if line.starts_with('@') {
        return Err(format!("{}: ids relative to the container's are not supported", quoted(line)));
    }
    let mut numbers = line.split('-').map(|number| number.parse::<u32>().ok());
    let (Some(Some(container)), Some(Some(host)), Some(Some(size @ 1..)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(format!("expected CONTAINER-HOST-SIZE, found {}", quoted(line)));
    };
    let line = IdMap { container, host, size };
    let problem = std::cell::RefCell::new(String::new());
    if check_range(line, |text| *problem.borrow_mut() = text.to_string()) {
        Ok(line)
    } else {
        Err(problem.into_inner())
    }
}
