//! The same cluster for Pacemaker: its configuration and state as one XML file, planned by `crm_simulate` alone.
//!
//! Capacity is utilization with the balanced strategy, an SSD a location rule, sets are colocations of minus infinity; the
//! first host is lost. What `crm_simulate --profile` tells is CPU time after parsing.

use crate::{
    cluster::{Size, bound, capacity, has_ssd, host_name, needs, set, workload_name},
    report::Row,
};
use mainstay_model::Resources;
use std::{collections::BTreeMap, fmt::Write, io, path::Path, process::Command, time::Duration};

/// Longer than this, and it counts as not finished.
const LIMIT_S: &str = "240";

/// How long Pacemaker's scheduler takes for the loss of one host; `None`: it is not installed, or does not finish.
pub fn loss(size: Size) -> io::Result<Option<Row>> {
    let folder = std::env::temp_dir().join(format!("mainstay-scale-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let time = profile(&folder, size);
    std::fs::remove_dir_all(&folder)?;
    Ok(time?.map(|time| {
        Row::times("Pacemaker's scheduler: loss of a host", size, vec![time], None).plotted("Pacemaker", true)
    }))
}

fn profile(folder: &Path, size: Size) -> io::Result<Option<Duration>> {
    std::fs::write(folder.join("cluster.xml"), cib(size))?;
    let profile = Command::new("timeout").args([LIMIT_S, "crm_simulate", "--profile"]).arg(folder).output()?;
    // * Testing /tmp/…/cluster.xml ... 1.23 secs
    let said = String::from_utf8_lossy(&profile.stdout).into_owned();
    let seconds = said.split_whitespace().rev().find_map(|word| word.parse::<f64>().ok());
    Ok(seconds.filter(|_| profile.status.success()).map(Duration::from_secs_f64))
}

/// Pacemaker's cluster information base.
fn cib(size: Size) -> String {
    let mut xml = String::new();
    write_cib(size, &mut xml).expect("a string takes all");
    xml
}

fn write_cib(size: Size, xml: &mut String) -> std::fmt::Result {
    let dc = size.hosts;
    write!(
        xml,
        r#"<cib crm_feature_set="3.16.2" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="{dc}"><configuration><crm_config><cluster_property_set id="o">"#
    )?;
    for (name, value) in
        [("stonith-enabled", "true"), ("placement-strategy", "balanced"), ("enable-startup-probes", "false")]
    {
        write!(xml, r#"<nvpair id="o-{name}" name="{name}" value="{value}"/>"#)?;
    }
    write!(xml, "</cluster_property_set></crm_config><nodes>")?;
    for host in 0..size.hosts {
        let ssd = if has_ssd(host) { "yes" } else { "no" };
        write!(
            xml,
            r#"<node id="{}" uname="{}"><instance_attributes id="a{host}"><nvpair id="s{host}" name="ssd" value="{ssd}"/></instance_attributes>"#,
            host + 1,
            host_name(host)
        )?;
        utilization(xml, &format!("n{host}"), capacity(size))?;
        write!(xml, "</node>")?;
    }
    write!(xml, r#"</nodes><resources><primitive id="bmc" class="stonith" type="fence_ipmilan"/>"#)?;
    for workload in 0..size.workloads {
        let name = workload_name(workload);
        write!(xml, r#"<primitive id="{name}" class="ocf" provider="pacemaker" type="Dummy">"#)?;
        utilization(xml, &format!("u{workload}"), needs(size, workload))?;
        write!(
            xml,
            r#"<meta_attributes id="m{workload}"><nvpair id="t{workload}" name="resource-stickiness" value="100"/></meta_attributes></primitive>"#
        )?;
    }
    write!(xml, "</resources><constraints>")?;
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for workload in 0..size.workloads {
        let name = workload_name(workload);
        if bound(size, workload) {
            write!(
                xml,
                r#"<rsc_location id="l{workload}" rsc="{name}"><rule id="r{workload}" score="-INFINITY"><expression id="e{workload}" attribute="ssd" operation="ne" value="yes"/></rule></rsc_location>"#
            )?;
        }
        let Some(set) = set(size, workload) else { continue };
        let others = sets.entry(set).or_default();
        for other in others.iter() {
            write!(
                xml,
                r#"<rsc_colocation id="c{workload}-{other}" rsc="{name}" with-rsc="{}" score="-INFINITY"/>"#,
                workload_name(*other)
            )?;
        }
        others.push(workload);
    }
    write!(xml, "</constraints></configuration><status>")?;
    for host in 0..size.hosts {
        let (seen, crmd) = if host == 0 { ("false", "offline") } else { ("true", "online") };
        let (id, name) = (host + 1, host_name(host));
        write!(
            xml,
            r#"<node_state id="{id}" uname="{name}" in_ccm="{seen}" crmd="{crmd}" join="member" expected="member" crm-debug-origin="scale"><lrm id="{id}"><lrm_resources>"#
        )?;
        for workload in (host..size.workloads).step_by(size.hosts) {
            let vm = workload_name(workload);
            write!(
                xml,
                r#"<lrm_resource id="{vm}" type="Dummy" class="ocf" provider="pacemaker"><lrm_rsc_op id="{vm}_last_0" operation_key="{vm}_start_0" operation="start" crm-debug-origin="scale" crm_feature_set="3.16.2" transition-key="1:1:0:0c5e9f7a-0000-4000-8000-000000000000" transition-magic="0:0;1:1:0:0c5e9f7a-0000-4000-8000-000000000000" on_node="{name}" call-id="1" rc-code="0" op-status="0" interval="0" last-rc-change="1790000000" exec-time="10" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/></lrm_resource>"#
            )?;
        }
        write!(xml, "</lrm_resources></lrm></node_state>")?;
    }
    write!(xml, "</status></cib>")
}

fn utilization(xml: &mut String, id: &str, amount: Resources) -> std::fmt::Result {
    let Resources { memory_mib, cpu_centi } = amount;
    write!(
        xml,
        r#"<utilization id="{id}"><nvpair id="{id}-m" name="memory" value="{memory_mib}"/><nvpair id="{id}-c" name="cpu" value="{cpu_centi}"/></utilization>"#
    )
}
