//! Streams of events of the page: as many as the server has room for, and no more.

use bellwether_tests::meters::Meters;
use bellwether_tests::wait;
use reqwest::StatusCode;

use super::page::{Visit, watch_token};

/// Opens a stream of the first campaign; gives it where there was a place, else after how many seconds to come again.
async fn watch(
    client: reqwest::Client,
    base: &str,
    cookie: Option<&str>,
) -> Result<reqwest::Response, Option<String>> {
    let request = client.get(format!("{base}/campaigns/1/live")).header("cookie", cookie.unwrap_or_default());
    let answer = request.send().await.expect("an answer");
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok()).map(str::to_owned);
    assert!(!answer.text().await.expect("words").is_empty());
    Err(wait)
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn streams_beyond_the_room_of_the_server_are_refused_at_once_and_harm_nobody() {
    let meters = Meters::new();
    let _device = meters.device("meter-1");
    meters.launch();
    let token = watch_token(&meters.fleet);
    // As many sessions as it takes: each has places for twelve.
    let visits: Vec<Visit> =
        (0..=STREAMS_MAX.div_ceil(12)).map(|_| Visit::logged_in(&meters.fleet, &token)).collect();
    let mut streams = Vec::new();
    for visit in &visits {
        for _ in 0..12 {
            let opened =
                wait::soon("a stream", watch(visit.client.clone(), &visit.base, visit.cookie.as_deref()));
            streams.extend(opened.ok());
        }
    }
    assert_eq!(streams.len(), STREAMS_MAX);
    let (full, process) = (resident_kib(meters.fleet.server.process()), meters.fleet.server.process());

    let attempts = visits.iter().take(WATCHERS).map(|visit| {
        let (client, base, cookie) = (visit.client.clone(), visit.base.clone(), visit.cookie.clone());
        async move {
            for _ in 0..ATTEMPTS / WATCHERS {
                let refused = watch(client.clone(), &base, cookie.as_deref()).await;
                assert_eq!(refused.expect_err("there is no room").as_deref(), Some("60"));
            }
        }
    });
    let attempts: Vec<_> = attempts.collect();
    wait::soon("an answer to each attempt", async {
        let mut tasks = tokio::task::JoinSet::new();
        for attempt in attempts {
            tasks.spawn(attempt);
        }
        tasks.join_all().await;
    });
    let grown = resident_kib(process).saturating_sub(full);
    assert!(grown < GROWN_KIB_MAX, "{ATTEMPTS} attempts cost {grown} KiB");
    assert_eq!(visits[0].get("/fleet").status, 200);
    assert_eq!(meters.fleet.server.http().get("/v1/campaigns").status, 200);

    // Whoever goes makes room, and those that stay are still told.
    let kept = streams.split_off(STREAMS_MAX / 2);
    drop(streams);
    let again = || {
        let visit = &visits[0];
        wait::soon("a stream", watch(visit.client.clone(), &visit.base, visit.cookie.as_deref())).ok()
    };
    let mut freed = vec![wait::until("a free place", wait::LONG, again, String::new)];
    freed.extend(std::iter::repeat_with(again).take(11).flatten());
    assert_eq!(freed.len(), 12, "the places of this session are free again");
    for mut stream in kept.into_iter().take(3) {
        let words = wait::soon("its words", async { stream.chunk().await.expect("open").expect("words") });
        assert!(!words.is_empty());
    }
}

/// Streams that the server has room for.
const STREAMS_MAX: usize = 512;

/// Attempts beyond that, and how many make them at the same time.
const ATTEMPTS: usize = 10_000;
const WATCHERS: usize = 32;

/// What refusing may leave behind: buffers of connections, and nothing for each attempt.
const GROWN_KIB_MAX: u64 = 32 * 1_024;
