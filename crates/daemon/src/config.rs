//! The configuration file, read and checked: what the process runs with.

use crate::{link::LinkConfig, pump::with_causes};
use mainstay_libvirt::Uri;
use mainstay_model::{
    HostId,
    config::{
        self, CONTRADICTION, ControllerConfig, FileUse, Loaded, NamedFile, NotifyConfig, OPEN_TO_OTHERS, Place, Places,
        Problem, Problems, TOKEN_AT_LEAST, WRONG_VALUE,
    },
    spec::ClusterSpec,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::AsyncReadExt;

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub spec: Arc<ClusterSpec>,
    pub controller: ControllerConfig,
    pub notify: NotifyConfig,
    pub links: BTreeMap<HostId, LinkConfig>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read; `mainstay config example` prints one to begin with", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It says what can't be; all problems at once.
    #[error(transparent)]
    Problems(Problems),
}

impl ConfigError {
    /// Each problem in one line, with its place.
    pub fn lines(&self) -> Vec<String> {
        match self {
            ConfigError::File { source, .. } => vec![format!("{self}: {source}")],
            ConfigError::Problems(problems) => problems.iter().map(line).collect(),
        }
    }
}

/// All that a file's mode grants to users who are neither its owner nor in its group.
const OTHERS: u32 = 0o007;

/// No configuration or password is longer; a wrong path (a disk image, /dev/zero) shall not fill the memory.
const TEXT_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a file that a person wrote.
///
/// # Errors
/// The system's, or that it is over 16 MiB and so cannot be meant.
pub async fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(TEXT_MAX_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > TEXT_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB; is it the right file?"));
    }
    Ok(text)
}

/// A configuration with all that is wrong with it: what `config check` shows, and what `up` and a reload refuse.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What could be read.
    pub loaded: Loaded,
    /// All that is wrong or looks so, in order of the text.
    pub problems: Vec<Problem>,
    /// False if it is not TOML: then what was read says little.
    pub is_toml: bool,
}

impl Checked {
    /// Adds problems that were found by another check.
    pub fn and(&mut self, found: impl IntoIterator<Item = Problem>) {
        self.problems.extend(found);
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
    }

    /// What was read, if it can be used.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn usable(self) -> Result<Loaded, Problems> {
        let (warnings, errors): (Vec<Problem>, Vec<Problem>) =
            self.problems.into_iter().partition(|problem| problem.warning);
        match errors.is_empty() {
            true => Ok(Loaded { warnings, ..self.loaded }),
            false => Err(Problems::new(errors)),
        }
    }
}

/// Checks the text of a configuration, the files it names, and the way to each host. Asks no host and no fence agent.
pub async fn check(path: &Path, text: &str) -> Checked {
    let config::Checked { loaded, problems, is_toml } = config::check(&path.display().to_string(), text);
    let mut checked = Checked { loaded, problems, is_toml };
    if is_toml {
        let mut found = own_file(path, &checked.loaded.places);
        for file in &checked.loaded.files {
            found.extend(named_file(file).await);
        }
        found.extend(ways(&checked.loaded));
        checked.and(found);
    }
    checked
}

/// Who can write the configuration can run programs as the controller; who can read it has its secrets.
fn own_file(path: &Path, places: &Places) -> Vec<Problem> {
    let Ok(found) = std::fs::metadata(path) else { return vec![] };
    let mode = found.permissions().mode() & 0o777;
    let open = |place: &Option<Place>, bits: u32, what: &str| {
        let place = place.as_ref().filter(|_| found.is_file() && mode & bits != 0)?;
        let message = format!("{what} (mode {mode:04o})");
        Some(place.error(OPEN_TO_OTHERS, message, format!("chmod o-rwx {}", path.display())))
    };
    let written = open(&places.file, 0o002, "every user of this machine can write the configuration");
    let read = open(&places.secret, 0o004, "a secret stands here, and every user of this machine can read the file");
    written.into_iter().chain(read).collect()
}

/// Whether a named file can be read, by this user alone, and holds what it should.
async fn named_file(file: &NamedFile) -> Option<Problem> {
    let path = Path::new(&file.path);
    let text = match read_text(path).await {
        Ok(text) => text,
        Err(error) => return Some(file.unreadable(error)),
    };
    let found = std::fs::metadata(path).ok()?;
    let mode = found.permissions().mode() & 0o777;
    if file.holds.is_secret() && found.is_file() && mode & OTHERS != 0 {
        return Some(file.open_to_others(mode));
    }
    (file.holds == FileUse::Token && text.trim().len() < TOKEN_AT_LEAST).then(|| {
        let message = format!("the token in `{}` has fewer than {TOKEN_AT_LEAST} characters", file.path);
        file.wrong(message, format!("make one: openssl rand -hex 32 > {}", file.path))
    })
}

