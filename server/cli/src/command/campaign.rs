//! `bellwether campaign`: launch, watch, pause, resume, cancel, retry, explain.

use std::path::PathBuf;
use std::time::Duration;

use bellwether_api::{
    Campaign, CampaignDevice, CampaignExplanation, CampaignPage, CampaignState, ClassProgress, DeviceOutcome,
    ExplainCampaign, Got, LaunchCampaign, ListCampaigns, Manifest, NotDone, OrderCampaign, Policy, Targets,
};
use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;

use crate::client::{Client, Server, percent_encoded};
use crate::failure::Failure;
use crate::output::{Output, bytes, table};
use crate::{file, system};

/// Campaigns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Launches a campaign for a signed manifest
    Launch(Launch),
    /// Watches a campaign until it ends: a bar per class, then a row per device
    ///
    /// Ends with status 0 only if every device installed its update or ran it already.
    Watch {
        /// The campaign's name [default: the newest]
        id: Option<String>,
    },
    /// Stops a campaign for a while: nothing is offered, granted or started
    Pause(Order),
    /// Lets a paused campaign go on
    Resume(Order),
    /// Ends a campaign: no new offers and no new grants
    Cancel(Order),
    /// Puts the failed and refused devices of a campaign back to the start
    RetryFailed(Order),
    /// Lists campaigns, the oldest first
    List {
        /// Only those that stand so: running, paused, halted, cancelled, finished
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<CampaignState>,
    },
    /// Tells how a campaign stands, who ordered what, and why devices are not done
    Explain {
        /// The campaign's name
        id: String,
    },
}

/// An order to a campaign.
#[derive(Args, Debug)]
pub(crate) struct Order {
    /// The campaign's name
    id: String,
    #[command(flatten)]
    by: By,
}

/// What is said with an order that must have a reason: kept in the ledger.
#[derive(Args, Debug)]
pub(crate) struct Reasoned {
    /// Why, for whoever reads the ledger
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    /// Who orders it, for whoever reads the ledger [default: $USER]
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    pub(super) who: Option<String>,
    /// Names the request: the same one again is carried out once, and answered alike [default: a random one]
    #[arg(long, value_name = "ID")]
    pub(super) request_id: Option<String>,
}

/// Who asks, and why: kept in the ledger.
#[derive(Args, Debug)]
pub(crate) struct By {
    /// Who asks
    #[arg(long, env = "USER", value_name = "NAME", hide_env_values = true)]
    who: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Name of this request: the same again changes nothing more [default: random]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// What to launch.
#[derive(Args, Debug)]
pub(crate) struct Launch {
    /// Signed envelope; it is published first
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// Only devices of these classes
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    class: Vec<String>,
    /// Only these devices
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',')]
    device: Vec<String>,
    /// Only devices that have all of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    /// Devices at work at the same time [default: all]
    #[arg(long, value_name = "N")]
    at_most: Option<u32>,
    /// Stop offering once more than this share of the finished devices failed, e.g. 10 for 10 %
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u16).range(0..=100))]
    abort_at: Option<u16>,
    /// Finished devices that are needed before the share counts [default: 1]
    #[arg(long, value_name = "N")]
    abort_after: Option<u32>,
    /// Give every device new keys with its update: a new epoch
    #[arg(long)]
    reseed: bool,
    /// Let devices ask before they start the new image
    #[arg(long)]
    ask_go: bool,
    #[command(flatten)]
    by: By,
    /// Watch it until it ends
    #[arg(long)]
    watch: bool,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do; [`Failure::Campaign`] where a watched campaign did not serve every device.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let client = Client::new(server)?;
    match command {
        Command::Launch(launch) => {
            let campaign = start(&client, &launch).await?;
            if launch.watch {
                return watch(&client, &campaign.id, output).await;
            }
            output.print(&campaign, |campaign| {
                let devices: u64 = campaign.classes.iter().map(|class| class.targeted).sum();
                let devices = if devices == 1 { "1 device".to_owned() } else { format!("{devices} devices") };
                format!(
                    "Launched campaign {} for {devices}. Watch it: bellwether campaign watch {}",
                    campaign.id, campaign.id
                )
            });
            Ok(())
        }
        Command::Watch { id } => {
            let id = match id {
                Some(id) => id,
                None => newest(&client).await?,
            };
            watch(&client, &id, output).await
        }
        Command::Pause(asked) => order(&client, "pause", asked, output, "Paused").await,
        Command::Resume(asked) => order(&client, "resume", asked, output, "Resumed").await,
        Command::Cancel(asked) => order(&client, "cancel", asked, output, "Cancelled").await,
        Command::RetryFailed(asked) => {
            order(&client, "retry-failed", asked, output, "Put back the failed devices of").await
        }
        Command::List { state } => {
            output.print(&all(&client, state).await?, |campaigns| list(campaigns));
            Ok(())
        }
        Command::Explain { id } => explain(&client, id, output).await,
    }
}

