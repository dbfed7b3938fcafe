//! `mainstay status`: the verdict, what needs a person, the tables, how old all this is, and what to type next.

use super::{Cell, Look, Table, Tone, ago, alarms, hosts, span, vms};
use mainstay_engine::view::{ClusterView, WorkloadView};
use mainstay_model::Span;
use mainstay_web::Envelope;

/// With more VMs than this only those that are not well are listed.
const ALL_VMS_UP_TO: usize = 40;

/// The whole picture.
pub fn status(answer: &Envelope<ClusterView>, look: &Look) -> String {
    let view = &answer.data;
    let mut text = format!("{} {}\n", look.paint(view.verdict.severity.into(), "●"), look.wrap(&view.verdict.text, 2));
    section(&mut text, "Needs a person", &alarms(&view.alarms, look), look);
    section(&mut text, "Incidents under way", &incidents(view, look), look);
    section(&mut text, "Hosts", &hosts(&view.hosts, look), look);
    let shown: Vec<WorkloadView> = match view.workloads.len() > ALL_VMS_UP_TO {
        true => view.workloads.iter().filter(|vm| vm.health != "running" || vm.doing.is_some()).cloned().collect(),
        false => view.workloads.clone(),
    };
    section(&mut text, "VMs", &vms(&shown, look), look);
    if shown.len() < view.workloads.len() {
        let others = view.workloads.len() - shown.len();
        text.push_str(&format!("  {others} more run well: mainstay vm list\n"));
    }
    text.push_str(&format!("\n{}\n", look.paint(Tone::Dim, &footer(answer))));
    if let Some(next) = &view.verdict.next {
        text.push_str(&format!("Next: {}\n", look.paint(Tone::Strong, next)));
    }
    text
}

/// How old the data is and who leads.
pub fn footer<T>(answer: &Envelope<T>) -> String {
    let leader = &answer.leader;
    let trouble = leader.trouble.as_ref().map_or(String::new(), |why| format!("; it starts nothing now: {why}"));
    format!("Data {} old, leader {} (pid {}){trouble}", span(Span(answer.age_ms)), leader.name, leader.pid)
}

fn section(text: &mut String, title: &str, body: &str, look: &Look) {
    if !body.is_empty() {
        text.push_str(&format!("\n{}\n{body}", look.paint(Tone::Strong, title)));
    }
}

fn incidents(view: &ClusterView, look: &Look) -> String {
    let mut table = Table::new(["INCIDENT", "ABOUT", "WHAT", "SINCE", "VMS"]);
    for incident in &view.incidents {
        table.row([
            Cell::from(incident.id.to_string()),
            incident.subject.to_string().into(),
            super::incident::cause(incident).into(),
            ago(look.now.since(incident.opened_at)).into(),
            incident.workloads.len().to_string().into(),
        ]);
    }
    table.render(look)
}
