//! The page to watch, in a real browser and as whoever means harm sees it.

use std::path::PathBuf;

use bellwether_tests::agent::Agent;
use bellwether_tests::browser::{Browser, Look};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::{images, wait};
use reqwest::{Method, StatusCode, header};

const WIDE: Look = Look { width: 1_280, height: 900, dark: false };
const NARROW: Look = Look { width: 390, height: 844, dark: true };

/// Speaks HTTP with the page as a browser does: with cookies, following nothing.
pub(super) struct Visit {
    pub(super) client: reqwest::Client,
    pub(super) base: String,
    pub(super) cookie: Option<String>,
}

pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: header::HeaderMap,
    pub(super) body: String,
}

impl Visit {
    fn new(fleet: &Fleet) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let base = format!("http://{}", fleet.server.http_address());
        Self { client: client.build().expect("a client"), base, cookie: None }
    }

    pub(super) fn logged_in(fleet: &Fleet, token: &str) -> Self {
        let mut visit = Self::new(fleet);
        let seen = visit.post("/login", &[("token", token), ("who", "kim"), ("next", "/campaigns")], &[]);
        assert_eq!((seen.status.as_u16(), location(&seen)), (303, "/campaigns"), "{}", seen.body);
        let line = seen.headers[header::SET_COOKIE].to_str().expect("text");
        for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(line.contains(word), "{line}");
        }
        assert!(!line.contains(token) && !line.contains("Secure"), "{line}");
        visit.cookie = line.split(';').next().map(str::to_owned);
        visit
    }

    pub(super) fn get(&self, path: &str) -> Seen {
        self.send(self.client.get(format!("{}{path}", self.base)).header("accept", "text/html"))
    }

    pub(super) fn post(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Seen {
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mut request = self.client.post(format!("{}{path}", self.base)).body(pairs.join("&"));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if !headers.iter().any(|(name, _)| *name == "origin") {
            request = request.header("origin", &self.base);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        self.send(request.header("accept", "text/html"))
    }

    fn send(&self, mut request: reqwest::RequestBuilder) -> Seen {
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        wait::soon("a page", async {
            let response = request.send().await.expect("an answer");
            let (status, headers) = (response.status(), response.headers().clone());
            Seen { status, headers, body: response.text().await.expect("a body") }
        })
    }

    /// What this session's forms bring back.
    pub(super) fn form_token(&self, path: &str) -> String {
        let body = self.get(path).body;
        let after = body.split_once("name=\"form_token\" value=\"").expect("a form").1;
        after.split('"').next().unwrap_or_default().to_owned()
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        encoded.push('%');
        encoded.push_str(&hex::encode_upper([byte]));
        encoded
    })
}

pub(super) fn location(seen: &Seen) -> &str {
    seen.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(super) fn watch_token(fleet: &Fleet) -> String {
    let file = fleet.server.data().join("http-watch.token");
    std::fs::read_to_string(file).expect("a token").trim().to_owned()
}

/// Where pictures are kept, where somebody wants them.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("BELLWETHER_SCREENSHOTS").map(PathBuf::from)
}

fn log_in(browser: &Browser, fleet: &Fleet, token: &str) {
    browser.go(&format!("http://{}/", fleet.server.http_address()));
    browser.fill("#token", token);
    browser.fill("#who", "kim");
    browser.press("form[action='/login'] button");
    browser.wait_text("h1", "Fleet");
}

