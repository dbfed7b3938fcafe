//! Getting in: SASL on sockets and over TLS, certificates, and SSH, against the real things.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use mainstay_libvirt::{Connection, Credentials, Error, Options, Uri};
use mainstay_model::Secret;

use crate::fixture::{InNetwork, LIMIT, TestLab, until};

const PASSWORD: &str = "ünder pressure";

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A lab host whose libvirtd runs with other settings.
struct Host {
    lab: TestLab,
    folder: tempfile::TempDir,
}

impl Host {
    async fn new() -> Self {
        Self { lab: TestLab::up(1, 0).await, folder: tempfile::tempdir().unwrap() }
    }

    async fn inside(&self, argv: &[&str]) {
        self.lab.run_in_host("h1", argv).await.unwrap();
    }

    async fn restart_with(&self, settings: &[(&str, &str)]) {
        self.lab.libvirtd_with("h1", settings).await.unwrap();
    }

    /// SASL with these mechanisms and one user, Ada, with `PASSWORD`.
    async fn sasl(&self, mechanisms: &str) {
        self.lab.sasl("h1", mechanisms, "ada", PASSWORD).await.unwrap();
    }

    async fn serve_tls(&self, pki: &Path, auth: &str) {
        self.lab.serve_tls("h1", pki, auth).await.unwrap();
    }

    fn unix(&self, options: &str) -> String {
        format!("qemu+unix:///system?socket={}{options}", path(&self.lab.libvirt_socket("h1").unwrap()))
    }
}

async fn open(uri: &str, password: Option<&str>) -> Result<Connection, Error> {
    let credentials = password.map(|password| Credentials { user: "ada".into(), password: Secret::new(password) });
    let options = Options { limit: LIMIT, credentials, ..Options::default() };
    Connection::open(&uri.parse::<Uri>().unwrap(), &options).await
}

async fn let_in(uri: &str, password: Option<&str>) {
    let connection = open(uri, password).await.unwrap_or_else(|error| panic!("{uri}: {error:?}"));
    assert_eq!(connection.hostname(LIMIT).await.unwrap(), "h1");
}

