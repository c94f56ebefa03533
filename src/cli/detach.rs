//! A server in the background: a process of its own session that holds nothing of whoever started it.
//!
//! A background process that keeps a terminal or the end of a pipe open makes the one who waits for that pipe wait
//! for ever. So the starter gives it no stream of its own, and the process itself, before it does anything else,
//! leaves the session and lets go of every descriptor that it did not open.

use crate::config::env;
use crate::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Starts this program with these arguments, with no stream but `log` for what it has to say on stderr, and with the
/// environment of a server.
///
/// # Errors
/// When the program or its log cannot be found or started.
pub fn start(args: &[OsString], log: File) -> Result<Child, Error> {
    let program = this_program()?;
    Command::new(&program)
        .args(args)
        .env_clear()
        .envs(env::for_server())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(Error::io("start", program))
}

/// The file that this process runs from: a copy on the search path may be another version. Where an upgrade has put another
/// file in its place, it is that one.
///
/// # Errors
/// When the system does not tell.
pub fn this_program() -> Result<PathBuf, Error> {
    let told = std::env::current_exe().map_err(|error| {
        Error::failed(format!("cannot tell which program this is, to start it again: {error}"))
    })?;
    Ok(replaced(&told).filter(|path| path.is_file() && !told.exists()).unwrap_or(told))
}

/// The name that a file had which Linux tells as deleted.
fn replaced(told: &Path) -> Option<PathBuf> {
    let name = told.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
    Some(OsStr::from_bytes(name).into())
}

/// Leaves the session of whoever started this process, and lets go of what it inherited.
///
/// # Errors
/// When the system refuses either.
pub fn let_go() -> Result<(), Error> {
    let refused =
        |error: &dyn std::fmt::Display| Error::failed(format!("cannot go into the background: {error}"));
    rustix::process::setsid().map_err(|error| refused(&error))?;
    for descriptor in inherited().map_err(|error| refused(&error))? {
        nix::unistd::close(descriptor).map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// Descriptors beside the three streams that this process did not open itself. Everything that it opens is closed on
/// exec, so what is not has come through one.
#[cfg(target_os = "linux")]
fn inherited() -> std::io::Result<Vec<RawFd>> {
    const O_CLOEXEC: u32 = 0o2_000_000;
    let mut found = Vec::new();
    for item in std::fs::read_dir("/proc/self/fdinfo")? {
        let Some(descriptor) = item?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        // The listing's own descriptor is gone by now or is closed on exec.
        let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(O_CLOEXEC);
        if descriptor > 2 && flags & O_CLOEXEC == 0 {
            found.push(descriptor);
        }
    }
    Ok(found)
}

/// Elsewhere the system does not say which they are.
#[cfg(not(target_os = "linux"))]
fn inherited() -> std::io::Result<Vec<RawFd>> {
    Ok(Vec::new())
}

/// Asks this process to be ended (SIGTERM) as soon as the one that started it is gone, however that ends. Where the
/// system cannot do that, nothing is asked.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        // Refused by no kernel that runs this; without it a killed parent leaves this process to be stopped by hand.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    }
}
