//! Reads and checks the options one by one, by their rows in the table. A problem with one option
//! does not keep the others from being read.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Number, Value};

use super::describe::{kind_of, shortened};
use super::options::{OPTIONS, OptionKind, OptionRow, is_option, names, row_in};
use super::unknown::unknown_option;

/// The options as given, and what was found wrong with them so far.
///
/// A reader returns `None` for an option that is absent, and also for a bad one after it noted the
/// problem. A `Config` is made only when there is no problem, so the two need not be told apart.
pub(super) struct OptionReader {
    given: Map<String, Value>,
    /// The option at fault, and the whole sentence.
    problems: Vec<(String, String)>,
}

/// Noting problems.
impl OptionReader {
    pub(super) fn new(given: Map<String, Value>) -> Self {
        OptionReader { given, problems: Vec::new() }
    }

    /// Notes a problem with an option.
    pub(super) fn problem(&mut self, option: &str, what: impl fmt::Display) {
        let sentence = format!("{option}: {what}");
        self.problems.push((option.into(), sentence));
    }

    /// Notes a problem in place of a value.
    pub(super) fn refuse<T>(&mut self, option: &str, what: impl fmt::Display) -> Option<T> {
        self.problem(option, what);
        None
    }

    /// Notes every option that has no row.
    pub(super) fn refuse_unknown(&mut self) {
        let names: Vec<String> =
            self.given.keys().filter(|name| !is_option(name)).cloned().collect();
        for name in names {
            let sentence = unknown_option(&name);
            self.problems.push((name, sentence));
        }
    }

    pub(super) fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// All problems in the order of the options as given. Those of options that are not there come
    /// first.
    pub(super) fn sentences(mut self) -> Vec<String> {
        let place = |option: &String| self.given.keys().position(|key| key == option);
        self.problems.sort_by_key(|(option, _)| place(option));
        self.problems.into_iter().map(|(_, sentence)| sentence).collect()
    }
}

/// Reading one option.
impl OptionReader {
    pub(super) fn has(&self, option: &str) -> bool {
        self.given.contains_key(option)
    }

    /// Those of `options` that are given, for a sentence: `host, port`.
    pub(super) fn present(&self, options: &[&str]) -> Option<String> {
        let given: Vec<&str> = options.iter().copied().filter(|o| self.has(o)).collect();
        (!given.is_empty()).then(|| given.join(", "))
    }

    /// An option as it was given, for a reader of its own.
    pub(super) fn value(&self, option: &str) -> Option<&Value> {
        self.given.get(option)
    }

    /// A text, within the length of its row.
    pub(super) fn text(&mut self, option: &str) -> Option<String> {
        let text = match self.given.get(option)? {
            Value::String(text) if text.contains('\0') => {
                return self.refuse(option, "must not contain a NUL byte");
            }
            Value::String(text) => text.clone(),
            other => {
                let given = kind_of(other);
                return self.refuse(option, format_args!("must be a string, not {given}"));
            }
        };
        if let OptionKind::TextOfBytes(range) = &row_in(OPTIONS, option).kind
            && !range.contains(&(text.len() as u64))
        {
            let (least, most, bytes) = (range.start(), range.end(), text.len());
            let right = format!("must be {least} to {most} bytes long");
            return self.refuse(option, format_args!("{right}, not {bytes}"));
        }
        Some(text)
    }

    /// A text, or its default.
    pub(super) fn text_or_default(&mut self, option: &str) -> String {
        let default = row_in(OPTIONS, option).default_text();
        self.text(option).unwrap_or_else(|| default.to_owned())
    }

    /// A whole number within the range of its row.
    pub(super) fn integer<T: TryFrom<u64>>(&mut self, option: &str) -> Option<T> {
        match whole_number(self.given.get(option)?, row_in(OPTIONS, option).range()) {
            Ok(integer) => T::try_from(integer).ok(),
            Err(what) => self.refuse(option, what),
        }
    }

    /// A whole number, or its default.
    pub(super) fn integer_or_default(&mut self, option: &str) -> u64 {
        self.integer(option).unwrap_or_else(|| row_in(OPTIONS, option).default_integer())
    }

    /// A number of milliseconds, or its default.
    pub(super) fn ms_or_default(&mut self, option: &str) -> Duration {
        Duration::from_millis(self.integer_or_default(option))
    }

    /// The default of a number of milliseconds, for an option whose absence means more than that.
    pub(super) fn default_ms(&self, option: &str) -> Duration {
        Duration::from_millis(row_in(OPTIONS, option).default_integer())
    }

    /// `true` or `false`. `hint`: what ends the message about a value that is neither.
    pub(super) fn boolean(&mut self, option: &str, hint: &str) -> Option<bool> {
        match self.given.get(option)? {
            Value::Bool(boolean) => Some(*boolean),
            other => {
                let what = kind_of(other);
                self.refuse(option, format_args!("must be true or false, not {what}{hint}"))
            }
        }
    }
}

/// Reading the members of an option that is an object.
impl OptionReader {
    /// Notes every member that has no row.
    pub(super) fn refuse_unknown_members(
        &mut self,
        option: &str,
        table: &[OptionRow],
        members: &Map<String, Value>,
    ) {
        for name in members.keys().filter(|name| table.iter().all(|row| row.name != **name)) {
            let (name, right) = (shortened(name), names(table, " and "));
            self.problem(option, format_args!("unknown member {name}: it takes {right}"));
        }
    }

    /// A whole number within the range of its row.
    pub(super) fn member_integer(
        &mut self,
        option: &str,
        row: &OptionRow,
        members: &Map<String, Value>,
    ) -> Option<u64> {
        match whole_number(members.get(row.name)?, row.range()) {
            Ok(integer) => Some(integer),
            Err(what) => {
                self.problems.push((option.into(), format!("{option}.{}: {what}", row.name)));
                None
            }
        }
    }
}

/// A whole number in a range, or what the value must be instead.
pub(super) fn whole_number(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let right = format!("an integer from {} to {}", range.start(), range.end());
    match value {
        Value::Number(number) => whole(number)
            .filter(|n| range.contains(n))
            .ok_or_else(|| format!("must be {right}, not {number}")),
        // JSON has no NaN and no Infinity: JavaScript writes null for them.
        Value::Null => Err(format!("must be a finite number, {right}")),
        other => Err(format!("must be {right}, not {}", kind_of(other))),
    }
}

fn whole(number: &Number) -> Option<u64> {
    // 6379.0 is 6379; what is too large for an exact integer is out of every range anyway.
    let integral = |n: &f64| n.fract() == 0.0 && (0.0..=9e15).contains(n);
    let float = || number.as_f64().filter(integral).map(|n| n as u64);
    number.as_u64().or_else(float)
}
