//! Other doors to a host's libvirtd than its open TCP port: SASL on its socket, TLS with certificates.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::run;
use crate::error::{AtPath, Result};
use crate::host;
use crate::lab::Lab;

/// A CA, a certificate for the server and one for the client, as libvirt's documentation makes them; a CA that nobody
/// knows; and a client's certificate that has expired.
const MAKE_CERTIFICATES: &str = r#"set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout cakey.pem -out cacert.pem -days 2 -subj "/CN=Mainstay test CA" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
for who in server client; do
  openssl req -newkey rsa:2048 -nodes -keyout ${who}key.pem -out $who.csr -subj "/CN=$who"
  printf 'subjectAltName=IP:%s,DNS:%s.lab\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature,keyEncipherment\n' "$1" "$2" >ext
  openssl x509 -req -in $who.csr -CA cacert.pem -CAkey cakey.pem -CAcreateserial -days 2 -extfile ext -out ${who}cert.pem
done
openssl x509 -req -in client.csr -CA cacert.pem -CAkey cakey.pem -days -1 -extfile ext -out expiredcert.pem
openssl req -x509 -newkey rsa:2048 -nodes -keyout strangerkey.pem -out strangercert.pem -days 2 -subj "/CN=stranger" \
  -addext basicConstraints=critical,CA:TRUE"#;

impl Lab {
    /// Replaces settings in a host's `libvirtd.conf`, and starts its libvirtd anew.
    pub async fn libvirtd_with(&self, host: &str, settings: &[(&str, &str)]) -> Result<()> {
        let file = self.host_file(host, "etc/libvirt/libvirtd.conf");
        let text = fs::read_to_string(&file).at("reading", &file)?;
        let replaced = |line: &&str| !settings.iter().any(|(key, _)| line.starts_with(&format!("{key} ")));
        let new = settings.iter().map(|(key, value)| format!("{key} = {value}"));
        let lines: Vec<String> = text.lines().filter(replaced).map(str::to_owned).chain(new).collect();
        fs::write(&file, lines.join("\n") + "\n").at("writing", &file)?;
        self.libvirtd_kill(host).await?;
        self.libvirtd_start(host).await
    }

    /// A SASL database on a host with these mechanisms and one user; used once libvirtd is told to ask for SASL.
    pub async fn sasl(&self, host: &str, mechanisms: &str, user: &str, password: &str) -> Result<()> {
        let folder = self.layout().host_dir(host).join("sasl2");
        fs::create_dir_all(&folder).at("creating", &folder)?;
        let (database, settings) = (folder.join("passwd.db"), folder.join("libvirt.conf"));
        let text = format!("mech_list: {mechanisms}\nsasldb_path: {}\n", database.display());
        fs::write(&settings, text).at("writing", &settings)?;
        let set = r#"printf %s "$1" | saslpasswd2 -p -c -a libvirt -u "$2" -f "$3" "$4""#;
        run(&["sh", "-c", set, "sh", password, host, &database.display().to_string(), user]).await?;
        host::run_inside(self.layout(), host, &["mkdir", "-p", "/etc/sasl2"]).await?;
        let folder = folder.display().to_string();
        host::run_inside(self.layout(), host, &["mount", "--bind", &folder, "/etc/sasl2"]).await.map(|_| ())
    }

    /// Certificates for TLS with a host, in a folder of the lab: `cacert.pem`, `servercert.pem`, `clientcert.pem` with
    /// their keys, `strangercert.pem` of a CA that nobody knows, `expiredcert.pem` for the client's key.
    pub async fn certificates(&self, host: &str) -> Result<PathBuf> {
        let folder = self.layout().host_dir(host).join("pki");
        fs::create_dir_all(&folder).at("creating", &folder)?;
        let make = format!("cd \"$0\" && {MAKE_CERTIFICATES}");
        let address = self.host_address(host)?.to_string();
        run(&["sh", "-c", &make, &folder.display().to_string(), &address, host]).await?;
        Ok(folder)
    }

    /// Lets a host's libvirtd listen for TLS, with the certificates of this folder; `auth` is `none` or `sasl`.
    pub async fn serve_tls(&self, host: &str, certificates: &Path, auth: &str) -> Result<()> {
        let file = |name: &str| format!("\"{}\"", certificates.join(name).display());
        let settings = [
            ("listen_tls", "1"),
            ("listen_addr", "\"0.0.0.0\""),
            ("auth_tls", &format!("\"{auth}\"")),
            ("tls_no_sanity_certificate", "1"),
            ("ca_file", &file("cacert.pem")),
            ("cert_file", &file("servercert.pem")),
            ("key_file", &file("serverkey.pem")),
        ];
        self.libvirtd_with(host, &settings).await
    }

    /// Lets a host's QEMU migrate by TLS: to it with a certificate of this folder, which names the host, from it with the client's.
    pub async fn migrate_by_tls(&self, host: &str, certificates: &Path) -> Result<()> {
        let folder = self.layout().host_dir(host).join("pki-qemu");
        fs::create_dir_all(&folder).at("creating", &folder)?;
        let (client, server) = (["clientcert.pem", "clientkey.pem"], ["servercert.pem", "serverkey.pem"]);
        let to = ["client-cert.pem", "client-key.pem", "server-cert.pem", "server-key.pem", "ca-cert.pem"];
        for (from, to) in client.iter().chain(&server).chain(&["cacert.pem"]).zip(to) {
            let (from, to) = (certificates.join(from), folder.join(to));
            fs::copy(&from, &to).at("copying", &from)?;
        }
        let file = self.host_file(host, "etc/libvirt/qemu.conf");
        let mut text = fs::read_to_string(&file).at("reading", &file)?;
        text += &format!("migrate_tls_x509_cert_dir = \"{}\"\n", folder.display());
        fs::write(&file, text).at("writing", &file)?;
        self.libvirtd_kill(host).await?;
        self.libvirtd_start(host).await
    }
}
