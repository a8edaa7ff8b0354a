//! `onward serve`: a runtime with several threads, the first line on stdout, and the stop.

use crate::config;
use crate::engine::Stop;
use crate::event::Observer;
use crate::fault::{Fault, Kind};
use crate::report;
use crate::serve::{Options, Rules, Server};
use std::sync::Arc;
use std::time::Duration;

/// Serves until it is told to stop.
pub fn run(settings: config::Serve, observer: Arc<dyn Observer>, stop: &Stop) -> Result<(), Fault> {
    if settings.until_stdin_ends {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stop.trip();
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2)))
        .build()
        .map_err(|e| Fault::new(Kind::Other, format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(async {
        let server = Server::bind(options(settings), observer).await?;
        report::line(server.url())?;
        server.run(stop.wait()).await;
        Ok(())
    });
    // What still reads a whole file to check it must not hold up the end; its record stands.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn options(settings: config::Serve) -> Options {
    let tokens = settings.tokens.iter().map(|(name, token)| (name.clone(), token.expose().to_string()));
    Options {
        tokens: tokens.collect(),
        dir: settings.dir,
        listen: settings.listen,
        tls: settings.tls,
        base_path: settings.base_path,
        hosts: settings.hosts,
        origins: settings.origins,
        rules: Rules {
            read_only: settings.read_only,
            upload_only: settings.upload_only,
            allow_overwrite: settings.allow_overwrite,
            links: settings.links,
            max_file_size: settings.max_file_size,
            max_unfinished: settings.max_unfinished,
            min_free: settings.min_free,
            expire: settings.expire,
            ..Rules::default()
        },
    }
}
