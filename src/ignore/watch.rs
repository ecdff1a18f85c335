//! Word of changes to files that may be replaced, by a rename or through a link, and may not be there yet, nor their
//! directories: every name that is looked up on the way to them is watched in its directory (inotify(7)).

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};

/// More names are not looked up on the way to a file: the kernel follows 40 links (`path_resolution(7)`).
const MAX_STEPS: usize = 256;

/// Events that are read at once fit in here: some sixty.
const BUFFER: usize = 4096;

/// Sees changes, up to the first: then the way to a file may be another, and a new watch is due.
pub(super) struct Watch {
    events: EventStream<Vec<u8>>,
    awaited: HashSet<(WatchDescriptor, OsString)>,
    faults: Vec<String>,
}

impl Watch {
    /// Watches these files from now on.
    pub(super) fn new(files: impl Iterator<Item = PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::ONLYDIR;
        let (mut awaited, mut faults) = (HashSet::new(), BTreeSet::new());
        for file in files {
            for (directory, name) in steps(&file) {
                match inotify.watches().add(&directory, mask) {
                    Ok(watch) => drop(awaited.insert((watch, name))),
                    // The coming of a directory is seen in the one above it. And that a file can't be got at, who reads
                    // it tells.
                    Err(error) if is_of_the_way(&error) && !file.exists() => {}
                    Err(error) => drop(faults.insert(format!(
                        "cannot watch {} ({error}); after a change of a file in it: systemctl reload banjour",
                        directory.display()
                    ))),
                }
            }
        }
        Ok(Self {
            events: inotify.into_event_stream(vec![0; BUFFER])?,
            awaited,
            faults: faults.into_iter().collect(),
        })
    }

    /// What it can't see.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Waits until something has changed.
    pub(super) async fn seen(&mut self) {
        while let Some(Ok(event)) = self.events.next().await {
            // Without a name, it tells of a directory itself, or that others were lost.
            let Some(name) = event.name else { return };
            if self.awaited.contains(&(event.wd, name)) {
                return;
            }
        }
    }
}

fn is_of_the_way(error: &io::Error) -> bool {
    use ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Every name on the way to a file, with the directory that it is looked up in.
fn steps(file: &Path) -> Vec<(PathBuf, OsString)> {
    let parts = |path: &Path| {
        let parts = path.components().rev().map(|part| part.as_os_str().into());
        parts.collect::<Vec<OsString>>()
    };
    let mut steps = Vec::new();
    let mut at = PathBuf::from("/");
    let mut ahead = parts(file);
    while let Some(part) = ahead.pop()
        && steps.len() < MAX_STEPS
    {
        if part == ".." {
            at.pop();
            continue;
        }
        // The root, at the beginning of an absolute path, takes the place of what is before it.
        let next = at.join(&part);
        if part != "/" {
            steps.push((at.clone(), part));
        }
        match fs::read_link(&next) {
            Ok(target) => ahead.extend(parts(&target)),
            Err(_) => at = next,
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    /// Whether a change to `file` by `change` is seen, in time or, where it is not to be, by now.
    fn sees(file: &Path, wanted: bool, change: impl FnOnce()) -> bool {
        let runtime = runtime();
        let _guard = runtime.enter();
        let mut watch = Watch::new(std::iter::once(file.to_owned())).unwrap();
        assert_eq!(watch.faults(), [""; 0]);
        change();
        let time = Duration::from_millis(if wanted { 10_000 } else { 50 });
        runtime.block_on(async { timeout(time, watch.seen()).await.is_ok() })
    }

    #[test]
    fn every_way_to_change_a_file_is_seen_and_its_neighbours_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let file = path("a/b/list");
        assert!(sees(&file, true, || fs::create_dir(path("a")).unwrap()));
        assert!(sees(&file, true, || fs::create_dir(path("a/b")).unwrap()));
        assert!(sees(&file, true, || fs::write(&file, "1").unwrap()));
        assert!(sees(&file, true, || fs::write(&file, "2").unwrap()));
        assert!(!sees(&file, false, || fs::write(path("a/b/other"), "3").unwrap()));
        assert!(!sees(&file, false, || drop(fs::read(&file).unwrap())));
        assert!(sees(&file, true, || fs::rename(path("a/b/other"), &file)
            .unwrap()));
        assert!(sees(&file, true, || fs::remove_file(&file).unwrap()));
        assert!(sees(&file, true, || fs::rename(path("a"), path("c")).unwrap()));
    }

    #[test]
    fn links_are_followed_and_may_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("list"), name).unwrap();
        }
        symlink("one", path("current")).unwrap();
        symlink("../two/../current/list", path("two/link")).unwrap();
        let file = path("two/link");
        assert!(sees(&file, true, || fs::write(path("one/list"), "x").unwrap()));
        assert!(sees(&file, true, || {
            symlink("two", path("next")).unwrap();
            fs::rename(path("next"), path("current")).unwrap();
        }));
        assert!(!sees(&file, false, || fs::write(path("one/list"), "y").unwrap()));
        symlink("loop", path("loop")).unwrap();
        assert_eq!(steps(&path("loop")).len(), MAX_STEPS);
    }

    /// The agent waits for many things at once, and drops what it waited for when another is there first.
    #[test]
    fn what_happened_while_nobody_waited_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        let runtime = runtime();
        let _guard = runtime.enter();
        let mut watch = Watch::new(std::iter::once(file.clone())).unwrap();
        runtime.block_on(async {
            let moment = Duration::from_millis(1);
            timeout(moment, watch.seen()).await.unwrap_err();
            fs::write(directory.path().join("other"), "x").unwrap();
            fs::write(&file, "x").unwrap();
            watch.seen().await;
        });
    }
}
