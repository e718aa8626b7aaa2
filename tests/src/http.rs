//! The HTTP interface as any client sees it.

use std::net::SocketAddr;

use reqwest::Method;
use serde::de::DeserializeOwned;

use crate::wait;

/// Speaks HTTP with a server.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    address: SocketAddr,
    token: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The id of the request.
    pub request_id: String,
    /// Body.
    pub body: String,
}

impl Http {
    /// Speaks to this address, with this token.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        Self { client: reqwest::Client::new(), address, token: token.map(str::to_owned) }
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Vec::new(), None)
    }

    /// Reads with further headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_with(Method::GET, path, Vec::new(), headers)
    }

    /// Sends JSON with further headers.
    pub fn post_with(&self, path: &str, body: &serde_json::Value, headers: &[(&str, &str)]) -> Answer {
        let json = [("content-type", "application/json")];
        self.send_with(Method::POST, path, body.to_string().into_bytes(), &[&json, headers].concat())
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(Method::POST, path, body.to_string().into_bytes(), Some("application/json"))
    }

    /// Puts JSON there.
    pub fn put(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(Method::PUT, path, body.to_string().into_bytes(), Some("application/json"))
    }

    /// Sends bytes.
    pub fn upload(&self, method: Method, path: &str, body: Vec<u8>) -> Answer {
        self.send(method, path, body, None)
    }

    /// Reads what must be there.
    ///
    /// # Panics
    ///
    /// Where it is not.
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        self.get(path).json()
    }

    /// Sends JSON to a server that may end meanwhile; `None` where no answer came.
    pub fn try_post(&self, path: &str, body: &serde_json::Value) -> Option<Answer> {
        let request = self.client.post(format!("http://{}{path}", self.address));
        let request = request.bearer_auth(self.token.as_deref().unwrap_or_default()).json(body);
        wait::soon(path, async {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
            let request_id = id.unwrap_or_default().to_owned();
            Some(Answer { status, request_id, body: response.text().await.ok()? })
        })
    }

    fn send(&self, method: Method, path: &str, body: Vec<u8>, kind: Option<&str>) -> Answer {
        let kind: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
        self.send_with(method, path, body, &kind)
    }

    fn send_with(&self, method: Method, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        wait::soon(path, async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
            let request_id = id.expect("every answer names its request").to_owned();
            Answer { status, request_id, body: response.text().await.expect("a body") }
        })
    }
}

impl Answer {
    /// Reads the body of a success.
    ///
    /// # Panics
    ///
    /// Where it is none.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).expect("the JSON of the interface")
    }

    /// The status and the message of a refusal.
    ///
    /// # Panics
    ///
    /// Where the body has another shape.
    pub fn refusal(&self) -> (u16, String) {
        let body: bellwether_api::ErrorBody = serde_json::from_str(&self.body).expect("a refusal's shape");
        (self.status, body.message)
    }
}
