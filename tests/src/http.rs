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

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(Method::POST, path, body.to_string().into_bytes(), Some("application/json"))
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

    fn send(&self, method: Method, path: &str, body: Vec<u8>, kind: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        wait::soon(path, async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            Answer { status, body: response.text().await.expect("a body") }
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