#[test]
fn campaign_is_launched_watched_and_explained_in_a_browser() {
    let fleet = Fleet::start();
    let old = images::image(1, 20_000);
    fleet.release("meter", "1.0", &old);
    fleet.release("meter", "2.0", &images::next_version(&old));
    let manifest = fleet.manifest(2, &[("meter", "2.0")]);
    fleet.cli.done(&format!("manifest publish {}", manifest.path.display()));
    let mut meter = Agent::make(&fleet, "meter-1", "meter", "1.0", "microcontroller");
    let _away = Agent::make(&fleet, "meter-2", "meter", "1.0", "microcontroller");
    let browser = Browser::start();
    browser.look(WIDE);

    browser.go(&format!("http://{}/", fleet.server.http_address()));
    browser.fill("#token", "not the token");
    browser.press("form[action='/login'] button");
    browser.wait_text("[role=alert]", "not the right one");
    log_in(&browser, &fleet, &fleet.server.token());
    assert!(browser.text(".tiles").contains('2'), "{}", browser.text(".tiles"));
    // Typed, not sent: the list follows by itself.
    browser.fill("#q", "meter-2");
    wait::until(
        "a list of one",
        wait::LONG,
        || (!browser.text("#devices").contains("meter-1")).then_some(()),
        || browser.text("#devices"),
    );
    assert!(browser.text("#devices").contains("meter-2"));

    browser.press(".sections a[href='/releases']");
    browser.wait_text("#manifests-title", "Manifests");
    browser.press(".campaigns .cover");
    browser.wait_text(".sentences", "every device of the classes");
    browser.fill("#why", "a first try <b>now</b>");
    browser.press("form.launch button.primary");
    browser.wait_text("h1", "Campaign 1");
    browser.wait_text("#progress", "0 of 2 run their update");

    // Nobody touches the browser: what happens comes by itself.
    meter.run_until_updated();
    browser.wait_text("#progress", "1 of 2 run their update");
    let events = browser.wait_text(".events", "reported that it runs the image");
    assert!(events.contains("meter-1") && events.contains("a first try <b>now</b>"), "{events}");
    assert!(browser.text(".progress .number").contains("1 / 2"), "{}", browser.text(".progress"));

    browser.press("details.order summary");
    browser.fill("#why-pause", "storm warning");
    browser.press("form[action='/campaigns/1/pause'] button");
    browser.wait_text("#progress .state", "paused");
    browser.wait_text("#orders", "Resume");

    browser.press("#devices .spans a[href*='of=waiting']");
    wait::until(
        "the waiting ones",
        wait::LONG,
        || (!browser.text("#devices").contains("meter-1")).then_some(()),
        || browser.text("#devices"),
    );
    assert!(browser.text("#devices").contains("the campaign is paused"), "{}", browser.text("#devices"));
    browser.press("#devices a[href='/devices/meter-2']");
    browser.wait_text("#why", "ampaign 1 (paused)");
    assert!(browser.text(".events").contains("became a target"), "{}", browser.text(".events"));
    browser.press("#objects button");
    browser.wait_text("[role=alert]", "not registered");

    browser.look(NARROW);
    assert!(
        browser.run("return document.documentElement.scrollWidth").as_u64() <= Some(390),
        "wider than the phone"
    );
    browser.press("[data-theme-switch]");
    assert_eq!(browser.run("return document.documentElement.dataset.theme"), "light");
    // The wrong token was answered with 401, which browsers note.
    let complaints: Vec<String> =
        browser.complaints().into_iter().filter(|text| !text.contains("/login")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    browser.press("form[action='/logout'] button");
    browser.wait_text("h1", "Log in");
    assert!(browser.address().ends_with("/login"));
    if let Some(folder) = pictures() {
        browser.look(WIDE);
        browser.picture(&folder.join("login.png"));
    }
}

#[test]
fn every_page_says_what_it_may_load_and_has_nothing_inline() {
    let meters = Meters::new();
    meters.fleet.cli.done(&format!("manifest publish {}", meters.manifest.path.display()));
    let mut device = meters.device("meter-1");
    meters.launch();
    let granted = device.granted(&meters.manifest.digest);
    device.install(&granted, meters.new_digest());
    let visit = Visit::logged_in(&meters.fleet, &meters.fleet.server.token());
    let manifest = format!("/manifests/{}", hex::encode(meters.manifest.digest));
    let pages = [
        "/fleet",
        "/fleet?span=day",
        "/campaigns",
        "/campaigns/1",
        "/devices/meter-1",
        "/releases",
        &manifest,
    ];
    for path in pages.iter().copied().chain(["/login", "/nowhere", "/campaigns/77", "/fleet/figures"]) {
        let seen = visit.get(path);
        let policy = seen.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(seen.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(seen.headers[header::CACHE_CONTROL], "no-store", "{path}");
        for inline in
            [" style=", "<style", "<script>", " onclick=", " onload=", "javascript:", "http://", "https://"]
        {
            assert!(!seen.body.contains(inline), "{path} has {inline}");
        }
        assert!(!seen.body.contains(&meters.fleet.server.token()), "{path} tells the token");
    }
    for path in pages {
        let seen = visit.get(path);
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
        for landmark in ["<main id=\"content\"", "<nav ", "class=\"skip\"", "<html lang=\"en\">", "<h1>"] {
            assert!(seen.body.contains(landmark), "{path} lacks {landmark}");
        }
    }
    assert_eq!(
        (visit.get("/nowhere").status.as_u16(), visit.get("/campaigns/77").status.as_u16()),
        (404, 404)
    );
}

#[test]
fn who_is_not_logged_in_sees_nothing_and_is_sent_to_the_login() {
    let meters = Meters::new();
    let visit = Visit::new(&meters.fleet);
    for path in ["/fleet", "/campaigns/1", "/devices/meter-1", "/releases"] {
        let seen = visit.get(path);
        let back = path.replace('/', "%2F");
        assert_eq!((seen.status.as_u16(), location(&seen)), (303, format!("/login?next={back}").as_str()));
        let script = visit.send(visit.client.get(format!("{}{path}", visit.base)));
        assert_eq!((script.status.as_u16(), script.body.contains("/login")), (401, true), "{path}");
    }
    let live = visit.send(visit.client.get(format!("{}/campaigns/1/live", visit.base)));
    assert_eq!(live.status, 401);
    let forged =
        Visit { cookie: Some(format!("bellwether={}", "0".repeat(64))), ..Visit::new(&meters.fleet) };
    assert_eq!(forged.get("/fleet").status, 303);
    assert_eq!(visit.post("/campaigns/1/pause", &[], &[]).status, 303);
    // A program that misspells a path of the interface is told so, and not to log in.
    assert_eq!(visit.get("/v1/devises").status, 404);
}

#[test]
fn wrong_tokens_are_told_and_keep_nobody_out() {
    let meters = Meters::new();
    let visit = Visit::new(&meters.fleet);
    let tried = |token: &str| visit.post("/login", &[("token", token)], &[]);
    for _ in 0..7 {
        let seen = tried("wrong");
        assert_eq!(seen.status, 401);
        assert!(seen.body.contains("not the right one"), "{}", seen.body);
    }
    assert_eq!(tried(&meters.fleet.server.token()).status, 303);
    let elsewhere = visit.post("/login", &[("token", "x")], &[("origin", "http://evil.example")]);
    assert_eq!(elsewhere.status, 403);
}

#[test]
fn form_of_another_site_is_refused_and_nothing_is_done() {
    let meters = Meters::new();
    let _device = meters.device("meter-1");
    let campaign = meters.launch();
    let visit = Visit::logged_in(&meters.fleet, &meters.fleet.server.token());
    let token = visit.form_token("/campaigns/1");
    let pause = |form_token: &str, headers: &[(&str, &str)]| {
        visit.post("/campaigns/1/pause", &[("form_token", form_token), ("request_id", "r1")], headers)
    };
    let evil = [("origin", "http://evil.example")];
    let cross = [("sec-fetch-site", "cross-site")];
    for refused in [
        pause("", &[]),
        pause("wrong", &[]),
        pause(&token, &evil),
        pause(&token, &[("origin", "")]),
        pause(&token, &cross),
    ] {
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert!(refused.body.contains("did not come from a page of this server"), "{}", refused.body);
    }
    assert_eq!(meters.fleet.campaign(&campaign).state, bellwether_api::CampaignState::Running);
    let done = pause(&token, &[]);
    assert_eq!((done.status.as_u16(), location(&done)), (303, "/campaigns/1"), "{}", done.body);
    assert_eq!(meters.fleet.campaign(&campaign).state, bellwether_api::CampaignState::Paused);
    // Sent twice, as by two presses: carried out once.
    assert_eq!(pause(&token, &[]).status, 303);
    let events = meters.fleet.server.http().get("/v1/events?campaign=1&acts=true").body;
    assert_eq!(events.matches("\"paused\"").count(), 1, "{events}");
    assert!(events.contains("\"who\":\"kim\""), "{events}");
}

#[test]
fn token_that_only_reads_changes_nothing_by_page_or_interface() {
    let meters = Meters::new();
    let _device = meters.device("meter-1");
    let campaign = meters.launch();
    let token = watch_token(&meters.fleet);
    let visit = Visit::logged_in(&meters.fleet, &token);
    let seen = visit.get("/campaigns/1");
    assert!(
        seen.status == 200 && seen.body.contains("read-only") && !seen.body.contains("/campaigns/1/pause")
    );
    let form_token = visit.form_token("/devices/meter-1");
    let refused = visit.post("/campaigns/1/pause", &[("form_token", &form_token), ("request_id", "r1")], &[]);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("only reads"), "{}", refused.body);
    let http = meters.fleet.server.http_with(Some(&token));
    assert_eq!(http.get("/v1/campaigns").status, 200);
    assert_eq!(http.post("/v1/commands/campaigns/list", &serde_json::json!({})).status, 200);
    let order = serde_json::json!({"request_id": "r2", "campaign": campaign});
    let (status, message) = http.post("/v1/commands/campaigns/pause", &order).refusal();
    assert!(status == 403 && message.contains("only reads"), "{status} {message}");
    let device = serde_json::json!({"endpoint": "a", "class": "b"});
    assert_eq!(http.post("/v1/devices", &device).status, 403);
    assert_eq!(http.upload(Method::PUT, "/v1/anchors", vec![1]).status, 403);
    // Unit files hold the keys of devices: who has one is that device.
    let row = serde_json::json!({"line": 1, "device": {"endpoint": "meter-9", "class": "meter"}});
    let piece = serde_json::json!({"content": "ab".repeat(32), "lines": 1, "rows": [row]});
    let operator = meters.fleet.server.http();
    assert_eq!(operator.put("/v1/imports/i-1/rows", &piece).status, 200);
    assert_eq!(operator.post("/v1/imports/i-1/commit", &serde_json::json!({})).status, 200);
    let (status, message) = http.get("/v1/imports/i-1/units").refusal();
    assert!(status == 403 && message.contains("only reads"), "{status} {message}");
    let head = http.upload(Method::HEAD, "/v1/imports/i-1/units", Vec::new());
    assert_eq!(head.status, 403);
    assert!(operator.get("/v1/imports/i-1/units").body.contains("meter-9"));
    assert_eq!(meters.fleet.campaign(&campaign).state, bellwether_api::CampaignState::Running);
}

#[test]
fn script_in_names_and_reasons_is_shown_and_not_run() {
    let fleet = Fleet::start();
    let (name, class) = ("<script>alert(1)</script>\"'", "<img src=x onerror=alert(2)>");
    let body = serde_json::json!({"endpoint": name, "class": class});
    assert_eq!(fleet.server.http().post("/v1/devices", &body).status, 200);
    let browser = Browser::start();
    browser.look(WIDE);
    log_in(&browser, &fleet, &fleet.server.token());
    assert!(browser.text("#devices").contains(name) && browser.text("#devices").contains(class));
    assert!(browser.text(".plot figcaption").contains(class));
    browser.press("#devices tbody a");
    browser.wait_text("h1", name);
    assert_eq!(browser.run("return document.querySelectorAll('main script, main img').length"), 0);
    browser.go(&format!("http://{}/fleet?q=%3Cscript%3E%22", fleet.server.http_address()));
    browser.wait_text("#devices", "begins with “<script>\"”");
    assert!(browser.complaints().is_empty());
}

#[test]
fn streams_of_events_are_bounded_and_end_with_the_server() {
    let mut meters = Meters::new();
    let _device = meters.device("meter-1");
    meters.launch();
    let visit = Visit::logged_in(&meters.fleet, &watch_token(&meters.fleet));
    let open = || {
        let request = visit.client.get(format!("{}/campaigns/1/live", visit.base));
        let request = request.header("cookie", visit.cookie.clone().unwrap_or_default());
        wait::soon("a stream", async { request.send().await.expect("an answer") })
    };
    let mut streams: Vec<reqwest::Response> = (0..12).map(|_| open()).collect();
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let first =
        wait::soon("its first words", async { streams[0].chunk().await.expect("open").expect("words") });
    assert!(String::from_utf8_lossy(&first).starts_with("event: progress"), "{first:?}");
    let refused = open();
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["retry-after"].to_str().ok()),
        (503, Some("60"))
    );
    let words = wait::soon("words", async { refused.text().await.expect("words") });
    assert!(words.contains("close some of them"), "{words}");
    drop(streams.pop());
    let again = wait::until(
        "a free place",
        wait::LONG,
        || Some(open()).filter(|one| one.status() == 200),
        String::new,
    );
    streams.push(again);
    // Pages that are left open do not keep the server from its end.
    assert!(meters.fleet.server.stop().success());
}

#[test]
fn cookie_is_secure_behind_tls() {
    let meters = Meters::new();
    let visit = Visit::new(&meters.fleet);
    let token = meters.fleet.server.token();
    let seen = visit.post("/login", &[("token", &token)], &[("x-forwarded-proto", "https")]);
    let line = seen.headers[header::SET_COOKIE].to_str().expect("text");
    assert!(line.starts_with("__Host-bellwether=") && line.ends_with("; Secure"), "{line}");
    let cookie = line.split(';').next().expect("a cookie");
    let fleet = |cookie: &str| {
        let request = visit.client.get(format!("{}/fleet", visit.base)).header("cookie", cookie);
        visit.send(request.header("accept", "text/html").header("x-forwarded-proto", "https"))
    };
    assert_eq!(fleet(cookie).status, 200);
    let planted = fleet(cookie.trim_start_matches("__Host-"));
    assert_eq!((planted.status.as_u16(), location(&planted)), (303, "/login?next=%2Ffleet"));
}
