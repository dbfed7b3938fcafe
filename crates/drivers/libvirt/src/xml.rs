//! XML as libvirt writes it: a small tree to read from, and edits that replace a piece and leave every other byte alone.

use std::ops::Range;

use quick_xml::{Reader, events::BytesStart, events::Event};

use crate::error::{Error, Result};

/// libvirt nests about a dozen deep; more is no document of libvirt's.
const DEPTH_MAX: usize = 64;
/// A domain with a hundred disks has some 3,000. Each takes 40 times as much memory as the `<a/>` that it may be.
const ELEMENTS_MAX: usize = 100_000;
/// libvirt writes about ten at most. Each is compared with all before it, as none may come twice.
const ATTRIBUTES_MAX: usize = 256;
/// The reader would leave it out without counting it, and every place would be wrong. libvirt writes none.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// An element, where it stands in the document, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name, with prefix.
    pub name: String,
    /// Its attributes in order.
    pub attributes: Vec<(String, String)>,
    /// The elements in it.
    pub children: Vec<Element>,
    /// The text in it, without that of its children.
    pub text: String,
    /// Where it stands, both tags included.
    pub span: Range<usize>,
    /// Where its opening (or only) tag stands.
    pub opening: Range<usize>,
}

impl Element {
    /// Reads a document and returns its root. `subject` names it in errors.
    pub fn parse(xml: &str, subject: &str) -> Result<Self> {
        Self::parse_without(xml, subject, &[])
    }

    /// As [`Element::parse`], but elements with these names are left empty: libvirt's documents are long, and come by the
    /// thousand.
    pub fn parse_without(xml: &str, subject: &str, left_empty: &[&str]) -> Result<Self> {
        let mut reader = Reader::from_str(xml);
        read(&mut reader, xml, left_empty).map_err(|why| {
            let before = xml.as_bytes().iter().take(position(&reader));
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            Error::Xml { subject: subject.to_owned(), why: format!("line {line}: {why}") }
        })
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The first element on the way down `path`.
    pub fn find(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.children.iter().find(|child| child.name == *name))
    }

    /// The direct children called `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first element on the way down `path`.
    pub fn text_of(&self, path: &[&str]) -> Option<&str> {
        self.find(path).map(|element| element.text.trim())
    }

    /// Its opening tag, written anew with `attribute` set to `value`.
    pub(crate) fn opening_with(&self, attribute: &str, value: &str) -> String {
        let others = self.attributes.iter().filter(|(name, _)| name != attribute);
        let attributes = others.map(|(name, value)| (name.as_str(), value.as_str())).chain([(attribute, value)]);
        let attributes: String = attributes.map(|(name, value)| format!(" {name}='{}'", escaped(value))).collect();
        let end = if self.opening == self.span { "/>" } else { ">" };
        format!("<{}{attributes}{end}", self.name)
    }
}

/// Replaces pieces of `text`. The places must not overlap; their order does not matter.
pub(crate) fn spliced(text: &str, mut pieces: Vec<(Range<usize>, String)>) -> String {
    pieces.sort_by_key(|(place, _)| place.start);
    let mut result = text.to_owned();
    for (place, piece) in pieces.into_iter().rev() {
        result.replace_range(place, &piece);
    }
    result
}

/// `text` for use in an element or a quoted attribute: markup and line breaks written as references, so that a reader
/// gets back exactly what was put in.
pub fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '\'' => result.push_str("&apos;"),
            '"' => result.push_str("&quot;"),
            '\n' | '\r' | '\t' => result.push_str(&format!("&#{};", u32::from(char))),
            other => result.push(other),
        }
    }
    result
}

