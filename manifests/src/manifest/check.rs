//! Walks over every command of a manifest, also those that this device would not reach, before any is run.
//!
//! "Unsupported" is a property of the manifest, not of the path through it: a device must not find out half-way.

use super::command::{Branch, Command, IndexArgument, SEQUENCE_DEPTH_MAX, Sequence};
use super::parameter::Parameter;
use super::{Manifest, ManifestError, Member};

/// Where a sequence stands, which decides what it may command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Shared,
    Update,
    Validate,
    Invoke,
}

impl Manifest<'_> {
    /// Checks all sequences that the manifest itself holds.
    pub(super) fn check_commands(&self) -> Result<(), ManifestError> {
        let sections =
            [(self.shared, Place::Shared), (self.validate, Place::Validate), (self.invoke, Place::Invoke)];
        for (sequence, place) in sections {
            if let Some(sequence) = sequence {
                self.check_section(sequence, place)?;
            }
        }
        for member in [self.payload_fetch, self.install] {
            if let Some(Member::Inline(sequence)) = member {
                self.check_update_section(Sequence::new(sequence))?;
            }
        }
        Ok(())
    }

    /// Checks a payload-fetch or install sequence, wherever it came from.
    pub(crate) fn check_update_section(&self, sequence: Sequence<'_>) -> Result<(), ManifestError> {
        self.check_section(sequence, Place::Update)
    }

    fn check_section(&self, sequence: Sequence<'_>, place: Place) -> Result<(), ManifestError> {
        // §6.2 of the draft: with several components every sequence begins by choosing.
        if self.components.len() > 1 {
            match sequence.commands()?.next().transpose()? {
                Some((_, Command::SetComponentIndex(_))) => {}
                _ => return Err(ManifestError::NoComponentChosen),
            }
        }
        self.check_sequence(sequence, place, 1)
    }

    fn check_sequence(
        &self,
        sequence: Sequence<'_>,
        place: Place,
        depth: usize,
    ) -> Result<(), ManifestError> {
        if depth > SEQUENCE_DEPTH_MAX {
            return Err(ManifestError::Depth);
        }
        for command in sequence.commands()? {
            self.check_command(&command?.1, place, depth)?;
        }
        Ok(())
    }

    fn check_command(&self, command: &Command<'_>, place: Place, depth: usize) -> Result<(), ManifestError> {
        match command {
            Command::Condition(_) => Ok(()),
            Command::SetComponentIndex(argument) => self.check_index(*argument),
            Command::Override(parameters) => {
                parameters.clone().try_for_each(|parameter| check_parameter(parameter?, place, depth))
            }
            Command::TryEach(branches) => branches.clone().try_for_each(|branch| match branch {
                Branch::Sequence(sequence) => self.check_sequence(sequence, place, depth + 1),
                Branch::Nothing => Ok(()),
            }),
            Command::RunSequence(sequence) => self.check_sequence(*sequence, place, depth + 1),
            Command::Fetch if place == Place::Update => Ok(()),
            Command::Invoke if place == Place::Invoke => Ok(()),
            Command::Fetch | Command::Invoke => Err(ManifestError::Command(command.label())),
        }
    }

    fn check_index(&self, argument: IndexArgument) -> Result<(), ManifestError> {
        let IndexArgument::Listed(bits) = argument else {
            return Ok(());
        };
        let highest = u64::from(7 - bits.leading_zeros().min(7));
        if highest < self.components.len() as u64 {
            Ok(())
        } else {
            Err(ManifestError::ComponentIndex(highest))
        }
    }
}

fn check_parameter(parameter: Parameter<'_>, place: Place, depth: usize) -> Result<(), ManifestError> {
    match parameter {
        // Custom parameters stay out of the shared sequence; soft failure has a meaning only inside another one.
        Parameter::Characteristics(_) if place == Place::Shared => {
            Err(ManifestError::Parameter(super::parameter::CHARACTERISTICS))
        }
        Parameter::SoftFailure(_) if depth == 1 => Err(ManifestError::Parameter(13)),
        _ => Ok(()),
    }
}
