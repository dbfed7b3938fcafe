//! What a simulated hypervisor answers when it is asked whether its host could start a guest: all hosts have all that any guest
//! needs, and every image lies in the pool of its folder.

use super::answer::{Answer, done, read};
use mainstay_libvirt::{
    Uuid,
    procedures::Procedure,
    types::{PoolRef, VolumeRef},
    xdr::XdrError,
};

/// As long as a real one. Nothing in it is looked at.
const CAPABILITIES_BYTES: usize = 16 * 1024;
/// `VIR_CPU_COMPARE_SUPERSET`.
const SUPERSET: i32 = 2;

/// The answer, if the call is one of these.
pub fn to(procedure: Procedure, payload: &[u8]) -> Option<Result<Answer, XdrError>> {
    Some(match procedure {
        Procedure::ConnectListAllNetworks | Procedure::ConnectListAllStoragePools => done(&(Vec::<PoolRef>::new(), 0_u32)),
        Procedure::ConnectListAllInterfaces => done(&(vec![("br0", "52:54:00:00:00:01")], 1_u32)),
        // A small server has about so many.
        Procedure::ConnectListAllNodeDevices => {
            let names: Vec<(String,)> = (0..80).map(|slot| (format!("pci_0000_00_{slot:02x}_0"),)).collect();
            done(&(&names, names.len() as u32))
        }
        Procedure::ConnectListAllSecrets => done(&(Vec::<(Uuid, i32, String)>::new(), 0_u32)),
        Procedure::ConnectGetDomainCapabilities => done(&("x".repeat(CAPABILITIES_BYTES),)),
        Procedure::ConnectCompareHypervisorCpu => done(&(SUPERSET,)),
        Procedure::StoragePoolLookupByTargetPath => {
            read(payload).and_then(|(folder,): (String,)| done(&(PoolRef { name: folder, uuid: Uuid([7; 16]) },)))
        }
        Procedure::StorageVolLookupByPath => read(payload).and_then(|(path,): (String,)| {
            let (pool, name) = path.rsplit_once('/').unwrap_or_default();
            done(&(VolumeRef { pool: pool.to_owned(), name: name.to_owned(), key: path.clone() },))
        }),
        Procedure::StorageVolGetXmlDesc => read(payload).and_then(|(volume, _flags): (VolumeRef, u32)| {
            let VolumeRef { name, key, .. } = volume;
            done(&(format!(
                "<volume type='file'>\n  <name>{name}</name>\n  <key>{key}</key>\n  <source>\n  </source>\n  <capacity \
                 unit='bytes'>21474836480</capacity>\n  <allocation unit='bytes'>4096000000</allocation>\n  <physical \
                 unit='bytes'>4096000000</physical>\n  <target>\n    <path>{key}</path>\n    <format type='qcow2'/>\n    \
                 <permissions>\n      <mode>0600</mode>\n      <owner>64055</owner>\n      <group>64055</group>\n    \
                 </permissions>\n    <timestamps>\n      <atime>1795798910.816</atime>\n      <mtime>1795798910.816</mtime>\n      \
                 <ctime>1795798910.816</ctime>\n    </timestamps>\n    <compat>1.1</compat>\n    <features/>\n  \
                 </target>\n</volume>\n"
            ),))
        }),
        _ => return None,
    })
}
