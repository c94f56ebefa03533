//! A server with one arena of memory.
//!
//! The allocator of the system (glibc) gives each thread an arena of its own and returns little of what lies free in it, so a server whose
//! threads take turns at work that needs much memory comes to hold several times that much (docs/adr/0016). How many arenas
//! there may be is read from the environment when a process starts; later it could only be set by a call that is not safe. So a
//! server starts itself anew, in the same process, before it has done anything: a millisecond, once in its life.

use std::ffi::OsString;

/// Starts this program anew with one arena if these arguments (the program's name first) name the server and the environment does not
/// say how many. It returns if there is nothing to do, or if the system refuses: then there are as many as ever.
///
/// The arguments are not understood, only looked through: who merely mentions the server starts anew as well, and loses nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn limit_in_server(arguments: &[OsString]) {
    use std::os::unix::process::CommandExt as _;

    let [name, rest @ ..] = arguments else { return };
    if !rest.iter().any(|argument| argument == "api-server") {
        return;
    }
    let Some((variable, value)) = crate::config::env::one_arena() else { return };
    let Ok(program) = super::detach::this_program() else { return };
    // It returns only to say why it did not happen. That is no reason not to serve.
    let _refused = std::process::Command::new(program).arg0(name).args(rest).env(variable, value).exec();
}

/// Other allocators have no such arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit_in_server(_arguments: &[OsString]) {}
