//! `org.freedesktop.systemd1.Manager`, org.freedesktop.systemd1(5): the few methods that a container needs.

use super::{
    bus::{self, Address, Answer, Bus, Peer},
    wire::{Call, Value},
};
use crate::{
    bail,
    error::{Context, Error, Kind, Result},
};
use std::{fmt, time::Duration};

/// How long systemd may take for one answer or one job; runc waits as long.
pub const PATIENCE: Duration = Duration::from_secs(30);

const DESTINATION: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// A job that conflicts with the new one is cancelled.
const REPLACE: &str = "replace";

/// Which service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// The one that runs the machine.
    System,
    /// The one of the user who calls.
    User,
}

impl Instance {
    /// Where it may be listening, the best place first. A bus is what everybody may use; systemd's own socket serves hosts
    /// on which no bus runs. What the environment says is heard, but does not hide the usual places: a bus there may be one
    /// without systemd.
    fn addresses(self) -> Vec<Address> {
        let (variable, bus, private) = match self {
            Self::System => (
                "DBUS_SYSTEM_BUS_ADDRESS",
                Some("/run/dbus/system_bus_socket".into()),
                Some("/run/systemd/private".into()),
            ),
            Self::User => (
                "DBUS_SESSION_BUS_ADDRESS",
                bus::below("XDG_RUNTIME_DIR", "bus"),
                bus::below("XDG_RUNTIME_DIR", "systemd/private"),
            ),
        };
        let named = std::env::var(variable).ok().and_then(|text| Address::parse(&text).ok());
        let private = private.map(|path| Address { path, peer: Peer::Manager });
        named.into_iter().chain(bus.map(Address::bus)).chain(private).collect()
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
        })
    }
}

/// A property of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name on D-Bus.
    pub name: String,
    /// Its value, of the type that systemd wants.
    pub value: Value,
}

impl Property {
    /// A property.
    pub fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value }
    }

    fn list(properties: &[Self]) -> Value {
        let pair = |it: &Self| {
            Value::Struct(vec![Value::text(&*it.name), Value::Variant(Box::new(it.value.clone()))])
        };
        Value::Array("(sv)".to_owned(), properties.iter().map(pair).collect())
    }
}

/// What a service manager says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The control group that it manages, `/user.slice/user-1000.slice/user@1000.service`; empty at the root.
    pub control_group: String,
    /// Its version: 252.
    pub version: u32,
}

/// A service manager that listens.
#[derive(Debug)]
pub struct Manager {
    bus: Bus,
}

impl Manager {
    /// Connects. `known` is an address that was good before.
    ///
    /// # Errors
    /// Nobody listens at any address.
    pub fn connect(instance: Instance, known: Option<Address>) -> Result<Self> {
        let mut absent: Option<Error> = None;
        for address in known.into_iter().chain(instance.addresses()) {
            match Bus::connect(address, PATIENCE) {
                Ok(bus) => return Ok(Self { bus }),
                Err(error) if bus::is_absent(&error) => {
                    absent = Some(match absent {
                        None => error,
                        Some(first) => first.also(&error),
                    });
                }
                Err(error) => {
                    return Err(error.context(format_args!("reach the {instance} manager of systemd")));
                }
            }
        }
        let error = absent
            .unwrap_or_else(|| Error::new("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"));
        Err(error.context(format_args!("reach the {instance} manager of systemd")).hint(match instance {
            Instance::System => "systemd has to run this host, with dbus; without it use the cgroupfs driver",
            Instance::User => {
                "a user's manager runs while the user is logged in, or for ever after `loginctl enable-linger`; set \
                 XDG_RUNTIME_DIR=/run/user/UID, or use the cgroupfs driver"
            }
        }))
    }

    /// A manager at the other end of a connection.
    #[cfg(test)]
    pub fn of(bus: Bus) -> Self {
        Self { bus }
    }

    /// Where it was reached.
    pub fn address(&self) -> &Address {
        self.bus.address()
    }

    /// Asks what it manages, and who it is.
    pub fn about(&mut self) -> Result<About> {
        let [group, version] = ["ControlGroup", "Version"].map(|name| {
            let arguments = [Value::text(INTERFACE), Value::text(name)];
            self.bus.queue(&Call { interface: PROPERTIES, member: "Get", ..manager_call("", &arguments) })
        });
        let group = self.property(group, "ControlGroup")?;
        let version = self.property(version, "Version")?;
        // `257.7-1`, `257~rc1`, and `v258` where somebody built it that way.
        let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        Ok(About {
            control_group: group.trim_end_matches('/').to_owned(),
            version: digits.parse().unwrap_or(0),
        })
    }

