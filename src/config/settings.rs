//! The keys of `config.toml`: the user's, then the data directory's over it.
//!
//! A key that is not known is an error that names it and what is known: a misspelt key that is silently ignored looks like
//! one that works.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::dir::DataDir;
use crate::config::duration::parse_duration;
use crate::config::env::Env;
use crate::config::fault::Fault;
use crate::config::guard;
use crate::config::prices::{self, Prices};
use crate::error::Error;

/// A configuration file larger than this is not one.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Bounds of `journal.segment_bytes`: below, headers outweigh events; above, one file is too much to lose or to copy.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);
/// Bounds of `emit.burst`: below, a whole batch could never get in.
const EMIT_BURST: std::ops::RangeInclusive<u32> = 1_000..=100_000_000;
/// More than any machine emits.
const EMIT_RATE_MAX: u32 = 100_000_000;

/// Of `disk.max_bytes`: less holds no journal.
const DISK_BYTES_MIN: u64 = 16 << 20;

/// What of the past may go, and what of the disk may be taken. See ADR 0012.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `retention.max_age`: segments whose last event is older than this, measured from the newest event, may go.
    pub max_age: Option<Duration>,
    /// `retention.max_bytes`: the oldest segments go while the journal is larger.
    pub max_bytes: Option<u64>,
    /// `retention.min_bytes`: the newest so many bytes stay, whatever the other two say.
    pub min_bytes: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { max_age: None, max_bytes: None, min_bytes: 256 << 20 }
    }
}

impl Retention {
    /// Whether anything can ever go.
    pub fn is_set(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }
}

/// What the store may take of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskLimits {
    /// `disk.max_bytes`: nothing is appended that would make the journal, with its bases, index and snapshots, larger.
    pub max_bytes: Option<u64>,
    /// `disk.reserve`: bytes of the file system that are left to others. `None`: 256 MiB, or a twentieth of a small one.
    pub reserve: Option<u64>,
}

/// How durable an event must be before the command that emitted it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It survives the death of any process, not of the machine.
    Os,
    /// It survives a power cut.
    Disk,
}

/// What is configured, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `server.addr`: where `api-server` listens.
    pub server_addr: SocketAddr,
    /// `server.linger`, in seconds: how long a server that nobody asked for stays once no session and no client is left. `None`,
    /// written 0: until it is stopped.
    pub linger: Option<Duration>,
    /// `emit.durability`: what commands (never hooks) wait for.
    pub emit_durability: Durability,
    /// `emit.rate_per_second`: events a second that a server takes from one source, in the long run; 0 is no limit.
    pub emit_rate_per_second: u32,
    /// `emit.burst`: events that it takes from one source at once, after a rest.
    pub emit_burst: u32,
    /// `journal.segment_bytes`: size at which a segment is sealed.
    pub segment_bytes: u64,
    /// `journal.chain`: whether batches carry the hash chain.
    pub chain: bool,
    /// `retention.*`.
    pub retention: Retention,
    /// `disk.*`.
    pub disk: DiskLimits,
    /// `data.registered`, the user's file only: the `.mnemosyne/` directories that an upward walk may find.
    pub registered: Vec<PathBuf>,
    /// `prices`: what tokens cost, by model; empty unless the user says.
    pub prices: Prices,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server_addr: SocketAddr::from(([127, 0, 0, 1], 3000)),
            linger: Some(Duration::from_secs(60)),
            emit_durability: Durability::Os,
            emit_rate_per_second: 10_000,
            emit_burst: 20_000,
            segment_bytes: 64 << 20,
            chain: true,
            retention: Retention::default(),
            disk: DiskLimits::default(),
            registered: Vec::new(),
            prices: Prices::default(),
        }
    }
}

