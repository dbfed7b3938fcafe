//! XML that libvirt writes, or somebody behind its back.

use mainstay_libvirt::{
    DomainRef, SnapshotRef, Uuid,
    definition::Definition,
    domain::snapshot::Snapshot,
    xml::{Element, escaped},
};

/// A domain's definition.
pub fn domain(data: &[u8]) {
    let Ok(xml) = std::str::from_utf8(data) else { return };
    if let Ok(definition) = Definition::parse(xml) {
        for disk in &definition.disks {
            assert_eq!(definition.disk(&disk.target).map(|found| &found.target), Some(&disk.target));
        }
        if let Some(metadata) = &definition.metadata {
            assert!(xml.contains(metadata.as_str()), "it is cut out of the document");
        }
    }
    // Whatever a name holds, it survives being written into XML.
    let document = format!("<name>{}</name>", escaped(xml));
    if let Ok(element) = Element::parse(&document, "a name") {
        assert_eq!(element.text, xml);
    }
}

/// libvirt's record of a snapshot.
pub fn snapshot(data: &[u8]) {
    let Ok(xml) = std::str::from_utf8(data) else { return };
    let domain = DomainRef { name: "web-1".to_owned(), uuid: Uuid([7; 16]), id: 1 };
    let reference = SnapshotRef { name: "p1".to_owned(), domain };
    if let Ok(snapshot) = Snapshot::parse(reference, xml, Some("p1")) {
        assert!(snapshot.current);
        let _ = snapshot.is_external();
    }
}
