//! State and steps of one run.

use super::plan::{ComponentPlan, Plan};
use super::{COMMANDS_MAX, Device, Refusal, Refused, all_components};
use crate::envelope::VerifiedManifest;
use crate::manifest::command::Branch;
use crate::manifest::{
    COMMON, COMPONENTS_MAX, Command, ComponentId, Components, Condition, IndexArgument, Parameter,
    Parameters, Sequence,
};

/// Parameters of one component that only conditions look at; the others are in the plan.
#[derive(Clone, Copy, Debug, Default)]
struct Asked<'a> {
    vendor: Option<&'a [u8; 16]>,
    class: Option<&'a [u8; 16]>,
    device: Option<&'a [u8; 16]>,
    use_before: Option<u64>,
}

pub(super) struct Machine<'a, 'd, D> {
    device: &'d D,
    components: Components<'a>,
    plan: Plan<'a>,
    asked: [Asked<'a>; COMPONENTS_MAX],
    /// Components that commands are for, as bits.
    chosen: u8,
    asked_vendor: bool,
    asked_class: bool,
    /// Section that runs, and the offset of its command.
    section: i64,
    offset: usize,
    commands_left: usize,
}

impl<'a, 'd, D: Device> Machine<'a, 'd, D> {
    pub(super) fn new(manifest: &VerifiedManifest<'a>, device: &'d D) -> Self {
        Self {
            device,
            components: manifest.manifest.components(),
            plan: Plan::new(manifest),
            asked: [Asked::default(); COMPONENTS_MAX],
            chosen: 1,
            asked_vendor: false,
            asked_class: false,
            section: 0,
            offset: 0,
            commands_left: COMMANDS_MAX,
        }
    }

    pub(super) fn check_components(&self) -> Result<(), Refusal> {
        match self.components.iter().position(|id| !self.device.has_component(&id)) {
            Some(index) => Err(Refusal::Component(index)),
            None => Ok(()),
        }
    }

    /// Runs the shared sequence, then the section's own.
    pub(super) fn run_section(
        &mut self,
        shared: Option<Sequence<'a>>,
        key: i64,
        sequence: Sequence<'a>,
    ) -> Result<(), Refusal> {
        if let Some(shared) = shared {
            self.run_outer(COMMON, shared)?;
        }
        self.run_outer(key, sequence)
    }

    /// The draft says SHOULD. A manifest that asks nobody's class would be for every device of every vendor.
    pub(super) fn check_conditional(&mut self) -> Result<(), Refusal> {
        (self.section, self.offset) = (0, 0);
        if self.asked_vendor && self.asked_class { Ok(()) } else { Err(Refusal::Unconditional) }
    }

    pub(super) fn refuse(&self, refusal: Refusal) -> Refused {
        Refused { refusal, section: self.section, offset: self.offset as u64 }
    }

    pub(super) fn into_plan(self) -> Plan<'a> {
        self.plan
    }

