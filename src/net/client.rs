//! One request over one of two clients: straight to the server, or through a proxy. Above this nobody knows which.

use super::body::Outgoing;
use super::direct::{Direct, TooLate};
use super::words::innermost;
use bytes::Bytes;
use http::response::Parts;
use http_body_util::BodyExt;
use std::error::Error;

/// Who carries a request.
pub(super) enum Client {
    /// Straight to the server.
    Direct(Box<Direct>),
    /// Through a proxy.
    Proxied(reqwest::Client),
}

/// The content of an answer, on its way.
pub(super) enum Incoming {
    Direct(hyper::body::Incoming),
    Proxied(reqwest::Body),
}

/// How far an exchange had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It could not even be made.
    Making,
    /// While the connection was built; `late` when that took too long.
    Connecting { late: bool },
    /// Before the head of the answer was there.
    Answering,
    /// In the middle of its content.
    Receiving,
}

/// Why an exchange failed, in the words of whatever failed first.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) stage: Stage,
    pub(super) cause: String,
}

impl Failed {
    fn new(stage: Stage, error: &(dyn Error + 'static)) -> Self {
        Self { stage, cause: innermost(error) }
    }

    fn proxied(error: &reqwest::Error) -> Self {
        let stage = if error.is_builder() {
            Stage::Making
        } else if error.is_connect() {
            Stage::Connecting { late: error.is_timeout() }
        } else if error.is_body() || error.is_decode() {
            Stage::Receiving
        } else {
            Stage::Answering
        };
        Self::new(stage, error)
    }

    fn direct(error: &hyper_util::client::legacy::Error) -> Self {
        let mut causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
        let late = causes.any(|cause| cause.is::<TooLate>());
        Self::new(if error.is_connect() { Stage::Connecting { late } } else { Stage::Answering }, error)
    }
}

impl Client {
    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&self, message: http::Request<Outgoing>) -> Result<(Parts, Incoming), Failed> {
        match self {
            Self::Direct(client) => {
                let answer = client.request(message).await.map_err(|e| Failed::direct(&e))?;
                let (head, content) = answer.into_parts();
                Ok((head, Incoming::Direct(content)))
            }
            Self::Proxied(client) => {
                let message = reqwest::Request::try_from(message.map(reqwest::Body::wrap));
                let message = message.map_err(|e| Failed::proxied(&e))?;
                let answer = client.execute(message).await.map_err(|e| Failed::proxied(&e))?;
                let (head, content) = http::Response::from(answer).into_parts();
                Ok((head, Incoming::Proxied(content)))
            }
        }
    }
}

impl Incoming {
    /// The next bytes, `None` at the end. Trailers are passed over.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failed> {
        loop {
            let frame = match self {
                Self::Direct(content) => {
                    content.frame().await.transpose().map_err(|e| Failed::new(Stage::Receiving, &e))?
                }
                Self::Proxied(content) => content.frame().await.transpose().map_err(|e| Failed::proxied(&e))?,
            };
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }
}
