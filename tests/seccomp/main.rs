//! The compiler of seccomp profiles against libseccomp, and its programs in the kernel.

// Helpers of tests fail as tests do; the interpreter cuts words out of arguments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod bpf;
mod compare;
mod generate;
mod justified;
mod kernel;
mod meaning;
mod oracle;
mod profile;

use compare::{Findings, compare};
use generate::Kind;
use urun::spec::{seccomp::Arch, syscall::Syscall};

/// What engines on x86_64 name.
const X86: [Arch; 3] = [Arch::X86_64, Arch::X86, Arch::X32];

#[test]
fn numbers_are_those_of_libseccomp() {
    let names: Vec<_> = Syscall::all().map(Syscall::name).collect();
    let (mut compared, mut unknown) = (0, 0);
    for arch in bpf::ALL {
        let Some(numbers) = oracle::numbers(arch, &names) else { continue };
        for (name, theirs) in names.iter().zip(numbers) {
            let ours = Syscall::find(name).unwrap().number(arch);
            match theirs {
                None => unknown += 1,
                // A call that is reached through another one.
                Some(-300..0) => {}
                // A call that the architecture lacks; newer versions have since given its number to all of them.
                Some(..0) => assert!(ours.is_none_or(|number| number & 0xfff >= 424), "{name} on {arch:?}"),
                Some(number) => assert_eq!(ours, u32::try_from(number).ok(), "{name} on {arch:?}"),
            }
            compared += 1;
        }
    }
    println!("{compared} numbers compared, {unknown} of them newer than libseccomp");
    assert!(compared > 15 * names.len());
}

#[test]
fn profiles_of_engines_decide_as_libseccomp_does() {
    let mut profiles = profile::golden();
    for caps in [&[][..], &["CAP_AUDIT_WRITE"], &["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_CHROOT"]] {
        profiles.push((format!("podman {caps:?}"), profile::podman(caps)));
    }
    for (name, profile) in &profiles {
        let findings = compare(profile, &X86).unwrap_or_else(|e| panic!("{name}: {e}"));
        let compile = || urun::seccomp::plan(profile).map(drop);
        let best = (0..20).map(|_| {
            let start = std::time::Instant::now();
            compile().unwrap();
            start.elapsed()
        });
        println!("{name}: compiled in {:?}, {findings:?}", best.min().unwrap());
        assert_eq!((findings.unjustified, findings.contradictions), (0, 0), "{name}");
    }
}

#[test]
fn profiles_of_engines_decide_as_libseccomp_does_on_every_architecture() {
    let (_, profile) = profile::golden().into_iter().find(|(name, _)| name == "docker-default").unwrap();
    for arch in bpf::ALL {
        if oracle::numbers(arch, &["read"]).is_some() {
            let findings = compare(&profile, &[arch]).unwrap_or_else(|e| panic!("{arch:?}: {e}"));
            assert_eq!(findings.unjustified, 0, "{arch:?}: {:?}", findings.first);
        }
    }
}

#[test]
fn generated_profiles_decide_as_libseccomp_does() {
    for kind in [Kind::OneAction, Kind::AnyAction] {
        let mut all = Findings::default();
        let (mut failures, mut stuck) = (Vec::new(), Vec::new());
        for seed in 0..200 {
            let (profile, archs) = generate::profile(seed, kind);
            match compare(&profile, &archs) {
                Ok(findings) => all.add(findings),
                Err(error) if error == oracle::STUCK => stuck.push(seed),
                Err(error) => failures.push(format!("{kind:?} {seed}: {error}")),
            }
        }
        println!("{kind:?}: {all:?}, libseccomp stuck on {stuck:?}");
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }
}