    fn run_outer(&mut self, section: i64, sequence: Sequence<'a>) -> Result<(), Refusal> {
        self.section = section;
        self.chosen = 1;
        let mut soft_failure = false;
        for command in sequence.commands()? {
            let (offset, command) = command?;
            self.offset = offset;
            // Soft failure is illegal out here, so nothing can end softly.
            if let Some(refusal) = self.run_command(&command, &mut soft_failure)? {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Runs a sequence inside another one; its depth was bounded when the manifest was verified.
    fn run_inner(
        &mut self,
        sequence: Sequence<'a>,
        mut soft_failure: bool,
    ) -> Result<Option<Refusal>, Refusal> {
        for command in sequence.commands()? {
            if let Some(refusal) = self.run_command(&command?.1, &mut soft_failure)? {
                return Ok(Some(refusal));
            }
        }
        Ok(None)
    }

    /// Runs one command. `Some`: a condition failed and failure is soft, so the sequence ends here.
    fn run_command(
        &mut self,
        command: &Command<'a>,
        soft_failure: &mut bool,
    ) -> Result<Option<Refusal>, Refusal> {
        self.commands_left = self.commands_left.checked_sub(1).ok_or(Refusal::TooLong)?;
        match command {
            Command::Condition(condition) => match self.check(*condition) {
                Err(refusal) if *soft_failure => return Ok(Some(refusal)),
                checked => checked?,
            },
            Command::SetComponentIndex(argument) => {
                let all = all_components(self.components.len());
                self.chosen = match argument {
                    IndexArgument::All => all,
                    IndexArgument::Listed(bits) => bits & all,
                };
            }
            Command::Override(parameters) => self.set(parameters, soft_failure)?,
            Command::TryEach(branches) => self.each_chosen(|machine| machine.try_each(branches.clone()))?,
            // A soft failure ends the inner sequence and nothing else.
            Command::RunSequence(sequence) => {
                self.each_chosen(|machine| machine.run_inner(*sequence, false).map(drop))?;
            }
            Command::Fetch => self.fetch()?,
            Command::Invoke => self.each_component(|plan, _| plan.invoke = true),
        }
        Ok(None)
    }

    /// Runs `directive` once per chosen component, each time with that one alone chosen.
    fn each_chosen(
        &mut self,
        mut directive: impl FnMut(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let chosen = self.chosen;
        for index in 0..COMPONENTS_MAX {
            if chosen & (1 << index) != 0 {
                self.chosen = 1 << index;
                directive(self)?;
            }
        }
        self.chosen = chosen;
        Ok(())
    }

    fn try_each(&mut self, branches: impl Iterator<Item = Branch<'a>>) -> Result<(), Refusal> {
        let chosen = self.chosen;
        let mut failed = None;
        for branch in branches {
            // A branch that failed half-way may have chosen another component.
            self.chosen = chosen;
            let Branch::Sequence(sequence) = branch else {
                return Ok(());
            };
            match self.run_inner(sequence, true)? {
                None => return Ok(()),
                softly => failed = softly,
            }
        }
        // Two sequences at least were there, so one has failed.
        failed.map_or(Ok(()), Err)
    }

    fn set(&mut self, parameters: &Parameters<'a>, soft_failure: &mut bool) -> Result<(), Refusal> {
        for parameter in parameters.clone() {
            let parameter = parameter?;
            match parameter {
                Parameter::SoftFailure(soft) => *soft_failure = soft,
                // Commands are always run in order, which both values allow.
                Parameter::StrictOrder(_) => {}
                _ => self.each_component(|plan, asked| set(plan, asked, &parameter)),
            }
        }
        Ok(())
    }

    fn each_component(&mut self, mut change: impl FnMut(&mut ComponentPlan<'a>, &mut Asked<'a>)) {
        let components = self.plan.components_mut().iter_mut().zip(&mut self.asked);
        for (index, (plan, asked)) in components.enumerate() {
            if self.chosen & (1 << index) != 0 {
                change(plan, asked);
            }
        }
    }

    fn fetch(&mut self) -> Result<(), Refusal> {
        for (index, plan) in self.plan.components_mut().iter_mut().enumerate() {
            if self.chosen & (1 << index) != 0 {
                plan.uri.ok_or(Refusal::NoUri(index))?;
                plan.digest.ok_or(Refusal::NoDigest(index))?;
                plan.fetch = true;
            }
        }
        Ok(())
    }

    fn check(&mut self, condition: Condition) -> Result<(), Refusal> {
        for (component, id) in self.components.iter().enumerate() {
            let chosen = self.chosen & (1 << component) != 0;
            if chosen && !self.is_fulfilled(condition, component, &id) {
                return Err(Refusal::Condition { condition, component });
            }
        }
        self.asked_vendor |= self.section == COMMON && condition == Condition::VendorId;
        self.asked_class |= self.section == COMMON && condition == Condition::ClassId;
        Ok(())
    }

    /// A condition whose parameter is not set fails.
    fn is_fulfilled(&self, condition: Condition, component: usize, id: &ComponentId<'a>) -> bool {
        let (device, asked, plan) = (self.device, &self.asked[component], &self.plan.components()[component]);
        match condition {
            Condition::VendorId => asked.vendor.is_some_and(|vendor| device.is_vendor(id, vendor)),
            Condition::ClassId => asked.class.is_some_and(|class| device.is_class(id, class)),
            Condition::DeviceId => asked.device.is_some_and(|wanted| device.is_device(wanted)),
            Condition::UseBefore => asked.use_before.is_some_and(|time| device.is_before(time)),
            Condition::ComponentSlot => plan.slot.is_some_and(|slot| device.is_slot(id, slot)),
            Condition::ImageMatch => plan.digest.is_some_and(|digest| {
                // What is to be fetched must match then; the plan says so to whoever fetches.
                plan.fetch || device.holds_image(id, digest, plan.size)
            }),
            Condition::Abort => false,
        }
    }
}

fn set<'a>(plan: &mut ComponentPlan<'a>, asked: &mut Asked<'a>, parameter: &Parameter<'a>) {
    match *parameter {
        Parameter::VendorId(id) => asked.vendor = Some(id),
        Parameter::ClassId(id) => asked.class = Some(id),
        Parameter::DeviceId(id) => asked.device = Some(id),
        Parameter::UseBefore(time) => asked.use_before = Some(time),
        Parameter::ImageDigest(digest) => plan.digest = Some(digest),
        Parameter::ImageSize(size) => plan.size = Some(size),
        Parameter::ComponentSlot(slot) => plan.slot = Some(slot),
        Parameter::Version(version) => plan.version = version.stated(),
        Parameter::Uri(uri) => plan.uri = Some(uri),
        Parameter::Characteristics(definition) => plan.characteristics = Some(definition),
        Parameter::FetchArguments(arguments) => plan.fetch_arguments = Some(arguments),
        Parameter::StrictOrder(_) | Parameter::SoftFailure(_) | Parameter::UpdatePriority(_) => {}
    }
}
