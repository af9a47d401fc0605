//! Hooks that later commands run, from what is stored about the container.

use crate::{error::Result, hook, log::Log, spec::Hook, state::Record};

/// The hooks of one kind with their surroundings.
#[derive(Debug)]
pub struct Programs<'a> {
    programs: Vec<hook::Program>,
    record: &'a Record,
}

impl<'a> Programs<'a> {
    /// The hooks of config.json for the container of `record`.
    pub fn new(hooks: &[Hook], record: &'a Record) -> Result<Self> {
        Ok(Self { programs: hook::plan(hooks)?, record })
    }

    /// Runs them until one fails.
    pub fn run(&self, state: &[u8]) -> Result<()> {
        hook::run_all(&self.programs, state, &self.setting())
    }

    /// Runs all of them; what fails is a warning.
    pub fn run_tolerant(&self, state: &[u8], log: &Log) {
        for failure in hook::run_tolerant(&self.programs, state, &self.setting()) {
            log.warning(failure);
        }
    }

    fn setting(&self) -> hook::Setting<'_> {
        hook::Setting {
            cwd: Some(&self.record.bundle),
            redirection: hook::redirection(&self.record.annotations),
            ..hook::Setting::default()
        }
    }
}
