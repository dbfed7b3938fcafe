//! XML that libvirt writes, or somebody behind its back.

use mainstay_libvirt::{
    DomainRef, SnapshotRef, Uuid,
    definition::{Definition, Image, image_chain, with_disk_image},
    domain::snapshot::Snapshot,
    xml::{Element, escaped},
};

/// So many disks of one document are tried.
const MOST_SWITCHED: usize = 4;

/// A domain's definition, and each of its disks switched to another image: nothing else of it changes.
pub fn domain(data: &[u8]) {
    let Ok(xml) = std::str::from_utf8(data) else { return };
    if let Ok(definition) = Definition::parse(xml) {
        for disk in &definition.disks {
            assert_eq!(definition.disk(&disk.target).map(|found| &found.target), Some(&disk.target));
        }
        if let Some(metadata) = &definition.metadata {
            assert!(metadata.starts_with("<metadata") && metadata.ends_with('>'), "it is cut out of the document");
        }
        for disk in definition.disks.iter().take(MOST_SWITCHED) {
            switched(xml, &definition, &disk.target);
        }
    }
    // Whatever a name holds, it survives being written into XML.
    let document = format!("<name>{}</name>", escaped(xml));
    if let Ok(element) = Element::parse(&document, "a name") {
        assert_eq!(element.text, xml);
    }
}

fn switched(xml: &str, before: &Definition, target: &str) {
    let image = Image { file: "/s/o'v\n.qcow2", format: "qcow2" };
    let Ok(edited) = with_disk_image(xml, &[], target, image) else { return };
    let mut after = Definition::parse(&edited).expect("what was edited can be read");
    assert_eq!(image_chain(&edited, target).expect("as before"), [image.file], "nothing below it is said any more");
    let old = before.disk(target).expect("it was just there");
    let switched = after.disks.iter_mut().find(|disk| disk.target == target).expect("it is still there");
    assert_eq!((switched.source.as_deref(), switched.format.as_deref()), (Some(image.file), Some(image.format)));
    (switched.source, switched.format) = (old.source.clone(), old.format.clone());
    assert_eq!(&after, before);
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
