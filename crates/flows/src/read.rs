//! Reading the log while it is written, and while its oldest files go.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::log::parts;
use crate::record::Line;

/// How far somebody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The file's number.
    number: u64,
    /// The byte in it.
    offset: u64,
}

/// A reader of a log.
#[derive(Debug)]
pub struct Lines {
    directory: PathBuf,
    at: Position,
    /// Lines that were none.
    broken: u64,
}

impl Lines {
    /// Reads from the oldest line on.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), at: Position::default(), broken: 0 }
    }

    /// Goes on behind the last line that is there now.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn skip(&mut self) -> io::Result<()> {
        if let Some((number, path)) = parts(&self.directory)?.into_iter().next_back() {
            self.at = Position { number, offset: path.metadata()?.len() };
        }
        Ok(())
    }

    /// Shows every line that has been written since.
    ///
    /// # Errors
    /// When the directory or a file cannot be read.
    pub fn read(&mut self, mut see: impl FnMut(Line)) -> io::Result<()> {
        let mut text = String::new();
        for (number, path) in parts(&self.directory)? {
            if number < self.at.number {
                continue;
            }
            if number > self.at.number {
                self.at = Position { number, offset: 0 };
            }
            let mut file = match File::open(&path) {
                // It was the oldest, and has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            file.seek(SeekFrom::Start(self.at.offset))?;
            let mut file = BufReader::with_capacity(1 << 16, file);
            loop {
                text.clear();
                let mut bytes = Vec::new();
                let read = file.read_until(b'\n', &mut bytes)?;
                if bytes.last() != Some(&b'\n') {
                    // Being written, or cut off by a crash: who writes on, cuts it off.
                    break;
                }
                self.at.offset += read as u64;
                text.push_str(&String::from_utf8_lossy(&bytes));
                match Line::parse(text.trim_end()) {
                    Some(line) => see(line),
                    None => self.broken += 1,
                }
            }
        }
        Ok(())
    }

    /// How many lines could not be read.
    pub fn broken(&self) -> u64 {
        self.broken
    }
}