fn read(reader: &mut Reader<&[u8]>, xml: &str, left_empty: &[&str]) -> Result<Element, String> {
    if xml.starts_with(BYTE_ORDER_MARK) {
        return Err("it begins with a byte order mark".to_owned());
    }
    let mut open: Vec<Element> = Vec::new();
    let mut complete_ones = 0;
    loop {
        let start = position(reader);
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let end = position(reader);
        let complete = match event {
            Event::Start(tag) if left_empty.iter().any(|name| name.as_bytes() == tag.name().as_ref()) => {
                let mut element = element(&tag, start..end)?;
                reader.read_to_end(tag.name()).map_err(|error| error.to_string())?;
                element.span.end = position(reader);
                Some(element)
            }
            Event::Start(tag) if open.len() < DEPTH_MAX => {
                open.push(element(&tag, start..end)?);
                None
            }
            Event::Start(_) => return Err(format!("nested more than {DEPTH_MAX} deep")),
            Event::Empty(tag) => Some(element(&tag, start..end)?),
            Event::End(_) => {
                let mut element = open.pop().ok_or("a closing tag without an opening one")?;
                element.span.end = end;
                Some(element)
            }
            Event::Text(text) => {
                append(&mut open, &text.decode().map_err(|error| error.to_string())?);
                None
            }
            Event::CData(text) => {
                append(&mut open, &text.decode().map_err(|error| error.to_string())?);
                None
            }
            Event::GeneralRef(reference) => {
                let char = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                let name = reference.decode().map_err(|error| error.to_string())?;
                match (char, quick_xml::escape::resolve_predefined_entity(&name)) {
                    (Some(char), _) => append(&mut open, char.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => append(&mut open, text),
                    (None, None) => return Err(format!("entity &{name}; is not known")),
                }
                None
            }
            Event::Eof => return Err("it ends before its root element does".to_owned()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => None,
        };
        if let Some(element) = complete {
            complete_ones += 1;
            if complete_ones > ELEMENTS_MAX {
                return Err(format!("it has more than {ELEMENTS_MAX} elements"));
            }
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Ok(element),
            }
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn element(tag: &BytesStart<'_>, span: Range<usize>) -> Result<Element, String> {
    let attributes = tag.attributes().enumerate().map(|(index, attribute)| {
        if index == ATTRIBUTES_MAX {
            return Err(format!("an element has more than {ATTRIBUTES_MAX} attributes"));
        }
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.unescape_value().map_err(|error| error.to_string())?;
        Ok((String::from_utf8_lossy(attribute.key.as_ref()).into_owned(), value.into_owned()))
    });
    Ok(Element {
        name: String::from_utf8_lossy(tag.name().as_ref()).into_owned(),
        attributes: attributes.collect::<Result<_, String>>()?,
        children: Vec::new(),
        text: String::new(),
        opening: span.clone(),
        span,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_with_quotes_breaks_and_direction_marks_survive() {
        let name = "a'b\"c<d>&e\nf\tg\u{202e}h\u{1f600}";
        let xml = format!("<domain type='x' note='{0}'><name>{0}</name></domain>", escaped(name));
        let root = Element::parse(&xml, "test").unwrap();
        assert_eq!(root.attribute("note"), Some(name));
        assert_eq!(root.text_of(&["name"]), Some(name));
    }

    #[test]
    fn spans_let_pieces_be_replaced() {
        let xml = "<a><!-- x --><b c='1'>t</b><d/></a>";
        let root = Element::parse(xml, "test").unwrap();
        let (b, d) = (root.find(&["b"]).unwrap(), root.find(&["d"]).unwrap());
        assert_eq!(&xml[b.span.clone()], "<b c='1'>t</b>");
        let edited = spliced(xml, vec![(d.span.clone(), String::new()), (b.opening.clone(), b.opening_with("c", "<"))]);
        assert_eq!(edited, "<a><!-- x --><b c='&lt;'>t</b></a>");
    }

    #[test]
    fn what_is_left_empty_costs_nothing_and_stands_where_it_was() {
        let xml = "<a><b c='1'><b>x</b>&what;</b><d>t</d></a>";
        let root = Element::parse_without(xml, "test", &["b"]).unwrap();
        let b = root.find(&["b"]).unwrap();
        assert_eq!(
            (b.attribute("c"), b.children.len(), &xml[b.span.clone()]),
            (Some("1"), 0, "<b c='1'><b>x</b>&what;</b>")
        );
        assert_eq!(root.text_of(&["d"]), Some("t"));
        assert!(Element::parse_without("<a><b><b></b></a>", "test", &["b"]).is_err());
    }

    #[test]
    fn broken_documents_are_errors() {
        for xml in ["", "<a>", "</a>", "<a><b></a>", "<a>&what;</a>", "\u{feff}<a>éab<b/></a>", &"<a>".repeat(100)] {
            assert!(Element::parse(xml, "test").is_err(), "{xml}");
        }
    }

    #[test]
    fn an_error_has_its_line() {
        let error = Element::parse("<a>\n <b>é</b>\n &what;\n</a>", "snapshot p1 of web-1").unwrap_err().to_string();
        assert_eq!(error, "XML of snapshot p1 of web-1 can't be read: line 3: entity &what; is not known");
    }

    #[test]
    fn no_document_takes_more_than_its_share() {
        let long = |open: &str, piece: &str, close: &str| [open, &piece.repeat(1_000_000), close].concat();
        let many: String = (0..ATTRIBUTES_MAX + 1).map(|number| format!(" a{number}=''")).collect();
        for (xml, told) in [
            (long("<a>", "<a/>", "</a>"), "it has more than 100000 elements"),
            (format!("<a{many}/>"), "an element has more than 256 attributes"),
        ] {
            let error = Element::parse(&xml, "domain x").unwrap_err().to_string();
            assert_eq!(error, format!("XML of domain x can't be read: line 1: {told}"));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_escaped_comes_back(text in "\\PC*") {
            let xml = format!("<a b='{0}'>{0}</a>", escaped(&text));
            let root = Element::parse(&xml, "test").unwrap();
            prop_assert_eq!(root.attribute("b"), Some(text.as_str()));
            prop_assert_eq!(root.text, text);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _either = Element::parse(&text, "test");
        }
    }
}