async fn order(client: &Client, verb: &str, asked: Order, output: Output, done: &str) -> Result<(), Failure> {
    let Order { id: campaign, by: By { who, why, request_id } } = asked;
    let request_id = request_id.map_or_else(random_id, Ok)?;
    let asked = OrderCampaign { request_id, campaign, who, why };
    let campaign: Campaign = client.post(&format!("/v1/commands/campaigns/{verb}"), &asked).await?;
    output.print(&campaign, |campaign| {
        format!("{done} campaign {}; it is {} now.", campaign.id, state_name(campaign.state))
    });
    Ok(())
}

/// Reads page after page.
async fn all(client: &Client, state: Option<CampaignState>) -> Result<Vec<Campaign>, Failure> {
    let mut asked = ListCampaigns { state, ..ListCampaigns::default() };
    let mut campaigns = Vec::new();
    loop {
        let page: CampaignPage = client.post("/v1/commands/campaigns/list", &asked).await?;
        campaigns.extend(page.campaigns);
        asked.after = page.next;
        if asked.after.is_none() {
            return Ok(campaigns);
        }
    }
}

fn list(campaigns: &[Campaign]) -> String {
    let row = |campaign: &Campaign| {
        let sum =
            |count: fn(&ClassProgress) -> u64| campaign.classes.iter().map(count).sum::<u64>().to_string();
        vec![
            campaign.id.clone(),
            state_name(campaign.state).to_owned(),
            sum(|class| class.targeted),
            sum(|class| class.installed),
            sum(|class| class.failed),
        ]
    };
    table(
        &["CAMPAIGN", "STATE", "DEVICES", "INSTALLED", "FAILED"],
        &campaigns.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Tells how a campaign stands; devices page by page, as one list.
async fn explain(client: &Client, campaign: String, output: Output) -> Result<(), Failure> {
    let mut asked = ExplainCampaign { request_id: None, campaign, after: None, limit: None };
    let mut told: Option<CampaignExplanation> = None;
    loop {
        let page: CampaignExplanation = client.post("/v1/commands/campaigns/explain", &asked).await?;
        asked.after.clone_from(&page.next);
        match &mut told {
            None => told = Some(page),
            Some(told) => {
                told.devices.extend(page.devices);
                told.next = page.next;
            }
        }
        if asked.after.is_none() {
            break;
        }
    }
    if let Some(told) = told {
        output.print(&told, explanation);
    }
    Ok(())
}

fn explanation(told: &CampaignExplanation) -> String {
    let row = |device: &NotDone| {
        vec![device.endpoint.clone(), outcome(device.outcome).to_owned(), device.why.clone()]
    };
    let lines = told.lines.join("\n");
    if told.devices.is_empty() {
        return lines;
    }
    let rows: Vec<_> = told.devices.iter().map(row).collect();
    format!("{lines}\n\n{}", table(&["DEVICE", "OUTCOME", "WHY NOT"], &rows))
}

fn state_name(state: CampaignState) -> &'static str {
    match state {
        CampaignState::Running => "running",
        CampaignState::Paused => "paused",
        CampaignState::Halted => "halted",
        CampaignState::Cancelled => "cancelled",
        CampaignState::Finished => "finished",
    }
}

fn state(text: &str) -> Result<CampaignState, String> {
    use CampaignState::{Cancelled, Finished, Halted, Paused, Running};
    let states = [Running, Paused, Halted, Cancelled, Finished];
    let found = states.into_iter().find(|state| state_name(*state) == text);
    found.ok_or_else(|| format!("one of {}", states.map(state_name).join(", ")))
}

async fn start(client: &Client, launch: &Launch) -> Result<Campaign, Failure> {
    let envelope = file::read(&launch.manifest)?;
    let manifest: Manifest = client.upload(Method::POST, "/v1/manifests", &[], envelope).await?;
    let request_id = launch.by.request_id.clone().map_or_else(random_id, Ok)?;
    let policy = Policy {
        at_most: launch.at_most,
        abort_failed_per_mille: launch.abort_at.map(|percent| percent * 10),
        abort_sample_min: launch.abort_after,
        reseed: launch.reseed,
        ask_go: launch.ask_go,
    };
    let targets =
        Targets { classes: launch.class.clone(), endpoints: launch.device.clone(), tags: launch.tag.clone() };
    let (who, why) = (launch.by.who.clone(), launch.by.why.clone());
    client
        .post(
            "/v1/campaigns",
            &LaunchCampaign { request_id, manifest: manifest.digest, targets, policy, who, why },
        )
        .await
}

pub(super) fn random_id() -> Result<String, Failure> {
    let mut id = [0; 8];
    system::fill_random(&mut id)?;
    Ok(hex::encode(id))
}

async fn newest(client: &Client) -> Result<String, Failure> {
    let campaigns = all(client, None).await?;
    let newest = campaigns.into_iter().max_by_key(|campaign| campaign.created);
    newest.map(|campaign| campaign.id).ok_or_else(|| Failure::Usage("there is no campaign yet".to_owned()))
}

async fn watch(client: &Client, id: &str, output: Output) -> Result<(), Failure> {
    let bars = Bars::new(output);
    let path = format!("/v1/campaigns/{}", percent_encoded(id));
    let mut pause = tokio::time::interval(POLL);
    let campaign = loop {
        pause.tick().await;
        // Its devices are asked for once it is over: there may be a million of them.
        let campaign: Campaign = client.get(&format!("{path}?limit=1")).await?;
        bars.show(&campaign.classes);
        if !matches!(campaign.state, CampaignState::Running | CampaignState::Paused) {
            break with_devices(client, &path).await?;
        }
    };
    bars.close();
    output.print(&campaign, describe);
    verdict(&campaign)
}

/// Reads a campaign with all its devices, page by page.
async fn with_devices(client: &Client, path: &str) -> Result<Campaign, Failure> {
    let mut campaign: Campaign = client.get(path).await?;
    while let Some(after) = campaign.next.take() {
        let page: Campaign = client.get(&format!("{path}?after={}", percent_encoded(&after))).await?;
        campaign.devices.extend(page.devices);
        campaign.next = page.next;
    }
    Ok(campaign)
}

/// A bar per class on standard error, in the order in which classes come.
struct Bars {
    all: MultiProgress,
    each: std::cell::RefCell<Vec<(String, ProgressBar)>>,
}

impl Bars {
    fn new(output: Output) -> Self {
        let target = match output {
            Output::Text => ProgressDrawTarget::stderr(),
            Output::Json => ProgressDrawTarget::hidden(),
        };
        Self { all: MultiProgress::with_draw_target(target), each: std::cell::RefCell::default() }
    }

    fn show(&self, classes: &[ClassProgress]) {
        let mut each = self.each.borrow_mut();
        for class in classes {
            let known = each.iter().position(|(name, _)| *name == class.class);
            let at = known.unwrap_or_else(|| {
                each.push((class.class.clone(), self.all.add(bar(class))));
                each.len() - 1
            });
            let (_, bar) = &each[at];
            bar.set_length(class.targeted);
            bar.set_position(class.installed);
            bar.set_message(stages(class));
        }
    }

    fn close(&self) {
        for (_, bar) in self.each.borrow().iter() {
            bar.abandon();
        }
        if !self.all.is_hidden() {
            // The last bar ends without a line break, and what follows is a table.
            eprintln!();
        }
    }
}

fn bar(class: &ClassProgress) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:<12} [{bar:30}] {pos}/{len}  {msg}");
    let bar = ProgressBar::new(class.targeted).with_prefix(class.class.clone());
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn stages(class: &ClassProgress) -> String {
    let stages = [
        (class.waiting, "waiting"),
        (class.offered, "offered"),
        (class.granted, "fetching"),
        (class.ready, "ready"),
        (class.installed, "installed"),
        (class.failed, "failed"),
    ];
    let shown = stages.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    shown.collect::<Vec<_>>().join(", ")
}

