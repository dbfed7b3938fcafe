//! What is wrong with a configuration, and where: one [`Problem`] each, all of a run in [`Problems`].

use super::secret::hidden;
use crate::Code;
use crate::spec::Origin;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use serde::{Serialize, Serializer};
use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc};

/// The text is not TOML.
pub const NOT_TOML: Code = Code(1402);
/// A key that does not exist.
pub const UNKNOWN_KEY: Code = Code(1403);
/// A value of the wrong type, format or range.
pub const WRONG_VALUE: Code = Code(1404);
/// A key that must be there is not.
pub const MISSING_KEY: Code = Code(1405);
/// A name that stands for nothing.
pub const UNKNOWN_NAME: Code = Code(1406);
/// A key or name given twice.
pub const TWICE: Code = Code(1407);
/// Values that are right alone and wrong together.
pub const CONTRADICTION: Code = Code(1408);
/// A constraint that no placement can meet.
pub const IMPOSSIBLE: Code = Code(1409);
/// An order in which workloads wait for themselves.
pub const CYCLE: Code = Code(1410);
/// A file named by the configuration cannot be read.
pub const UNREADABLE: Code = Code(1411);
/// An option of a fence device that its agent does not take.
pub const FENCE_OPTION: Code = Code(1412);
/// A file that others can read or write.
pub const OPEN_TO_OTHERS: Code = Code(1413);
/// Warning: a rule, rung or setting that has no effect.
pub const NO_EFFECT: Code = Code(1421);
/// Warning: something is left without protection.
pub const UNPROTECTED: Code = Code(1422);

/// One thing that is wrong (or, as a warning, looks wrong) and where.
#[derive(Clone)]
pub struct Problem {
    /// Its code, with a page in docs/errors.
    pub code: Code,
    /// True if the configuration is usable nevertheless.
    pub warning: bool,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was expected, or what to do; may be empty.
    pub help: String,
    span: Range<usize>,
    also: Vec<(Range<usize>, &'static str)>,
    source: Arc<NamedSource<String>>,
}

/// All that is wrong with a configuration, in order of the text.
#[derive(Clone, Debug)]
pub struct Problems(Vec<Problem>);

/// Collects problems while a text is read.
pub(super) struct Report {
    source: Arc<NamedSource<String>>,
    /// Where each line begins: places are asked for by the thousand.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl Report {
    pub fn new(file: &str, text: &str) -> Report {
        let source = Arc::new(NamedSource::new(file, hidden(text)).with_language("TOML"));
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Report { source, lines, problems: vec![] }
    }

    /// Notes an error; the caller may add to it.
    pub fn error(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.add(code, false, span, message.into())
    }

    /// Notes a warning; the caller may add to it.
    pub fn warning(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.add(code, true, span, message.into())
    }

    fn add(&mut self, code: Code, warning: bool, span: &Range<usize>, message: String) -> &mut Problem {
        self.problems.push(self.problem(code, warning, span, message));
        self.problems.last_mut().expect("one was just pushed")
    }

    /// A problem that is not noted.
    pub fn problem(&self, code: Code, warning: bool, span: &Range<usize>, message: String) -> Problem {
        let (line, column) = self.position(span.start);
        let (also, source) = (vec![], self.source.clone());
        Problem { code, warning, line, column, message, help: String::new(), span: span.clone(), also, source }
    }

    /// Where a rule or table begins that stands there.
    pub fn origin(&self, at: &Range<usize>, key: impl Into<String>) -> Origin {
        let line = self.position(at.start).0;
        Origin { file: self.source.name().to_owned(), line: u32::try_from(line).unwrap_or(u32::MAX), key: key.into() }
    }

    /// The line on which something was written.
    pub fn span_of(&self, origin: &Origin) -> Range<usize> {
        let start = self.lines.get((origin.line as usize).saturating_sub(1)).copied().unwrap_or_default();
        let line = self.source.inner()[start..].lines().next().unwrap_or_default();
        let code = line.split(" #").next().unwrap_or_default().trim_end();
        start..start + code.len()
    }

