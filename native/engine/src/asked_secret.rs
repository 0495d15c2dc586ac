//! A secret that a person or a file supplies: a passphrase or an age identity. It never passes through JavaScript.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::PathBuf;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::{Code, Failure};
use crate::key_source::{Owner, open_private, unreadable};

/// Longest secret that is read.
const MAX_SECRET: usize = 4096;

/// Where a secret is read from.
pub enum AskedSecret {
    /// A file under the same rules as a key file.
    File(PathBuf),
    /// An open file descriptor of this process, such as a pipe from a password manager.
    Descriptor(u32),
    /// The terminal, without echo; the text is what is asked.
    Terminal(String),
}

impl AskedSecret {
    /// Reads it. One trailing line break is dropped.
    ///
    /// # Errors
    /// `file-missing`, `file-mode`; `vault-locked` where nothing, too much, or an interruption came.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut bytes = match self {
            Self::File(path) => up_to_limit(open_private(path, Owner::ThisUser)?, path)?,
            Self::Descriptor(number) => {
                let path = PathBuf::from(format!("/proc/self/fd/{number}"));
                let file = std::fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
                up_to_limit(file, &path)?
            }
            Self::Terminal(question) => ask(question)?,
        };
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.is_empty() || bytes.len() > MAX_SECRET {
            return Err(Failure::new(
                Code::VaultLocked,
                format!("the passphrase or identity must have 1 to {MAX_SECRET} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// Reads it, and where a person types it, a second time.
    ///
    /// # Errors
    /// Those of [`Self::read`]; `vault-locked` when the two differ.
    pub fn read_new(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let first = self.read()?;
        if matches!(self, Self::Terminal(_)) {
            let again = Self::Terminal("The same again: ".into()).read()?;
            if *again != *first {
                return Err(Failure::new(
                    Code::VaultLocked,
                    "the two passphrases differ: nothing was made, try again",
                ));
            }
        }
        Ok(first)
    }
}

fn up_to_limit(file: std::fs::File, path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for all of it at once: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    file.take(MAX_SECRET as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

/// Asks on the terminal with echo and signals off: an interruption must find the terminal as it was.
fn ask(question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |_| {
        Failure::new(
            Code::VaultLocked,
            "there is no terminal to ask on: name a file that holds the passphrase or identity, mode 0600",
        )
    };
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(failed)?;
    let before = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    silent.special_codes[SpecialCodeIndex::VMIN] = 1;
    silent.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
    let typed = terminal
        .write_all(question.as_bytes())
        .map_err(failed)
        .and_then(|()| line(&mut terminal));
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let ended = terminal.write_all(b"\n");
    let typed = typed?;
    restored.map_err(|error| failed(error.into()))?;
    ended.map_err(failed)?;
    Ok(typed)
}

/// One line, with the keys that a person expects to work: backspace, ^U, ^C and ^D.
fn line(input: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        let read = input.read(&mut *byte);
        match (read, byte[0]) {
            (Ok(1), b'\n' | b'\r') => return Ok(typed),
            (Ok(1), 0x08 | 0x7f) => while typed.pop().is_some_and(|last| last & 0xc0 == 0x80) {},
            (Ok(1), 0x15) => typed.clear(),
            (Ok(1), other) if !matches!(other, 0x03 | 0x04) && typed.len() <= MAX_SECRET => typed.push(other),
            _ => {
                return Err(Failure::new(Code::VaultLocked, "interrupted: nothing was done"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_can_be_mended_and_interrupted() {
        let typed = |keys: &[u8]| line(&mut &keys[..]).map(|line| line.to_vec());
        assert_eq!(typed(b"horse\r").unwrap(), b"horse");
        assert_eq!(typed("ho\u{e4}\x7f\x7fx\n".as_bytes()).unwrap(), b"hx");
        assert_eq!(typed(b"wrong\x15right\n").unwrap(), b"right");
        for interrupted in [&b"ab\x03"[..], b"ab\x04", b"ab", &[b'a'; MAX_SECRET + 2]] {
            assert_eq!(typed(interrupted).unwrap_err().code, Code::VaultLocked);
        }
    }
}
