//! Procedures: the numbers and names of the calls and messages this client uses.
//!
//! Numbers are those of libvirt 9.0.0's `remote_protocol.x`, `qemu_protocol.x` and
//! `virkeepaliveprotocol.x`; libvirt never renumbers them.

use crate::frame::{KEEPALIVE_PROGRAM, QEMU_PROGRAM, REMOTE_PROGRAM};

macro_rules! procedures {
    ($($name:ident = $program:ident $number:literal $text:literal,)*) => {
        /// A procedure of libvirt's protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Procedure {
            $(#[doc = concat!("`", $text, "`, number ", $number, ".")] $name,)*
        }

        impl Procedure {
            /// The program the procedure belongs to.
            pub fn program(self) -> u32 {
                match self { $(Self::$name => $program,)* }
            }

            /// The procedure's number within its program.
            pub fn number(self) -> i32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The procedure's name as libvirt spells it, in lower case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The procedure with this number, if this client knows it.
            pub fn from_number(program: u32, number: i32) -> Option<Self> {
                match (program, number) { $(($program, $number) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

procedures! {
    ConnectOpen = REMOTE_PROGRAM 1 "connect_open",
    ConnectGetVersion = REMOTE_PROGRAM 4 "connect_get_version",
    NodeGetCpuStats = REMOTE_PROGRAM 227 "node_get_cpu_stats",
    NodeGetInfo = REMOTE_PROGRAM 6 "node_get_info",
    ConnectGetCapabilities = REMOTE_PROGRAM 7 "connect_get_capabilities",
    DomainGetXmlDesc = REMOTE_PROGRAM 14 "domain_get_xml_desc",
    DomainLookupByName = REMOTE_PROGRAM 23 "domain_lookup_by_name",
    DomainLookupByUuid = REMOTE_PROGRAM 24 "domain_lookup_by_uuid",
    DomainResume = REMOTE_PROGRAM 28 "domain_resume",
    DomainSetAutostart = REMOTE_PROGRAM 29 "domain_set_autostart",
    DomainSuspend = REMOTE_PROGRAM 34 "domain_suspend",
    DomainCoreDump = REMOTE_PROGRAM 53 "domain_core_dump",
    ConnectGetHostname = REMOTE_PROGRAM 59 "connect_get_hostname",
    ConnectSupportsFeature = REMOTE_PROGRAM 60 "connect_supports_feature",
    AuthList = REMOTE_PROGRAM 66 "auth_list",
    AuthSaslInit = REMOTE_PROGRAM 67 "auth_sasl_init",
    AuthSaslStart = REMOTE_PROGRAM 68 "auth_sasl_start",
    AuthSaslStep = REMOTE_PROGRAM 69 "auth_sasl_step",
    AuthPolkit = REMOTE_PROGRAM 70 "auth_polkit",
    StoragePoolCreateXml = REMOTE_PROGRAM 76 "storage_pool_create_xml",
    StoragePoolRefresh = REMOTE_PROGRAM 83 "storage_pool_refresh",
    StorageVolCreateXml = REMOTE_PROGRAM 93 "storage_vol_create_xml",
    StorageVolDelete = REMOTE_PROGRAM 94 "storage_vol_delete",
    StorageVolLookupByPath = REMOTE_PROGRAM 97 "storage_vol_lookup_by_path",
    StorageVolGetXmlDesc = REMOTE_PROGRAM 99 "storage_vol_get_xml_desc",
    NodeGetFreeMemory = REMOTE_PROGRAM 102 "node_get_free_memory",
    NodeDeviceGetXmlDesc = REMOTE_PROGRAM 114 "node_device_get_xml_desc",
    ConnectGetLibVersion = REMOTE_PROGRAM 157 "connect_get_lib_version",
    DomainAbortJob = REMOTE_PROGRAM 164 "domain_abort_job",
    DomainUpdateDeviceFlags = REMOTE_PROGRAM 174 "domain_update_device_flags",
    DomainHasManagedSaveImage = REMOTE_PROGRAM 183 "domain_has_managed_save_image",
    DomainManagedSaveRemove = REMOTE_PROGRAM 184 "domain_managed_save_remove",
    DomainSnapshotCreateXml = REMOTE_PROGRAM 185 "domain_snapshot_create_xml",
    DomainSnapshotGetXmlDesc = REMOTE_PROGRAM 186 "domain_snapshot_get_xml_desc",
    DomainSnapshotCurrent = REMOTE_PROGRAM 191 "domain_snapshot_current",
    DomainRevertToSnapshot = REMOTE_PROGRAM 192 "domain_revert_to_snapshot",
    DomainSnapshotDelete = REMOTE_PROGRAM 193 "domain_snapshot_delete",
    DomainCreateWithFlags = REMOTE_PROGRAM 196 "domain_create_with_flags",
    DomainScreenshot = REMOTE_PROGRAM 211 "domain_screenshot",
    DomainGetState = REMOTE_PROGRAM 212 "domain_get_state",
    DomainUndefineFlags = REMOTE_PROGRAM 231 "domain_undefine_flags",
    DomainDestroyFlags = REMOTE_PROGRAM 234 "domain_destroy_flags",
    DomainBlockJobAbort = REMOTE_PROGRAM 237 "domain_block_job_abort",
    DomainGetBlockJobInfo = REMOTE_PROGRAM 238 "domain_get_block_job_info",
    DomainReset = REMOTE_PROGRAM 245 "domain_reset",
    DomainShutdownFlags = REMOTE_PROGRAM 258 "domain_shutdown_flags",
    DomainGetDiskErrors = REMOTE_PROGRAM 263 "domain_get_disk_errors",
    DomainPmWakeup = REMOTE_PROGRAM 267 "domain_pm_wakeup",
    ConnectListAllDomains = REMOTE_PROGRAM 273 "connect_list_all_domains",
    DomainListAllSnapshots = REMOTE_PROGRAM 274 "domain_list_all_snapshots",
    ConnectListAllStoragePools = REMOTE_PROGRAM 281 "connect_list_all_storage_pools",
    StoragePoolListAllVolumes = REMOTE_PROGRAM 282 "storage_pool_list_all_volumes",
    ConnectListAllNetworks = REMOTE_PROGRAM 283 "connect_list_all_networks",
    ConnectListAllInterfaces = REMOTE_PROGRAM 284 "connect_list_all_interfaces",
    ConnectListAllNodeDevices = REMOTE_PROGRAM 285 "connect_list_all_node_devices",
    ConnectListAllSecrets = REMOTE_PROGRAM 287 "connect_list_all_secrets",
    DomainBlockCommit = REMOTE_PROGRAM 290 "domain_block_commit",
    DomainGetJobStats = REMOTE_PROGRAM 298 "domain_get_job_stats",
    DomainMigratePerform3Params = REMOTE_PROGRAM 305 "domain_migrate_perform3_params",
    ConnectDomainEventCallbackRegisterAny = REMOTE_PROGRAM 316 "connect_domain_event_callback_register_any",
    DomainEventCallbackLifecycle = REMOTE_PROGRAM 318 "domain_event_callback_lifecycle",
    DomainEventCallbackReboot = REMOTE_PROGRAM 319 "domain_event_callback_reboot",
    DomainEventCallbackWatchdog = REMOTE_PROGRAM 321 "domain_event_callback_watchdog",
    DomainEventCallbackIoErrorReason = REMOTE_PROGRAM 324 "domain_event_callback_io_error_reason",
    DomainEventCallbackControlError = REMOTE_PROGRAM 325 "domain_event_callback_control_error",
    DomainFsfreeze = REMOTE_PROGRAM 335 "domain_fsfreeze",
    DomainFsthaw = REMOTE_PROGRAM 336 "domain_fsthaw",
    DomainEventBlockJob2 = REMOTE_PROGRAM 339 "domain_event_block_job_2",
    NodeGetFreePages = REMOTE_PROGRAM 340 "node_get_free_pages",
    ConnectGetDomainCapabilities = REMOTE_PROGRAM 342 "connect_get_domain_capabilities",
    ConnectGetAllDomainStats = REMOTE_PROGRAM 344 "connect_get_all_domain_stats",
    DomainEventCallbackAgentLifecycle = REMOTE_PROGRAM 348 "domain_event_callback_agent_lifecycle",
    DomainDefineXmlFlags = REMOTE_PROGRAM 350 "domain_define_xml_flags",
    DomainInterfaceAddresses = REMOTE_PROGRAM 353 "domain_interface_addresses",
    ConnectRegisterCloseCallback = REMOTE_PROGRAM 360 "connect_register_close_callback",
    ConnectEventConnectionClosed = REMOTE_PROGRAM 362 "connect_event_connection_closed",
    StoragePoolLookupByTargetPath = REMOTE_PROGRAM 391 "storage_pool_lookup_by_target_path",
    ConnectCompareHypervisorCpu = REMOTE_PROGRAM 393 "connect_compare_hypervisor_cpu",
    DomainCheckpointCreateXml = REMOTE_PROGRAM 411 "domain_checkpoint_create_xml",
    DomainCheckpointGetXmlDesc = REMOTE_PROGRAM 412 "domain_checkpoint_get_xml_desc",
    DomainListAllCheckpoints = REMOTE_PROGRAM 413 "domain_list_all_checkpoints",
    DomainGetGuestInfo = REMOTE_PROGRAM 418 "domain_get_guest_info",
    DomainEventMemoryFailure = REMOTE_PROGRAM 423 "domain_event_memory_failure",
    QemuDomainAgentCommand = QEMU_PROGRAM 3 "qemu_domain_agent_command",
    KeepalivePing = KEEPALIVE_PROGRAM 1 "keepalive_ping",
    KeepalivePong = KEEPALIVE_PROGRAM 2 "keepalive_pong",
}

impl Procedure {
    /// True for calls that end what hangs: they must get through while other calls are stuck.
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::DomainDestroyFlags | Self::DomainAbortJob | Self::DomainBlockJobAbort)
    }
}

impl std::fmt::Display for Procedure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
