//! The order of steps in every plan that there is, against the table of reasons.

use crate::{EVERYTHING, HARDENED, Host, SPEC, config, entered, planned, processes, recorded};
use urun::plan::{
    explain::steps,
    order::{RULES, check},
};

/// The names of the steps of every plan: all recorded files and the one that has everything, on all hosts. What a host
/// refuses has no plan.
fn plans() -> Vec<(String, Vec<&'static str>)> {
    let mut names = recorded();
    names.extend([EVERYTHING, SPEC, HARDENED].map(str::to_owned));
    let mut all = Vec::new();
    for name in names {
        for host in Host::ALL {
            let Ok(plan) = planned(&config(&name, host), host) else { continue };
            let steps = steps(&plan).iter().map(|step| step.name).collect();
            all.push((format!("{name} on {host:?}"), steps));
        }
    }
    for (name, process) in processes() {
        for host in Host::ALL {
            let Ok(plan) = entered(&process, host) else { continue };
            let steps = plan.steps().iter().map(|step| step.name).collect();
            all.push((format!("{name} on {host:?}"), steps));
        }
    }
    all
}

#[test]
fn every_plan_keeps_the_order_that_has_reasons() {
    let plans = plans();
    assert!(plans.len() > 300, "only {} plans", plans.len());
    for (name, steps) in plans {
        check(&steps, RULES).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn every_rule_speaks_of_steps_that_occur_together() {
    let plans = plans();
    let idle: Vec<_> = RULES
        .iter()
        .filter(|rule| {
            !plans.iter().any(|(_, steps)| steps.contains(&rule.earlier) && steps.contains(&rule.later))
        })
        .collect();
    assert!(idle.is_empty(), "{idle:?}");
}

#[test]
fn every_broken_rule_is_found() {
    for rule in RULES {
        let broken = check(&[rule.later, rule.earlier], RULES).unwrap_err().to_string();
        assert!(broken.contains(rule.reason) || broken.contains("must come before"), "{broken}");
    }
}

#[test]
fn a_plan_with_two_steps_in_each_others_place_is_found() {
    let plan = planned(&config("crio-b-userns-01", Host::Root), Host::Root).unwrap();
    let steps: Vec<_> = steps(&plan).iter().map(|step| step.name).collect();
    check(&steps, RULES).unwrap();
    for (one, other) in
        [("mask", "mount"), ("source", "enter"), ("capabilities", "uid"), ("filter", "execute")]
    {
        let mut wrong = steps.clone();
        let place = |name| steps.iter().position(|step| *step == name).unwrap();
        wrong.swap(place(one), place(other));
        check(&wrong, RULES).unwrap_err();
    }
}
