//! What a live drill broke and has to take back, kept in a file for as long as it is broken: a drill that is killed can do nothing
//! any more, and the next `status` or `drill` must say so.
//!
//! ```text
//!   ~/.local/state/mainstay/drills/PID.json: written before the blow, removed when it was taken back
//! ```

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::{fmt, fs, path::PathBuf};

/// Something that stays broken until it is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// The network cables of a VM are pulled.
    Cable {
        /// Which VM.
        vm: String,
    },
    /// The process of a lab's VM is stopped.
    Frozen {
        /// Which VM.
        vm: String,
        /// In which lab.
        lab: String,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Cable { vm } => write!(f, "the network cable of {vm} is pulled"),
            Broken::Frozen { vm, lab } => write!(f, "{vm} stands still in the lab {lab}"),
        }
    }
}

/// The file about it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// What is broken.
    pub broken: Broken,
    /// At which controller.
    endpoint: String,
    /// Who broke it: its process, and when that began, since numbers of processes come again.
    process: u32,
    began: Option<u64>,
    #[serde(skip)]
    file: PathBuf,
}

impl Note {
    /// Writes that this process is about to break something.
    ///
    /// # Errors
    /// If it can't be written: then nothing should be broken.
    pub fn write(broken: Broken, endpoint: String) -> Result<Note, Failure> {
        let process = std::process::id();
        let folder = folder();
        let file = folder.join(format!("{process}.json"));
        let note = Note { broken, endpoint, process, began: began(process), file };
        let text = serde_json::to_vec(&note).map_err(|error| Failure::other("the note of the drill", error))?;
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&note.file, text));
        let what = "nothing was broken, since a drill that is killed could not be taken back: can't write";
        written.map_err(|source| Failure::File { what, path: note.file.clone(), source })?;
        Ok(note)
    }

    /// It was taken back.
    pub fn remove(&self) {
        // One that is gone already says the same.
        let _ = fs::remove_file(&self.file);
    }

    /// What drills against this controller left broken that were ended by force.
    pub fn leftovers(endpoint: &str) -> Vec<Note> {
        let Ok(entries) = fs::read_dir(folder()) else { return Vec::new() };
        let read = |path: PathBuf| {
            let note: Note = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some(Note { file: path, ..note })
        };
        let notes = entries.flatten().filter_map(|entry| read(entry.path()));
        notes.filter(|note| note.endpoint == endpoint && !note.is_under_way()).collect()
    }

    fn is_under_way(&self) -> bool {
        let now = began(self.process);
        now.is_some() && now == self.began
    }
}

/// Where notes are kept: of this user, and over a restart of the machine.
fn folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from("/var/tmp")).join("mainstay/drills")
}

/// When a process began, in ticks since the machine's boot; `None`: there is no such process.
fn began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}
