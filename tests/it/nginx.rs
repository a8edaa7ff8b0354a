//! A real nginx: http, https with a self-signed certificate, HTTP/2, and folders that behave as real sites do.
//!
//! Its sockets are bound here on free ports and handed over, so that no port is picked and raced for. All its files
//! lie in the test's folder.

use crate::origin::Identity;
use crate::world::{Content, World, skip, tell};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Nginx {
    process: Child,
    http: SocketAddr,
    https: SocketAddr,
    folder: PathBuf,
}

impl Nginx {
    /// Starts it in a folder of `world`; `None`, said visibly, where nginx is not installed.
    pub fn start(world: &World) -> Option<Self> {
        Self::with(world, "")
    }

    /// The same, and below `path` a reverse proxy before `upstream` with nginx's own limit of 1 MiB a request.
    pub fn before(world: &World, path: &str, upstream: &str) -> Option<Self> {
        Self::with(world, &format!("location {path} {{ proxy_pass http://{upstream}; client_max_body_size 1m; }}"))
    }

    /// The same, and below `/dav/` files are taken by `PUT`.
    pub fn taking(world: &World) -> Option<Self> {
        let root = world.beside("nginx").join("www");
        let root = root.display();
        Self::with(
            world,
            &format!("location /dav/ {{ root {root}; dav_methods PUT DELETE MOVE; create_full_put_path on; }}"),
        )
    }

    /// The same, with more in the server's part of the configuration.
    pub fn with(world: &World, more: &str) -> Option<Self> {
        let Some(program) = find() else {
            skip("nginx is not installed");
            return None;
        };
        let folder = world.beside("nginx");
        std::fs::create_dir_all(folder.join("www")).unwrap();
        let identity = Identity::new();
        std::fs::write(folder.join("cert.pem"), &identity.cert_pem).unwrap();
        std::fs::write(folder.join("key.pem"), &identity.key_pem).unwrap();
        let (http, https) = (listener(), listener());
        let (http_at, https_at) = (http.local_addr().unwrap(), https.local_addr().unwrap());
        std::fs::write(folder.join("nginx.conf"), config(&folder, http_at, https_at, more)).unwrap();
        let process = Command::new("sh")
            .args(["-c", r#"exec 3<&0 4<&1 0</dev/null 1>/dev/null; NGINX="3;4;" exec "$0" -p "$1" -c "$1/nginx.conf" -e "$1/error.log""#])
            .args([program.as_os_str(), folder.as_os_str()])
            .stdin(Stdio::from(OwnedFd::from(http)))
            .stdout(Stdio::from(OwnedFd::from(https)))
            .stderr(std::fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Some(Self { process, http: http_at, https: https_at, folder })
    }

    /// Puts a file under the root.
    pub fn put(&self, name: &str, content: &Content) {
        content.write_to(&self.folder.join("www").join(name));
    }

    /// Where a file under the root lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join("www").join(name)
    }

    pub fn address(&self) -> SocketAddr {
        self.http
    }

    pub fn tls_address(&self) -> SocketAddr {
        self.https
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// https; HTTP/2 for whoever offers it.
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https.port())
    }

    /// The certificate, for `--cacert`.
    pub fn cacert(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// The access log: one line a request, `METHOD URI PROTOCOL STATUS BODY-BYTES RANGE`.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("access.log")).unwrap_or_default()
    }

    /// Body bytes sent, as the access log has them. A request is logged when it ends.
    pub fn sent(&self) -> u64 {
        self.log().lines().filter_map(|line| line.split(' ').nth(4)?.parse::<u64>().ok()).sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM: the master ends its worker, which SIGKILL would leave behind.
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
        if std::thread::panicking() {
            for name in ["stderr", "error.log"] {
                let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
                tell(&format!("nginx {name}:\n{text}"));
            }
        }
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|dir| dir.join("nginx")).find(|file| file.is_file())
}

/// A listening socket as nginx wants to inherit it.
fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn config(folder: &Path, http: SocketAddr, https: SocketAddr, more: &str) -> String {
    let at = folder.display();
    // A master and a worker: a single process of nginx 1.22 crashes on handed-over sockets. `user root` reads files of mode 0600 when run by root.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        r#"
daemon off; worker_processes 1; {user}
pid {at}/nginx.pid; error_log {at}/error.log warn;
events {{ worker_connections 512; }}
http {{
  log_format t '$request_method $uri $server_protocol $status $body_bytes_sent $http_range';
  access_log {at}/access.log t;
  default_type application/octet-stream;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fcgi;
  uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  client_max_body_size 0; sendfile on; keepalive_requests 100000;
  limit_conn_zone $server_addr zone=here:1m;
  ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;
  server {{
    listen {http}; listen {https} ssl http2; server_name _; root {at}/www;
    location / {{ }}
    location /slow/ {{ alias {at}/www/; limit_rate 4m; }}
    location /limit1/ {{ alias {at}/www/; limit_conn here 1; limit_conn_status 429; limit_rate 8m; }}
    location /limit2/ {{ alias {at}/www/; limit_conn here 2; limit_conn_status 503; limit_rate 8m; }}
    location /norange/ {{ alias {at}/www/; max_ranges 0; }}
    location /gz/ {{ alias {at}/www/; gzip on; gzip_types *; gzip_min_length 1; }}
    location /noetag/ {{ alias {at}/www/; etag off; }}
    location /redir/ {{ rewrite ^/redir/(.*)$ http://{http}/$1 redirect; }}
    location /near/ {{ rewrite ^/near/(.*)$ /$1 redirect; }}
    {more}
    location /403/ {{ return 403; }}
    location /503/ {{ return 503; }}
  }}
}}
"#
    )
}

/// The server itself: that it starts on handed-over sockets and speaks all three protocols.
mod tests {
    use super::*;

    #[test]
    fn nginx_serves() {
        let world = World::new();
        let Some(nginx) = Nginx::start(&world) else { return };
        nginx.put("hello", &Content::of("hello, world"));
        let cacert = nginx.cacert();
        let cacert = cacert.to_str().unwrap();
        for args in [
            vec![nginx.url("/hello")],
            vec!["--http1.1".into(), "--cacert".into(), cacert.into(), nginx.tls_url("/hello")],
            vec!["--http2".into(), "--cacert".into(), cacert.into(), nginx.tls_url("/hello")],
        ] {
            let Ok(out) = Command::new("curl").args(["-sS", "--max-time", "10"]).args(&args).output() else {
                return skip("curl is not installed");
            };
            let told = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "hello, world", "{args:?}: {told}");
        }
        assert!(nginx.log().contains("HTTP/2.0 200 12"), "{}", nginx.log());
        assert_eq!(nginx.sent(), 36);
    }
}
