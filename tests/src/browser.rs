//! A real Chromium, driven by `WebDriver`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::wait;

/// A browser with one window, and its driver.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: Client,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// Units from left to right.
    pub width: u32,
    /// Units from top to bottom.
    pub height: u32,
    /// Whether the system is dark.
    pub dark: bool,
}

impl Browser {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// Where `chromedriver` or Chromium is not there: `scripts/tools.sh test` installs both.
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver; `scripts/tools.sh test` installs it");
        let port = port(&mut driver);
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let wish = json!({
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(wish) = wish else { unreachable!("it was written as one") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wish);
        let address = format!("http://127.0.0.1:{port}");
        let client = wait::soon("a session of the browser", builder.connect(&address));
        Self { driver, client: client.expect("a browser") }
    }

    /// Opens a page.
    ///
    /// # Panics
    ///
    /// Where it does not load.
    pub fn go(&self, address: &str) {
        wait::soon(address, self.client.goto(address)).expect("a page");
    }

    /// The address of the page.
    ///
    /// # Panics
    ///
    /// Where the browser is gone.
    pub fn address(&self) -> String {
        wait::soon("the address", self.client.current_url()).expect("an address").to_string()
    }

    /// Presses what a selector of CSS finds.
    ///
    /// # Panics
    ///
    /// Where there is none, or it can't be pressed.
    pub fn press(&self, selector: &str) {
        let pressed = async { self.client.find(Locator::Css(selector)).await?.click().await };
        wait::soon(selector, pressed)
            .unwrap_or_else(|error| panic!("{selector}: {error}\n{}", self.text("body")));
    }

    /// Types into what a selector finds.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn fill(&self, selector: &str, text: &str) {
        let typed = async {
            let field = self.client.find(Locator::Css(selector)).await?;
            field.clear().await?;
            field.send_keys(text).await
        };
        wait::soon(selector, typed).unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// The text that a person sees there; empty where there is nothing.
    pub fn text(&self, selector: &str) -> String {
        let text = async { self.client.find(Locator::Css(selector)).await?.text().await };
        wait::soon(selector, text).unwrap_or_default()
    }

    /// Waits until a text is to be seen there.
    ///
    /// # Panics
    ///
    /// Where it does not come.
    pub fn wait_text(&self, selector: &str, text: &str) -> String {
        let look = || Some(self.text(selector)).filter(|seen| seen.contains(text));
        let what = format!("{text:?} in {selector}");
        wait::until(&what, crate::fleet::PATIENCE, look, || self.text("body"))
    }

    /// The HTML of the page as it is now.
    ///
    /// # Panics
    ///
    /// Where the browser is gone.
    pub fn source(&self) -> String {
        wait::soon("the source", self.client.source()).expect("a source")
    }

    /// Runs a script in the page and gives what it returns.
    ///
    /// # Panics
    ///
    /// Where it throws.
    pub fn run(&self, script: &str) -> Value {
        wait::soon(script, self.client.execute(script, Vec::new())).expect("a value")
    }

    /// Looks at pages in a window of this size, on a system that is light or dark.
    pub fn look(&self, look: Look) {
        let Look { width, height, dark } = look;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.develop("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.develop("Emulation.setEmulatedMedia", &features);
    }

    /// Keeps a picture of the page in a file.
    ///
    /// # Panics
    ///
    /// Where it can't be written.
    pub fn picture(&self, file: &Path) {
        let picture = wait::soon("a picture", self.client.screenshot()).expect("a picture");
        std::fs::write(file, picture).expect("written");
    }

    /// What the browser complained about since this was asked last: errors of scripts, what the policy forbade, what was
    /// not found.
    ///
    /// # Panics
    ///
    /// Where the browser is gone.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Gives a command of Chromium's own protocol.
    fn develop(&self, name: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    fn command(&self, path: &'static str, body: &Value) -> Value {
        let command = Raw { path, body: body.to_string() };
        wait::soon(path, self.client.issue_cmd(command)).expect("an answer")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; its driver alone would leave it behind.
        let closed: Result<(), CmdError> = wait::soon("the end of the browser", self.client.clone().close());
        drop(closed);
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// A command that is not in the standard.
#[derive(Debug)]
struct Raw {
    path: &'static str,
    body: String,
}

impl WebDriverCompatibleCommand for Raw {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.clone()))
    }
}

/// Reads on which port a driver listens, and what it says afterwards, so that it never waits to be read.
fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.split_once("on port ")?.1.trim_end_matches('.').parse::<u16>().ok().filter(|port| *port > 0)
    });
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("its port")
}
