//! Both ends of the pipe between this process and the one that decodes a file.
//!
//! The request is a line of JSON, followed by the bytes of the file. The answer is one line of JSON for each
//! record, and one for the end. An answer without its end is that of a process that died.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::decode::decode;
use super::{Confined, READ_PARQUET, Take, Values};
use crate::confined::{self, Limits, confine, isolate};
use crate::table_file::columns::{Column, Columns, Need};
use crate::table_file::error::{Fault, Problem};
use crate::table_file::{MAX_BYTES, MAX_RECORDS};

/// Largest answer in bytes: the largest texts, of which JSON escapes some bytes, and what it puts around each
/// record.
const MAX_ANSWER: u64 = 4 * MAX_BYTES + 64 * MAX_RECORDS;
/// Longest line of an answer in bytes. A record has a handful of texts, and no text that is longer is used.
const MAX_LINE: u64 = 64 << 20;

/// Line before the bytes of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    wanted: Vec<(Vec<String>, Need)>,
    lone: Option<usize>,
    limits: Limits,
}

/// Line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Values of the next record.
    Record(Values),
    /// The file can't be read any further.
    Fault(Fault),
    /// Every record was read.
    End,
}

impl Confined {
    /// Lets a process of its own decode a file.
    pub(super) fn decode(&self, bytes: &[u8], columns: &Columns<'_>, take: Take<'_>) -> Result<(), Fault> {
        let wanted = columns.wanted.iter().map(|column| {
            let names = column.names.iter().map(|name| (*name).to_owned()).collect();
            (names, column.need)
        });
        let request = Request { wanted: wanted.collect(), lone: columns.lone, limits: self.limits };
        let failed = |error: io::Error| Fault::from(Problem::NoReader(error.to_string()));
        let request = serde_json::to_vec(&request).map_err(|error| failed(error.into()))?;

        let mut process = confined::command(&self.program, READ_PARQUET).spawn().map_err(failed)?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        // The number is this process's until it was waited for.
        let pid = Pid::from_raw(process.id().cast_signed());
        let end = move || {
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
        };
        let limit = self.limits.time;
        let outcome = thread::scope(|scope| {
            // The process reads all of its input before it answers. One that has died reads no more, and is
            // told by its answer.
            scope.spawn(move || {
                let Some(mut input) = input else { return };
                let _ = input.write_all(&request).and_then(|()| input.write_all(b"\n"));
                let _ = input.write_all(bytes);
            });
            let (answered, answer) = mpsc::channel::<()>();
            scope.spawn(move || {
                if answer.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    end();
                }
            });
            let outcome = output.map_or(Ok(false), |output| read_answer(output.take(MAX_ANSWER), take));
            // After a fault, nobody reads what the process still writes, and it reads no more.
            end();
            drop(answered);
            outcome
        });
        let _ = process.wait();
        match outcome? {
            true => Ok(()),
            false => Err(Problem::ParquetLimits.into()),
        }
    }
}

/// Takes the records of an answer. Returns false when the answer has no end.
fn read_answer(output: impl Read, take: Take<'_>) -> Result<bool, Fault> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = output.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.is_err() {
            return Ok(false);
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Record(values)) => take(values)?,
            Ok(Line::Fault(fault)) => return Err(fault),
            Ok(Line::End) => return Ok(true),
            // The process was ended in the middle of a line, or between two.
            Err(_) => return Ok(false),
        }
    }
}

/// Reads a request from standard input, and writes the answer to standard output.
///
/// # Errors
/// When the request is malformed or the answer can't be written.
pub(crate) fn answer() -> io::Result<()> {
    isolate();
    let mut input = BufReader::new(io::stdin().lock());
    let mut request = Vec::new();
    input.by_ref().take(1 << 20).read_until(b'\n', &mut request)?;
    let request: Request = serde_json::from_slice(&request)?;
    let mut bytes = Vec::new();
    input.take(MAX_BYTES).read_to_end(&mut bytes)?;
    confine(bytes.len() as u64, &request.limits)?;

    let names: Vec<(Vec<&str>, Need)> = request
        .wanted
        .iter()
        .map(|(names, need)| (names.iter().map(String::as_str).collect(), *need))
        .collect();
    let wanted: Vec<Column<'_>> = names.iter().map(|(names, need)| Column { names, need: *need }).collect();
    let columns = Columns { wanted: &wanted, lone: request.lone };

    let mut output = BufWriter::new(io::stdout().lock());
    let mut write = |line: &Line| -> io::Result<()> {
        serde_json::to_writer(&mut output, line)?;
        output.write_all(b"\n")
    };
    let last = match decode(bytes, &columns, &mut |values| {
        write(&Line::Record(values)).map_err(|error| Problem::NoReader(error.to_string()).into())
    }) {
        Ok(()) => Line::End,
        Err(fault) => Line::Fault(fault),
    };
    write(&last)?;
    output.flush()
}