async fn kept_out(uri: &str, password: Option<&str>) -> String {
    let error = open(uri, password).await.err().unwrap_or_else(|| panic!("{uri}: was let in"));
    // Turned away, or not even asked: never taken for a host that is down.
    assert!(error.says_nothing_of_the_host(), "{uri}: {error:?}");
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[tokio::test]
async fn sasl_on_a_socket() {
    let host = Host::new().await;
    host.sasl("scram-sha-256 plain").await;
    host.restart_with(&[("auth_unix_rw", "\"sasl\""), ("auth_tcp", "\"sasl\"")]).await;
    let_in(&host.unix(""), Some(PASSWORD)).await;
    let_in(&host.unix("&auth=sasl.SCRAM-SHA-256"), Some(PASSWORD)).await;
    let_in(&host.unix("&auth=sasl.plain"), Some(PASSWORD)).await;
    for mechanism in ["scram-sha-256", "plain"] {
        let wrong = kept_out(&host.unix(&format!("&auth=sasl.{mechanism}")), Some("guess")).await;
        assert!(wrong.to_lowercase().contains(mechanism) && !wrong.contains("guess"), "{wrong}");
    }
    let nobody = kept_out(&host.unix(""), None).await;
    assert!(nobody.contains("user and password"), "{nobody}");
    let polkit = kept_out(&host.unix("&auth=polkit"), Some(PASSWORD)).await;
    assert!(polkit.contains("offers sasl"), "{polkit}");

    // Over plain TCP libvirtd offers only mechanisms that encrypt, and this client would not show a password anyway.
    let _network = InNetwork::of(&host.lab);
    let open_line = kept_out(&host.lab.libvirt_uri("h1").unwrap(), Some(PASSWORD)).await;
    assert!(open_line.contains("tls"), "{open_line}");
}

#[tokio::test]
async fn sasl_with_plain_alone() {
    let host = Host::new().await;
    host.sasl("plain").await;
    host.restart_with(&[("auth_unix_rw", "\"sasl\"")]).await;
    let_in(&host.unix(""), Some(PASSWORD)).await;
    let unknown = kept_out(&host.unix("&auth=sasl.scram-sha-256"), Some(PASSWORD)).await;
    assert!(unknown.contains("asks for SCRAM-SHA-256"), "{unknown}");
}

#[tokio::test]
async fn tls_with_certificates_and_sasl() {
    let host = Host::new().await;
    let pki = host.lab.certificates("h1").await.unwrap();
    host.serve_tls(&pki, "none").await;
    let network = InNetwork::of(&host.lab);
    let uri = |folder: &Path, options: &str| format!("qemu+tls://10.77.0.11/system?pkipath={}{options}", path(folder));
    let_in(&uri(&pki, ""), None).await;

    let folder = |name: &str, files: &[(&str, &str)]| {
        let folder = host.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (from, to) in files {
            fs::copy(pki.join(from), folder.join(to)).unwrap();
        }
        folder
    };
    let without = folder("without", &[("cacert.pem", "cacert.pem")]);
    let refused = kept_out(&uri(&without, ""), None).await;
    assert!(refused.contains("certificate"), "{refused}");
    let stranger = folder(
        "stranger",
        &[("strangercert.pem", "cacert.pem"), ("clientcert.pem", "clientcert.pem"), ("clientkey.pem", "clientkey.pem")],
    );
    let distrusted = kept_out(&uri(&stranger, ""), None).await;
    assert!(distrusted.contains("TLS handshake failed"), "{distrusted}");
    let_in(&uri(&stranger, "&no_verify=1"), None).await;
    let expired = folder(
        "expired",
        &[("cacert.pem", "cacert.pem"), ("expiredcert.pem", "clientcert.pem"), ("clientkey.pem", "clientkey.pem")],
    );
    let too_late = kept_out(&uri(&expired, ""), None).await;
    assert!(too_late.contains("in date"), "{too_late}");
    let empty = folder("empty", &[]);
    let missing = kept_out(&uri(&empty, ""), None).await;
    assert!(missing.contains("cacert.pem"), "{missing}");

    // The name counts, not only the signature: this server's certificate is for its own address.
    host.inside(&["ip", "address", "add", "10.77.0.200/24", "dev", "br0"]).await;
    let misnamed = kept_out(&uri(&pki, "").replace("10.77.0.11", "10.77.0.200"), None).await;
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    drop(network);

    host.sasl("scram-sha-256").await;
    host.serve_tls(&pki, "sasl").await;
    let _network = InNetwork::of(&host.lab);
    let_in(&uri(&pki, ""), Some(PASSWORD)).await;
    kept_out(&uri(&pki, ""), Some("guess")).await;
}

#[tokio::test]
async fn ssh_by_helper_and_by_netcat() {
    let host = Host::new().await;
    let folder = host.folder.path();
    let file = |name: &str| folder.join(name);
    for key in ["hostkey", "userkey"] {
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path(&file(key))]);
    }
    fs::copy(file("userkey.pub"), file("authorized")).unwrap();
    // The folder is this test's own, yet not root's home: strict modes would not like where it lies.
    let settings = format!(
        "Port 2222\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin yes\n",
        path(&file("hostkey")),
        path(&file("authorized"))
    );
    fs::write(file("sshd_config"), settings).unwrap();
    host.inside(&["mkdir", "-p", "/run/sshd"]).await;
    host.inside(&["sh", "-c", &format!("/usr/sbin/sshd -f {} >/dev/null 2>&1", path(&file("sshd_config")))]).await;

    // ssh must run in the host's network, and leave the tester's known hosts alone.
    let init = fs::read_to_string(host.lab.layout().host_pid_file("h1")).unwrap();
    let script = format!(
        "#!/bin/sh\nexec nsenter --target={} --net -- ssh -F none -o UserKnownHostsFile={} \"$@\"\n",
        init.trim(),
        path(&file("known_hosts"))
    );
    fs::write(file("ssh"), script).unwrap();
    fs::set_permissions(file("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let uri = |options: &str| {
        let (command, key) = (file("ssh"), file("userkey"));
        let common = format!("command={}&keyfile={}&no_verify=1", path(&command), path(&key));
        format!("qemu+ssh://root@127.0.0.1:2222/system?{common}{options}")
    };
    until("sshd", async || open(&uri(""), None).await.ok()).await;
    let_in(&uri("&proxy=native"), None).await;
    let_in(&uri("&proxy=netcat"), None).await;
    let_in(&uri("&netcat=/bin/nc&socket=/run/libvirt/libvirt-sock"), None).await;

    // ssh's own words reach the operator.
    fs::write(file("authorized"), "").unwrap();
    let denied = kept_out(&uri(""), None).await;
    assert!(denied.contains("Permission denied"), "{denied}");
}