    /// Remembers a place for checks that are made elsewhere.
    pub fn place(&self, span: &Range<usize>) -> Place {
        Place(self.problem(WRONG_VALUE, false, span, String::new()))
    }

    /// True if any error was noted.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| !problem.warning)
    }

    /// True if any error was noted besides those of this code.
    pub fn has_errors_but(&self, code: Code) -> bool {
        self.problems.iter().any(|problem| !problem.warning && problem.code != code)
    }

    /// True if nothing was noted about the text's form.
    pub fn is_toml(&self) -> bool {
        self.problems.iter().all(|problem| problem.code != NOT_TOML)
    }

    /// Keeps only problems that are surely no mere consequence of broken TOML.
    pub fn keep_certain(&mut self) {
        let broken: BTreeSet<usize> = self.problems.iter().filter(|p| p.code == NOT_TOML).map(|p| p.line).collect();
        if !broken.is_empty() {
            self.problems.retain(|p| match p.code {
                NOT_TOML | TWICE => true,
                UNKNOWN_KEY | WRONG_VALUE => !broken.contains(&p.line),
                _ => false,
            });
        }
    }

    /// Line and column (in characters), both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let text = self.source.inner();
        let offset = if text.is_char_boundary(offset) { offset } else { text.len() };
        let line = self.lines.partition_point(|start| *start <= offset);
        (line, text[self.lines[line - 1]..offset].chars().count() + 1)
    }

    /// All problems, in order of the text; if there are errors, without the warnings, which may be mere consequences.
    pub fn finish(mut self) -> Vec<Problem> {
        let errors = self.has_errors();
        self.problems.retain(|problem| problem.warning != errors);
        self.problems.sort_by_key(|problem| (problem.span.start, problem.code));
        self.problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        self.problems
    }
}

/// A place in a configuration, for problems that only a look at other things can find.
#[derive(Clone, Debug)]
pub struct Place(Problem);

impl Place {
    /// An error at this place.
    pub fn error(&self, code: Code, message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { code, message: message.into(), help: help.into(), ..self.0.clone() }
    }

    /// A warning at this place.
    pub fn warning(&self, code: Code, message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { warning: true, ..self.error(code, message, help) }
    }

    /// Line and column, both from 1.
    pub fn position(&self) -> (usize, usize) {
        (self.0.line, self.0.column)
    }
}

impl Problem {
    /// Says what to do.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Problem {
        self.help = help.into();
        self
    }
    /// Points at a second place.
    pub(super) fn also(&mut self, span: &Range<usize>, label: &'static str) -> &mut Problem {
        self.also.push((span.clone(), label));
        self
    }
    /// The file as the user named it.
    pub fn file(&self) -> &str {
        self.source.name()
    }
}

impl Problems {
    /// Problems that were found, in order of the text.
    pub fn new(mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(|problem| (problem.line, problem.column, problem.code));
        Problems(problems)
    }

    /// Each problem, in order of the text; never empty.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} {}", self.file(), self.line, self.column, self.code, self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(if self.warning { miette::Severity::Warning } else { miette::Severity::Error })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        if self.help.is_empty() { None } else { Some(Box::new(&self.help)) }
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let here = LabeledSpan::new_primary_with_span(None, SourceSpan::from(self.span.clone()));
        let also =
            self.also.iter().map(|(span, label)| LabeledSpan::new_with_span(Some((*label).to_owned()), span.clone()));
        Some(Box::new(std::iter::once(here).chain(also)))
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Problem", 7)?;
        fields.serialize_field("severity", if self.warning { "warning" } else { "error" })?;
        fields.serialize_field("code", &self.code.to_string())?;
        fields.serialize_field("file", self.file())?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("help", &self.help)?;
        fields.end()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.first().map(Problem::file).unwrap_or_default();
        match self.0.len() {
            1 => write!(f, "{file} has an error"),
            count => write!(f, "{file} has {count} errors"),
        }
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
