//! Reading TOML key by key: every value knows its place, every problem is kept, and what nobody asked for is an unknown
//! key.

use super::error::{Caution, Fault, Place, Problem, Warning};
use super::surroundings::Surroundings;
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that is being read, and what has been found wrong with it.
pub(super) struct Context<'a> {
    file: &'a str,
    text: &'a str,
    base_dir: &'a Path,
    pub(super) surroundings: &'a dyn Surroundings,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(file: &'a str, text: &'a str, base_dir: &'a Path, surroundings: &'a dyn Surroundings) -> Self {
        let (problems, warnings) = Default::default();
        Self { file, text, base_dir, surroundings, problems, warnings }
    }

    /// The spanned document; `None` (and a problem) if it is no TOML.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'a>>> {
        DeTable::parse(self.text)
            .map_err(|error| self.problem(error.span().unwrap_or(0..0), "", Fault::Syntax(one_line(error.message()))))
            .ok()
    }

    /// Where a span begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub(super) fn problem(&self, span: Range<usize>, key: &str, fault: Fault) {
        self.problems.borrow_mut().push(Problem { place: self.place(&span), key: key.to_owned(), fault });
    }

    /// Takes over what was found in a file that this one names.
    pub(super) fn adopt(&self, problems: Vec<Problem>) {
        self.problems.borrow_mut().extend(problems);
    }

    pub(super) fn warn(&self, span: Range<usize>, key: &str, caution: Caution) {
        self.warnings.borrow_mut().push(Warning { place: self.place(&span), key: key.to_owned(), caution });
    }

    /// A path as written, seen from the folder of the file.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.base_dir.join(written)
    }

    /// Everything found, in the order of the file; what was found in other files comes last.
    pub(super) fn into_findings(self) -> (Vec<Problem>, Vec<Warning>) {
        let (mut problems, mut warnings) = (self.problems.into_inner(), self.warnings.into_inner());
        problems.sort_by_key(|problem| (problem.place.file != self.file, problem.place.clone()));
        warnings.sort_by_key(|warning| (warning.place.file != self.file, warning.place.clone()));
        (problems, warnings)
    }
}

/// A TOML parser's message may have several lines.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

/// One table, read key by key and closed by [`Section::finish`].
pub(super) struct Section<'a, 't> {
    pub(super) context: &'a Context<'a>,
    table: &'a DeTable<'t>,
    span: Range<usize>,
    /// The keys that lead here, `bots.reception`; empty at the top.
    path: String,
    asked: RefCell<Vec<&'static str>>,
    /// Keys that were reported already.
    refused: RefCell<Vec<&'static str>>,
}

impl<'a, 't> Section<'a, 't> {
    /// The whole document.
    pub(super) fn root(context: &'a Context<'a>, document: &'a Spanned<DeTable<'t>>) -> Self {
        Self::new(context, document.get_ref(), 0..0, String::new())
    }

    fn new(context: &'a Context<'a>, table: &'a DeTable<'t>, span: Range<usize>, path: String) -> Self {
        Self { context, table, span, path, asked: RefCell::default(), refused: RefCell::default() }
    }

    /// Where the section begins.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// A key of this section with those that lead to it.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key, and the key as known.
    pub(super) fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether there is such a key. Does not make it known.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A problem with a key that is not allowed, and stays unknown to the others.
    pub(super) fn refuse(&self, key: &'static str, fault: Fault) {
        self.refused.borrow_mut().push(key);
        self.problem(key, fault);
    }

    /// A problem with the value of a key, or with the whole section if the key is not there.
    pub(super) fn problem(&self, key: &'static str, fault: Fault) {
        let span = self.table.get(key).map_or(self.span(), Spanned::span);
        self.context.problem(span, &self.key(key), fault);
    }

    /// A warning about the value of a key, or about the whole section if the key is not there.
    pub(super) fn warn(&self, key: &'static str, caution: Caution) {
        let span = self.table.get(key).map_or(self.span(), Spanned::span);
        self.context.warn(span, &self.key(key), caution);
    }

