//! An overlay with mappings: its layers as sources.

use super::{Planner, clean};
use crate::{
    error::{Error, Result},
    mount::op::{Overlay, Parameter, SourceId, SourceKind, Upper},
    spec::Mount,
};
use std::path::{Component, Path, PathBuf};

impl Planner<'_> {
    /// The layers of an overlay whose ids are to be mapped (Podman's and CRI-O's image volumes).
    pub(super) fn overlay(&mut self, mount: &Mount, source: Option<&str>) -> Result<SourceId> {
        let mut overlay = Overlay { lower: Vec::new(), upper: None, parameters: Vec::new() };
        let (mut upper, mut work) = (None, None);
        for parameter in self.parameters_of(mount, "overlay", source)? {
            match parameter {
                Parameter::Text(key, value) if key == "lowerdir" => overlay.lower.extend(layers(&value)?),
                Parameter::Text(key, value) if key == "lowerdir+" => overlay.lower.push(value.into()),
                Parameter::Text(key, value) if key == "upperdir" => upper = Some(plain(&value)),
                Parameter::Text(key, value) if key == "workdir" => work = Some(plain(&value)),
                Parameter::Text(key, _) if key == "datadir+" => return Err(data_only()),
                other => overlay.parameters.push(other),
            }
        }
        for path in overlay.lower.iter().chain(&upper).chain(&work) {
            if path.is_relative() {
                return Err(Error::new(format_args!("options: layer {} is not absolute", path.display())));
            }
        }
        if overlay.lower.is_empty() {
            return Err(Error::new("options: an overlay with mappings needs lowerdir"));
        }
        overlay.upper = match (upper, work) {
            (None, None) => None,
            (Some(upper), Some(work)) => Some(writable(&upper, &work)?),
            _ => return Err(Error::new("options: upperdir and workdir go together")),
        };
        // What errors call it.
        let path = PathBuf::from("overlay");
        self.source(mount, path, SourceKind::Overlay(overlay))
    }
}

/// A list of lower layers, its escapes undone: `\:` is a colon within a name.
pub(in crate::mount) fn layers(list: &str) -> Result<Vec<PathBuf>> {
    let mut layers = vec![String::new()];
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        match (c, layers.last_mut()) {
            ('\\', Some(layer)) => layer.extend(chars.next()),
            (':', Some(layer)) if layer.is_empty() => return Err(data_only()),
            (':', _) => layers.push(String::new()),
            (_, Some(layer)) => layer.push(c),
            (_, None) => {}
        }
    }
    if layers.iter().any(String::is_empty) {
        return Err(Error::new("options: lowerdir names an empty layer"));
    }
    Ok(layers.into_iter().map(PathBuf::from).collect())
}

fn data_only() -> Error {
    Error::new("options: data-only layers (:: or datadir+) of an overlay with mappings are not supported")
        .hint("leave the mappings out, or mount the overlay outside and bind it")
}

/// A path whose escapes are undone.
fn plain(value: &str) -> PathBuf {
    let mut chars = value.chars();
    let next = || match chars.next()? {
        '\\' => chars.next(),
        c => Some(c),
    };
    PathBuf::from(std::iter::from_fn(next).collect::<String>())
}

/// Both directories below the deepest one that holds both.
fn writable(upper: &Path, work: &Path) -> Result<Upper> {
    let (upper, work) = (clean(upper), clean(work));
    let parent: PathBuf = upper
        .components()
        .zip(work.components())
        .take_while(|(left, right)| left == right)
        .map(|(component, _): (Component<'_>, _)| component)
        .collect();
    let below = |path: &Path| path.strip_prefix(&parent).unwrap_or(path).to_owned();
    let (upper, work) = (below(&upper), below(&work));
    if upper.as_os_str().is_empty() || work.as_os_str().is_empty() {
        return Err(Error::new("options: upperdir and workdir: one lies in the other"));
    }
    Ok(Upper { parent, upper, work })
}