impl Settings {
    /// The user's configuration with the data directory's over it.
    ///
    /// # Errors
    /// [`Error::Config`] naming file, line and key.
    pub fn load(dir: &DataDir, env: &Env) -> Result<Settings, Error> {
        let users = Settings::load_user(env)?;
        let (mut settings, path) = (users.clone(), dir.config_toml());
        settings.apply_file(&path, false)?;
        settings.check().map_err(|fault| {
            let is_the_users = users.check().as_ref() == Err(&fault);
            let path = env.user_config_toml().filter(|_| is_the_users).unwrap_or(path);
            Error::Config { path, message: fault.to_string() }
        })?;
        Ok(settings)
    }

    /// The user's configuration alone.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_user(env: &Env) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        if let Some(path) = env.user_config_toml() {
            settings.apply_file(&path, true)?;
        }
        Ok(settings)
    }

    pub(crate) fn apply_file(&mut self, path: &Path, users: bool) -> Result<(), Error> {
        let Some(bytes) = read_config(path, users)? else { return Ok(()) };
        let config = |message: String| Error::Config { path: path.into(), message };
        let text = String::from_utf8(bytes).map_err(|_| config("it is not UTF-8 text".into()))?;
        self.apply_text(&text, users).map_err(|fault| config(fault.to_string()))
    }

    /// Takes what the text of a file says; `users` where the file is the user's own.
    pub(crate) fn apply_text(&mut self, text: &str, users: bool) -> Result<(), Fault> {
        let file: File = toml::from_str(text)
            .map_err(|error| Fault::in_text(text, error.span().map(|span| span.start), error.message()))?;
        self.apply(file, users).map_err(Fault::of_value)
    }

    /// What a file may say by itself and what is not to be in force: values that do not go together, or that no server takes. A
    /// hook that only looks for its data directory does not ask for it: it would lose its event for the address of a server.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if !self.server_addr.ip().is_loopback() {
            return Err(Fault::of_value(format!(
                "server.addr: {} is not a loopback address, and no server would start: say 127.0.0.1 or [::1]",
                self.server_addr
            )));
        }
        let Retention { max_bytes, min_bytes, .. } = self.retention;
        match max_bytes.filter(|max| *max < min_bytes) {
            None => Ok(()),
            Some(max) => Err(Fault::of_value(format!(
                "retention.max_bytes: {max} is less than retention.min_bytes ({min_bytes}), which always stays: \
                 raise the one or lower the other"
            ))),
        }
    }

    fn apply(&mut self, file: File, users: bool) -> Result<(), String> {
        if let Some(addr) = file.server.addr {
            self.server_addr = addr
                .parse()
                .map_err(|_| format!("server.addr: {addr:?} is no ADDRESS:PORT, such as 127.0.0.1:3000"))?;
        }
        if let Some(seconds) = file.server.linger {
            self.linger = (seconds > 0).then_some(Duration::from_secs(seconds));
        }
        if let Some(durability) = file.emit.durability {
            self.emit_durability = durability;
        }
        if let Some(rate) = file.emit.rate_per_second {
            if rate > EMIT_RATE_MAX {
                return Err(format!(
                    "emit.rate_per_second: {rate} is not between 0 (no limit) and {EMIT_RATE_MAX}"
                ));
            }
            self.emit_rate_per_second = rate;
        }
        if let Some(burst) = file.emit.burst {
            if !EMIT_BURST.contains(&burst) {
                let (least, most) = (EMIT_BURST.start(), EMIT_BURST.end());
                return Err(format!("emit.burst: {burst} is not between {least} (a whole batch) and {most}"));
            }
            self.emit_burst = burst;
        }
        if let Some(bytes) = file.journal.segment_bytes {
            if !SEGMENT_BYTES.contains(&bytes) {
                let (least, most) = (SEGMENT_BYTES.start(), SEGMENT_BYTES.end());
                return Err(format!("journal.segment_bytes: {bytes} is not between {least} and {most}"));
            }
            self.segment_bytes = bytes;
        }
        if let Some(chain) = file.journal.chain {
            self.chain = chain;
        }
        self.prices.apply(file.prices)?;
        if let Some(age) = file.retention.max_age {
            let age = parse_duration(&age).map_err(|error| format!("retention.max_age: {error}"))?;
            self.retention.max_age = Some(age);
        }
        self.retention.max_bytes = file.retention.max_bytes.or(self.retention.max_bytes);
        self.retention.min_bytes = file.retention.min_bytes.unwrap_or(self.retention.min_bytes);
        if let Some(bytes) = file.disk.max_bytes {
            if bytes < DISK_BYTES_MIN {
                return Err(format!("disk.max_bytes: {bytes} is less than {DISK_BYTES_MIN}"));
            }
            self.disk.max_bytes = Some(bytes);
        }
        self.disk.reserve = file.disk.reserve.or(self.disk.reserve);
        if let Some(registered) = file.data.registered {
            if !users {
                return Err(
                    "data.registered: only the user's own config.toml may register directories".into()
                );
            }
            self.registered = registered;
        }
        Ok(())
    }
}