    /// A value that need not be there. `None` also if it is wrong, which has then been noted.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<T> {
        read(self.get(key)?.get_ref()).map_err(|fault| self.problem(key, fault)).ok()
    }

    /// A value that must be there; `example` is what the right side of the line could be.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<T> {
        if self.table.contains_key(key) {
            return self.optional(key, read);
        }
        self.asked.borrow_mut().push(key);
        self.problem(key, Fault::Missing { example: format!("{key} = {example}") });
        None
    }

    /// The elements of a list, each with its place. `None` if the key is not there or no list.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<Vec<(T, Range<usize>)>> {
        let value = self.get(key)?;
        let Some(elements) = value.get_ref().as_array() else {
            self.problem(key, wrong_type(value.get_ref(), "a list", example));
            return None;
        };
        let read_one = |element: &Spanned<DeValue<'t>>| match read(element.get_ref()) {
            Ok(value) => Some((value, element.span())),
            Err(fault) => {
                self.context.problem(element.span(), &self.key(key), fault);
                None
            }
        };
        // All elements are looked at before one that is wrong spoils the list.
        let read: Vec<_> = elements.iter().map(read_one).collect();
        read.into_iter().collect()
    }

    /// A table below this one.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a, 't>> {
        let value = self.get(key)?;
        self.table_at(value, self.key(key), || wrong_type(value.get_ref(), "a table", &format!("[{}]", self.key(key))))
    }

    /// An array of tables, `[[key]]`; empty if there is none.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a, 't>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(elements) = value.get_ref().as_array() else {
            self.problem(key, wrong_type(value.get_ref(), "a list of tables", &format!("[[{}]]", self.key(key))));
            return Vec::new();
        };
        elements
            .iter()
            .filter_map(|element| {
                let fault = || wrong_type(element.get_ref(), "a table", &format!("[[{}]]", self.key(key)));
                self.table_at(element, self.key(key), fault)
            })
            .collect()
    }

    /// The tables below a table, `[key.NAME]`, with the names and their places; empty if there is none.
    pub(super) fn named_sections(&self, key: &'static str) -> Vec<(String, Range<usize>, Section<'a, 't>)> {
        let Some(all) = self.section(key) else { return Vec::new() };
        all.table
            .iter()
            .filter_map(|(name, value)| {
                let path = all.key(name.get_ref());
                let fault = wrong_type(value.get_ref(), "a table", &format!("[{path}]"));
                Some((name.get_ref().to_string(), name.span(), all.table_at(value, path, || fault)?))
            })
            .collect()
    }

    fn table_at(
        &self,
        value: &'a Spanned<DeValue<'t>>,
        path: String,
        fault: impl FnOnce() -> Fault,
    ) -> Option<Section<'a, 't>> {
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(self.context, table, value.span(), path)),
            None => {
                self.context.problem(value.span(), &path, fault());
                None
            }
        }
    }

    /// Ends the reading: every key that nobody asked for is unknown.
    pub(super) fn finish(&self) {
        let (asked, refused) = (self.asked.borrow(), self.refused.borrow());
        let dealt_with = |key: &str| asked.contains(&key) || refused.contains(&key);
        for key in self.table.keys().filter(|key| !dealt_with(key.get_ref())) {
            let known: Vec<String> = asked.iter().map(|key| (*key).to_owned()).collect();
            let fault = Fault::UnknownKey { nearest: nearest(key.get_ref(), &known), known };
            self.context.problem(key.span(), &self.key(key.get_ref()), fault);
        }
    }
}

/// The name that looks most like `written`, if any is near enough to be meant.
pub(super) fn nearest(written: &str, known: &[String]) -> Option<String> {
    let distance = |name: &String| strsim::osa_distance(&written.to_lowercase(), &name.to_lowercase());
    let allowed = |name: &String| (written.chars().count().max(name.chars().count()) / 3).max(1);
    known.iter().filter(|name| distance(name) <= allowed(name)).min_by_key(|name| distance(name)).cloned()
}

/// A value of another kind than `wanted`.
pub(super) fn wrong_type(value: &DeValue<'_>, wanted: &'static str, example: &str) -> Fault {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Fault::WrongType { found, wanted, example: example.to_owned() }
}