/// Each host's URI, and whether two of them lead to one libvirtd.
fn ways(loaded: &Loaded) -> Vec<Problem> {
    let (mut problems, mut templates, mut ends) = (vec![], BTreeSet::new(), BTreeMap::new());
    let mut keys = BTreeSet::new();
    for (host, place) in &loaded.places.uris {
        let Some(spec) = loaded.spec.hosts.get(host) else { continue };
        let uri = match spec.uri.parse::<Uri>() {
            Ok(uri) => uri,
            // Where it stands for many hosts, one of them shows what is wrong.
            Err(error) if templates.insert(place.position()) => {
                let help = "`mainstay explain MS1404`; docs/libvirt-driver.md lists what a URI may hold";
                problems.push(place.error(WRONG_VALUE, format!("host `{host}`: {}", with_causes(&error)), help));
                continue;
            }
            Err(_) => continue,
        };
        // Hosts have the key in common, as a rule: it is reported once.
        let key = uri.endpoint.private_key().filter(|key| keys.insert(key.clone()));
        problems.extend(key.and_then(|key| open_key(&key, place)));
        let end = (format!("{:?}", uri.endpoint), uri.name);
        if let Some((other, address)) = ends.insert(end, (host, &spec.address))
            && !address.eq_ignore_ascii_case(&spec.address)
        {
            let message =
                format!("hosts `{other}` and `{host}` are reached at one place, `{}`: they are one machine", spec.uri);
            problems.push(place.error(CONTRADICTION, message, "correct one of the two, or take it out"));
        }
    }
    problems
}

/// The problem that others can read the private key with which hypervisors are reached.
fn open_key(key: &Path, place: &Place) -> Option<Problem> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode() & 0o777;
    let key = key.display();
    let message = format!("every user of this machine can read the private key `{key}` (mode {mode:04o})");
    (mode & OTHERS != 0).then(|| place.error(OPEN_TO_OTHERS, message, format!("chmod o-rwx {key}")))
}

impl Config {
    /// Reads the file and all that it names.
    pub async fn read(path: &Path) -> Result<Config, ConfigError> {
        let file = |source| ConfigError::File { path: path.to_owned(), source };
        let text = read_text(path).await.map_err(file)?;
        let loaded = check(path, &text).await.usable().map_err(ConfigError::Problems)?;
        let links = LinkConfig::all(&loaded.spec, &loaded.drivers);
        let warnings = loaded.warnings.iter().map(line).collect();
        Ok(Config {
            spec: Arc::new(loaded.spec),
            controller: loaded.controller,
            notify: loaded.notify,
            links,
            warnings,
        })
    }
}

fn line(problem: &Problem) -> String {
    let help = if problem.help.is_empty() { String::new() } else { format!(" ({})", problem.help) };
    format!("{}:{}:{}: {}{help}", problem.file(), problem.line, problem.column, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-0123456789abcdef";

    /// Whatever of a configuration is printed, in whatever way: no secret is in it, be it written there or in a file.
    #[tokio::test]
    async fn no_configuration_shows_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let secret = file("secret", CANARY);
        let names = ["passwd", "password", "snmp-priv-passwd", "community", "api_key", "token", "hexadecimal_kg"];
        let options: String = names.iter().map(|name| format!("{name} = \"{CANARY}\"\n")).collect();
        let text = format!(
            "[controller]\nstate_directory = \"{0}\"\napi_listen = \"127.0.0.1:0\"\napi_token_file = \"{secret}\"\n\
             [controller.token.ci]\nfile = \"{secret}\"\nrole = \"read\"\n\
             [site.a.libvirt]\nuri = \"qemu+tcp://{{address}}/system\"\nusername = \"ada\"\npassword_file = \"{secret}\"\n\
             [site.a.host.h1]\naddress = \"127.0.0.1\"\nfence = [[\"bmc\"], [\"pdu\"]]\n\
             [fence.bmc]\nagent = \"fence_dummy\"\n[fence.bmc.options]\n{options}ip = \"10.0.0.1\"\n\
             [fence.pdu]\nagent = \"fence_dummy\"\noptions = {{ password_file = \"{secret}\" }}\n\
             [[vm]]\nmatch = \"never-*\"\n",
            directory.path().display()
        );
        let path = PathBuf::from(file("mainstay.toml", &text));
        let config = Config::read(&path).await.unwrap_or_else(|error| panic!("{:?}", error.lines()));
        let wrong = text.replace("ip = ", "ipp = 7\nip = ").replace("role = \"read\"", "role = \"write\"");
        let (checked, refused) = (check(&path, &text).await, check(&path, &wrong).await);
        assert!(!refused.problems.is_empty());
        let credentials =
            mainstay_libvirt::Credentials { user: "ada".into(), password: mainstay_model::Secret::new(CANARY) };
        let connecting = mainstay_libvirt::Options { credentials: Some(credentials), ..Default::default() };
        let device = config.spec.fence_devices["bmc"].clone();
        assert_eq!(device.options["passwd"].expose(), CANARY, "it is there for the agent");
        let link = crate::link::Link::new("h1".into(), config.links["h1"].clone()).unwrap();
        for (what, shown) in [
            ("all of it", format!("{config:?}")),
            ("what was checked", format!("{checked:?}")),
            ("what was refused", format!("{refused:?}")),
            ("problems", refused.problems.iter().map(|problem| format!("{problem} {}", line(problem))).collect()),
            ("the spec as JSON", serde_json::to_string(&*config.spec).unwrap()),
            ("the process as JSON", serde_json::to_string(&config.controller).unwrap()),
            ("the drivers as JSON", serde_json::to_string(&checked.loaded.drivers).unwrap()),
            ("a device", format!("{device:#?}")),
            ("the way to libvirt", format!("{connecting:?} {link:?}")),
        ] {
            assert!(!shown.contains(CANARY), "{what}: {shown}");
            assert!(!shown.is_empty(), "{what}");
        }
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_meant_does_not_fill_the_memory() {
        let error = Config::read(Path::new("/dev/zero")).await.unwrap_err();
        assert_eq!(
            error.lines(),
            [
                "the configuration /dev/zero can't be read; `mainstay config example` prints one to begin with: it is longer \
              than 16 MiB; is it the right file?"
            ]
        );
    }
}