    fn property(&mut self, serial: u32, name: &str) -> Result<String> {
        let step = || format!("ask systemd for its {name}");
        let values = self.bus.answer(serial).with_context(step)?.with_context(step)?;
        match values.first().and_then(Value::as_text) {
            Some(text) => Ok(text.to_owned()),
            None => bail!("{}: {values:?} is no text", step()),
        }
    }

    /// Starts a transient unit and waits until it stands. One of the same name that has failed is forgotten first.
    ///
    /// # Errors
    /// There is such a unit; a property that this systemd does not take; a job that fails.
    pub fn start(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let step = || format!("start unit {unit}");
        let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let arguments = [Value::text(unit), Value::text(REPLACE), Property::list(properties), none];
        let mut job = self.job(unit, "StartTransientUnit", &arguments).with_context(step)?;
        if job.as_ref().is_err_and(|refusal| refusal.name == UNIT_EXISTS) {
            // One that has not failed cannot be reset, and the second try tells.
            let _ = self.call("ResetFailedUnit", &[Value::text(unit)]).with_context(step)?;
            job = self.job(unit, "StartTransientUnit", &arguments).with_context(step)?;
        }
        let exists = job.as_ref().is_err_and(|refusal| refusal.name == UNIT_EXISTS);
        let job = job.map_err(|refusal| {
            let error = Error::from(refusal);
            match exists {
                true => error.kind(Kind::GroupInUse).hint(format_args!(
                    "another container or service has this unit: `systemctl status {unit}`, or choose another linux.cgroupsPath"
                )),
                false => error,
            }
        });
        let result = job.and_then(|job| self.wait(&job)).with_context(step)?;
        match result.as_str() {
            "done" => Ok(()),
            _ => Err(Error::new(format_args!("systemd's job ended as {result:?}"))
                .context(step())
                .hint(format_args!("see `journalctl -b -u {unit}`"))),
        }
    }

    /// Gives a running unit other properties, until the next boot.
    pub fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let arguments = [Value::text(unit), Value::Bool(true), Property::list(properties)];
        let step = || format!("set properties of unit {unit}");
        self.call("SetUnitProperties", &arguments).with_context(step)?.with_context(step).map(drop)
    }

    /// Moves a process into a delegated unit, for a caller who may not do it alone. The path of a group below it is empty or
    /// begins with `/`.
    pub fn attach(&mut self, unit: &str, below: &str, pid: i32) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid.unsigned_abs())]);
        let arguments = [Value::text(unit), Value::text(below), pids];
        let step = || format!("move process {pid} into unit {unit}");
        self.call("AttachProcessesToUnit", &arguments).with_context(step)?.with_context(step).map(drop)
    }

    /// Stops a unit and waits until it is gone; one that is gone already is fine.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let step = || format!("stop unit {unit}");
        match self.job(unit, "StopUnit", &[Value::text(unit), Value::text(REPLACE)]).with_context(step)? {
            Err(refusal) if refusal.name == NO_SUCH_UNIT => Ok(()),
            // A stop that ends otherwise was overtaken by another one, or leaves processes: whoever removes the group sees them.
            job => job.map_err(Error::from).and_then(|job| self.wait(&job)).with_context(step).map(drop),
        }
    }

    fn call(&mut self, member: &str, arguments: &[Value]) -> Result<Answer> {
        self.bus.call(&manager_call(member, arguments)).context(member)
    }

    /// Queues a job and returns its path. Its end is listened for from before its beginning.
    fn job(
        &mut self,
        unit: &str,
        member: &str,
        arguments: &[Value],
    ) -> Result<std::result::Result<String, bus::Refusal>> {
        self.bus.subscribe(&format!(
            "type='signal',sender='{DESTINATION}',path='{OBJECT}',interface='{INTERFACE}',member='JobRemoved',arg2='{unit}'"
        ));
        self.bus.queue(&manager_call("Subscribe", &[]));
        match self.call(member, arguments)? {
            Err(refusal) => Ok(Err(refusal)),
            Ok(values) => match values.first() {
                Some(Value::Path(job)) => Ok(Ok(job.clone())),
                _ => bail!("{member}: {values:?} is no job"),
            },
        }
    }

    /// How a job has ended: `done`, or `canceled`, `timeout`, `failed`, `dependency`, `skipped`.
    fn wait(&mut self, job: &str) -> Result<String> {
        let ended = |signal: &super::wire::Message| match signal.arguments.as_slice() {
            [_, Value::Path(path), _, Value::Text(result)] if signal.name == "JobRemoved" && path == job => {
                Some(result.clone())
            }
            _ => None,
        };
        self.bus.signal(ended).with_context(|| format!("wait for job {job}"))
    }
}

fn manager_call<'a>(member: &'a str, arguments: &'a [Value]) -> Call<'a> {
    Call { destination: Some(DESTINATION), path: OBJECT, interface: INTERFACE, member, arguments }
}