fn describe(campaign: &Campaign) -> String {
    let row = |device: &CampaignDevice| {
        vec![
            device.endpoint.clone(),
            device.class.clone(),
            outcome(device.outcome).to_owned(),
            device.got.as_ref().map_or_else(|| "-".to_owned(), got),
            device.reason.clone().unwrap_or_default(),
        ]
    };
    table(
        &["DEVICE", "CLASS", "OUTCOME", "GOT", "WHY"],
        &campaign.devices.iter().map(row).collect::<Vec<_>>(),
    )
}

fn outcome(outcome: DeviceOutcome) -> &'static str {
    match outcome {
        DeviceOutcome::Waiting => "waiting",
        DeviceOutcome::Offered => "offered",
        DeviceOutcome::Granted => "fetching",
        DeviceOutcome::Ready => "ready",
        DeviceOutcome::Installed => "installed",
        DeviceOutcome::Failed => "failed",
        DeviceOutcome::Refused => "refused",
        DeviceOutcome::NothingToDo => "nothing to do",
    }
}

fn got(got: &Got) -> String {
    match got {
        Got::Full { bytes: count } => format!("full, {}", bytes(*count)),
        Got::Delta { base, bytes: count } => format!("delta from {base}, {}", bytes(*count)),
    }
}

fn verdict(campaign: &Campaign) -> Result<(), Failure> {
    let good = |device: &&CampaignDevice| {
        matches!(device.outcome, DeviceOutcome::Installed | DeviceOutcome::NothingToDo)
    };
    let (all, done) = (campaign.devices.len(), campaign.devices.iter().filter(good).count());
    if all == done {
        return Ok(());
    }
    let why = match (&campaign.reason, campaign.state) {
        (Some(reason), _) => format!(": {reason}"),
        (None, CampaignState::Cancelled) => ": it was cancelled".to_owned(),
        (None, _) => String::new(),
    };
    Err(Failure::Campaign(format!("{done} of {all} devices run their update{why}")))
}

const POLL: Duration = Duration::from_millis(200);
