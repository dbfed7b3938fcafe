//! Every state that a host or VM can have, and what the verdict says of it.

use super::{Care, HostShort, Short, VmShort, VmState, host_short, vm_short};
use crate::health::{HostHealth, VmHealth};

const WELL: VmState = VmState {
    care: Care::Managed,
    wanted: true,
    health: VmHealth::Running,
    in_recovery: false,
    silent: false,
    never_answered: false,
};

/// Each health of a VM that should run: what is said if nothing is done for it, and while it is brought back.
const VMS: [(VmHealth, Option<VmShort>, Option<VmShort>); 10] = [
    (VmHealth::Running, None, Some(VmShort::BroughtBack)),
    (VmHealth::Starting, Some(VmShort::Starting), Some(VmShort::BroughtBack)),
    (VmHealth::Unresponsive, Some(VmShort::DoesNotAnswer), Some(VmShort::BroughtBack)),
    (VmHealth::Crashed, Some(VmShort::Crashed), Some(VmShort::BroughtBack)),
    (VmHealth::Stopped, None, None),
    (VmHealth::Paused, Some(VmShort::Paused), Some(VmShort::BroughtBack)),
    (VmHealth::Asleep, Some(VmShort::Asleep), Some(VmShort::BroughtBack)),
    (VmHealth::Migrating, None, None),
    (VmHealth::Down, Some(VmShort::Down), Some(VmShort::BroughtBack)),
    (VmHealth::Unknown, Some(VmShort::OutOfSight), Some(VmShort::OutOfSight)),
];

const CARES: [(Care, Option<&str>); 3] =
    [(Care::Managed, None), (Care::OnlyWatched, Some("only watched")), (Care::Unprotected, Some("unprotected"))];

#[test]
fn every_state_of_a_vm_has_its_words() {
    for (health, idle, in_recovery) in VMS {
        for (care, alone) in CARES {
            let said = |vm: VmState| vm_short(VmState { care, health, ..vm });
            assert_eq!(said(WELL), idle.map(|what| Short::Vm(what, alone)), "{health:?} {care:?}");
            let seen_to = VmState { in_recovery: true, ..WELL };
            assert_eq!(said(seen_to), in_recovery.map(|what| Short::Vm(what, alone)), "{health:?} {care:?}");
            assert_eq!(said(VmState { wanted: false, ..WELL }), None, "a person stopped it: {health:?} {care:?}");
        }
        assert_eq!(
            vm_short(VmState { care: Care::None, health, ..WELL }),
            None,
            "not in the configuration: {health:?}"
        );
    }
}

#[test]
fn a_running_vm_that_does_not_answer_is_not_well() {
    for (care, alone) in CARES {
        let silent = VmState { care, silent: true, ..WELL };
        assert_eq!(vm_short(silent), Some(Short::Vm(VmShort::DoesNotAnswer, alone)));
        let never = VmState { care, never_answered: true, ..WELL };
        assert_eq!(vm_short(never), Some(Short::Vm(VmShort::NeverAnswered, alone)));
    }
}

#[test]
fn every_state_of_a_host_has_its_words() {
    let table = [
        (HostHealth::Online, None),
        (HostHealth::Suspect, Some(HostShort::Suspect)),
        (HostHealth::Lost, Some(HostShort::Lost)),
        (HostHealth::Fencing, Some(HostShort::Fencing)),
        (HostHealth::Fenced, None),
        (HostHealth::Returning, Some(HostShort::Returning)),
        (HostHealth::Draining, None),
        (HostHealth::Maintenance, None),
        (HostHealth::ShutDown, None),
        (HostHealth::Unmanaged, Some(HostShort::Unmanaged)),
        (HostHealth::Unknown, Some(HostShort::NotHeard)),
    ];
    for (health, said) in table {
        assert_eq!(host_short(health, true), said.map(Short::Host), "{health:?}");
    }
    assert_eq!(host_short(HostHealth::Online, false), Some(Short::Host(HostShort::NotListed)));
}

#[test]
fn one_is_named_and_several_are_counted() {
    let vm = |name: &str| mainstay_model::Subject::Workload(name.into());
    let crashed = Short::Vm(VmShort::Crashed, Some("unprotected"));
    assert_eq!(crashed.say(&[vm("web-1")]), "web-1 crashed (unprotected)");
    assert_eq!(crashed.say(&[vm("web-1"), vm("web-2")]), "2 VMs crashed (unprotected)");
    let host = |name: &str| mainstay_model::Subject::Host(name.into());
    assert_eq!(Short::Host(HostShort::Suspect).say(&[host("h1"), host("h2")]), "2 hosts are silent");
}
