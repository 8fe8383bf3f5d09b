//! Completions on their way to JavaScript: everything that has completed, as one flat array.
//!
//! Threads: on the JavaScript thread, in the callback that its waker calls.

use napi::bindgen_prelude::{Array, Env, Null, ToNapiValue};
use napi::{JsString, Result};
use napi_derive::napi;
use session_store::{Code, CredentialsRequest, Error, ReadNumber, ReadWindow, Reply};

use crate::completions::{Completion, NOT_A_CALL, Outcome, ReadsPart};
use crate::handles::{ModuleInstance, instance_of};
use crate::text::to_js_string;

/// For a value that V8 has no string for.
const TOO_LONG: &str = "the answer is too long for a JavaScript string (about 512 MiB)";

/// Returns everything that has completed, flat, three items each: number, status, value.
///
/// - A call: its number, undefined, its answer (string, number or null). A `Set` answers the user's
///   id when a session was created or its user half changed, 0 when it was ignored, else null.
/// - A failed call, or failed reads: their number, the code of the error, its message.
/// - All reads of a tick: their number, undefined, one string (src/packed.rs).
/// - Some reads of a tick: their number, false while more parts follow, an array. The array holds
///   how many values a string holds, then the string (null: it is too long by itself), and so on.
/// - An event: 0, the store's handle, the event as JSON.
/// - A request for credentials: 0, the store's handle, the number of the request.
/// - The end of such requests: 0, the store's handle, null.
#[napi(catch_unwind)]
pub fn drain(env: &Env, instance: u32) -> Result<Array<'_>> {
    let instance = instance_of(instance)?;
    let completions = instance.completions.drain();
    update_read_window(&instance, &completions);
    let settled = completions.iter().filter(|completion| settles(completion)).count();
    let mut flat = env.create_array(completions.len() as u32 * 3)?;
    for (row, (number, outcome)) in completions.into_iter().enumerate() {
        let mut row = Row { flat: &mut flat, start: row as u32 * 3 };
        row.set_number(number)?;
        match outcome {
            Outcome::Call(Ok(reply)) => write_reply(env, &mut row, reply)?,
            Outcome::Reads(Ok(part)) => write_reads(env, &mut row, part)?,
            Outcome::Call(Err(error)) | Outcome::Reads(Err(error)) => row.set_error(&error)?,
            Outcome::Event { handle, event } => {
                row.set_status(handle)?;
                row.set_value(serde_json::to_string(&event).unwrap_or_default())?;
            }
            Outcome::CredentialsWanted { handle, request } => {
                row.set_status(handle)?;
                row.set_value(number_request(&instance, request))?;
            }
            Outcome::CredentialsReleased { handle } => {
                row.set_status(handle)?;
                row.set_value(Null)?;
            }
        }
    }
    instance.remove_pending(*env, settled)?;
    Ok(flat)
}

/// The three items of one completion.
struct Row<'a, 'env> {
    flat: &'a mut Array<'env>,
    start: u32,
}

impl Row<'_, '_> {
    fn set_number(&mut self, number: u32) -> Result<()> {
        self.flat.set(self.start, number)
    }

    fn set_status(&mut self, status: impl ToNapiValue) -> Result<()> {
        self.flat.set(self.start + 1, status)
    }

    fn set_value(&mut self, value: impl ToNapiValue) -> Result<()> {
        self.flat.set(self.start + 2, value)
    }

    fn set_error(&mut self, error: &Error) -> Result<()> {
        self.set_status(error.code.as_str())?;
        self.set_value(error.to_string())
    }
}

/// Remembers the reads of this wake-up: the bases of JavaScript's writes before the next one.
fn update_read_window(instance: &ModuleInstance, completions: &[Completion]) {
    let reads = completions.iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Reads(Ok(ReadsPart { read_number, .. })) => Some(*read_number),
        _ => None,
    });
    let last = instance.read_window.get();
    let up_to = reads.fold(last.up_to, ReadNumber::max);
    instance.read_window.set(ReadWindow { after: last.up_to, up_to });
}

/// Whether JavaScript waits for nothing more under this number.
fn settles((number, outcome): &Completion) -> bool {
    let has_more = matches!(outcome, Outcome::Reads(Ok(ReadsPart { taken: Some(_), .. })));
    *number != NOT_A_CALL && !has_more
}

fn write_reply(env: &Env, row: &mut Row<'_, '_>, reply: Reply) -> Result<()> {
    match reply {
        Reply::Nothing => row.set_value(Null),
        Reply::Ignored => row.set_value(0),
        Reply::UserWritten(user) => row.set_value(user),
        Reply::Count(count) => row.set_value(count),
        Reply::Text(text) => match to_js_string(env, text.as_str()) {
            Ok(text) => row.set_value(text),
            Err(_) => {
                row.set_status(Code::Limit.as_str())?;
                row.set_value(TOO_LONG)
            }
        },
    }
}

fn write_reads(env: &Env, row: &mut Row<'_, '_>, part: ReadsPart) -> Result<()> {
    let ReadsPart { packed, is_whole, taken, .. } = part;
    if let Some(taken) = taken {
        row.set_status(false)?;
        // The reader may have given up.
        let _ = taken.send(());
    }
    let mut strings: Vec<(usize, Option<JsString<'_>>)> =
        packed.into_iter().map(|(count, packed)| (count, packed.into_js(env).ok())).collect();
    if let [(_, Some(_))] = &strings[..]
        && is_whole
    {
        return row.set_value(strings.remove(0).1);
    }
    let mut counted = env.create_array(strings.len() as u32 * 2)?;
    for (i, (count, string)) in strings.into_iter().enumerate() {
        counted.set(i as u32 * 2, count as u32)?;
        match string {
            Some(string) => counted.set(i as u32 * 2 + 1, string)?,
            None => counted.set(i as u32 * 2 + 1, Null)?,
        }
    }
    row.set_value(counted)
}

/// Keeps a request for credentials until JavaScript answers it by the number that is returned.
fn number_request(instance: &ModuleInstance, request: CredentialsRequest) -> u32 {
    let number = instance.last_request.get().wrapping_add(1);
    instance.last_request.set(number);
    instance.credentials_requests.borrow_mut().insert(number, request);
    number
}