/// The user may link the own configuration elsewhere (dotfiles); a data directory's is opened like all files there.
fn read_config(path: &Path, users: bool) -> Result<Option<Vec<u8>>, Error> {
    if !users {
        return guard::read_if_present(path, CONFIG_BYTES_MAX);
    }
    match std::fs::canonicalize(path) {
        Ok(path) => guard::read_if_present(&path, CONFIG_BYTES_MAX),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    server: Server,
    emit: Emit,
    journal: Journal,
    retention: RetentionFile,
    disk: DiskFile,
    data: Data,
    prices: BTreeMap<String, prices::InFile>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Server {
    addr: Option<String>,
    linger: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Emit {
    durability: Option<Durability>,
    rate_per_second: Option<u32>,
    burst: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Journal {
    segment_bytes: Option<u64>,
    chain: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RetentionFile {
    max_age: Option<String>,
    max_bytes: Option<u64>,
    min_bytes: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct DiskFile {
    max_bytes: Option<u64>,
    reserve: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Data {
    registered: Option<Vec<PathBuf>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(user: &str, project: &str) -> Result<Settings, Error> {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        let dir = DataDir::at(home.path().join("data"));
        std::fs::create_dir_all(env.user_config_toml().unwrap().parent().unwrap()).unwrap();
        std::fs::create_dir_all(dir.path()).unwrap();
        std::fs::write(env.user_config_toml().unwrap(), user).unwrap();
        std::fs::write(dir.config_toml(), project).unwrap();
        Settings::load(&dir, &env)
    }

    #[test]
    fn the_data_directory_overrides_the_user_and_the_rest_stays_default() {
        let user = "[server]\naddr = \"127.0.0.1:4000\"\n[journal]\nsegment_bytes = 131072\nchain = false\n";
        let settings = load(user, "[emit]\ndurability = \"disk\"\n[server]\naddr = \"[::1]:0\"\n").unwrap();
        assert_eq!(settings.server_addr, "[::1]:0".parse().unwrap());
        assert_eq!(settings.emit_durability, Durability::Disk);
        assert_eq!((settings.segment_bytes, settings.chain), (131_072, false));
        assert_eq!(load("", "").unwrap(), Settings::default());
        let kept = "[retention]\nmax_age = \"30d\"\nmax_bytes = 1000000\n";
        let settings = load(kept, "[retention]\nmin_bytes = 0\n[disk]\nreserve = 5\n").unwrap();
        let day = Duration::from_hours(24);
        assert_eq!(
            settings.retention,
            Retention { max_age: Some(day * 30), max_bytes: Some(1_000_000), min_bytes: 0 }
        );
        assert_eq!(settings.disk, DiskLimits { max_bytes: None, reserve: Some(5) });
    }

    #[test]
    fn a_price_is_exact_and_of_the_longest_name_that_the_models_begins_with() {
        let user = "[prices.\"claude-opus-4\"]\ninput = 15\noutput = 75.0\ncache_read = 1.5\ncache_write = 18.75\n\
                    [prices.claude]\ninput = 3\noutput = 15\n";
        let prices = load(user, "[prices.claude]\ninput = 0.1\noutput = 0.3\n").unwrap().prices;
        let opus = prices.of("claude-opus-4-20250514").unwrap();
        let told = (opus.input, opus.output, opus.cache_read, opus.cache_write);
        assert_eq!(told, (15_000_000, 75_000_000, Some(1_500_000), Some(18_750_000)));
        let other = prices.of("claude-haiku").unwrap();
        assert_eq!(
            (other.input, other.output, other.cache_read),
            (100_000, 300_000, None),
            "the directory's own"
        );
        assert_eq!(prices.of("gpt"), None);
    }

    #[test]
    fn a_linger_is_in_seconds_and_zero_is_for_ever() {
        let linger = |text: &str| load("", text).unwrap().linger;
        assert_eq!(linger(""), Some(Duration::from_secs(60)));
        assert_eq!(linger("[server]\nlinger = 5\n"), Some(Duration::from_secs(5)));
        assert_eq!(linger("[server]\nlinger = 0\n"), None);
        assert!(load("", "[server]\nlinger = -1\n").is_err());
    }

    #[test]
    fn an_address_for_others_is_told_of_the_file_that_says_it_and_may_be_overruled() {
        let addr = |addr: &str| format!("[server]\naddr = \"{addr}\"\n");
        let (open, ours) = (addr("0.0.0.0:0"), addr("127.0.0.1:0"));
        let of_user = load(&open, "").unwrap_err().to_string();
        assert!(!of_user.contains("/data/config.toml") && of_user.contains("server.addr"), "{of_user}");
        let of_project = load(&ours, &open).unwrap_err().to_string();
        assert!(of_project.contains("/data/config.toml"), "{of_project}");
        assert!(load(&open, &ours).is_ok());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, named) in [
            ("[sever]\naddr = \"x\"", "sever"),
            ("[server]\nadress = \"x\"", "adress"),
            ("[server]\naddr = \"localhost\"", "localhost"),
            ("[server]\naddr = \"0.0.0.0:0\"", "server.addr: 0.0.0.0:0 is not a loopback address"),
            ("[server]\naddr = \"[::]:3000\"", "server.addr"),
            ("[emit]\ndurability = \"fast\"", "fast"),
            ("[emit]\nburst = 999", "emit.burst"),
            ("[emit]\nrate_per_second = -1", "rate_per_second"),
            ("[emit]\nrate_per_second = 100000001", "emit.rate_per_second"),
            ("[journal]\nsegment_bytes = 10", "segment_bytes"),
            ("[journal]\nsegment_bytes = -1", "segment_bytes"),
            ("[retention]\nmax_age = \"30\"", "retention.max_age"),
            ("[retention]\nmax_bytes = 1000", "retention.min_bytes"),
            ("[disk]\nmax_bytes = 10", "disk.max_bytes"),
            ("[data]\nregistered = [\"/x\"]", "registered"),
            ("[prices.m]\ninput = 1", "output"),
            ("[prices.m]\ninput = 1\noutput = -2.5", "prices.\"m\".output"),
            ("[prices.m]\ninput = 1\noutput = nan", "prices.\"m\".output"),
            ("[prices.m]\ninput = 1\noutput = 2\ncached = 3", "cached"),
            ("server = ", "line 1"),
        ] {
            let error = load("", text).unwrap_err();
            assert_eq!((error.code(), error.exit_code()), ("config_invalid", 2), "{text}");
            assert!(error.to_string().contains(named), "{text}: {error}");
            assert!(error.to_string().contains("config.toml"), "{error}");
        }
    }
}
