//! What an agent says of itself (`action=metadata`): its parameters and actions.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::MetadataError;

/// An agent's description of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Its name, such as `fence_ipmilan`.
    pub name: String,
    /// One line on what it is for.
    pub description: String,
    /// Its parameters by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// The actions it offers.
    pub actions: BTreeSet<String>,
}

/// One parameter of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Whether it must be given.
    pub required: bool,
    /// What its value is.
    pub value: ValueType,
    /// What the agent takes if it is not given.
    pub default: Option<String>,
    /// Kept for old configurations only.
    pub deprecated: bool,
    /// The older name of the same.
    pub obsoletes: Option<String>,
}

/// What the value of a parameter is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ValueType {
    /// Any text.
    #[default]
    Text,
    /// A whole number.
    Integer,
    /// yes or no.
    Boolean,
    /// A time in whole seconds.
    Seconds,
    /// One of these.
    Select(Vec<String>),
}

impl Metadata {
    /// Reads the XML that an agent printed.
    ///
    /// # Errors
    /// If it is not XML, or not the description of an agent with actions.
    pub fn parse(xml: &str) -> Result<Self, MetadataError> {
        let mut reader = Reader::from_str(xml);
        // Descriptions written by hand hold a bare `&` now and then.
        reader.config_mut().allow_dangling_amp = true;
        let mut agent: Option<Metadata> = None;
        let mut current = String::new();
        let mut open = 0;
        loop {
            let event =
                reader.read_event().map_err(|source| MetadataError::Xml { at: reader.error_position(), source })?;
            let element = match event {
                Event::Start(element) => {
                    open += 1;
                    element
                }
                Event::Empty(element) => element,
                Event::End(_) => {
                    open -= 1;
                    continue;
                }
                Event::Eof => break,
                _ => continue,
            };
            let attribute = |name| attribute(&element, name);
            if element.name().as_ref() == b"resource-agent" {
                agent = Some(Metadata {
                    name: attribute("name").unwrap_or_default(),
                    description: attribute("shortdesc").unwrap_or_default(),
                    parameters: BTreeMap::new(),
                    actions: BTreeSet::new(),
                });
            }
            let Some(agent) = &mut agent else { continue };
            match element.name().as_ref() {
                b"parameter" => {
                    current = attribute("name").unwrap_or_default();
                    let parameter = Parameter {
                        required: attribute("required").as_deref() == Some("1"),
                        deprecated: attribute("deprecated").as_deref() == Some("1"),
                        obsoletes: attribute("obsoletes"),
                        ..Parameter::default()
                    };
                    agent.parameters.insert(current.clone(), parameter);
                }
                b"content" => {
                    if let Some(parameter) = agent.parameters.get_mut(&current) {
                        parameter.default = attribute("default");
                        parameter.value = ValueType::named(attribute("type").as_deref());
                    }
                }
                b"option" => {
                    if let Some(Parameter { value: ValueType::Select(choices), .. }) =
                        agent.parameters.get_mut(&current)
                    {
                        choices.extend(attribute("value"));
                    }
                }
                b"action" => agent.actions.extend(attribute("name")),
                _ => {}
            }
        }
        if open > 0 {
            return Err(MetadataError::CutOff(open));
        }
        let agent = agent.ok_or(MetadataError::Missing("resource-agent"))?;
        if agent.actions.is_empty() { Err(MetadataError::Missing("action")) } else { Ok(agent) }
    }

    /// The parameter that names the target, if the agent serves more than one: `plug`, or `port` with older agents.
    pub fn plug_parameter(&self) -> Option<&str> {
        ["plug", "port"].into_iter().find(|name| self.parameters.contains_key(*name))
    }
}

impl ValueType {
    fn named(name: Option<&str>) -> Self {
        match name {
            Some("integer") => Self::Integer,
            Some("boolean") => Self::Boolean,
            Some("second") => Self::Seconds,
            Some("select") => Self::Select(Vec::new()),
            _ => Self::Text,
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).ok().flatten()?;
    let raw = String::from_utf8_lossy(&attribute.value);
    Some(quick_xml::escape::unescape(&raw).map_or_else(|_| raw.to_string(), |plain| plain.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "<resource-agent name='fence_x'><parameters><parameter name='plug' required='1'/></parameters>\
        <actions><action name='off'/><action name='status'/></actions></resource-agent>";

    #[test]
    fn a_description_without_its_end_is_none() {
        assert_eq!(Metadata::parse(WHOLE).unwrap().actions.len(), 2);
        let half = WHOLE.split("<action name='status'/>").next().unwrap();
        assert_eq!(
            Metadata::parse(half).unwrap_err().to_string(),
            "it ends in the middle: 2 elements are not closed",
            "else its `status` would never be asked"
        );
    }
}
