//! The API's description (OpenAPI 3.1), made from the types that really travel and a table of the paths. It is checked in
//! as docs/openapi.json; a test fails when that is out of date.

use crate::{Envelope, Explanation, Problem, VERSION};
use mainstay_daemon::{ByHand, Console, Disaster, ReloadReport, WorkloadStats};
use mainstay_engine::{
    view::{ClusterView, HostView, OrderView, Points, ReadyView, WorkloadView},
    whatif::{Foreseen, Hypothesis},
};
use mainstay_model::{Alarm, Command, Event, Incident, Reply};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Paths as they are put together.
struct Document {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

/// The OpenAPI document.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut document = Document { schemas: settings.into_generator(), paths: Map::new() };
    document.get::<ClusterView>("/v1/cluster", "How things are: the whole picture", &[]);
    document.get::<Vec<HostView>>("/v1/hosts", "All hosts", &[]);
    document.get::<HostView>("/v1/hosts/{host}", "One host", &[HOST]);
    document.get::<Vec<WorkloadView>>("/v1/vms", "All VMs", &[]);
    document.get::<WorkloadView>("/v1/vms/{vm}", "One VM", &[VM]);
    document.get::<Points>("/v1/vms/{vm}/points", "A VM's recovery points, oldest first", &[VM]);
    document.get::<Vec<WorkloadStats>>("/v1/stats", "What people look for in VMs", &[("vm", "query", "Only this VM")]);
    document.get::<Console>("/v1/vms/{vm}/console", "How to get to a VM's console", &[VM]);
    document.get::<Value>("/v1/config", "The configuration in force, its secrets hidden", &[]);
    document.post::<ByHand, Reply>("/v1/by-hand", "Pause, resume or reset a VM; 409 if it can't be done");
    document.get::<Vec<OrderView>>(
        "/v1/orders",
        "The newest orders and what came of them, oldest first",
        &EVENT_FILTER[..2],
    );
    document.get::<Vec<Alarm>>("/v1/alarms", "Alarms, worst first", &[]);
    document.get::<Vec<Incident>>("/v1/incidents", "Incidents on record, oldest first", &[]);
    let number = ("incident", "path", "Its number, such as i7");
    document.get::<Incident>("/v1/incidents/{incident}", "One incident with its story", &[number]);
    document.get::<Vec<Event>>("/v1/events", "Events on record, oldest first", &EVENT_FILTER);
    let subject = ("subject", "path", "A host, a VM, or the code of an alarm");
    document.get::<Vec<ReadyView>>("/v1/ready", "On which hosts managed VMs could start now", &[]);
    document.get::<Vec<ReadyView>>(
        "/v1/ready/{subject}",
        "On which hosts a VM, or those of a host, could start now",
        &[("subject", "path", "A VM or a host")],
    );
    document.get::<Explanation>("/v1/explain/{subject}", "Why something is as it is", &[subject]);
    document.post::<Vec<Hypothesis>, Foreseen>("/v1/what-if", "What would happen if all of this came true now");
    document.post::<Command, Reply>("/v1/commands", "Give a command; 409 if it is refused");
    document.post::<Disaster, Reply>("/v1/drill", "Make a disaster happen on the real thing; 409 if it can't be done");
    document.post::<(), ReloadReport>("/v1/reload", "Read the configuration again; 409 if it is refused");
    document.watch();
    let problem = document.schemas.subschema_for::<Problem>();
    let Document { mut schemas, paths } = document;
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mainstay",
            "version": VERSION.to_string(),
            "description": "The local API of a Mainstay controller: on its UNIX socket, and on TCP with a token.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "What is wrong, and what to do",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{}, { "token": [] }],
    })
}

/// Name, place, meaning.
type Parameter = (&'static str, &'static str, &'static str);

const HOST: Parameter = ("host", "path", "Its name");
const VM: Parameter = ("vm", "path", "Its name");
const EVENT_FILTER: [Parameter; 5] = [
    ("since", "query", "Not older than this, in milliseconds since the Unix epoch"),
    ("subject", "query", "A host, a VM, or `cluster`; `host:NAME` or `vm:NAME` where both share the name"),
    ("severity", "query", "At least as bad: `green`, `yellow` or `red`"),
    ("incident", "query", "Only of the incident of this number"),
    ("limit", "query", "The newest so many, at most 1000"),
];

impl Document {
    fn get<T: JsonSchema>(&mut self, path: &str, summary: &str, parameters: &[Parameter]) {
        let answer = self.answer::<T>();
        let parameters: Vec<Value> = parameters.iter().map(parameter).collect();
        let operation = json!({ "summary": summary, "parameters": parameters, "responses": answer });
        self.paths.insert(path.to_owned(), json!({ "get": operation }));
    }

    fn post<B: JsonSchema, T: JsonSchema>(&mut self, path: &str, summary: &str) {
        let (body, answer) = (self.schemas.subschema_for::<B>(), self.answer::<T>());
        let body = json!({ "content": { "application/json": { "schema": body } } });
        let operation = json!({ "summary": summary, "requestBody": body, "responses": answer });
        self.paths.insert(path.to_owned(), json!({ "post": operation }));
    }

    fn watch(&mut self) {
        let (view, event) =
            (self.schemas.subschema_for::<Envelope<ClusterView>>(), self.schemas.subschema_for::<Event>());
        let description = "Server-sent events, for ever: `view` (how things are: at once, then after changes), `event` \
                           (something happened), `missed` (so many news were missed by a slow reader).";
        let data = json!({ "oneOf": [view, event, { "type": "integer" }] });
        let content = json!({ "text/event-stream": { "schema": data } });
        let responses = json!({ "200": { "description": description, "content": content }, "default": problem() });
        let operation = json!({ "summary": "Follow what happens", "responses": responses });
        self.paths.insert("/v1/watch".to_owned(), json!({ "get": operation }));
    }

    fn answer<T: JsonSchema>(&mut self) -> Value {
        let schema = self.schemas.subschema_for::<Envelope<T>>();
        let content = json!({ "application/json": { "schema": schema } });
        json!({ "200": { "description": "Done", "content": content }, "default": problem() })
    }
}

fn parameter((name, place, meaning): &Parameter) -> Value {
    json!({
        "name": name,
        "in": place,
        "required": *place == "path",
        "description": meaning,
        "schema": { "type": "string" },
    })
}

fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_checked_in_document_is_up_to_date() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let now = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &now).unwrap();
        }
        let checked_in = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(checked_in, now, "docs/openapi.json is out of date: UPDATE=1 cargo test -p mainstay-web");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
