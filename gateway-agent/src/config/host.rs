//! What defaults and checks need to know of the machine.

use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Host {
    pub name: String,
    pub cores: usize,
    /// The text of `/etc/passwd`; empty in an image without one.
    pub passwd: String,
    /// Where this program is.
    pub program_dir: Option<PathBuf>,
}

impl Host {
    pub fn observe() -> Self {
        let program_dir = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            passwd: std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
            program_dir,
        }
    }

    /// User and group id of a name in passwd(5).
    pub(super) fn user(&self, name: &str) -> Option<(u32, u32)> {
        let fields = |line: &str| {
            let mut fields = line.split(':');
            let (found, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (found == name).then_some((uid.parse().ok()?, gid.parse().ok()?))
        };
        self.passwd.lines().find_map(fields)
    }
}
