//! Removing a lab completely, however it came to be there: also one whose creator crashed half way.
//!
//! Nothing is remembered for this; everything is found anew by the lab's name: processes through their control groups,
//! network namespaces by their prefix, mounts below its folder.

use std::fs;
use std::path::Path;

use crate::cgroup::Cgroups;
use crate::command::run;
use crate::error::{AtPath, LabError, Result};
use crate::layout::{Layout, REGISTRY};
use crate::network;

/// Removes what there is of the lab `name`: where it is registered, and at `expected` as well.
pub(crate) async fn remove(name: &str, expected: Option<&Layout>) -> Result<()> {
    // Processes first: they hold everything else.
    Cgroups::of_lab(name)?.destroy().await?;
    let registered = fs::read_link(Path::new(REGISTRY).join(name)).ok().map(|dir| Layout::new(name, Some(dir)));
    let layout = registered.as_ref().or(expected).cloned().unwrap_or_else(|| Layout::new(name, None));
    network::remove(&layout).await?;
    for layout in [Some(&layout), expected].into_iter().flatten() {
        remove_folder(layout).await?;
    }
    match fs::remove_file(layout.registration()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("removing", layout.registration()),
        _ => Ok(()),
    }
}

async fn remove_folder(layout: &Layout) -> Result<()> {
    if !layout.dir.exists() {
        return Ok(());
    }
    let contents: Vec<_> = fs::read_dir(&layout.dir).at("reading", &layout.dir)?.flatten().collect();
    let ours = |name: &str| contents.iter().any(|entry| entry.file_name() == name);
    // A folder given by hand may be anything: only one that carries a lab's mark is emptied.
    if !contents.is_empty() && !ours("lab.json") && !ours("hosts") {
        let problem = format!("{} is not empty and no lab: name another folder, or empty it", layout.dir.display());
        return Err(LabError::Spec { name: layout.name.clone(), problem });
    }
    for mount in mounts_below(&layout.dir)? {
        run(&["umount", "--lazy", &mount]).await?;
    }
    fs::remove_dir_all(&layout.dir).at("removing", &layout.dir)
}

/// Mount points below `folder`, innermost first.
fn mounts_below(folder: &Path) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mounts").at("reading", "/proc/self/mounts")?;
    let points =
        table.lines().filter_map(|line| line.split(' ').nth(1)).filter(|point| Path::new(point).starts_with(folder));
    let mut points: Vec<_> = points.map(str::to_owned).collect();
    points.reverse();
    Ok(points)
}
