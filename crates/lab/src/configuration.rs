//! A lab's `mainstay.toml`: the configuration with which a controller keeps this lab's guests available.

use std::fmt::Write;
use std::path::PathBuf;

use crate::lab::Lab;
use crate::layout::Layout;
use crate::spec::LabSpec;

impl Lab {
    /// A configuration for this lab, to be used by a controller started with [`Lab::controller_command`]. State and API
    /// socket are in the lab's folder, so that nothing outlives the lab.
    pub fn mainstay_toml(&self) -> String {
        mainstay_toml(self.layout(), self.spec())
    }

    /// Where [`Lab::mainstay_toml`] lets the controller's API listen.
    pub fn api_socket(&self) -> PathBuf {
        api_socket(self.layout())
    }
}

fn api_socket(layout: &Layout) -> PathBuf {
    layout.dir.join("api.sock")
}

fn mainstay_toml(layout: &Layout, spec: &LabSpec) -> String {
    let mut text = format!(
        r#"# The configuration of the lab "{name}", written by `mainstay lab up`. Start a controller with it:
#   nsenter --net={controller} mainstay up --config FILE

[cluster]
name = "{name}"

[controller]
state_directory = "{state}"
api_socket = "{socket}"

[site.lab]
shared_storage = true

[site.lab.libvirt]
uri = "qemu+tcp://{{address}}/system"

# The lab's power controller: cuts a host's power in one stroke.
[fence.power]
agent = "{agent}"
"#,
        name = layout.name,
        controller = layout.namespace_path(crate::network::CONTROLLER_NODE).display(),
        state = layout.dir.join("controller").display(),
        socket = api_socket(layout).display(),
        agent = layout.fence_agent().display(),
    );
    for (host, number) in spec.host_names().iter().zip(1..) {
        let spare = if number > spec.hosts { "spare = true\n" } else { "" };
        let Ok(address) = spec.host_address(host) else { continue };
        add(&mut text, format_args!("\n[site.lab.host.{host}]\naddress = \"{address}\"\nfence = \"power\"\n{spare}"));
    }
    for guest in &spec.guests {
        let agent = if guest.agent { ", agent = true" } else { "" };
        let probe = format_args!("probe = {{ address = \"{}\", ping = true{agent} }}", spec.probe_address(guest));
        add(&mut text, format_args!("\n[[vm]]\nmatch = \"{}\"\n{probe}\n", guest.name));
    }
    if !spec.guests.is_empty() {
        text += "\n[[protection]]\nmatch = \"*\"\nevery = \"10m\"\n";
    }
    text
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::mainstay_toml;
    use crate::layout::Layout;
    use crate::spec::LabSpec;

    #[test]
    fn the_configuration_loads_without_a_complaint() {
        let mut spec = LabSpec::new("rehearsal", 3, 6);
        spec.spares = 1;
        spec.guests[0].agent = true;
        let text = mainstay_toml(&Layout::new("rehearsal", None), &spec);
        let loaded =
            mainstay_model::config::load("mainstay.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.spec.hosts.len(), 4);
    }
}
