//! A TCP proxy that does to an honest server's connections what networks do: cut, reset, stall, throttle, refuse. It
//! counts the bytes both ways, so that a test can say what a recovery cost.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Shared {
    /// Bytes from the server to the client, and the other way.
    down: AtomicU64,
    up: AtomicU64,
    connections: AtomicUsize,
    open: AtomicUsize,
    /// What each next connection suffers; the last entry stays.
    fates: Mutex<Vec<Fate>>,
    streams: Mutex<Vec<TcpStream>>,
    /// Where the next connections are led; the last entry stays.
    servers: Mutex<Vec<SocketAddr>>,
    refusing: AtomicBool,
    stalled: AtomicBool,
    stopping: AtomicBool,
}

/// What a connection suffers. The default is nothing.
#[derive(Clone, Copy, Default)]
pub struct Fate {
    /// After so many bytes towards the client.
    end_after: Option<(u64, End)>,
    /// After so many bytes towards the server.
    end_after_up: Option<(u64, End)>,
    /// Bytes a second, each way.
    rate: Option<u64>,
}

/// How it ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Cut,
    Reset,
    Stall,
}

impl Fate {
    /// Nothing happens to it.
    pub fn fine() -> Self {
        Self::default()
    }

    /// Closed after `n` bytes towards the client.
    pub fn cut_after(n: u64) -> Self {
        Self { end_after: Some((n, End::Cut)), ..Self::default() }
    }

    /// Reset after `n` bytes towards the client.
    pub fn reset_after(n: u64) -> Self {
        Self { end_after: Some((n, End::Reset)), ..Self::default() }
    }

    /// Silent after `n` bytes towards the client.
    pub fn stall_after(n: u64) -> Self {
        Self { end_after: Some((n, End::Stall)), ..Self::default() }
    }

    /// Closed after `n` bytes towards the server.
    pub fn cut_upload_after(n: u64) -> Self {
        Self { end_after_up: Some((n, End::Cut)), ..Self::default() }
    }

    /// Reset after `n` bytes towards the server.
    pub fn reset_upload_after(n: u64) -> Self {
        Self { end_after_up: Some((n, End::Reset)), ..Self::default() }
    }

    /// Silent after `n` bytes towards the server.
    pub fn stall_upload_after(n: u64) -> Self {
        Self { end_after_up: Some((n, End::Stall)), ..Self::default() }
    }

    /// The same at no more than so many bytes a second.
    pub fn at_rate(self, bytes_per_s: u64) -> Self {
        Self { rate: Some(bytes_per_s), ..self }
    }
}

/// The proxy. It ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy in front of `server` that does nothing yet.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { servers: Mutex::new(vec![server]), ..Shared::default() });
        std::thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    if shared.refusing.load(Ordering::SeqCst) {
                        reset(&client);
                        continue;
                    }
                    let server = {
                        let mut servers = shared.servers.lock().unwrap();
                        if servers.len() > 1 { servers.remove(0) } else { servers[0] }
                    };
                    if let Ok(upstream) = TcpStream::connect(server) {
                        join(client, upstream, &shared);
                    }
                }
            }
        });
        Self { address, shared }
    }

    /// What the next connections suffer, one after the other; the last fate holds for all that follow.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) -> &Self {
        *self.shared.fates.lock().unwrap() = fates.into_iter().collect();
        self
    }

    /// Where the next connections are led, one after the other; the last server is that of all that follow.
    pub fn lead_to(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        *self.shared.servers.lock().unwrap() = servers.into_iter().collect();
    }

    /// New connections are reset at once, or no longer.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Nothing passes any more, or all goes on.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.store(stalled, Ordering::SeqCst);
    }

    /// Cuts all connections that are open now.
    pub fn cut_now(&self) {
        self.shared.streams.lock().unwrap().drain(..).for_each(|s| drop(s.shutdown(Shutdown::Both)));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…` of this proxy.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Bytes passed towards the client so far, heads included.
    pub fn down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// Bytes passed towards the server so far, heads included.
    pub fn up(&self) -> u64 {
        self.shared.up.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections that something can still come over towards the client.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.cut_now();
        let _ = TcpStream::connect(self.address);
    }
}

fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let fate = {
        let mut fates = shared.fates.lock().unwrap();
        if fates.len() > 1 { fates.remove(0) } else { fates.first().copied().unwrap_or_default() }
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // What lies in the kernel when a connection ends counts as passed: little of it keeps the counts honest.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&client, 64 << 10);
    let streams = [client.try_clone(), server.try_clone()];
    shared.streams.lock().unwrap().extend(streams.into_iter().flatten());
    let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else { return };
    let (here, there) = (shared.clone(), shared.clone());
    here.open.fetch_add(1, Ordering::SeqCst);
    std::thread::spawn(move || {
        pass(server_in, client, fate.end_after, fate.rate, &here, |s| &s.down);
        here.open.fetch_sub(1, Ordering::SeqCst);
    });
    std::thread::spawn(move || pass(client_in, server, fate.end_after_up, fate.rate, &there, |s| &s.up));
}

/// Passes bytes one way until an end; a fated end takes both directions along.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    end: Option<(u64, End)>,
    rate: Option<u64>,
    shared: &Shared,
    counter: fn(&Shared) -> &AtomicU64,
) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    let (mut passed, started, mut block) = (0u64, Instant::now(), vec![0; 64 << 10]);
    let stopped = || shared.stopping.load(Ordering::SeqCst);
    loop {
        while shared.stalled.load(Ordering::SeqCst) && !stopped() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = end.map_or(u64::MAX, |(at, _)| at - passed);
        if left == 0 {
            break;
        }
        let step = rate.map_or(block.len() as u64, |rate| (rate / 50).clamp(1, block.len() as u64));
        let n = match from.read(&mut block[..step.min(left) as usize]) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) => n,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if stopped() {
                    return;
                }
                continue;
            }
            Err(_) => {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        };
        if to.write_all(&block[..n]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        passed += n as u64;
        counter(shared).fetch_add(n as u64, Ordering::SeqCst);
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(passed as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    match end.map(|(_, how)| how) {
        Some(End::Stall) => {
            // Silence: the sockets stay open, and nothing is read, until the test is over or a cut.
            while !stopped() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Some(End::Reset) => {
            std::thread::sleep(Duration::from_millis(50));
            // Both ends: a reset goes out when the last handle of a socket closes, or here by disconnecting.
            reset(&from);
            reset(&to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
        _ => {
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
        }
    }
}
