//! The real command line.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde::de::DeserializeOwned;

use crate::program;

/// Runs `bellwether` in a folder of its own against a server's data folder.
#[derive(Clone, Debug)]
pub struct Cli {
    folder: PathBuf,
    data: PathBuf,
}

impl Cli {
    /// Works in `folder`; finds the server by its data folder.
    pub fn new(folder: &Path, data: &Path) -> Self {
        Self { folder: folder.to_owned(), data: data.to_owned() }
    }

    /// Runs a command line; words are parted by spaces.
    ///
    /// # Panics
    ///
    /// Where it can't be run.
    pub fn run(&self, words: &str) -> Output {
        let mut command = program::command("bellwether");
        command.arg("--data").arg(&self.data).arg("--json").args(words.split_whitespace());
        command.current_dir(&self.folder).output().expect("the command runs")
    }

    /// Runs a command that must be done, and gives what it printed.
    ///
    /// # Panics
    ///
    /// Where it was not done.
    pub fn done(&self, words: &str) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bellwether {words}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must be done, and reads the JSON that it printed.
    ///
    /// # Panics
    ///
    /// Where it was not done, or printed something else.
    pub fn json<T: DeserializeOwned>(&self, words: &str) -> T {
        serde_json::from_str(&self.done(words)).expect("the JSON of the command")
    }

    /// Runs a command that must be refused, and gives what it said.
    ///
    /// # Panics
    ///
    /// Where it was done.
    pub fn refused(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "bellwether {words} was done");
        String::from_utf8(output.stderr).expect("text")
    }
}
