//! Real servers and clients that others wrote, as `.ci/servers` installs them: where they are, and how one is started
//! on a free port in a test's folder and ended with the test.

use crate::world::{eventually, skip, tell};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it accepts connections.
const START: Duration = Duration::from_secs(60);
/// A port picked here may be somebody else's a moment later: so many are tried.
const PORTS: u32 = 5;

/// The folder into which `.ci/servers` installs.
pub fn root() -> PathBuf {
    let told = std::env::var_os("ONWARD_TEST_SERVERS").map(PathBuf::from);
    told.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers"))
}

/// A program of one of the Python environments; `None`, said visibly, where it is not installed.
pub fn python(group: &str, program: &str) -> Option<PathBuf> {
    installed(root().join(group).join("bin").join(program), program)
}

/// The folder that holds `node_modules` with `package`; `None`, said visibly, where it is not installed.
pub fn node(package: &str) -> Option<PathBuf> {
    installed(root().join("npm/node_modules").join(package), package).map(|_| root().join("npm"))
}

/// A program of the system's packages; `None`, said visibly, where it is not installed.
pub fn system(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places.find(|dir| dir.join(program).is_file()).map(|dir| dir.join(program));
    found.or_else(|| installed(PathBuf::from("/nonexistent"), program))
}

fn installed(path: PathBuf, name: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{name} is not installed (.ci/servers installs it)"));
    None
}

/// A server that runs until this is dropped.
pub struct Server {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts what `command` makes for a free port of the loopback, and waits until it accepts connections there.
    /// Its output goes to `log`.
    pub fn start(log: &Path, command: impl Fn(SocketAddr) -> Command) -> Self {
        for _ in 0..PORTS {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let file = std::fs::File::create(log).unwrap();
            let mut process = command(address)
                .stdin(Stdio::null())
                .stdout(file.try_clone().unwrap())
                .stderr(file)
                .spawn()
                .unwrap_or_else(|e| panic!("cannot start the server: {e}"));
            if accepts(address, &mut process) {
                return Self { process, address, log: log.to_owned() };
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("the server does not start:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Starts what `command` makes at the address of a server that was killed. For a moment the port may be somebody's
    /// outgoing connection: it is tried again.
    pub fn again(&mut self, command: impl Fn() -> Command) {
        for _ in 0..20 {
            let file = std::fs::File::options().append(true).open(&self.log).unwrap();
            let mut command = command();
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
            self.process = command.spawn().unwrap();
            if accepts(self.address, &mut self.process) {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("the server does not start again");
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The process, to be killed by a test.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until somebody accepts connections at `address`; `false` when the process has ended before.
fn accepts(address: SocketAddr, process: &mut Child) -> bool {
    let end = Instant::now() + START;
    while Instant::now() < end && process.try_wait().unwrap().is_none() {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        // Some do not end by SIGTERM; a test does not wait for them.
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end && self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        if std::thread::panicking() {
            tell(&format!("{}:\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default()));
        }
    }
}

#[test]
fn a_real_server_starts_and_serves() {
    let Some(python) = python("tus", "python") else { return };
    let world = crate::world::World::new();
    let folder = world.beside("plain");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("f"), "hello").unwrap();
    let server = Server::start(&world.beside("log"), |address| {
        let mut command = Command::new(&python);
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &address.port().to_string()]).current_dir(&folder);
        command
    });
    world.onward(["download", &server.url("/f")]).run().exits(0);
    assert_eq!(std::fs::read(world.path("f")).unwrap(), b"hello");
    let pid = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
    drop(server);
    eventually("its end", || rustix::process::test_kill_process(pid).err());
}
